// f32 rows -> blocks of 32, and the two searches for scales that all types share.
//
// A search tries a few step widths around the one that covers the range. Each gives whole numbers q; for
// these the best scale (and minimum) is that of least squares, a closed formula; the smallest error wins.
#include "compute/quantise.h"
#include "compute/quant.h"

#include <math.h>
#include <string.h>

enum { N_MAX = 32, N_TRIALS = 21 }; // values of a search, steps tried

static float clamp(float x, float min, float max) {
    return x < min ? min : x > max ? max : x;
}

// The value of largest magnitude, with its sign.
static float extreme(const float *x, size_t n) {
    float best = 0;
    for (size_t i = 0; i < n; i++)
        best = fabsf(x[i]) > fabsf(best) ? x[i] : best;
    return best;
}

float quantise_symmetric(int8_t *q, const float *x, size_t n, int n_half) {
    float peak = extreme(x, n), best_scale = 0;
    double best = 0;
    memset(q, 0, n);
    // Below this 1 / peak could overflow, and no f16 scale is left.
    if (fabsf(peak) < 1e-30f)
        return 0;
    // The range has one step more on the negative side: the largest value goes there, by the scale's sign.
    for (int trial = 0; trial < N_TRIALS; trial++) {
        float inverse = -((float)n_half + 0.1f * (float)(trial - N_TRIALS / 2)) / peak;
        float tried[N_MAX];
        double xq = 0, qq = 0;
        for (size_t i = 0; i < n; i++) {
            tried[i] = clamp(nearbyintf(x[i] * inverse), (float)-n_half, (float)(n_half - 1));
            xq += (double)x[i] * tried[i];
            qq += (double)tried[i] * tried[i];
        }
        // sum (x - scale q)^2 = sum x^2 - (sum x q)^2 / sum q^2 at its smallest
        if (qq > 0 && xq * xq / qq > best) {
            best = xq * xq / qq;
            best_scale = (float)(xq / qq);
            for (size_t i = 0; i < n; i++)
                q[i] = (int8_t)tried[i];
        }
    }
    return best_scale;
}

// Scale and min of least squares for given q, min held at 0 where it must not be negative.
static void fit_line(const float *q, const float *x, size_t n, bool any_min, double *scale, double *min) {
    double sq = 0, sqq = 0, sx = 0, sxq = 0, count = (double)n;
    for (size_t i = 0; i < n; i++) {
        sq += q[i];
        sqq += (double)q[i] * q[i];
        sx += x[i];
        sxq += (double)x[i] * q[i];
    }
    double det = count * sqq - sq * sq;
    *scale = det > 0 ? (count * sxq - sq * sx) / det : 0;
    *min = (*scale * sq - sx) / count;
    if (*min < 0 && !any_min) {
        *min = 0;
        *scale = sqq > 0 ? sxq / sqq : 0;
    }
}

