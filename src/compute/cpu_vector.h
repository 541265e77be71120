// The float loops of one instruction set, written over the vector type that the including file defines:
//   vf, VF_N                       N floats
//   vf_load vf_store vf_set1       unaligned
//   vf_load_part vf_store_part     the first n < VF_N values; the others read as 0 and are not written
//   vf_load_f16 vf_load_bf16       as f32, and the same _part
//   vf_load_i8                     bytes with sign, as f32
//   vf_store_f16                   rounded to nearest even
//   vf_add vf_sub vf_mul vf_div vf_min vf_max vf_fma (a b + c) vf_round
//   vf_zero_below(v, x, limit)     v where not x < limit, else 0
//   vf_scale(v, n)                 v 2^n for whole n in -126 .. 127
//   vf_sum4(a, b, c, d)            four sums, each by the same tree; vf_sum, vf_max_of
//   vf_max4(a, b, c, d)            four maxima
//   DOT_ROWS                       rows of a tile that fit in the registers
// min and max return their second operand where one is NaN, so NaN goes through.
#ifndef COMPUTE_CPU_VECTOR_H
#define COMPUTE_CPU_VECTOR_H

#include "compute/cpu_kernels.h"

#include <math.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

enum { DOT_OUTS = 4, DOT_AHEAD = 2048 };

// e^x to about 1 ulp (Cephes expf): x = n ln 2 + r, |r| <= ln 2 / 2, a polynomial for e^r. Exactly 1 for 0,
// exactly 0 below the smallest normal number.
INLINE vf vf_exp_negative(vf x) { // up to 88.3
    const float low = -87.3f;
    vf c = vf_max(vf_set1(low), x);
    vf n = vf_round(vf_mul(c, vf_set1(1.44269504f)));
    vf r = vf_fma(n, vf_set1(-0.693359375f), c);
    r = vf_fma(n, vf_set1(2.12194440e-4f), r);
    vf p = vf_set1(1.9875691500e-4f);
    p = vf_fma(p, r, vf_set1(1.3981999507e-3f));
    p = vf_fma(p, r, vf_set1(8.3334519073e-3f));
    p = vf_fma(p, r, vf_set1(4.1665795894e-2f));
    p = vf_fma(p, r, vf_set1(1.6666665459e-1f));
    p = vf_fma(p, r, vf_set1(5.0000001201e-1f));
    p = vf_fma(vf_mul(p, r), r, vf_add(r, vf_set1(1)));
    return vf_zero_below(vf_scale(p, n), x, vf_set1(low));
}

INLINE vf vf_exp(vf x) {
    return vf_exp_negative(vf_min(vf_set1(88.3f), x));
}

// x / (1 + e^-u)
INLINE vf vf_times_sigmoid(vf x, vf u) {
    return vf_div(x, vf_add(vf_set1(1), vf_exp(vf_sub(vf_set1(0), u))));
}

// x Phi(x) by erfc(z) = (a1 t + .. + a5 t^5) e^(-z^2), t = 1 / (1 + p z), within 1.5e-7 for z >= 0
// (Abramowitz and Stegun 7.1.26).
INLINE vf vf_gelu(vf x) {
    vf z = vf_mul(vf_max(vf_sub(vf_set1(0), x), x), vf_set1(0.70710678f));
    vf t = vf_div(vf_set1(1), vf_fma(z, vf_set1(0.3275911f), vf_set1(1)));
    vf p = vf_set1(1.061405429f);
    p = vf_fma(p, t, vf_set1(-1.453152027f));
    p = vf_fma(p, t, vf_set1(1.421413741f));
    p = vf_fma(p, t, vf_set1(-0.284496736f));
    p = vf_fma(p, t, vf_set1(0.254829592f));
    vf erfc = vf_mul(vf_mul(p, t), vf_exp(vf_sub(vf_set1(0), vf_mul(z, z))));
    // x >= 0: x - x erfc / 2, else x erfc / 2
    vf half = vf_mul(vf_mul(x, vf_set1(0.5f)), erfc);
    vf positive = vf_max(vf_set1(0), x);
    vf sign = vf_sub(half, vf_max(vf_set1(0), vf_mul(half, vf_set1(2))));
    return vf_add(positive, sign);
}

INLINE vf vf_hard_sigmoid(vf x) {
    vf six = vf_set1(6);
    return vf_div(vf_min(vf_max(vf_add(x, vf_set1(3)), vf_set1(0)), six), six);
}

