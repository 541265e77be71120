// Dot products of quantised weights with 8-bit activations, 256 bits at a time, written over two primitives
// of the including file:
//   dot_u8_i8(u, s)             8 x i32: sums of 4 products of u8 and i8, exact for u <= 128
//   madd_i16(acc, a, b)         acc + 8 x i32: sums of 2 products of i16
// Integers are exact within a block, so only the order of blocks counts: one accumulator for each result.
#ifndef COMPUTE_CPU_BLOCKS_H
#define COMPUTE_CPU_BLOCKS_H

#include "compute/cpu_kernels.h"
#include "compute/quant.h"

#include <immintrin.h>

enum { BLOCK_OUTS = 4, BLOCK_ROWS = 4 };

INLINE void sum4(float *sums, __m256 a, __m256 b, __m256 c, __m256 d) {
    __m256 s = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
    _mm_storeu_ps(sums, _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1)));
}

INLINE __m256i load_i8x32(const void *p) {
    return _mm256_loadu_si256(p);
}

// Block i of a row of q8_0 or q4_0: 32 signed weights, *d their scale.
INLINE __m256i block32_load(const uint8_t *w, size_t i, enum tensor_type type, float *d) {
    if (type == TENSOR_Q8_0) {
        const struct q8_0 *b = (const struct q8_0 *)(const void *)w + i;
        *d = _cvtsh_ss(b->d);
        return load_i8x32(b->qs);
    }
    const struct q4_0 *b = (const struct q4_0 *)(const void *)w + i;
    *d = _cvtsh_ss(b->d);
    __m128i pairs = _mm_loadu_si128((const __m128i *)(const void *)b->qs);
    __m256i q = _mm256_set_m128i(_mm_srli_epi16(pairs, 4), pairs);
    return _mm256_sub_epi8(_mm256_and_si256(q, _mm256_set1_epi8(15)), _mm256_set1_epi8(8));
}

INLINE void block32_tile(const struct dot *d, size_t row, size_t out, const size_t n_rows,
                         enum tensor_type type) {
    size_t n_outs = d->n_out - out < BLOCK_OUTS ? d->n_out - out : BLOCK_OUTS;
    const uint8_t *w[BLOCK_OUTS];
    const struct a32 *x[BLOCK_ROWS];
    __m256 acc[BLOCK_ROWS][BLOCK_OUTS];
    for (size_t o = 0; o < BLOCK_OUTS; o++) // past the end: the last one again, not stored
        w[o] = d->w + (out + (o < n_outs ? o : n_outs - 1)) * d->w_stride;
    for (size_t r = 0; r < n_rows; r++) {
        x[r] = (const struct a32 *)(const void *)(d->x + (row + r) * d->x_stride);
        for (size_t o = 0; o < BLOCK_OUTS; o++)
            acc[r][o] = _mm256_setzero_ps();
    }
    for (size_t i = 0; i < d->n_in / 32; i++)
        for (size_t o = 0; o < BLOCK_OUTS; o++) {
            float scale;
            __m256i q = block32_load(w[o], i, type, &scale);
            __m256i size = _mm256_abs_epi8(q); // as u8: |-128| is 128
            for (size_t r = 0; r < n_rows; r++) {
                __m256i s = dot_u8_i8(size, _mm256_sign_epi8(load_i8x32(x[r][i].qs), q));
                acc[r][o] =
                    _mm256_fmadd_ps(_mm256_set1_ps(scale * x[r][i].d), _mm256_cvtepi32_ps(s), acc[r][o]);
            }
        }
    for (size_t r = 0; r < n_rows; r++) {
        float sums[BLOCK_OUTS];
        sum4(sums, acc[r][0], acc[r][1], acc[r][2], acc[r][3]);
        for (size_t o = 0; o < n_outs; o++)
            dot_store(d, row + r, out + o, sums[o]);
    }
}

INLINE void block32_dot(const struct dot *d, enum tensor_type type) {
    for (size_t out = 0; out < d->n_out; out += BLOCK_OUTS) {
        size_t row = 0;
        for (; row + BLOCK_ROWS <= d->n_rows; row += BLOCK_ROWS)
            block32_tile(d, row, out, BLOCK_ROWS, type);
        for (; row < d->n_rows; row++)
            block32_tile(d, row, out, 1, type);
    }
}

static void dot_q8_0(const struct dot *d) {
    block32_dot(d, TENSOR_Q8_0);
}

static void dot_q4_0(const struct dot *d) {
    block32_dot(d, TENSOR_Q4_0);
}

