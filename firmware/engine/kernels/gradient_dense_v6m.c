/* Weight gradient for Armv6-M: of a block of output pixels each filter's errors that are not zero are listed once, and the
 * inputs laid out for four taps at a time; then each list is summed. Errors and inputs are centred: with x' = x - 128,
 * sum (e - 128)(x - z_x) = sum (e - 128)x' + (128 - z_x) * sum (e - 128), and sums begin with the latter.
 *
 * A word holds the inputs of taps t and t + 2, x0' + (x2' << 16), so that one multiplication by an error makes both products.
 * Those of two pixels are added before they are taken apart, which is exact as long as not both errors are -128: then each half
 * stays within 128*255. F sums the words modulo 2^32, H their upper halves: ASRS leaves the borrow of a negative lower half in
 * the carry, and ADCS gives it back. H is the sum of tap t + 2, F - (H << 16) that of tap t. */
#include "dense.h"

#include "patch.h"

#if FQT_ARMV6M

#define CENTRE 128
#define CENTRES (CENTRE * 0x00010001) /* of two taps */
#define LOWEST (-FQT_ERROR_ZERO)
#define TAPS 4u        /* at a time */
#define ENTRY_WORDS 3u /* beside the pixels */
#define SPARE_WORDS 8u /* behind `limit`: what is put down until it is looked at again */

/* Scratch: rows(n,stored), sums(n), then of a block of `pixels`: block_sums(n), cells(pixels) of the map, inputs(pixels,2), two
 * taps each, and lists. A list has what its sums begin with, the address where its pixels end, an even number of pixels
 * (address of the inputs, error), its row's address; filters without errors have none. Behind everything lies a cell of zero
 * points, `outside`. */
struct work {
    const struct fqt_geometry *g;
    const struct fqt_dense_gradient_job *job;
    int32_t *rows, *sums, *block_sums;
    const uint8_t **cells;
    uint32_t *inputs, *lists, *end, *limit;
    uint8_t *outside;
    uint32_t n, pixels; /* an even number */
};

/* For blocks of so many pixels. An odd last one has another behind it that is in no list. */
static void divide_scratch(struct work *work, uint32_t pixels)
{
    work->pixels = pixels;
    work->cells = (const uint8_t **)(void *)(work->block_sums + work->n);
    work->inputs = (uint32_t *)(void *)(work->cells + pixels);
    work->lists = work->inputs + 2u * pixels;
}

static struct work work_of(const struct fqt_geometry *g, const struct fqt_dense_gradient_job *job)
{
    struct work work = {.g = g, .job = job, .rows = job->scratch, .n = job->selection.n};
    uint32_t words = job->scratch_bytes / 4u - (g->c + 3u) / 4u, all = g->out_h * g->out_w;
    work.sums = work.rows + work.n * g->stored;
    work.block_sums = work.sums + work.n;
    work.outside = (uint8_t *)(work.rows + words);
    work.limit = (uint32_t *)(void *)work.rows + words - SPARE_WORDS;
    for (uint32_t i = 0; i < g->c; i++) {
        work.outside[i] = (uint8_t)job->x_zero;
        __asm__("" : : : "memory"); /* or the loop becomes a call of memset */
    }
    uint32_t left = words - SPARE_WORDS - work.n * (g->stored + 2u + ENTRY_WORDS);
    uint32_t most = left / (3u + work.n / 2u); /* if one of four errors is not zero */
    divide_scratch(&work, ((all < most ? all : most) + 1u) & ~1u);
    return work;
}

/* --- errors ------------------------------------------------------------------------------------------------ */

/* Up to the next error that is not zero, and past it; to `end` behind the last one. */
#define NEXT_ERROR(again, end)                                                                                          \
    again ":\n\t"                                                                                                       \
    "cmp r0, %[last]\n\t"                                                                                               \
    "beq " end "\n\t"                                                                                                   \
    "ldrb r3, [r0]\n\t"                                                                                                 \
    "add r0, %[pitch]\n\t"                                                                                              \
    "adds r1, #8\n\t"                                                                                                   \
    "subs r3, #128\n\t"                                                                                                 \
    "beq " again "b\n\t"

