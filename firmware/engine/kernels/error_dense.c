#include "dense.h"
#include "patch.h"
#include "rows.h"
#include "simd.h"

#define ROW_BLOCK 64u /* input channels whose sums lie on the stack */

static bool is_vector(const struct fqt_geometry *g)
{
    return g->h * g->w * g->out_h * g->out_w * g->kernel_h * g->kernel_w == 1u;
}

static uint32_t steps(uint32_t kernel, uint32_t stride, uint32_t phase)
{
    return phase < kernel ? (kernel - phase - 1u) / stride + 1u : 0u;
}

static uint32_t rounded_up(uint32_t n)
{
    return (n + 3u) & ~3u;
}

/* Errors of one filter pair, for 1x1 maps. */
struct entry {
    uint32_t a, b; /* where the filters' rows begin, in bytes */
#if FQT_DSP
    uint32_t errors; /* centred, that of b in the high half */
#else
    int32_t error_a, error_b;
#endif
};

uint64_t fqt_dense_error_bytes(const struct fqt_geometry *g, uint32_t channels)
{
    if (is_vector(g)) {
        return 16u * ((uint64_t)g->filters / 2u + 1u);
    }
    uint64_t reach = (uint64_t)steps(g->kernel_h, g->stride_h, 0) * steps(g->kernel_w, g->stride_w, 0);
    uint64_t n = (reach * g->filters + 3u) & ~(uint64_t)3u;
    return 6u * n + (n + 4u) * channels;
}

static uint32_t filter_of(const struct fqt_dense_error_job *job, uint32_t i)
{
    return fqt_selected(&job->selection, i);
}

/* Inputs from `at`. */
static struct fqt_masked masked(const struct fqt_dense_error_job *job, uint32_t at)
{
    return (struct fqt_masked){job->by, job->mask, job->x + at, job->error_in + at};
}

/* --- 1x1 maps: each weight is used once, so the rows are read where they are --------------------------------------- */

static void put_entry(struct entry *entry, uint32_t a, int32_t error_a, uint32_t b, int32_t error_b)
{
#if FQT_DSP
    *entry = (struct entry){a, b, fqt_low_halves((uint32_t)error_a, (uint32_t)error_b)};
#else
    *entry = (struct entry){a, b, error_a, error_b};
#endif
}

/* Collect the errors that are not zero, two filters an entry. Returns the number of entries; *sum: of all errors. */
static uint32_t collect(const struct fqt_geometry *g, const struct fqt_dense_error_job *job, int32_t *sum)
{
    const struct fqt_selection selection = job->selection;
    const uint8_t *error = job->error;
    struct entry *entry = job->scratch;
    uint32_t stored = g->stored, row = 0;
    int32_t waiting = 0, total = 0; /* the error of `row` waits for another */
#pragma GCC unroll 2
    for (uint32_t i = 0; i < selection.n; i++) {
        uint32_t filter = fqt_selected(&selection, i);
        int32_t e = error[filter] - FQT_ERROR_ZERO;
        if (e == 0) {
            continue;
        }
        total += e;
        if (waiting != 0) {
            put_entry(entry++, row, waiting, filter * stored, e);
            waiting = 0;
        } else {
            row = filter * stored;
            waiting = e;
        }
    }
    if (waiting != 0) {
        put_entry(entry++, row, waiting, row, 0);
    }
    *sum = total;
    return (uint32_t)(entry - (struct entry *)job->scratch);
}

#if FQT_DSP

/* Two filters and four channels: 13 instructions, 17 cycles, 8 MACs. */
#define ENTRY                                                                                                       \
    "ldmia r0!, {r1, r2, r3}\n\t"                                                                                   \
    "ldr r1, [r5, r1]\n\t"                                                                                          \
    "ldr r2, [r5, r2]\n\t"                                                                                          \
    "pkhbt r4, r1, r2, lsl #16\n\t"                                                                                 \
    "pkhtb r2, r2, r1, asr #16\n\t"                                                                                 \
    "uxtb16 r1, r4\n\t"                                                                                             \
    "uxtb16 r4, r4, ror #8\n\t"                                                                                     \
    "smlad r8, r1, r3, r8\n\t"                                                                                      \
    "smlad r9, r4, r3, r9\n\t"                                                                                      \
    "uxtb16 r1, r2\n\t"                                                                                             \
    "uxtb16 r2, r2, ror #8\n\t"                                                                                     \
    "smlad r10, r1, r3, r10\n\t"                                                                                    \
    "smlad r11, r2, r3, r11\n\t"

