/* Dense error of 1x1 maps: each weight is used once, so the rows are read where they are; errors of zero are left out. */
#include "dense.h"
#include "patch.h"
#include "rows.h"
#include "simd.h"

#define BLOCK 64u /* input channels whose sums lie on the stack */

/* Errors of one filter pair. */
struct entry {
    uint32_t a, b; /* where the filters' rows begin, in bytes */
#if FQT_DSP
    uint32_t errors; /* centred, that of b in the high half */
#else
    int32_t error_a, error_b;
#endif
};

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

int32_t fqt_vector_error(const struct fqt_geometry *g, const struct fqt_dense_error_job *job)
{
    int32_t sum, largest = 0;
    uint32_t n_entries = collect(g, job, &sum);
    int32_t start = -job->weight_zero * sum;
    int32_t acc[BLOCK];
    for (uint32_t channel = 0; channel < g->c; channel += BLOCK) {
        uint32_t n = g->c - channel < BLOCK ? g->c - channel : BLOCK;
#pragma GCC unroll 2
        for (int32_t *to = acc; to < acc + n; to += 4) {
            to[0] = to[1] = to[2] = to[3] = start;
        }
        if (n_entries != 0) {
            sum_channels(job, n_entries, channel, n, acc);
        }
        const struct fqt_masked to = {job->by, job->mask, job->x + channel, job->error_in + channel};
        int32_t magnitude = fqt_finish_errors(&to, acc, n, job->tracking);
        largest = magnitude > largest ? magnitude : largest;
    }
    return largest;
}