#define PUT_ERROR                                                                                                       \
    "stmia r2!, {r1, r3}\n\t"                                                                                           \
    "adds %[sum], %[sum], r3\n\t"

/* Errors up to `last`, `pitch` bytes apart, that are not zero, and their sum. Returns the list's end; NULL if it came to
 * `limit`. Two errors of -128 don't become a pair, nor does an odd last one remain. 15 cycles an error, 9 one of zero. */
static __attribute__((noinline)) uint32_t *list_errors(const struct work *work, const uint8_t *error, const uint8_t *last,
                                                      uint32_t *list, int32_t *sum_of_all)
{
    register const uint8_t *from __asm__("r0") = error;
    register const uint32_t *inputs __asm__("r1") = work->inputs - 2;
    register uint32_t *to __asm__("r2") = list;
    int32_t sum = 0, first;
    __asm__ volatile(".syntax unified\n" NEXT_ERROR("1", "6f")
                     "2:\n\t"
                     "cmp r2, %[limit]\n\t"
                     "bhs 5f\n\t" PUT_ERROR
                     "movs %[first], r3\n" NEXT_ERROR("3", "4f")
                     "adds %[first], %[first], r3\n\t"
                     "cmn %[first], %[both]\n\t"
                     "beq 7f\n\t" PUT_ERROR
                     "b 1b\n"
                     "7:\n\t"
                     "movs %[first], #0\n\t"
                     "str r1, [r2]\n\t"
                     "str %[first], [r2, #4]\n\t"
                     "adds r2, #8\n\t"
                     "b 2b\n"
                     "4:\n\t"
                     "movs r3, #0\n\t" PUT_ERROR
                     "b 6f\n"
                     "5:\n\t"
                     "movs r2, #0\n"
                     "6:"
                     : "+r"(from), "+r"(inputs), "+r"(to), [sum] "+l"(sum), [first] "=&l"(first)
                     : [last] "h"(last), [pitch] "h"(work->g->filters), [limit] "h"(work->limit), [both] "l"(-2 * LOWEST)
                     : "r3", "cc", "memory");
    *sum_of_all = sum;
    return to;
}

/* The list of filter i: n pixels from p on. Returns its end; NULL if there is no room. */
static uint32_t *put_list(const struct work *work, uint32_t i, uint32_t p, uint32_t n, uint32_t *list)
{
    const struct fqt_geometry *g = work->g;
    const uint8_t *error = work->job->error + p * g->filters + fqt_selected(&work->job->selection, i);
    int32_t *sum = &work->block_sums[i];
    uint32_t *end = list_errors(work, error, error + n * g->filters, list + 2, sum);
    if (end == NULL || end == list + 2) {
        return end == NULL ? NULL : list;
    }
    list[0] = (uint32_t)((CENTRE - work->job->x_zero) * *sum);
    list[1] = (uint32_t)(uintptr_t)end;
    *end++ = (uint32_t)(uintptr_t)(work->rows + i * g->stored);
    return end;
}

/* The lists of n pixels from p on. Rows of filters without a list are 0 so far. Returns how many filters there was room for. */
static uint32_t put_lists(struct work *work, uint32_t p, uint32_t n)
{
    uint32_t *list = work->lists;
    for (uint32_t i = 0; i < work->n; i++) {
        uint32_t *end = put_list(work, i, p, n, list);
        if (end == NULL) {
            return i;
        }
        if (end == list && p == 0) {
            fqt_clear(work->rows + i * work->g->stored, work->g->stored);
        }
        list = end;
    }
    work->end = list;
    return work->n;
}

/* The lists of a block that begins at pixel p and is as long as there is room for, up to that of the block before. */
static void begin_block(struct work *work, uint32_t p)
{
    uint32_t left = work->g->out_h * work->g->out_w - p, done;
    while ((done = put_lists(work, p, left < work->pixels ? left : work->pixels)) < work->n) {
        uint32_t fewer = work->pixels * done / work->n & ~1u, blocks = fewer != 0 ? (left + fewer - 1u) / fewer : left;
        divide_scratch(work, ((left + blocks - 1u) / blocks + 1u) & ~1u); /* about equal ones; two always have room */
    }
    for (uint32_t i = 0; i < work->n; i++) {
        work->sums[i] += work->block_sums[i];
    }
}

