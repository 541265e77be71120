// The loops of attention for one instruction set, written over the vectors of cpu_vector.h and
//   vf_transpose(v)             VF_N vectors as a square, in place
//   ATTN_VECTORS                vectors of a tile: with ATTN_ROWS rows they fill the registers
//
// A tile keeps the results of some rows in registers, so that a vector of keys or values is loaded once for all
// of them. Each result takes its products one by one in order: it is the same in any tile.
#ifndef COMPUTE_CPU_ATTN_H
#define COMPUTE_CPU_ATTN_H

#include "compute/cpu_vector.h"

static void vector_attn_turn(float *kt, const float *k, size_t stride, size_t n_keys, size_t head_dim) {
    for (size_t key = 0; key < n_keys; key += VF_N)
        for (size_t d = 0; d < head_dim; d += VF_N) {
            size_t n = head_dim - d < VF_N ? head_dim - d : VF_N;
            vf v[VF_N];
            for (size_t i = 0; i < VF_N; i++) {
                const float *at = k + (key + i) * stride + d;
                v[i] = key + i >= n_keys ? vf_set1(0) : n < VF_N ? vf_load_part(at, n) : vf_load(at);
            }
            vf_transpose(v);
            for (size_t i = 0; i < n; i++)
                vf_store(kt + (d + i) * ATTN_KEYS + key, v[i]);
        }
}

// Value d of VF_N keys from `key` on.
INLINE vf block_keys(const struct attn_block *b, size_t d, size_t key, const enum tensor_type type) {
    size_t at = d * ATTN_KEYS + key;
    if (type == TENSOR_F32)
        return vf_load((const float *)b->x + at);
    if (type == TENSOR_F16)
        return vf_load_f16((const uint16_t *)b->x + at);
    return vf_mul(vf_load_i8((const int8_t *)b->x + at), vf_load(b->scales + d / 32 * ATTN_KEYS + key));
}

// VF_N values of a key from column `col` on, of n.
INLINE vf block_values(const struct attn_block *b, size_t key, size_t col, size_t n,
                       const enum tensor_type type) {
    size_t at = key * n + col;
    if (type == TENSOR_F32)
        return vf_load((const float *)b->x + at);
    if (type == TENSOR_F16)
        return vf_load_f16((const uint16_t *)b->x + at);
    return vf_mul(vf_load_i8((const int8_t *)b->x + at), vf_set1(b->scales[at / 32]));
}

INLINE void keys_as_f32(float *y, const struct attn_block *k, size_t n_keys, size_t head_dim,
                        const enum tensor_type type) {
    for (size_t d = 0; d < head_dim; d++)
        for (size_t key = 0; key < n_keys; key += VF_N)
            vf_store(y + d * ATTN_KEYS + key, block_keys(k, d, key, type));
}

static void vector_attn_keys(float *y, const struct attn_block *k, size_t n_keys, size_t head_dim) {
    if (k->type == TENSOR_F16)
        keys_as_f32(y, k, n_keys, head_dim, TENSOR_F16);
    else
        keys_as_f32(y, k, n_keys, head_dim, TENSOR_Q8_0);
}

INLINE void values_as_f32(float *y, const struct attn_block *v, size_t n_keys, size_t n,
                          const enum tensor_type type) {
    for (size_t key = 0; key < n_keys; key++)
        for (size_t col = 0; col < n; col += VF_N)
            vf_store(y + key * n + col, block_values(v, key, col, n, type));
}

static void vector_attn_rows(float *y, const struct attn_block *v, size_t n_keys, size_t n) {
    if (v->type == TENSOR_F16)
        values_as_f32(y, v, n_keys, n, TENSOR_F16);
    else
        values_as_f32(y, v, n_keys, n, TENSOR_Q8_0);
}

INLINE void scores_tile(const struct attn_scores *a, size_t row, size_t key, const size_t n_rows,
                        const size_t n_vectors, const enum tensor_type type) {
    vf acc[ATTN_ROWS][ATTN_VECTORS];
    for (size_t r = 0; r < n_rows; r++)
        for (size_t i = 0; i < n_vectors; i++)
            acc[r][i] = vf_set1(0);
    const float *q = a->q + row * a->head_dim;
    for (size_t d = 0; d < a->head_dim; d++) {
        vf v[ATTN_VECTORS];
        for (size_t i = 0; i < n_vectors; i++)
            v[i] = block_keys(&a->k, d, key + i * VF_N, type);
        for (size_t r = 0; r < n_rows; r++) {
            vf x = vf_set1(q[r * a->head_dim + d]);
            for (size_t i = 0; i < n_vectors; i++)
                acc[r][i] = vf_fma(x, v[i], acc[r][i]);
        }
    }
    for (size_t r = 0; r < n_rows; r++)
        for (size_t i = 0; i < n_vectors; i++)
            vf_store(a->s + (row + r) * ATTN_KEYS + key + i * VF_N, acc[r][i]);
}