// A block of 256 unsigned weights, ready for any number of rows:
//   w = d scale q - (offset d scale' for q6_K, dmin min for q4_K), summed over the block as
//   d (scales . (q . x)) - d_offset (offsets . sums of 16 x)
struct block256 {
    __m256i q[8];      // u8
    __m256i scales[8]; // i16, for sums of pairs of q x
    __m256i offsets;   // i16, for each sum of 16 x
    float d, d_offset;
};

INLINE void block256_load_q4_k(struct block256 *b, const struct q4_k *w) {
    // 8 scales, then 8 mins, of 6 bits: the low 6 of bytes 0-7 for the first four of each, and for the others
    // 4 bits of bytes 8-11 and the top 2 of bytes 0-7.
    uint32_t u[4], scales_at[3];
    memcpy(scales_at, w->scales, sizeof scales_at);
    u[0] = scales_at[0] & 0x3f3f3f3f;
    u[1] = (scales_at[2] & 0x0f0f0f0f) | (scales_at[0] >> 6 & 0x03030303) << 4;
    u[2] = scales_at[1] & 0x3f3f3f3f;
    u[3] = (scales_at[2] >> 4 & 0x0f0f0f0f) | (scales_at[1] >> 6 & 0x03030303) << 4;
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)u);
    __m256i scales = _mm256_broadcastsi128_si256(_mm_cvtepu8_epi16(bytes));
    b->offsets = _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(bytes, bytes)); // each min for two sums of 16
    for (size_t i = 0; i < 4; i++) {
        __m256i pairs = load_i8x32(w->qs + 32 * i);
        b->q[2 * i] = _mm256_and_si256(pairs, _mm256_set1_epi8(15));
        b->q[2 * i + 1] = _mm256_and_si256(_mm256_srli_epi16(pairs, 4), _mm256_set1_epi8(15));
    }
    for (size_t i = 0; i < 8; i++)
        b->scales[i] = _mm256_shuffle_epi8(scales, _mm256_set1_epi16((short)(0x0100 + 0x0202 * i)));
    b->d = _cvtsh_ss(w->d);
    b->d_offset = _cvtsh_ss(w->dmin);
}

INLINE void block256_load_q6_k(struct block256 *b, const struct q6_k *w) {
    const __m256i low4 = _mm256_set1_epi8(15), high2 = _mm256_set1_epi8(0x30);
    for (size_t half = 0; half < 2; half++) {
        __m256i l0 = load_i8x32(w->ql + 64 * half), l1 = load_i8x32(w->ql + 64 * half + 32);
        __m256i h = load_i8x32(w->qh + 32 * half);
        __m256i *q = b->q + 4 * half;
        q[0] = _mm256_or_si256(_mm256_and_si256(l0, low4), _mm256_and_si256(_mm256_slli_epi16(h, 4), high2));
        q[1] = _mm256_or_si256(_mm256_and_si256(l1, low4), _mm256_and_si256(_mm256_slli_epi16(h, 2), high2));
        q[2] = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(l0, 4), low4), _mm256_and_si256(h, high2));
        q[3] = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(l1, 4), low4),
                               _mm256_and_si256(_mm256_srli_epi16(h, 2), high2));
    }
    __m128i scales = _mm_loadu_si128((const __m128i *)(const void *)w->scales);
    for (size_t i = 0; i < 8; i++) { // scale 2 i for 8 pairs, scale 2 i + 1 for the next 8
        __m128i two = _mm_shuffle_epi8(scales, _mm_set_epi64x(0x0101010101010101 * (long long)(2 * i + 1),
                                                              0x0101010101010101 * (long long)(2 * i)));
        b->scales[i] = _mm256_cvtepi8_epi16(two);
    }
    b->offsets = _mm256_slli_epi16(_mm256_cvtepi8_epi16(scales), 5); // q stands for q - 32
    b->d = b->d_offset = _cvtsh_ss(w->d);
}