INLINE vf vf_act(vf x, enum act act) {
    switch (act) {
    case ACT_GELU:
        return vf_gelu(x);
    case ACT_GELU_TANH: { // 0.5 (1 + tanh u) = sigmoid(2 u)
        vf cube = vf_mul(vf_mul(x, x), vf_mul(x, vf_set1(0.044715f)));
        return vf_times_sigmoid(x, vf_mul(vf_add(x, cube), vf_set1(2 * 0.79788456f)));
    }
    case ACT_GELU_QUICK:
        return vf_times_sigmoid(x, vf_mul(x, vf_set1(1.702f)));
    case ACT_SILU:
        return vf_times_sigmoid(x, x);
    case ACT_RELU:
        return vf_max(x, vf_set1(0));
    case ACT_HARD_SIGMOID:
        return vf_hard_sigmoid(x);
    case ACT_HARD_SWISH:
        return vf_mul(x, vf_hard_sigmoid(x));
    }
    return x;
}

static void vector_activate(float *y, const float *x, enum act act, size_t n) {
    size_t i = 0;
    for (; i + VF_N <= n; i += VF_N)
        vf_store(y + i, vf_act(vf_load(x + i), act));
    if (i < n)
        vf_store_part(y + i, n - i, vf_act(vf_load_part(x + i, n - i), act));
}

static void vector_activate_mul(float *y, const float *gate, const float *up, enum act act, size_t n) {
    size_t i = 0;
    for (; i + VF_N <= n; i += VF_N)
        vf_store(y + i, vf_mul(vf_act(vf_load(gate + i), act), vf_load(up + i)));
    if (i < n) {
        vf v = vf_mul(vf_act(vf_load_part(gate + i, n - i), act), vf_load_part(up + i, n - i));
        vf_store_part(y + i, n - i, v);
    }
}

static void vector_rms_norm(float *y, const float *x, const float *w, float eps, size_t n) {
    vf sum = vf_set1(0);
    size_t i = 0;
    for (; i + VF_N <= n; i += VF_N)
        sum = vf_fma(vf_load(x + i), vf_load(x + i), sum);
    if (i < n)
        sum = vf_fma(vf_load_part(x + i, n - i), vf_load_part(x + i, n - i), sum);
    vf scale = vf_set1(1.0f / sqrtf(vf_sum(sum) / (float)n + eps));
    for (i = 0; i + VF_N <= n; i += VF_N)
        vf_store(y + i, vf_mul(vf_mul(vf_load(x + i), scale), vf_load(w + i)));
    if (i < n)
        vf_store_part(y + i, n - i,
                      vf_mul(vf_mul(vf_load_part(x + i, n - i), scale), vf_load_part(w + i, n - i)));
}

static void vector_layer_norm(float *y, const float *x, const float *w, const float *b, float eps, size_t n) {
    vf sum = vf_set1(0);
    size_t i = 0;
    for (; i + VF_N <= n; i += VF_N)
        sum = vf_add(sum, vf_load(x + i));
    if (i < n)
        sum = vf_add(sum, vf_load_part(x + i, n - i));
    float mean = vf_sum(sum) / (float)n;
    vf m = vf_set1(mean), squares = vf_set1(0);
    for (i = 0; i + VF_N <= n; i += VF_N) {
        vf v = vf_sub(vf_load(x + i), m);
        squares = vf_fma(v, v, squares);
    }
    float rest = 0; // the last few: zeros of a partial load would count as -mean
    for (; i < n; i++)
        rest += (x[i] - mean) * (x[i] - mean);
    vf scale = vf_set1(1.0f / sqrtf((vf_sum(squares) + rest) / (float)n + eps));
    for (i = 0; i + VF_N <= n; i += VF_N)
        vf_store(y + i, vf_fma(vf_mul(vf_sub(vf_load(x + i), m), scale), vf_load(w + i), vf_load(b + i)));
    if (i < n) {
        vf v = vf_mul(vf_sub(vf_load_part(x + i, n - i), m), scale);
        vf_store_part(y + i, n - i, vf_fma(v, vf_load_part(w + i, n - i), vf_load_part(b + i, n - i)));
    }
}

static void vector_f32_to_f16(uint16_t *y, const float *x, size_t n) {
    size_t i = 0;
    for (; i + VF_N <= n; i += VF_N)
        vf_store_f16(y + i, vf_load(x + i));
    if (i < n) {
        uint16_t rest[VF_N];
        vf_store_f16(rest, vf_load_part(x + i, n - i));
        memcpy(y + i, rest, (n - i) * sizeof *y);
    }
}

static void vector_f16_to_f32(float *y, const uint16_t *x, size_t n) {
    size_t i = 0;
    for (; i + VF_N <= n; i += VF_N)
        vf_store(y + i, vf_load_f16(x + i));
    if (i < n)
        vf_store_part(y + i, n - i, vf_load_f16_part(x + i, n - i));
}

// Weights i .. i + VF_N - 1 of a row (n of them where n < VF_N), whatever their type.
INLINE vf weight_load(const uint8_t *w, size_t i, enum tensor_type type) {
    if (type == TENSOR_F32)
        return vf_load((const float *)w + i);
    if (type == TENSOR_F16)
        return vf_load_f16((const uint16_t *)w + i);
    return vf_load_bf16((const uint16_t *)w + i);
}