/* --- inputs ------------------------------------------------------------------------------------------------ */

/* n cells of a row of the map from column x on, which wraps left of it. */
static const uint8_t **put_cells(const struct work *work, const uint8_t **to, uint32_t y, uint32_t x, uint32_t n)
{
    const struct fqt_geometry *g = work->g;
    const uint8_t *cell = work->job->x + (y * g->w + x) * g->c, *outside = work->outside;
    uint32_t w = y < g->h ? g->w : 0, step = g->stride_w, bytes = step * g->c;
    for (; n != 0; n--, x += step, cell += bytes) {
        *to++ = x < w ? cell : outside;
    }
    return to;
}

/* The cells that windows from pixel p on meet at a position of the kernel. */
static void find_cells(const struct work *work, uint32_t position, uint32_t p)
{
    const struct fqt_geometry *g = work->g;
    uint32_t ky = position / g->kernel_w, kx = position - ky * g->kernel_w, oy = p / g->out_w, ox = p - oy * g->out_w;
    const uint8_t **to = work->cells;
    for (uint32_t left = work->pixels, n; left != 0; left -= n, oy++, ox = 0) {
        n = g->out_w - ox < left ? g->out_w - ox : left;
        to = put_cells(work, to, oy * g->stride_h + ky - g->pad_top, ox * g->stride_w + kx - g->pad_left, n); /* may wrap */
    }
}

/* A tap: a channel of all cells. The lower half of a word comes before the upper one. */
static void put_tap(const struct work *work, uint32_t channel, uint32_t t)
{
    const uint8_t **cells = work->cells;
    uint32_t *to = work->inputs + (t & 1u);
    bool upper = (t & 2u) != 0;
    for (uint32_t k = work->pixels; k != 0; k--, to += 2) {
        uint32_t x = (uint32_t)((*cells++)[channel] - CENTRE);
        *to = upper ? *to + (x << 16) : x;
    }
}

#define TWO_TAPS(first, second, word)                                                                                   \
    "ldrb " word ", [r2, #" first "]\n\t"                                                                               \
    "ldrb r3, [r2, #" second "]\n\t"                                                                                    \
    "lsls r3, r3, #16\n\t"                                                                                              \
    "adds " word ", " word ", r3\n\t"                                                                                   \
    "add " word ", %[less]\n\t"
#define CELL                                                                                                            \
    "ldmia r0!, {r2}\n\t"                                                                                               \
    "adds r2, r2, %[channel]\n\t" TWO_TAPS("0", "2", "r4") TWO_TAPS("1", "3", "r5") "stmia r1!, {r4, r5}\n\t"

/* Four taps: four channels of all cells. 43 cycles for two cells. */
static void put_four_taps(const struct work *work, uint32_t channel)
{
    register const uint8_t **cells __asm__("r0") = work->cells;
    register uint32_t *to __asm__("r1") = work->inputs;
    __asm__ volatile(".syntax unified\n"
                     "1:\n\t" CELL CELL
                     "cmp r0, %[end]\n\t"
                     "bne 1b"
                     : "+r"(cells), "+r"(to)
                     : [channel] "l"(channel), [less] "h"(-CENTRES), [end] "h"(cells + work->pixels)
                     : "r2", "r3", "r4", "r5", "cc", "memory");
}

/* --- products ---------------------------------------------------------------------------------------------- */

/* Two pixels of a list. LDM doesn't write back an address that it loads. */
#define TWO_PIXELS                                                                                                      \
    "ldmia r0!, {r1, r2}\n\t"                                                                                           \
    "ldmia r1!, {r4, r5}\n\t"                                                                                           \
    "muls r4, r2\n\t"                                                                                                   \
    "muls r5, r2\n\t"                                                                                                   \
    "ldmia r0!, {r1, r2}\n\t"                                                                                           \
    "ldmia r1, {r1, r3}\n\t"                                                                                            \
    "muls r1, r2\n\t"                                                                                                   \
    "muls r3, r2\n\t"                                                                                                   \
    "adds r4, r4, r1\n\t"                                                                                               \
    "adds r5, r5, r3\n\t"                                                                                               \
    "add r8, r4\n\t"                                                                                                    \
    "asrs r4, r4, #16\n\t"                                                                                              \
    "adcs r6, r4\n\t"                                                                                                   \
    "add r9, r5\n\t"                                                                                                    \
    "asrs r5, r5, #16\n\t"                                                                                              \
    "adcs r7, r5\n\t"