/* acc(n) += errors times the weights of n channels, four at a time; rows are padded to 4, and acc has room for them. Its end
 * lies on the stack. Entries are not empty; a round makes four. */
static __attribute__((noinline)) void sum_channels(const struct fqt_dense_error_job *job, uint32_t n_entries,
                                                   uint32_t channel, uint32_t n, int32_t *acc)
{
    register int32_t *acc_end __asm__("r0") = acc + ((n + 3u) & ~3u);
    register const uint8_t *weights __asm__("r5") = job->weights + channel;
    register uint32_t first __asm__("r6") = n_entries & 7u;
    register int32_t *to __asm__("r7") = acc;
    register const struct entry *begin __asm__("lr") = job->scratch;
    register const struct entry *end __asm__("r12") = begin + n_entries;
    __asm__ volatile("push {r0}\n"
                     "7:\n\t"
                     "ldmia r7, {r8, r9, r10, r11}\n\t"
                     "mov r0, lr\n\t"
                     "tbb [pc, r6]\n"
                     "0:\n\t"
                     ".byte (1f-0b)/2, (8f-0b)/2, (6f-0b)/2, (5f-0b)/2, (4f-0b)/2, (3f-0b)/2, (2f-0b)/2, (9f-0b)/2\n"
                     "1:\n\t" ENTRY "9:\n\t" ENTRY "2:\n\t" ENTRY "3:\n\t" ENTRY "4:\n\t" ENTRY "5:\n\t" ENTRY
                     "6:\n\t" ENTRY "8:\n\t" ENTRY
                     "cmp r0, r12\n\t"
                     "bne 1b\n\t"
                     "stmia r7!, {r8, r9, r10, r11}\n\t"
                     "adds r5, #4\n\t"
                     "ldr r0, [sp]\n\t"
                     "cmp r7, r0\n\t"
                     "bne 7b\n\t"
                     "add sp, #4"
                     : "+r"(acc_end), "+r"(weights), "+r"(to)
                     : "r"(begin), "r"(end), "r"(first)
                     : "r1", "r2", "r3", "r4", "r8", "r9", "r10", "r11", "cc", "memory");
}

#elif FQT_ARMV6M

#define FOUR_CHANNELS(row, error)                                                                                   \
    "ldrb r6, [" row ", #0]\n\t"                                                                                    \
    "muls r6, " error "\n\t"                                                                                        \
    "add r8, r6\n\t"                                                                                                \
    "ldrb r6, [" row ", #1]\n\t"                                                                                    \
    "muls r6, " error "\n\t"                                                                                        \
    "add r9, r6\n\t"                                                                                                \
    "ldrb r6, [" row ", #2]\n\t"                                                                                    \
    "muls r6, " error "\n\t"                                                                                        \
    "add r10, r6\n\t"                                                                                               \
    "ldrb r6, [" row ", #3]\n\t"                                                                                    \
    "muls r6, " error "\n\t"                                                                                        \
    "add r11, r6\n\t"

#define ENTRY                                                                                                       \
    "ldmia r0!, {r1, r2, r3, r4}\n\t"                                                                               \
    "adds r1, r1, r5\n\t"                                                                                           \
    "adds r2, r2, r5\n\t" FOUR_CHANNELS("r1", "r3") FOUR_CHANNELS("r2", "r4")

/* acc(n) += errors times the weights of n channels, four at a time: 116 instructions, 176 cycles, 32 MACs. acc has room
 * for a multiple of 4. Its end of acc lies on the stack. Entries are not empty. */