float quantise_affine(uint8_t *q, float *min, const float *x, size_t n, int q_max, bool any_min) {
    float low = any_min ? x[0] : 0, high = x[0], best_scale = 0;
    double best = INFINITY;
    for (size_t i = 0; i < n; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    memset(q, 0, n);
    *min = -low;
    if (high - low < 1e-30f)
        return 0;
    for (int trial = 0; trial < N_TRIALS; trial++) {
        float inverse = ((float)q_max + 0.1f * (float)(trial - N_TRIALS / 2)) / (high - low), tried[N_MAX];
        double scale, least, error = 0;
        for (size_t i = 0; i < n; i++)
            tried[i] = clamp(nearbyintf((x[i] - low) * inverse), 0, (float)q_max);
        fit_line(tried, x, n, any_min, &scale, &least);
        for (size_t i = 0; i < n; i++) {
            double difference = scale * tried[i] - least - x[i];
            error += difference * difference;
        }
        if (scale > 0 && error < best) {
            best = error;
            best_scale = (float)scale;
            *min = (float)least;
            for (size_t i = 0; i < n; i++)
                q[i] = (uint8_t)tried[i];
        }
    }
    return best_scale;
}

static void to_f32(void *blocks, const float *x, size_t n) {
    memcpy(blocks, x, n * sizeof *x);
}

static void to_f16(void *blocks, const float *x, size_t n) {
    uint16_t *out = blocks;
    for (size_t i = 0; i < n; i++)
        out[i] = f32_to_f16(x[i]);
}

static void to_bf16(void *blocks, const float *x, size_t n) {
    uint16_t *out = blocks;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        out[i] = (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    }
}

static float inverse_of(float d) {
    return d != 0 ? 1.0f / d : 0;
}

static void to_q8_0(void *blocks, const float *x, size_t n) {
    struct q8_0 *b = blocks;
    for (size_t k = 0; k < n / 32; k++, x += 32) {
        b[k].d = f32_to_f16(fabsf(extreme(x, 32)) / 127.0f);
        float inverse = inverse_of(f16_to_f32(b[k].d));
        for (size_t i = 0; i < 32; i++)
            b[k].qs[i] = (int8_t)clamp((float)lrintf(x[i] * inverse), -127, 127);
    }
}

static void to_q4_0(void *blocks, const float *x, size_t n) {
    struct q4_0 *b = blocks;
    for (size_t k = 0; k < n / 32; k++, x += 32) {
        int8_t q[32];
        b[k].d = f32_to_f16(quantise_symmetric(q, x, 32, 8));
        for (size_t i = 0; i < 16; i++)
            b[k].qs[i] = (uint8_t)((q[i] + 8) | (q[i + 16] + 8) << 4);
    }
}

// q of 5 bits: the low 4 in nibbles, the fifth in qh.
static void put_fives(uint8_t *qs, uint8_t *qh, const uint8_t *q) {
    memset(qh, 0, 4);
    for (size_t i = 0; i < 32; i++)
        qh[i / 8] = (uint8_t)(qh[i / 8] | (q[i] >> 4) << (i % 8));
    for (size_t i = 0; i < 16; i++)
        qs[i] = (uint8_t)((q[i] & 15) | (q[i + 16] & 15) << 4);
}

static void to_q5_0(void *blocks, const float *x, size_t n) {
    struct q5_0 *b = blocks;
    for (size_t k = 0; k < n / 32; k++, x += 32) {
        int8_t q[32];
        uint8_t shifted[32];
        b[k].d = f32_to_f16(quantise_symmetric(q, x, 32, 16));
        for (size_t i = 0; i < 32; i++)
            shifted[i] = (uint8_t)(q[i] + 16);
        put_fives(b[k].qs, b[k].qh, shifted);
    }
}

static void to_q5_1(void *blocks, const float *x, size_t n) {
    struct q5_1 *b = blocks;
    for (size_t k = 0; k < n / 32; k++, x += 32) {
        uint8_t q[32];
        float min;
        b[k].d = f32_to_f16(quantise_affine(q, &min, x, 32, 31, true));
        b[k].m = f32_to_f16(-min);
        put_fives(b[k].qs, b[k].qh, q);
    }
}

quantise_fn quantise_find(enum tensor_type type) {
    static const quantise_fn functions[TENSOR_TYPES] = {
        [TENSOR_F32] = to_f32,         [TENSOR_F16] = to_f16,         [TENSOR_BF16] = to_bf16,
        [TENSOR_Q8_0] = to_q8_0,       [TENSOR_Q4_0] = to_q4_0,       [TENSOR_Q5_0] = to_q5_0,
        [TENSOR_Q5_1] = to_q5_1,       [TENSOR_Q4_K] = quantise_q4_k, [TENSOR_Q5_K] = quantise_q5_k,
        [TENSOR_Q6_K] = quantise_q6_k,
    };
    size_t id = (size_t)type;
    return id < TENSOR_TYPES ? functions[id] : NULL;
}