#define ADD_OLD(sum, at)                                                                                                \
    "ldr r1, [r2, #" at "]\n\t"                                                                                         \
    "adds " sum ", " sum ", r1\n\t"

/* Four taps, `offset` bytes from the rows' beginning, of all lists. They are added to what the pixels before p have left, if
 * there are any. Four pixels a turn, an odd two first: 34 instructions, 51 cycles, 16 MACs; a list takes 33 more, behind the
 * first block 44. */
static __attribute__((noinline)) void add_taps(const struct work *work, uint32_t offset, uint32_t p)
{
    register const uint32_t *list __asm__("r0") = work->lists;
    register uint32_t pixels_before __asm__("r10") = p;
    register uint32_t bytes __asm__("r12") = offset;
    register const uint32_t *end __asm__("r3") = work->end;
    __asm__ volatile(".syntax unified\n\t"
                     "mov lr, r3\n"
                     "1:\n\t"
                     "ldmia r0!, {r6, r7}\n\t"
                     "mov r11, r7\n\t"
                     "subs r1, r7, r0\n\t"
                     "mov r7, r6\n\t"
                     "lsls r2, r6, #16\n\t"
                     "adds r2, r2, r6\n\t"
                     "mov r8, r2\n\t"
                     "mov r9, r2\n\t"
                     "lsrs r1, r1, #5\n\t" /* carry: an odd number of pairs */
                     "bcs 3f\n"
                     "2:\n\t" TWO_PIXELS "3:\n\t" TWO_PIXELS
                     "cmp r0, r11\n\t"
                     "bne 2b\n\t"
                     "mov r4, r8\n\t"
                     "lsls r1, r6, #16\n\t"
                     "subs r4, r4, r1\n\t"
                     "mov r5, r9\n\t"
                     "lsls r1, r7, #16\n\t"
                     "subs r5, r5, r1\n\t"
                     "ldmia r0!, {r2}\n\t"
                     "add r2, r12\n\t"
                     "mov r1, r10\n\t"
                     "cmp r1, #0\n\t"
                     "beq 4f\n\t" ADD_OLD("r4", "0") ADD_OLD("r5", "4") ADD_OLD("r6", "8") ADD_OLD("r7", "12")
                     "4:\n\t"
                     "stmia r2!, {r4, r5, r6, r7}\n\t"
                     "cmp r0, lr\n\t"
                     "bne 1b"
                     : "+r"(list), "+r"(end)
                     : "r"(pixels_before), "r"(bytes)
                     : "r1", "r2", "r4", "r5", "r6", "r7", "r8", "r9", "r11", "lr", "cc", "memory");
}

static void add_block(const struct work *work, uint32_t p)
{
    const struct fqt_geometry *g = work->g;
    uint32_t step = g->c % TAPS == 0 ? TAPS : 1u, t = 0;
    for (uint32_t position = 0; t < g->taps; position++) {
        find_cells(work, position, p);
        for (uint32_t channel = 0; channel < g->c; channel += step) {
            if (step == TAPS) {
                put_four_taps(work, channel);
            } else {
                put_tap(work, channel, t);
            }
            t += step;
            if (t % TAPS == 0 || t == g->taps) { /* nobody reads the sums behind the last tap */
                add_taps(work, 4u * ((t - 1u) & ~(TAPS - 1u)), p);
            }
        }
    }
}

struct fqt_dense_gradient fqt_dense_gradient(const struct fqt_geometry *g, const struct fqt_dense_gradient_job *job)
{
    struct work work = work_of(g, job);
    fqt_clear(work.sums, work.n);
    for (uint32_t p = 0; p < g->out_h * g->out_w; p += work.pixels) {
        begin_block(&work, p);
        if (work.end != work.lists) {
            add_block(&work, p);
        }
    }
    return (struct fqt_dense_gradient){work.rows, work.sums};
}

#endif