INLINE void scores_rows(const struct attn_scores *a, size_t row, const size_t n_rows,
                        const enum tensor_type type) {
    size_t key = 0;
    for (; key + (ATTN_VECTORS - 1) * VF_N < a->n_keys; key += ATTN_VECTORS * VF_N)
        scores_tile(a, row, key, n_rows, ATTN_VECTORS, type);
    for (; key < a->n_keys; key += VF_N)
        scores_tile(a, row, key, n_rows, 1, type);
}

// Rows of the next tile. 8, the heads of one kv head in many models, are twice 4: 2 alone would leave the multipliers
// waiting.
INLINE size_t tile_rows(size_t n_left) {
    return n_left >= ATTN_ROWS && n_left != 8 ? ATTN_ROWS : n_left >= 4 ? 4 : n_left >= 2 ? 2 : 1;
}

INLINE void scores_of(const struct attn_scores *a, const enum tensor_type type) {
    for (size_t row = 0, n; row < a->n_rows; row += n) {
        n = tile_rows(a->n_rows - row);
        if (n == ATTN_ROWS)
            scores_rows(a, row, ATTN_ROWS, type);
        else if (n == 4)
            scores_rows(a, row, 4, type);
        else if (n == 2)
            scores_rows(a, row, 2, type);
        else
            scores_rows(a, row, 1, type);
    }
}

static void vector_attn_scores(const struct attn_scores *a) {
    if (a->k.type == TENSOR_F32)
        scores_of(a, TENSOR_F32);
    else if (a->k.type == TENSOR_F16)
        scores_of(a, TENSOR_F16);
    else
        scores_of(a, TENSOR_Q8_0);
}

// 1 / (1 + e^-2u) is (1 + tanh u) / 2.
INLINE vf vf_soft_cap(vf s, float cap) {
    vf half = vf_times_sigmoid(vf_set1(1), vf_mul(s, vf_set1(2 / cap)));
    return vf_mul(vf_sub(vf_add(half, half), vf_set1(1)), vf_set1(cap));
}

INLINE vf block_max(const float *s) {
    vf max = vf_load(s);
    for (size_t i = VF_N; i < ATTN_KEYS; i += VF_N)
        max = vf_max(vf_load(s + i), max);
    return max;
}

// In place e^(s - max); returns their sums lane by lane.
INLINE vf block_exp(float *s, float max) {
    vf sum = vf_set1(0), m = vf_set1(max);
    for (size_t i = 0; i < ATTN_KEYS; i += VF_N) {
        vf p = vf_exp_negative(vf_sub(vf_load(s + i), m));
        vf_store(s + i, p);
        sum = vf_add(sum, p);
    }
    return sum;
}

static void mask_scores(const struct attn_softmax *a, size_t row) {
    float *s = a->s + row * ATTN_KEYS;
    for (size_t i = 0; a->soft_cap > 0 && i < ATTN_KEYS; i += VF_N)
        vf_store(s + i, vf_soft_cap(vf_load(s + i), a->soft_cap));
    for (size_t i = 0; a->first_key + i < a->begin[row]; i++)
        s[i] = -INFINITY;
    for (size_t i = ATTN_KEYS; a->first_key + i > a->end[row]; i--)
        s[i - 1] = -INFINITY;
}