INLINE void block256_tile(const struct dot *d, size_t row, size_t out, const size_t n_rows,
                          enum tensor_type type) {
    const uint8_t *w = d->w + out * d->w_stride;
    const struct a256 *x[BLOCK_ROWS];
    __m256 acc[BLOCK_ROWS];
    for (size_t r = 0; r < n_rows; r++) {
        x[r] = (const struct a256 *)(const void *)(d->x + (row + r) * d->x_stride);
        acc[r] = _mm256_setzero_ps();
    }
    for (size_t i = 0; i < d->n_in / 256; i++) {
        struct block256 b;
        if (type == TENSOR_Q4_K)
            block256_load_q4_k(&b, (const struct q4_k *)(const void *)w + i);
        else
            block256_load_q6_k(&b, (const struct q6_k *)(const void *)w + i);
        for (size_t r = 0; r < n_rows; r++) {
            const struct a256 *a = x[r] + i;
            __m256i s = _mm256_setzero_si256();
            for (size_t j = 0; j < 8; j++)
                s = madd_i16(s, _mm256_maddubs_epi16(b.q[j], load_i8x32(a->qs + 32 * j)), b.scales[j]);
            __m256i offset = _mm256_madd_epi16(load_i8x32(a->sums), b.offsets);
            acc[r] = _mm256_fmadd_ps(_mm256_set1_ps(b.d * a->d), _mm256_cvtepi32_ps(s), acc[r]);
            acc[r] = _mm256_fnmadd_ps(_mm256_set1_ps(b.d_offset * a->d), _mm256_cvtepi32_ps(offset), acc[r]);
        }
    }
    for (size_t r = 0; r < n_rows; r++) {
        float sums[4];
        sum4(sums, acc[r], acc[r], acc[r], acc[r]);
        dot_store(d, row + r, out, sums[0]);
    }
}

INLINE void block256_dot(const struct dot *d, enum tensor_type type) {
    for (size_t out = 0; out < d->n_out; out++) {
        size_t row = 0;
        for (; row + BLOCK_ROWS <= d->n_rows; row += BLOCK_ROWS)
            block256_tile(d, row, out, BLOCK_ROWS, type);
        for (; row < d->n_rows; row++)
            block256_tile(d, row, out, 1, type);
    }
}

static void dot_q4_k(const struct dot *d) {
    block256_dot(d, TENSOR_Q4_K);
}

static void dot_q6_k(const struct dot *d) {
    block256_dot(d, TENSOR_Q6_K);
}

// qs[n] of one block by the arithmetic of quant.c, so that all instruction sets see the same activations.
// Returns d.
INLINE float quantise_block(int8_t *qs, const float *x, const size_t n) {
    const __m256 no_sign = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
    const __m256i in_order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7); // undoes the packs' lanes
    __m256 largest = _mm256_setzero_ps();
    for (size_t i = 0; i < n; i += 8)
        largest = _mm256_max_ps(_mm256_and_ps(_mm256_loadu_ps(x + i), no_sign), largest);
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(largest), _mm256_extractf128_ps(largest, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    float max = _mm_cvtss_f32(_mm_max_ss(m, _mm_shuffle_ps(m, m, 1)));
    __m256 inverse = _mm256_set1_ps(max > 1e-30f ? 127.0f / max : 0);
    for (size_t i = 0; i < n; i += 32) {
        __m256i q[4];
        for (size_t k = 0; k < 4; k++)
            q[k] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i + 8 * k), inverse));
        __m256i pairs = _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
        _mm256_storeu_si256((__m256i *)(void *)(qs + i), _mm256_permutevar8x32_epi32(pairs, in_order));
    }
    return max / 127.0f;
}

static void quantise_a32(void *y, const float *x, size_t n) {
    struct a32 *a = y;
    for (size_t k = 0; k < n / 32; k++)
        a[k].d = quantise_block(a[k].qs, x + 32 * k, 32);
}

static void quantise_a256(void *y, const float *x, size_t n) {
    struct a256 *a = y;
    for (size_t k = 0; k < n / 256; k++) {
        a[k].d = quantise_block(a[k].qs, x + 256 * k, 256);
        for (size_t g = 0; g < 16; g++) {
            __m256i q =
                _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(a[k].qs + 16 * g)));
            __m256i s = _mm256_madd_epi16(q, _mm256_set1_epi16(1));
            __m128i t = _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
            t = _mm_hadd_epi32(t, t);
            a[k].sums[g] = (int16_t)_mm_cvtsi128_si32(_mm_hadd_epi32(t, t));
        }
    }
}

static void block_kernels(struct cpu_kernels *k) {
    k->dot[TENSOR_Q8_0] = dot_q8_0;
    k->dot[TENSOR_Q4_0] = dot_q4_0;
    k->dot[TENSOR_Q4_K] = dot_q4_k;
    k->dot[TENSOR_Q6_K] = dot_q6_k;
    k->quantise_a32 = quantise_a32;
    k->quantise_a256 = quantise_a256;
}

#endif
