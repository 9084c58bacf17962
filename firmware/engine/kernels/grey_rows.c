/* Grey images' cells and errors as pairs of int16, less their zero points. */
#include "grey.h"

#include "simd.h"

#if FQT_DSP

void fqt_spread_cells(uint32_t *to, const uint8_t *x, uint32_t n, uint32_t stride, int32_t x_zero)
{
    uint32_t less = fqt_minus_pair(x_zero);
    for (; n != 0; n--, x += 2u * stride) {
        uint32_t first = fqt_word(x), second = fqt_word(x + stride);
        uint32_t even = fqt_add_even_bytes(less, first), other_even = fqt_add_even_bytes(less, second);
        *to++ = fqt_low_halves(even, other_even);
        *to++ = fqt_low_halves(fqt_add_odd_bytes(less, first), fqt_add_odd_bytes(less, second));
        *to++ = fqt_high_halves(even, other_even);
    }
}

/* Two pixels a turn: 8 errors, 24 instructions. */
__attribute__((noinline)) uint32_t *fqt_spread_errors(uint32_t *words, const uint8_t *errors, uint32_t n, uint32_t pitch,
                                                      int32_t *sums)
{
    register uint32_t *to __asm__("r0") = words;
    register const uint8_t *from __asm__("r1") = errors;
    register uint32_t left __asm__("r2") = n;
    register uint32_t apart __asm__("r3") = pitch;
    register int32_t *s __asm__("r12") = sums;
    __asm__ volatile("ldmia r12, {r4, r5, r6, r7}\n\t"
                     "push {r12}\n\t"
                     "mov r12, #0x80808080\n\t"
                     "mov lr, #0x00010001\n"
                     "1:\n\t"
                     "subs r2, #2\n\t"
                     "ldr r8, [r1]\n\t"
                     "ite ge\n\t"
                     "ldrge r9, [r1, r3]\n\t"
                     "movlt r9, r12\n\t"
                     "add r1, r1, r3, lsl #1\n\t"
                     "eor r8, r8, r12\n\t"
                     "eor r9, r9, r12\n\t"
                     "pkhbt r10, r8, r9, lsl #16\n\t"
                     "pkhtb r11, r9, r8, asr #16\n\t"
                     "sxtb16 r8, r10\n\t"
                     "sxtb16 r10, r10, ror #8\n\t"
                     "sxtb16 r9, r11\n\t"
                     "sxtb16 r11, r11, ror #8\n\t"
                     "smlad r4, r8, lr, r4\n\t"
                     "smlad r5, r10, lr, r5\n\t"
                     "smlad r6, r9, lr, r6\n\t"
                     "smlad r7, r11, lr, r7\n\t"
                     "str r9, [r0, #4]\n\t"
                     "str r10, [r0, #8]\n\t"
                     "str r11, [r0, #12]\n\t"
                     "str r8, [r0], #16\n\t"
                     "bgt 1b\n\t"
                     "pop {r12}\n\t"
                     "stmia r12, {r4, r5, r6, r7}"
                     : "+r"(to), "+r"(from), "+r"(left), "+r"(s)
                     : "r"(apart)
                     : "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "lr", "cc", "memory");
    return to;
}

/* r0, r2: errors and cells. Sums of three taps r4 to r6, of the other filter r7 to r9. */
#define TAP(sum, e, x) "smlad " sum ", " e ", " x ", " sum "\n\t"

#if FQT_DUAL_ISSUE

/* The next pair's words are loaded as this one's are used for the last time: errors r10, r11, cells r12, lr, r3, in one
 * direction and then in the other. What is loaded behind the last pair isn't used. 12 cycles a turn. */
#define BEGIN                                                                                                       \
    "ldrd r10, r11, [r0]\n\t"                                                                                       \
    "ldmia r2, {r12, lr}\n\t"                                                                                       \
    "ldr r3, [r2, #8]\n\t"
#define TWO_PAIRS                                                                                                   \
    TAP("r4", "r10", "r12") TAP("r5", "r10", "lr") TAP("r6", "r10", "r3")                                          \
    "ldr r10, [r0, #16]\n\t" TAP("r9", "r11", "r3")                                                                \
    "ldr r3, [r2, #20]\n\t" TAP("r8", "r11", "lr")                                                                 \
    "ldr lr, [r2, #16]\n\t" TAP("r7", "r11", "r12")                                                                \
    "ldr r11, [r0, #20]\n\t"                                                                                       \
    "ldr r12, [r2, #12]\n\t" TAP("r6", "r10", "r3") TAP("r5", "r10", "lr") TAP("r4", "r10", "r12")                \
    "ldr r10, [r0, #32]\n\t" TAP("r7", "r11", "r12")                                                               \
    "ldr r12, [r2, #24]\n\t" TAP("r8", "r11", "lr")                                                                \
    "ldr lr, [r2, #28]\n\t" TAP("r9", "r11", "r3")                                                                 \
    "ldr r11, [r0, #36]\n\t"                                                                                       \
    "ldr r3, [r2, #32]\n\t"                                                                                        \
    "adds r0, #32\n\t"                                                                                             \
    "adds r2, #24\n\t"

#else

/* Loads stand together. */
#define BEGIN
#define PAIR                                                                                                        \
    "ldmia r2!, {r3, r12, lr}\n\t"                                                                                 \
    "ldr r11, [r0, #4]\n\t"                                                                                        \
    "ldr r10, [r0], #16\n\t" TAP("r4", "r10", "r3") TAP("r5", "r10", "r12") TAP("r6", "r10", "lr")                \
    TAP("r7", "r11", "r3") TAP("r8", "r11", "r12") TAP("r9", "r11", "lr")
#define TWO_PAIRS PAIR PAIR

#endif

/* 24 MACs a turn. */
void fqt_add_grey(const uint32_t *errors, const uint32_t *cells, uint32_t n, int32_t *row, uint32_t apart)
{
    register const uint32_t *e __asm__("r0") = errors;
    register const uint32_t *end __asm__("r1") = errors + n * FQT_GREY_ERROR_WORDS;
    register const uint32_t *x __asm__("r2") = cells;
    register int32_t *first __asm__("r3") = row;
    register int32_t *second __asm__("r12") = row + apart;
    __asm__ volatile("push {r3, r12}\n\t"
                     "ldmia r3, {r4, r5, r6}\n\t"
                     "ldmia r12, {r7, r8, r9}\n\t" BEGIN "\n"
                     "1:\n\t" TWO_PAIRS "cmp r0, r1\n\t"
                     "blo 1b\n\t"
                     "pop {r3, r12}\n\t"
                     "stmia r3, {r4, r5, r6}\n\t"
                     "stmia r12, {r7, r8, r9}"
                     : "+r"(e), "+r"(x), "+r"(first), "+r"(second)
                     : "r"(end)
                     : "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "lr", "cc", "memory");
}

#elif !FQT_ARMV6M

static uint32_t pair(int32_t first, int32_t second)
{
    return ((uint32_t)first & 0xffffu) | (uint32_t)second << 16;
}

void fqt_spread_cells(uint32_t *to, const uint8_t *x, uint32_t n, uint32_t stride, int32_t x_zero)
{
    for (; n != 0; n--, x += 2u * stride) {
        for (uint32_t column = 0; column < FQT_GREY_COLUMNS; column++) {
            *to++ = pair(x[column] - x_zero, x[stride + column] - x_zero);
        }
    }
}

static uint32_t error_pair(const uint8_t *first, const uint8_t *second, int32_t *sum)
{
    int32_t a = *first - FQT_ERROR_ZERO, b = second != NULL ? *second - FQT_ERROR_ZERO : 0;
    *sum += a + b;
    return pair(a, b);
}

static const uint32_t word_of[FQT_GREY_FILTERS] = {0, 2, 1, 3};

uint32_t *fqt_spread_errors(uint32_t *to, const uint8_t *errors, uint32_t n, uint32_t pitch, int32_t *sums)
{
    for (uint32_t i = 0; i < n; i += 2u, errors += 2u * pitch, to += FQT_GREY_ERROR_WORDS) {
        for (uint32_t k = 0; k < FQT_GREY_FILTERS; k++) {
            to[word_of[k]] = error_pair(errors + k, i + 1u < n ? errors + pitch + k : NULL, &sums[k]);
        }
    }
    return to;
}

static int32_t dot(uint32_t a, uint32_t b)
{
    return (int16_t)a * (int16_t)b + (int16_t)(a >> 16) * (int16_t)(b >> 16);
}

void fqt_add_grey(const uint32_t *errors, const uint32_t *cells, uint32_t n, int32_t *row, uint32_t apart)
{
    for (; n != 0; n--, errors += FQT_GREY_ERROR_WORDS, cells += FQT_GREY_CELL_WORDS) {
        for (uint32_t column = 0; column < FQT_GREY_COLUMNS; column++) {
            row[column] += dot(errors[0], cells[column]);
            row[apart + column] += dot(errors[1], cells[column]);
        }
    }
}

#endif
