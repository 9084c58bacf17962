/* Bytes of the sums of planes for Armv6-M. */
#include "planar_rows.h"

#include "scale_v6m.h"

#if FQT_ARMV6M

/* r3 = (r3*m + added) >> S as of struct fqt_scale; m is r4, shift r5, added r8. 8 instructions. */
#define SCALE                                                                                                       \
    "uxth r2, r3\n\t"                                                                                               \
    "asrs r3, r3, #16\n\t"                                                                                          \
    "muls r2, r4, r2\n\t"                                                                                           \
    "muls r3, r4, r3\n\t"                                                                                           \
    "lsrs r2, r2, #16\n\t"                                                                                          \
    "adds r3, r3, r2\n\t"                                                                                           \
    "add r3, r8\n\t"                                                                                                \
    "asrs r3, r5\n\t"

/* Bytes; below `least` all sums give the lowest. A plane's bytes lie r6 bytes before r1, and r6 counts up to zero. 15
 * instructions, 8 below `least`; 5 more where one is clamped. */
static __attribute__((noinline)) void put_bytes(const struct fqt_planar_sums *sums, const struct fqt_scale *s,
                                                int32_t least_shown, uint8_t *bytes)
{
    uint32_t row_bytes = sums->n * sums->apart;
    register const int32_t *acc __asm__("r0") = sums->acc;
    register uint8_t *end __asm__("r1") = bytes + row_bytes;
    register int32_t m __asm__("r4") = s->m;
    register int32_t shift __asm__("r5") = s->shift;
    register uint32_t apart __asm__("r7") = sums->apart;
    register int32_t added __asm__("r8") = s->added;
    register uint32_t span __asm__("r9") = s->span;
    register uint32_t begin __asm__("r10") = 0u - row_bytes;
    register uint32_t gap __asm__("r11") = 4u * (sums->pitch - sums->n); /* to the next plane's sums */
    register int32_t least __asm__("r12") = least_shown;
    __asm__ volatile(".syntax unified\n\t"
                     "b 5f\n"
                     "3:\n\t"
                     "movs r3, #0\n\t"
                     "b 2f\n"
                     "4:\n\t"
                     "mvns r2, r3\n\t"
                     "asrs r2, r2, #31\n\t" /* 0 below, else all ones */
                     "mov r3, r9\n\t"
                     "ands r3, r2\n\t"
                     "b 2f\n"
                     "5:\n\t"
                     "mov r6, r10\n"
                     "1:\n\t"
                     "ldmia r0!, {r3}\n\t"
                     "cmp r3, r12\n\t"
                     "blt 3b\n\t" SCALE
                     "cmp r3, r9\n\t"
                     "bhi 4b\n"
                     "2:\n\t"
                     "strb r3, [r1, r6]\n\t"
                     "adds r6, r6, r7\n\t"
                     "bne 1b\n\t"
                     "add r0, r11\n\t"
                     "adds r1, #1\n\t"
                     "lsls r3, r1, #30\n\t" /* bytes of a pixel lie at a multiple of 4 */
                     "bne 5b"
                     : "+r"(acc), "+r"(end)
                     : "r"(m), "r"(shift), "r"(apart), "r"(added), "r"(span), "r"(begin), "r"(gap), "r"(least)
                     : "r2", "r3", "r6", "cc", "memory");
}

void fqt_put_planes(const struct fqt_planar_sums *sums, const struct fqt_requantization *q, uint8_t *out)
{
    const struct fqt_scale s = fqt_scale_of(q->by, q->zero, q->lowest, q->highest);
    int32_t least = q->zero <= q->lowest ? 0 : INT32_MIN;
    put_bytes(sums, &s, least, out);
    if (q->lowest > 0) {
        for (uint32_t i = 0; i < sums->n; i++, out += sums->apart) {
            for (uint32_t k = 0; k < FQT_PLANES; k++) {
                out[k] = (uint8_t)(out[k] + s.lowest);
            }
        }
    }
}

/* Errors; zeros where x, which lies `to_x` bytes from its error, is masked. 19 instructions, 3 more where one is clamped. */
static __attribute__((noinline)) void put_errors(const struct fqt_planar_sums *sums, const struct fqt_scale *s,
                                                 const struct fqt_masked *to)
{
    register const int32_t *acc __asm__("r0") = sums->acc;
    register uint8_t *out __asm__("r1") = to->out;
    register int32_t m __asm__("r4") = s->m;
    register int32_t shift __asm__("r5") = s->shift;
    register uintptr_t to_x __asm__("r6") = (uintptr_t)to->x - (uintptr_t)to->out;
    register uint8_t *plane __asm__("r7") = to->out;
    register int32_t added __asm__("r8") = s->added;
    register uint32_t below __asm__("r9") = (uint32_t)-(to->mask.low + 1);
    register uint32_t apart __asm__("r10") = sums->apart;
    register uint8_t *end __asm__("r11") = to->out + sums->n * sums->apart;
    register uint32_t shown __asm__("r12") = (uint32_t)(to->mask.high - to->mask.low - 1);
    register uint32_t gap __asm__("lr") = 4u * (sums->pitch - sums->n);
    __asm__ volatile(".syntax unified\n\t"
                     "b 1f\n"
                     "3:\n\t"
                     "movs r3, #%c[zero]\n\t"
                     "b 2f\n"
                     "4:\n\t"
                     "mvns r3, r3\n\t"
                     "asrs r3, r3, #31\n\t" /* its low byte: 0 below, else 255 */
                     "b 2f\n"
                     "1:\n\t"
                     "ldrb r2, [r1, r6]\n\t"
                     "ldmia r0!, {r3}\n\t"
                     "add r2, r9\n\t"
                     "cmp r2, r12\n\t"
                     "bhs 3b\n\t" SCALE
                     "cmp r3, #255\n\t"
                     "bhi 4b\n"
                     "2:\n\t"
                     "strb r3, [r1]\n\t"
                     "add r1, r10\n\t"
                     "cmp r1, r11\n\t"
                     "bne 1b\n\t"
                     "adds r7, #1\n\t"
                     "mov r1, r7\n\t"
                     "mov r3, r11\n\t"
                     "adds r3, #1\n\t"
                     "mov r11, r3\n\t"
                     "add r0, lr\n\t"
                     "lsls r3, r7, #30\n\t" /* bytes of a pixel lie at a multiple of 4 */
                     "bne 1b"
                     : "+r"(acc), "+r"(out), "+r"(plane), "+r"(end)
                     : "r"(m), "r"(shift), "r"(to_x), "r"(added), "r"(below), "r"(apart), "r"(shown), "r"(gap),
                       [zero] "i"(FQT_ERROR_ZERO)
                     : "r2", "r3", "cc", "memory");
}

static int32_t largest_shown(const struct fqt_planar_sums *sums, const struct fqt_masked *to)
{
    int32_t largest = 0;
    for (uint32_t i = 0; i < FQT_PLANES * sums->n; i++) {
        uint32_t plane = i & 3u, at = i >> 2;
        int32_t acc = sums->acc[plane * sums->pitch + at], magnitude = acc < 0 ? -acc : acc;
        if (magnitude > largest && !fqt_hides(to->mask, to->x[at * sums->apart + plane])) {
            largest = magnitude;
        }
    }
    return largest;
}

int32_t fqt_put_plane_errors(const struct fqt_planar_sums *sums, const struct fqt_masked *to, bool tracking)
{
    const struct fqt_scale s = fqt_scale_of(to->by, FQT_ERROR_ZERO, 0, 255);
    put_errors(sums, &s, to);
    return tracking ? largest_shown(sums, to) : 0;
}

#endif
