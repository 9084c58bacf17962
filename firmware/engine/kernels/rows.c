#include "rows.h"

#include "dot.h"
#include "simd.h"

void fqt_multiply_rows(const struct fqt_rows *rows, const struct fqt_windows *windows, int32_t *first,
                       int32_t *second)
{
    const uint8_t *weights = rows->weights;
    const int32_t *bias = rows->bias;
    uint32_t n = rows->n;
    int32_t correction0 = rows->zero * windows->first_sum, correction1 = rows->zero * windows->second_sum;
    for (uint32_t left = rows->count; left != 0;) {
        uint32_t other = left > 1u ? 1u : 0u; /* an odd last row is computed twice */
        struct fqt_dots dots = fqt_dot_2x2(weights, weights + other * n, windows->first, windows->second, n);
        int32_t bias_a = bias[0], bias_b = bias[other];
        first[0] = bias_a + dots.a0 - correction0;
        first[other] = bias_b + dots.b0 - correction0;
        second[0] = bias_a + dots.a1 - correction1;
        second[other] = bias_b + dots.b1 - correction1;
        weights += 2u * n;
        bias += 2;
        first += 2;
        second += 2;
        left -= 1u + other;
    }
}

void fqt_multiply_row(const struct fqt_rows *rows, const int16_t *window, int32_t sum, int32_t *out)
{
    uint32_t n = rows->n, last = rows->count - 1u;
    int32_t correction = rows->zero * sum;
    for (uint32_t i = 0; i < rows->count; i += 4u) { /* missing rows are the last one again */
        uint32_t j = i + 1u < last ? i + 1u : last, k = i + 2u < last ? i + 2u : last, l = i + 3u < last ? i + 3u : last;
        const uint8_t *weights = rows->weights;
        struct fqt_dots4 dots = fqt_dot_4x1(weights + i * n, weights + j * n, weights + k * n, weights + l * n, window, n);
        out[i] = rows->bias[i] + dots.a - correction;
        out[j] = rows->bias[j] + dots.b - correction;
        out[k] = rows->bias[k] + dots.c - correction;
        out[l] = rows->bias[l] + dots.d - correction;
    }
}

#if FQT_DSP

static void requantize_to_bytes(const struct fqt_requantization *q, const int32_t *acc, uint32_t n, uint8_t *out)
{
    int32_t zero = q->zero;
    struct fqt_multiplier by = q->by;
    uint32_t i = 0;
    for (; i + 4u <= n; i += 4u) {
        int32_t q0 = acc[i], q1 = acc[i + 1u], q2 = acc[i + 2u], q3 = acc[i + 3u];
        out[i] = (uint8_t)fqt_saturate_byte(zero + fqt_scale_rounded(q0, by));
        out[i + 1u] = (uint8_t)fqt_saturate_byte(zero + fqt_scale_rounded(q1, by));
        out[i + 2u] = (uint8_t)fqt_saturate_byte(zero + fqt_scale_rounded(q2, by));
        out[i + 3u] = (uint8_t)fqt_saturate_byte(zero + fqt_scale_rounded(q3, by));
    }
    for (; i < n; i++) {
        out[i] = (uint8_t)fqt_saturate_byte(zero + fqt_scale_rounded(acc[i], by));
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