static __attribute__((noinline)) void sum_channels(const struct fqt_dense_error_job *job, uint32_t n_entries,
                                                   uint32_t channel, uint32_t n, int32_t *acc)
{
    register int32_t *acc_end __asm__("r0") = acc + ((n + 3u) & ~3u);
    register const uint8_t *weights __asm__("r5") = job->weights + channel;
    register int32_t *to __asm__("r7") = acc;
    register const struct entry *begin __asm__("lr") = job->scratch;
    register const struct entry *end __asm__("r12") = begin + n_entries;
    __asm__ volatile(".syntax unified\n\t"
                     "push {r0}\n"
                     "7:\n\t"
                     "ldmia r7!, {r1, r2, r3, r4}\n\t"
                     "mov r8, r1\n\t"
                     "mov r9, r2\n\t"
                     "mov r10, r3\n\t"
                     "mov r11, r4\n\t"
                     "mov r0, lr\n\t"
                     "mov r6, r12\n\t"
                     "subs r6, r6, r0\n\t"
                     "lsls r6, r6, #26\n\t" /* carry and sign: the number of entries modulo 4, which enter first */
                     "lsls r6, r6, #1\n\t"
                     "bcs 4f\n\t"
                     "bmi 2f\n\t"
                     "b 1f\n"
                     "4:\n\t"
                     "bpl 3f\n\t"
                     "b 5f\n"
                     "1:\n\t" ENTRY "5:\n\t" ENTRY "3:\n\t" ENTRY "2:\n\t" ENTRY
                     "cmp r0, r12\n\t"
                     "beq 6f\n\t"
                     "b 1b\n"
                     "6:\n\t"
                     "mov r1, r8\n\t"
                     "mov r2, r9\n\t"
                     "mov r3, r10\n\t"
                     "mov r4, r11\n\t"
                     "subs r7, #16\n\t"
                     "stmia r7!, {r1, r2, r3, r4}\n\t"
                     "adds r5, #4\n\t"
                     "ldr r0, [sp]\n\t"
                     "cmp r7, r0\n\t"
                     "beq 8f\n\t"
                     "b 7b\n"
                     "8:\n\t"
                     "add sp, #4"
                     : "+r"(acc_end), "+r"(weights), "+r"(to)
                     : "r"(begin), "r"(end)
                     : "r1", "r2", "r3", "r4", "r6", "r8", "r9", "r10", "r11", "cc", "memory");
}

#else

static void sum_channels(const struct fqt_dense_error_job *job, uint32_t n_entries, uint32_t channel, uint32_t n,
                         int32_t *acc)
{
    const struct entry *entries = job->scratch;
    for (uint32_t i = 0; i < n_entries; i++) {
        const uint8_t *a = job->weights + entries[i].a + channel, *b = job->weights + entries[i].b + channel;
        for (uint32_t k = 0; k < n; k++) {
            acc[k] += entries[i].error_a * a[k] + entries[i].error_b * b[k];
        }
    }
}

#endif

static int32_t vector_error(const struct fqt_geometry *g, const struct fqt_dense_error_job *job)
{
    int32_t sum, largest = 0;
    uint32_t n_entries = collect(g, job, &sum);
    int32_t start = -job->weight_zero * sum;
    int32_t acc[ROW_BLOCK];
    for (uint32_t channel = 0; channel < g->c; channel += ROW_BLOCK) {
        uint32_t n = g->c - channel < ROW_BLOCK ? g->c - channel : ROW_BLOCK;
#pragma GCC unroll 2
        for (int32_t *to = acc; to < acc + n; to += 4) {
            to[0] = to[1] = to[2] = to[3] = start;
        }
        if (n_entries != 0) {
            sum_channels(job, n_entries, channel, n, acc);
        }
        const struct fqt_masked to = masked(job, channel);
        int32_t magnitude = fqt_finish_errors(&to, acc, n, job->tracking);
        largest = magnitude > largest ? magnitude : largest;
    }
    return largest;
}

/* --- maps: a convolution of the errors with the transposed weights ------------------------------------------------- */

/* Inputs whose y is `y` and x is `x` modulo the strides meet the same kernel positions: y, y + stride_h, ... of those
 * that `first_ky` begins. Their windows over the error map are rows x columns, in ascending order of output pixel,
 * which is descending order of kernel position. */
struct phase {
    uint32_t y, x;
    uint32_t first_ky, first_kx;
    uint32_t rows, columns;
    uint32_t n; /* values of a window, rounded up to 4 */
};

