/* Portable; and what the variants leave to it. */
#include "rows.h"

#include "simd.h"

#define BLOCK 16u /* sums on the stack */

#if !FQT_ARMV6M

#if !FQT_DSP

int32_t fqt_finish_errors(const struct fqt_masked *to, const int32_t *acc, uint32_t n, bool tracking)
{
    int32_t largest = 0;
    for (uint32_t i = 0; i < n; i++) {
        int32_t value = fqt_hides(to->mask, to->x[i]) ? 0 : acc[i];
        to->out[i] = (uint8_t)fqt_clamp(FQT_ERROR_ZERO + fqt_scale_rounded(value, to->by), 0, 255);
        if (tracking) {
            int32_t magnitude = value < 0 ? -value : value;
            largest = magnitude > largest ? magnitude : largest;
        }
    }
    return largest;
}

#endif

#if FQT_DSP

static void requantize_to_bytes(const struct fqt_requantization *q, const int32_t *acc, uint32_t n, uint8_t *out)
{
    int32_t zero = q->zero, m = q->by.m << (32 - q->by.shift);
#pragma GCC unroll 2
    for (uint32_t i = 0; i < n; i++) {
        out[i] = (uint8_t)fqt_saturate_byte(fqt_add_high(acc[i], m, zero));
    }
}

#endif

void fqt_requantize(const struct fqt_requantization *q, const int32_t *acc, uint32_t n, uint8_t *out)
{
#if FQT_DSP
    if (q->lowest <= 0 && q->highest >= 255) {
        requantize_to_bytes(q, acc, n, out);
        return;
    }
#endif
    const struct fqt_requantization constant = *q; /* bytes may alias anything: *q would be read again and again */
    for (uint32_t i = 0; i < n; i++) {
        int32_t value = constant.zero + fqt_scale_rounded(acc[i], constant.by);
        out[i] = (uint8_t)fqt_clamp(value, constant.lowest, constant.highest);
    }
}

#endif

#if !FQT_DSP && !FQT_ARMV6M

void fqt_start_rows(const struct fqt_rows *rows, int32_t x_zero, int32_t *starts)
{
    (void)x_zero;
    for (uint32_t i = 0; i < rows->count; i++) {
        starts[i] = rows->bias != NULL ? rows->bias[i] : 0;
    }
}

struct fqt_window fqt_lay_out(void *to, const uint8_t *x, uint32_t n, uint8_t x_zero)
{
    int32_t *values = to, sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        values[i] = x[i] - x_zero;
        sum += values[i];
    }
    return (struct fqt_window){to, sum};
}

struct fqt_windows fqt_lay_out_pair(void *to, const uint8_t *first, const uint8_t *second, struct fqt_area area,
                                    uint8_t x_zero)
{
    int16_t *pair = to;
    struct fqt_windows windows = {to, 0, 0};
    for (; area.rows != 0; area.rows--, first += area.pitch, second += area.pitch) {
        for (uint32_t i = 0; i < area.n; i++, pair += 2) {
            pair[0] = (int16_t)(first[i] - x_zero);
            pair[1] = (int16_t)(second[i] - x_zero);
            windows.first_sum += pair[0];
            windows.second_sum += pair[1];
        }
    }
    return windows;
}

void fqt_multiply_row(const struct fqt_rows *rows, const struct fqt_window *window, int32_t *out)
{
    const int32_t *values = window->values;
    const uint8_t *weights = rows->weights;
    for (uint32_t i = 0; i < rows->count; i++, weights += rows->n) {
        int32_t sum = rows->bias[i] - rows->zero * window->sum;
        for (uint32_t k = 0; k < rows->n; k++) {
            sum += weights[k] * values[k];
        }
        out[i] = sum;
    }
}

void fqt_multiply_rows(const struct fqt_rows *rows, const struct fqt_windows *windows, int32_t *first,
                       int32_t *second)
{
    const int16_t *pair = windows->pair;
    const uint8_t *weights = rows->weights;
    for (uint32_t i = 0; i < rows->count; i++, weights += rows->n) {
        int32_t sum0 = rows->starts[i] - rows->zero * windows->first_sum;
        int32_t sum1 = rows->starts[i] - rows->zero * windows->second_sum;
        for (size_t k = 0; k < rows->n; k++) { /* an index that can't wrap: compilers of large machines vectorize it */
            int16_t weight = weights[k];
            sum0 += weight * pair[2u * k];
            sum1 += weight * pair[2u * k + 1u];
        }
        first[i] = sum0;
        second[i] = sum1;
    }
}

#endif

#if !FQT_ARMV6M && !FQT_DSP

/* `count` rows from `first` on. */
static struct fqt_rows part_of(const struct fqt_rows *rows, uint32_t first, uint32_t count)
{
    struct fqt_rows part = *rows;
    part.weights += first * rows->n;
    part.starts += first;
    part.count = count;
    return part;
}

void fqt_multiply_rows_to_bytes(const struct fqt_rows *rows, const struct fqt_windows *windows,
                                const struct fqt_requantization *q, uint8_t *first, uint8_t *second)
{
    int32_t acc0[BLOCK], acc1[BLOCK];
    for (uint32_t i = 0; i < rows->count; i += BLOCK) {
        uint32_t n = rows->count - i < BLOCK ? rows->count - i : BLOCK;
        const struct fqt_rows part = part_of(rows, i, n);
        fqt_multiply_rows(&part, windows, acc0, acc1);
        fqt_requantize(q, acc0, n, first + i);
        fqt_requantize(q, acc1, n, second + i);
    }
}

void fqt_multiply_rows_to_errors(const struct fqt_rows *rows, const struct fqt_windows *windows,
                                 const struct fqt_masked *first, const struct fqt_masked *second)
{
    int32_t acc0[BLOCK], acc1[BLOCK];
    for (uint32_t i = 0; i < rows->count; i += BLOCK) {
        uint32_t n = rows->count - i < BLOCK ? rows->count - i : BLOCK;
        const struct fqt_rows part = part_of(rows, i, n);
        const struct fqt_masked to0 = {first->by, first->mask, first->x + i, first->out + i};
        const struct fqt_masked to1 = {second->by, second->mask, second->x + i, second->out + i};
        fqt_multiply_rows(&part, windows, acc0, acc1);
        fqt_finish_errors(&to0, acc0, n, false);
        fqt_finish_errors(&to1, acc1, n, false);
    }
}

#endif