INLINE vf weight_load_part(const uint8_t *w, size_t i, size_t n, enum tensor_type type) {
    if (type == TENSOR_F32)
        return vf_load_part((const float *)w + i, n);
    if (type == TENSOR_F16)
        return vf_load_f16_part((const uint16_t *)w + i, n);
    return vf_load_bf16_part((const uint16_t *)w + i, n);
}

// Asks memory for the weights DOT_AHEAD bytes behind value i of the rows w; behind the end of a row, for those of the
// row that takes its place in the next tile.
INLINE void prefetch_weights(const struct dot *d, const uint8_t *const w[DOT_OUTS], size_t i,
                             size_t size_bytes) {
    size_t at = i * size_bytes + DOT_AHEAD;
    size_t next = at < d->n_in * size_bytes ? 0 : (DOT_OUTS - 1) * d->w_stride;
    for (size_t o = 0; o < DOT_OUTS; o++)
        _mm_prefetch((const char *)w[o] + at + next, _MM_HINT_T0);
}

// n_rows x n_outs results (constants after inlining). Each has one accumulator that takes its products in
// order, so a result is the same in any tile.
INLINE void vector_dot_tile(const struct dot *d, size_t row, size_t out, const size_t n_rows,
                            enum tensor_type type) {
    size_t n_outs = d->n_out - out < DOT_OUTS ? d->n_out - out : DOT_OUTS;
    const uint8_t *w[DOT_OUTS];
    const float *x[DOT_ROWS];
    vf acc[DOT_ROWS][DOT_OUTS];
    for (size_t o = 0; o < DOT_OUTS; o++) // past the end: the last one again, not stored
        w[o] = d->w + (out + (o < n_outs ? o : n_outs - 1)) * d->w_stride;
    for (size_t r = 0; r < n_rows; r++) {
        x[r] = (const float *)(const void *)(d->x + (row + r) * d->x_stride);
        for (size_t o = 0; o < DOT_OUTS; o++)
            acc[r][o] = vf_set1(0);
    }
    size_t i = 0;
    for (; i + VF_N <= d->n_in; i += VF_N) {
        vf v[DOT_OUTS];
        if (row == 0)
            prefetch_weights(d, w, i, type == TENSOR_F32 ? 4 : 2);
        for (size_t o = 0; o < DOT_OUTS; o++)
            v[o] = weight_load(w[o], i, type);
        for (size_t r = 0; r < n_rows; r++)
            for (size_t o = 0; o < DOT_OUTS; o++)
                acc[r][o] = vf_fma(v[o], vf_load(x[r] + i), acc[r][o]);
    }
    if (i < d->n_in)
        for (size_t r = 0; r < n_rows; r++)
            for (size_t o = 0; o < DOT_OUTS; o++)
                acc[r][o] = vf_fma(weight_load_part(w[o], i, d->n_in - i, type),
                                   vf_load_part(x[r] + i, d->n_in - i), acc[r][o]);
    for (size_t r = 0; r < n_rows; r++) {
        float sums[DOT_OUTS];
        vf_sum4(sums, acc[r][0], acc[r][1], acc[r][2], acc[r][3]);
        for (size_t o = 0; o < n_outs; o++)
            dot_store(d, row + r, out + o, sums[o]);
    }
}

INLINE void vector_dot(const struct dot *d, enum tensor_type type) {
    size_t row = 0;
    for (; row + DOT_ROWS <= d->n_rows; row += DOT_ROWS)
        for (size_t out = 0; out < d->n_out; out += DOT_OUTS)
            vector_dot_tile(d, row, out, DOT_ROWS, type);
    for (; row < d->n_rows; row++)
        for (size_t out = 0; out < d->n_out; out += DOT_OUTS)
            vector_dot_tile(d, row, out, 1, type);
}

static void vector_dot_f32(const struct dot *d) {
    vector_dot(d, TENSOR_F32);
}

static void vector_dot_f16(const struct dot *d) {
    vector_dot(d, TENSOR_F16);
}

static void vector_dot_bf16(const struct dot *d) {
    vector_dot(d, TENSOR_BF16);
}

static void vector_kernels(struct cpu_kernels *k) {
    k->dot[TENSOR_F32] = vector_dot_f32;
    k->dot[TENSOR_F16] = vector_dot_f16;
    k->dot[TENSOR_BF16] = vector_dot_bf16;
    k->f32_to_f16 = vector_f32_to_f16;
    k->f16_to_f32 = vector_f16_to_f32;
    k->rms_norm = vector_rms_norm;
    k->layer_norm = vector_layer_norm;
    k->activate = vector_activate;
    k->activate_mul = vector_activate_mul;
}

#endif