struct work {
    const struct fqt_geometry *g;
    const struct fqt_dense_error_job *job;
    void *windows;   /* (n) of two windows */
    uint8_t *bytes;  /* (2,n): the errors under them */
    int32_t *starts; /* (channels) */
    uint8_t *rows;   /* (channels,n): w of a channel by error row, column, filter */
    uint32_t channel, n_channels;
    struct phase phase;
    struct fqt_patches patches;
};

static struct phase phase_of(const struct fqt_geometry *g, uint32_t n_filters, uint32_t y, uint32_t x)
{
    struct phase p = {.y = y, .x = x};
    p.first_ky = (y + g->pad_top) % g->stride_h;
    p.first_kx = (x + g->pad_left) % g->stride_w;
    p.rows = steps(g->kernel_h, g->stride_h, p.first_ky);
    p.columns = steps(g->kernel_w, g->stride_w, p.first_kx);
    p.n = rounded_up(p.rows * p.columns * n_filters);
    if (p.n == 0) { /* inputs between windows: one step over zeros, because the loops have at least one */
        p.rows = p.columns = 0;
        p.n = 4u;
    }
    return p;
}

/* to[c * n] = weights[c] of `channels`. */
static inline void put_column(uint8_t *to, uint32_t n, const uint8_t *weights, uint32_t channels)
{
    uint8_t *third = to + 2u * n;
    for (; channels >= 4u; channels -= 4u, weights += 4, to += 4u * n, third += 4u * n) {
        to[0] = weights[0];
        to[n] = weights[1];
        third[0] = weights[2];
        third[n] = weights[3];
    }
    for (; channels != 0; channels--, to += n) {
        *to = *weights++;
    }
}

static void transpose(const struct work *work)
{
    const struct fqt_geometry *g = work->g;
    const struct fqt_dense_error_job *job = work->job;
    const struct phase *p = &work->phase;
    uint32_t at = 0;
    for (uint32_t row = 0; row < p->rows; row++) {
        uint32_t ky = p->first_ky + (p->rows - 1u - row) * g->stride_h;
        for (uint32_t column = 0; column < p->columns; column++) {
            uint32_t kx = p->first_kx + (p->columns - 1u - column) * g->stride_w;
            const uint8_t *from = job->weights + (ky * g->kernel_w + kx) * g->c + work->channel;
            for (uint32_t i = 0; i < job->selection.n; i++, at++) {
                put_column(work->rows + at, p->n, from + filter_of(job, i) * g->stored, work->n_channels);
            }
        }
    }
    for (; at < p->n; at++) { /* meets a centred window's zeros, but must be some value */
        for (uint32_t c = 0; c < work->n_channels; c++) {
            work->rows[c * p->n + at] = 0;
        }
    }
}

/* Of the window over the errors that input (y,x) meets. */
static struct fqt_corner corner_of(const struct work *work, uint32_t y, uint32_t x)
{
    const struct fqt_geometry *g = work->g;
    const struct phase *p = &work->phase;
    return (struct fqt_corner){(int32_t)((y + g->pad_top - p->first_ky) / g->stride_h) - (int32_t)p->rows + 1,
                               (int32_t)((x + g->pad_left - p->first_kx) / g->stride_w) - (int32_t)p->columns + 1};
}

static struct fqt_rows rows_of(const struct work *work, uint32_t first, uint32_t count)
{
    return (struct fqt_rows){work->rows + first * work->phase.n, NULL, work->starts + first, work->job->weight_zero,
                             work->phase.n, count};
}

/* The channels of the block at two inputs, whose sums are kept; the second may be the first again. */
static int32_t tracked_inputs(const struct work *work, const struct fqt_windows *windows, uint32_t first,
                              uint32_t second)
{
    int32_t acc0[ROW_BLOCK], acc1[ROW_BLOCK], largest = 0;
    for (uint32_t c = 0; c < work->n_channels; c += ROW_BLOCK) {
        uint32_t n = work->n_channels - c < ROW_BLOCK ? work->n_channels - c : ROW_BLOCK;
        const struct fqt_rows rows = rows_of(work, c, n);
        const struct fqt_masked to0 = masked(work->job, first + c), to1 = masked(work->job, second + c);
        fqt_multiply_rows(&rows, windows, acc0, acc1);
        int32_t largest0 = fqt_finish_errors(&to0, acc0, n, true);
        int32_t largest1 = fqt_finish_errors(&to1, acc1, n, true);
        largest0 = largest0 > largest1 ? largest0 : largest1;
        largest = largest0 > largest ? largest0 : largest;
    }
    return largest;
}