// Step by step for all rows, so that what is one number a row is worked as vectors of rows.
static void vector_attn_softmax(const struct attn_softmax *a) {
    float tops[ATTN_ROWS_MAX], sums[ATTN_ROWS_MAX];
    for (size_t r = 0; r < a->n_rows; r++)
        mask_scores(a, r);
    for (size_t r = 0; r < a->n_rows; r += 4) { // past the last row: the last one again
        const float *s = a->s + r * ATTN_KEYS;
        size_t last = a->n_rows - r - 1;
        vf_max4(tops + r, block_max(s), block_max(s + (last < 1 ? last : 1) * ATTN_KEYS),
                block_max(s + (last < 2 ? last : 2) * ATTN_KEYS),
                block_max(s + (last < 3 ? last : 3) * ATTN_KEYS));
    }
    for (size_t r = 0; r < a->n_rows; r += VF_N) {
        size_t n = a->n_rows - r < VF_N ? a->n_rows - r : VF_N;
        vf max = vf_load_part(a->max + r, n), new_max = vf_max(vf_load_part(tops + r, n), max);
        vf_store_part(a->decay + r, n, vf_exp_negative(vf_sub(max, new_max)));
        vf_store_part(a->max + r, n, new_max);
    }
    for (size_t r = 0; r < a->n_rows; r += 4) {
        vf v[4];
        for (size_t i = 0; i < 4; i++)
            v[i] = r + i < a->n_rows ? block_exp(a->s + (r + i) * ATTN_KEYS, a->max[r + i]) : vf_set1(0);
        vf_sum4(sums + r, v[0], v[1], v[2], v[3]);
    }
    for (size_t r = 0; r < a->n_rows; r += VF_N) {
        size_t n = a->n_rows - r < VF_N ? a->n_rows - r : VF_N;
        vf sum =
            vf_fma(vf_load_part(a->sum + r, n), vf_load_part(a->decay + r, n), vf_load_part(sums + r, n));
        vf_store_part(a->sum + r, n, sum);
    }
}

INLINE void values_tile(const struct attn_values *a, size_t row, size_t col, const size_t n_rows,
                        const size_t n_vectors, const enum tensor_type type) {
    vf acc[ATTN_ROWS][ATTN_VECTORS];
    for (size_t r = 0; r < n_rows; r++)
        for (size_t i = 0; i < n_vectors; i++)
            acc[r][i] =
                vf_mul(vf_load(a->acc + (row + r) * a->n + col + i * VF_N), vf_set1(a->decay[row + r]));
    const float *p = a->p + row * ATTN_KEYS;
    for (size_t key = 0; key < a->n_keys; key++) {
        vf v[ATTN_VECTORS];
        for (size_t i = 0; i < n_vectors; i++)
            v[i] = block_values(&a->v, key, col + i * VF_N, a->n, type);
        for (size_t r = 0; r < n_rows; r++) {
            vf x = vf_set1(p[r * ATTN_KEYS + key]);
            for (size_t i = 0; i < n_vectors; i++)
                acc[r][i] = vf_fma(x, v[i], acc[r][i]);
        }
    }
    for (size_t r = 0; r < n_rows; r++)
        for (size_t i = 0; i < n_vectors; i++)
            vf_store(a->acc + (row + r) * a->n + col + i * VF_N, acc[r][i]);
}

// Never a single vector behind a full tile, which would leave the multipliers waiting: 5 are 3 and 2.
INLINE void values_rows(const struct attn_values *a, size_t row, const size_t n_rows,
                        const enum tensor_type type) {
    size_t col = 0, left = (a->n + VF_N - 1) / VF_N;
    for (; left > ATTN_VECTORS + 1 || left == ATTN_VECTORS; left -= ATTN_VECTORS, col += ATTN_VECTORS * VF_N)
        values_tile(a, row, col, n_rows, ATTN_VECTORS, type);
    if (left > 2 && ATTN_VECTORS > 2) {
        values_tile(a, row, col, n_rows, 3, type);
        left -= 3;
        col += 3 * VF_N;
    }
    if (left >= 2) {
        values_tile(a, row, col, n_rows, 2, type);
        left -= 2;
        col += 2 * VF_N;
    }
    if (left)
        values_tile(a, row, col, n_rows, 1, type);
}

INLINE void values_of(const struct attn_values *a, const enum tensor_type type) {
    for (size_t row = 0, n; row < a->n_rows; row += n) {
        n = tile_rows(a->n_rows - row);
        if (n == ATTN_ROWS)
            values_rows(a, row, ATTN_ROWS, type);
        else if (n == 4)
            values_rows(a, row, 4, type);
        else if (n == 2)
            values_rows(a, row, 2, type);
        else
            values_rows(a, row, 1, type);
    }
}

static void vector_attn_values(const struct attn_values *a) {
    if (a->v.type == TENSOR_F32)
        values_of(a, TENSOR_F32);
    else if (a->v.type == TENSOR_F16)
        values_of(a, TENSOR_F16);
    else
        values_of(a, TENSOR_Q8_0);
}

static void attn_kernels(struct cpu_kernels *k) {
    k->attn_turn = vector_attn_turn;
    k->attn_keys = vector_attn_keys;
    k->attn_rows = vector_attn_rows;
    k->attn_scores = vector_attn_scores;
    k->attn_softmax = vector_attn_softmax;
    k->attn_values = vector_attn_values;
}

#endif
