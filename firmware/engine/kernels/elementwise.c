#include "elementwise.h"

#include "simd.h"

/* What the loops need is copied to locals: a store of bytes could change anything that lies in memory. */

/* What is left of a sum's job once its constants are computed. `rounding`: minus both zero points' shares, plus half. */
struct adder {
    struct fqt_common_multipliers by;
    int32_t rounding, zero;
    struct fqt_mask bounds;
};

static void add(uint8_t *out, const uint8_t *a, const uint8_t *b, uint32_t n, struct adder s)
{
    for (uint32_t i = 0; i < n; i++) {
        int32_t acc = a[i] * s.by.first + b[i] * s.by.second + s.rounding;
        out[i] = (uint8_t)fqt_clamp(s.zero + (acc >> s.by.shift), s.bounds.low, s.bounds.high);
    }
}

static void add_tracked(uint8_t *out, const uint8_t *a, const uint8_t *b, uint32_t n, struct adder s,
                        struct fqt_layer_state *state)
{
    const int32_t half = 1 << (s.by.shift - 1);
    int32_t lowest = state->acc_min, highest = state->acc_max;
    for (uint32_t i = 0; i < n; i++) {
        int32_t rounded = a[i] * s.by.first + b[i] * s.by.second + s.rounding, acc = rounded - half;
        lowest = acc < lowest ? acc : lowest;
        highest = acc > highest ? acc : highest;
        out[i] = (uint8_t)fqt_clamp(s.zero + (rounded >> s.by.shift), s.bounds.low, s.bounds.high);
    }
    state->acc_min = lowest;
    state->acc_max = highest;
}

#if FQT_DSP

static uint32_t added(uint32_t both, uint32_t multipliers, const struct adder *s)
{
    int32_t acc = fqt_smlad(both, multipliers, s->rounding) >> s->by.shift;
    return (uint32_t)fqt_saturate_byte(acc + s->zero);
}

/* Four elements a round. */
static void add_words(uint8_t *out, const uint8_t *a, const uint8_t *b, uint32_t n_words, struct adder s)
{
    const uint32_t multipliers = fqt_low_halves((uint32_t)s.by.first, (uint32_t)s.by.second);
    const uint32_t lows = (uint32_t)s.bounds.low * 0x01010101u, highs = (uint32_t)s.bounds.high * 0x01010101u;
    for (const uint8_t *end = a + 4u * n_words; a != end; a += 4, b += 4, out += 4) {
        uint32_t words[] = {fqt_word(a), fqt_word(b)};
        uint32_t even_a = fqt_even_bytes(words[0]), even_b = fqt_even_bytes(words[1]);
        uint32_t odd_a = fqt_odd_bytes(words[0]), odd_b = fqt_odd_bytes(words[1]);
        uint32_t sums = added(fqt_low_halves(even_a, even_b), multipliers, &s);
        sums |= added(fqt_low_halves(odd_a, odd_b), multipliers, &s) << 8;
        sums |= added(fqt_high_halves(even_a, even_b), multipliers, &s) << 16;
        sums |= added(fqt_high_halves(odd_a, odd_b), multipliers, &s) << 24;
        sums = fqt_smaller_bytes(fqt_larger_bytes(sums, lows), highs);
        memcpy(out, &sums, sizeof sums);
    }
}

#endif

void fqt_add_maps(uint8_t *out, const uint8_t *a, const uint8_t *b, uint32_t n, const struct fqt_sum *sum,
                  struct fqt_layer_state *state)
{
    const struct adder s = {
        .by = sum->by,
        .rounding = (1 << (sum->by.shift - 1)) - (sum->zero_a * sum->by.first + sum->zero_b * sum->by.second),
        .zero = sum->zero,
        .bounds = sum->bounds,
    };
    if (state != NULL) {
        add_tracked(out, a, b, n, s, state);
        return;
    }
    uint32_t done = 0;
#if FQT_DSP
    add_words(out, a, b, n / 4u, s);
    done = n & ~3u;
#endif
    add(out + done, a + done, b + done, n - done, s);
}

#if FQT_DSP

/* Four errors a round, 9 instructions. */
static void pass_words(uint8_t *passed, const uint8_t *error, const uint8_t *x, uint32_t n_words, struct fqt_mask mask)
{
    const uint32_t lowest = (uint32_t)(mask.low + 1) * 0x01010101u;
    const uint32_t highest = (uint32_t)(mask.high <= 255 ? mask.high - 1 : 255) * 0x01010101u; /* of six may be any */
    const uint32_t zeros = FQT_ERROR_ZERO * 0x01010101u;
    for (const uint8_t *end = x + 4u * n_words; x != end; x += 4, error += 4, passed += 4) {
        uint32_t word = fqt_word(x), shown = fqt_select_bytes(word, lowest, fqt_word(error), zeros);
        shown = fqt_select_bytes(highest, word, shown, zeros);
        memcpy(passed, &shown, sizeof shown);
    }
}

#endif

void fqt_pass_errors(uint8_t *passed, const uint8_t *error, const uint8_t *x, uint32_t n, struct fqt_mask mask)
{
    uint32_t done = 0;
#if FQT_DSP
    if (mask.low < 255 && mask.high > 0) { /* what masks every x is not a byte */
        done = n & ~3u;
        pass_words(passed, error, x, done / 4u, mask);
    }
#endif
    for (uint32_t i = done; i < n; i++) {
        passed[i] = fqt_hides(mask, x[i]) ? FQT_ERROR_ZERO : error[i];
    }
}

int32_t fqt_join_errors(uint8_t *out, const uint8_t *a, const uint8_t *b, const uint8_t *x, uint32_t n,
                        struct fqt_common_multipliers by, struct fqt_mask mask)
{
    const int32_t half = 1 << (by.shift - 1), offset = -FQT_ERROR_ZERO * (by.first + by.second);
    int32_t largest = 0;
    for (uint32_t i = 0; i < n; i++) {
        int32_t acc = a[i] * by.first + b[i] * by.second + offset;
        acc = fqt_hides(mask, x[i]) ? 0 : acc;
        int32_t magnitude = acc < 0 ? -acc : acc;
        largest = magnitude > largest ? magnitude : largest;
        out[i] = (uint8_t)fqt_clamp(FQT_ERROR_ZERO + ((acc + half) >> by.shift), 0, 255);
    }
    return largest;
}
