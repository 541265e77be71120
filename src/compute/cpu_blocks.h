// Dot products of quantised weights with 8-bit activations, 256 bits at a time, written over two primitives
// of the including file:
//   dot_u8_i8(u, s)             8 x i32: sums of 4 products of u8 and i8, exact for u <= 128
//   madd_i16(acc, a, b)         acc + 8 x i32: sums of 2 products of i16
// Integers are exact within a block, so only the order of blocks counts: one accumulator for each result.
#ifndef COMPUTE_CPU_BLOCKS_H
#define COMPUTE_CPU_BLOCKS_H

#include "compute/cpu_unpack.h"

enum {
    BLOCK_OUTS = 4,
    BLOCK_ROWS = 4,
    UNPACKED_ROWS = 16, // that share a block unpacked in plain C
};

INLINE void sum4(float *sums, __m256 a, __m256 b, __m256 c, __m256 d) {
    __m256 s = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
    _mm_storeu_ps(sums, _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1)));
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
            struct block32 b = block32_load(w[o], i, type);
            __m256i size = _mm256_abs_epi8(b.q); // as u8: |-128| is 128
            for (size_t r = 0; r < n_rows; r++) {
                __m256i qs = load_i8x32(x[r][i].qs), s = dot_u8_i8(size, _mm256_sign_epi8(qs, b.q));
                acc[r][o] =
                    _mm256_fmadd_ps(_mm256_set1_ps(b.d * x[r][i].d), _mm256_cvtepi32_ps(s), acc[r][o]);
                if (!block32_has_m(type))
                    continue;
                __m256i sums = dot_u8_i8(_mm256_set1_epi8(1), qs);
                acc[r][o] =
                    _mm256_fmadd_ps(_mm256_set1_ps(b.m * x[r][i].d), _mm256_cvtepi32_ps(sums), acc[r][o]);
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

INLINE void block256_tile(const struct dot *d, size_t row, size_t out, const size_t n_rows,
                          enum tensor_type type) {
    const uint8_t *w = d->w + out * d->w_stride;
    const struct a256 *x[UNPACKED_ROWS];
    __m256 acc[UNPACKED_ROWS];
    for (size_t r = 0; r < n_rows; r++) {
        x[r] = (const struct a256 *)(const void *)(d->x + (row + r) * d->x_stride);
        acc[r] = _mm256_setzero_ps();
    }
    for (size_t i = 0; i < d->n_in / 256; i++) {
        struct block256 b;
        block256_load(&b, w, i, type);
        for (size_t r = 0; r < n_rows; r++) {
            const struct a256 *a = x[r] + i;
            __m256i s = _mm256_setzero_si256();
            for (size_t j = 0; j < 8; j++) {
                __m256i q = b.q[j], qs = load_i8x32(a->qs + 32 * j);
                if (block256_is_signed(type)) {
                    qs = _mm256_sign_epi8(qs, q);
                    q = _mm256_abs_epi8(q);
                }
                s = madd_i16(s, _mm256_maddubs_epi16(q, qs), b.scales[j]);
            }
            acc[r] = _mm256_fmadd_ps(_mm256_set1_ps(b.d * a->d), _mm256_cvtepi32_ps(s), acc[r]);
            if (block256_is_signed(type))
                continue;
            __m256i offset = _mm256_madd_epi16(load_i8x32(a->sums), b.offsets);
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
    const size_t n_rows = block256_is_unpacked(type) ? UNPACKED_ROWS : BLOCK_ROWS;
    for (size_t out = 0; out < d->n_out; out++) {
        size_t row = 0;
        for (; row + n_rows <= d->n_rows; row += n_rows)
            block256_tile(d, row, out, n_rows, type);
        for (; row < d->n_rows; row++)
            block256_tile(d, row, out, 1, type);
    }
}

// The table's functions have no argument for the type.
#define BLOCK_DOT(type, name, block_n, label)                                                                \
    static void dot_##name(const struct dot *d) {                                                            \
        block##block_n##_dot(d, TENSOR_##type);                                                              \
    }
#define BLOCK_ROW(type, name, block_n, label) k->dot[TENSOR_##type] = dot_##name;
QUANT_BLOCK_TYPES(BLOCK_DOT)

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
    QUANT_BLOCK_TYPES(BLOCK_ROW)
    k->quantise_a32 = quantise_a32;
    k->quantise_a256 = quantise_a256;
}

#endif