static int32_t two_inputs(const struct work *work, const struct fqt_windows *windows, uint32_t first, uint32_t second)
{
    if (work->job->tracking) {
        return tracked_inputs(work, windows, first, second);
    }
    const struct fqt_rows rows = rows_of(work, 0, work->n_channels);
    const struct fqt_masked to0 = masked(work->job, first), to1 = masked(work->job, second);
    fqt_multiply_rows_to_errors(&rows, windows, &to0, &to1);
    return 0;
}

static int32_t phase_row(const struct work *work, uint32_t y)
{
    const struct fqt_geometry *g = work->g;
    uint32_t row = y * g->w, at = (row + work->phase.x) * g->c + work->channel, step = g->stride_w * g->c;
    struct fqt_corner first = corner_of(work, y, work->phase.x); /* the next input's lies a column further */
    int32_t largest = 0;
    for (uint32_t x = work->phase.x; x < g->w; x += 2u * g->stride_w, first.left += 2, at += 2u * step) {
        bool last = x + g->stride_w >= g->w;
        const struct fqt_corner second = {first.top, last ? first.left : first.left + 1};
        struct fqt_windows windows = fqt_window_pair(&work->patches, first, second, work->windows, work->bytes);
        int32_t magnitude = two_inputs(work, &windows, at, last ? at : at + step);
        largest = magnitude > largest ? magnitude : largest;
    }
    return largest;
}

static int32_t block_of_channels(struct work *work)
{
    const struct fqt_geometry *g = work->g;
    const struct fqt_dense_error_job *job = work->job;
    int32_t largest = 0;
    for (uint32_t i = 0; i < g->stride_h * g->stride_w; i++) {
        work->phase = phase_of(g, job->selection.n, i / g->stride_w, i % g->stride_w);
        work->bytes = (uint8_t *)work->windows + FQT_WINDOW_BYTES * work->phase.n;
        work->starts = (int32_t *)(void *)(work->bytes + 2u * work->phase.n);
        work->rows = (uint8_t *)(work->starts + work->n_channels);
        work->patches = (struct fqt_patches){
            .map = job->error, .h = g->out_h, .w = g->out_w, .c = g->filters, .rows = work->phase.rows,
            .columns = work->phase.columns, .stored = work->phase.n, .fill = FQT_ERROR_ZERO,
            .cell = job->selection.n, .channels = job->selection.list,
        };
        transpose(work);
        const struct fqt_rows rows = rows_of(work, 0, work->n_channels);
        fqt_start_rows(&rows, FQT_ERROR_ZERO, work->starts);
        for (uint32_t y = work->phase.y; y < g->h; y += g->stride_h) {
            int32_t magnitude = phase_row(work, y);
            largest = magnitude > largest ? magnitude : largest;
        }
    }
    return largest;
}

int32_t fqt_dense_error(const struct fqt_geometry *g, const struct fqt_dense_error_job *job)
{
    if (is_vector(g)) {
        return vector_error(g, job);
    }
    uint32_t least = (uint32_t)fqt_dense_error_bytes(g, 0); /* load.c has checked that it is small */
    uint32_t block = (job->scratch_bytes - least) / (least / 6u + 4u);
    struct work work = {.g = g, .job = job, .windows = job->scratch};
    int32_t largest = 0;
    block = block < FQT_DENSE_ERROR_LEAST ? FQT_DENSE_ERROR_LEAST : block & ~1u; /* rows go in pairs */
    for (; work.channel < g->c; work.channel += work.n_channels) {
        work.n_channels = g->c - work.channel < block ? g->c - work.channel : block;
        int32_t magnitude = block_of_channels(&work);
        largest = magnitude > largest ? magnitude : largest;
    }
    return largest;
}
