// Attention in 8 bits with AVX-512 and VNNI, for queries that all see the same keys.
//
// takes q [n_rows, head_dim], k and v [n_keys, head_dim] f32 of one head
// gives out = softmax(scale q k^T) v
//
// Keys and queries have a scale each. What all keys have in common moves all scores of a query alike, so their mean
// is taken off first: it would cost the others their bits (SageAttention, Zhang et al. 2024). A block's scores
// become whole numbers, 255 e^(s - the block's largest); a column of its values has a scale. Blocks meet in floats, as
// in cpu_attention.c. A query's result hangs on itself and the keys alone.
#ifndef COMPUTE_CPU_ATTN_INT8_H
#define COMPUTE_CPU_ATTN_INT8_H

#include "compute/cpu_tiles.h"

#include <stdalign.h>

enum {
    I8_KEYS = 128, // of a block
    I8_ROWS = 24,  // queries that pass a block together
    I8_TILE = 6,   // of a tile, by up to 4 vectors
    I8_LANES = 32, // I8_ROWS up to whole vectors
    I8_OFFSET = 128,
};

static const float i8_unseen = -1e30f; // the score of what lies behind the last key
static const float i8_log2e = 1.44269504f;

// The queries under way.
struct i8_rows {
    alignas(64) float scores[I8_ROWS][I8_KEYS];
    alignas(64) uint8_t p[I8_ROWS][I8_KEYS];
    alignas(64) float acc[I8_ROWS][ATTN_INT8_DIM_MAX];
    alignas(64) int8_t q[I8_ROWS][ATTN_INT8_DIM_MAX];
    int32_t start[I8_ROWS];        // -I8_OFFSET times the sum of q
    float scale[I8_LANES];         // of q, times what makes scores powers of 2
    float max[I8_LANES];           // of the scores so far
    float sum[I8_LANES];           // of 2^(score - max) so far
    float top[I8_LANES];           // of the block
    float part[I8_LANES];          // the block's sum of p
    float factor[I8_LANES];        // what its p count, and
    float decay[I8_LANES];         // what the blocks before
    float mean[ATTN_INT8_DIM_MAX]; // of the keys
};

struct i8_head {
    const struct attn_int8 *a;
    size_t units, vectors; // 4 and 16 values of a head, the last filled up with zeros
    struct i8_rows *rows;
    float *key_scales;   // [keys]; keys up to whole vectors
    float *value_scales; // [blocks, vectors, 16]
    uint8_t *keys;       // [keys / 16, units, 16, 4], + I8_OFFSET
    int8_t *values;      // [keys / 4, vectors, 16, 4]
};

static struct i8_head i8_head(const struct attn_int8 *a) {
    struct i8_head h = {.a = a, .units = (a->head_dim + 3) / 4, .vectors = (a->head_dim + 15) / 16};
    size_t keys = (a->n_keys + 15) / 16 * 16, blocks = (a->n_keys + I8_KEYS - 1) / I8_KEYS;
    h.rows = a->scratch;
    h.key_scales = (float *)(h.rows + 1);
    h.value_scales = h.key_scales + keys;
    h.keys = (uint8_t *)(h.value_scales + blocks * h.vectors * 16);
    h.values = (int8_t *)h.keys + keys * h.units * 4;
    return h;
}

static size_t vector_attn_int8_scratch(size_t n_keys, size_t head_dim) {
    size_t keys = (n_keys + 15) / 16 * 16, blocks = (n_keys + I8_KEYS - 1) / I8_KEYS;
    size_t units = (head_dim + 3) / 4, vectors = (head_dim + 15) / 16;
    return sizeof(struct i8_rows) + (keys + blocks * vectors * 16) * sizeof(float) + keys * units * 4 +
           keys * vectors * 16;
}

static void i8_mean(const struct i8_head *h) {
    const struct attn_int8 *a = h->a;
    float *mean = h->rows->mean;
    memset(mean, 0, sizeof h->rows->mean);
    for (size_t key = 0; key < a->n_keys; key++)
        for (size_t d = 0; d < a->head_dim; d++)
            mean[d] += a->k[key * a->kv_stride + d];
    for (size_t d = 0; d < a->head_dim; d++)
        mean[d] /= (float)a->n_keys;
}

static void i8_pack_keys(const struct i8_head *h) {
    const struct attn_int8 *a = h->a;
    float x[ATTN_INT8_DIM_MAX] = {0};
    int8_t qs[ATTN_INT8_DIM_MAX];
    for (size_t key = 0; key < (a->n_keys + 15) / 16 * 16; key++) {
        uint8_t *to = h->keys + (key / 16 * h->units * 16 + key % 16) * 4;
        for (size_t d = 0; d < a->head_dim; d++)
            x[d] = key < a->n_keys ? a->k[key * a->kv_stride + d] - h->rows->mean[d] : 0;
        h->key_scales[key] = quantise(qs, x, h->vectors * 16);
        for (size_t unit = 0; unit < h->units; unit++) {
            uint32_t four;
            memcpy(&four, qs + 4 * unit, sizeof four);
            four ^= 0x80808080; // + I8_OFFSET in each byte
            memcpy(to + unit * 64, &four, sizeof four);
        }
    }
}

// 4 keys of 16 columns as bytes beside each other, divided by their scale.
INLINE vi i8_four_values(const float *v, size_t stride, size_t n_keys, size_t n, vf inverse) {
    vi bytes = vi_zero();
    for (size_t i = 0; i < n_keys; i++) {
        vi q = _mm512_cvtps_epi32(vf_mul(vf_load_part(v + i * stride, n), inverse));
        q = _mm512_and_si512(q, _mm512_set1_epi32(255));
        bytes = vi_or(bytes, _mm512_sll_epi32(q, _mm_cvtsi32_si128((int)(8 * i))));
    }
    return bytes;
}

static void i8_pack_values(const struct i8_head *h) {
    const struct attn_int8 *a = h->a;
    for (size_t first = 0; first < a->n_keys; first += I8_KEYS)
        for (size_t i = 0; i < h->vectors; i++) {
            size_t left = a->n_keys - first, n_keys = left < I8_KEYS ? left : I8_KEYS;
            size_t n = a->head_dim - 16 * i < 16 ? a->head_dim - 16 * i : 16;
            const float *v = a->v + first * a->kv_stride + 16 * i;
            vf most = vf_set1(1e-30f);
            for (size_t key = 0; key < n_keys; key++)
                most = vf_max(vf_abs(vf_load_part(v + key * a->kv_stride, n)), most);
            vf_store(h->value_scales + (first / I8_KEYS * h->vectors + i) * 16,
                     vf_mul(most, vf_set1(1 / 127.0f)));
            vf inverse = vf_div(vf_set1(127), most);
            for (size_t key = 0; key < n_keys; key += 4)
                vi_store(h->values + ((first + key) / 4 * h->vectors + i) * 64,
                         i8_four_values(v + key * a->kv_stride, a->kv_stride,
                                        n_keys - key < 4 ? n_keys - key : 4, n, inverse));
        }
}

static void i8_begin_rows(const struct i8_head *h, size_t row, size_t n_rows) {
    const struct attn_int8 *a = h->a;
    struct i8_rows *r = h->rows;
    for (size_t i = 0; i < n_rows; i++) {
        float x[ATTN_INT8_DIM_MAX] = {0};
        memcpy(x, a->q + (row + i) * a->q_stride, a->head_dim * sizeof *x);
        r->scale[i] = quantise(r->q[i], x, h->vectors * 16) * a->scale * i8_log2e;
        int sum = 0;
        for (size_t d = 0; d < h->vectors * 16; d++)
            sum += r->q[i][d];
        r->start[i] = -I8_OFFSET * sum;
        r->max[i] = i8_unseen;
        r->sum[i] = 0;
        memset(r->acc[i], 0, h->vectors * 16 * sizeof(float));
    }
}

// Scores of n_rows rows with the keys of n vectors, without the rows' scales.
INLINE void i8_scores_tile(const struct i8_head *h, size_t row, size_t key, size_t first, const size_t n_rows,
                           const size_t n) {
    struct i8_rows *r = h->rows;
    const uint8_t *keys = h->keys + (first + key) * h->units * 4;
    vi sum[I8_TILE][4];
    UNROLL for (size_t i = 0; i < n_rows; i++) UNROLL for (size_t v = 0; v < n; v++) sum[i][v] =
        vi_broadcast(&r->start[row + i]);
    for (size_t unit = 0; unit < h->units; unit++) {
        vi k[4];
        UNROLL for (size_t v = 0; v < n; v++) k[v] = vi_load(keys + (v * h->units + unit) * 64);
        UNROLL for (size_t i = 0; i < n_rows; i++) {
            vi q = vi_broadcast(&r->q[row + i][4 * unit]);
            UNROLL for (size_t v = 0; v < n; v++) sum[i][v] = vi_dot(sum[i][v], k[v], q);
        }
    }
    UNROLL for (size_t v = 0; v < n; v++) {
        vf scale = vf_load(h->key_scales + first + key + 16 * v);
        UNROLL for (size_t i = 0; i < n_rows; i++)
            vf_store(&r->scores[row + i][key + 16 * v], vf_mul(vf_of_vi(sum[i][v]), scale));
    }
}

INLINE void i8_scores(const struct i8_head *h, size_t row, size_t first, size_t n_keys, const size_t n_rows) {
    size_t key = 0;
    for (; key + 48 < n_keys; key += 64)
        i8_scores_tile(h, row, key, first, n_rows, 4);
    for (; key < n_keys; key += 16)
        i8_scores_tile(h, row, key, first, n_rows, 1);
    for (size_t i = 0; i < n_rows; i++)
        for (key = n_keys; key < (n_keys + 15) / 16 * 16; key++)
            h->rows->scores[row + i][key] = i8_unseen;
}

// 255 2^x as whole numbers, for x <= 0: within 0.02 %.
INLINE vi i8_power(vf x) {
    vf n = vf_round(x), f = vf_sub(x, n);
    vf p = vf_set1(255 * 0.0558263f);
    p = vf_fma(p, f, vf_set1(255 * 0.2401397f));
    p = vf_fma(p, f, vf_set1(255 * 0.6931353f));
    p = vf_fma(p, f, vf_set1(255));
    return _mm512_cvtps_epi32(vf_scale(p, n));
}

// Whole numbers in place of scores, and how they count beside the blocks before.
static void i8_softmax(const struct i8_head *h, size_t n_rows, size_t n_keys) {
    struct i8_rows *r = h->rows;
    for (size_t i = 0; i < n_rows; i++) {
        vf most = vf_load(r->scores[i]);
        for (size_t key = 16; key < n_keys; key += 16)
            most = vf_max(vf_load(r->scores[i] + key), most);
        r->top[i] = vf_max_of(most) * r->scale[i];
        vf scale = vf_set1(r->scale[i]), top = vf_set1(-r->top[i]);
        vi sum = vi_zero();
        for (size_t key = 0; key < n_keys; key += 16) {
            vi p = i8_power(vf_fma(vf_load(r->scores[i] + key), scale, top));
            sum = _mm512_add_epi32(sum, p);
            _mm_storeu_si128((__m128i *)(void *)(r->p[i] + key), _mm512_cvtusepi32_epi8(p));
        }
        r->part[i] = (float)_mm512_reduce_add_epi32(sum);
    }
    const vf ln2 = vf_set1(0.69314718f);
    for (size_t i = 0; i < n_rows; i += 16) {
        vf old = vf_load(r->max + i), top = vf_load(r->top + i), max = vf_max(old, top);
        vf decay = vf_exp_negative(vf_mul(vf_sub(old, max), ln2));
        vf factor = vf_exp_negative(vf_mul(vf_sub(top, max), ln2));
        vf_store(r->sum + i, vf_fma(vf_load(r->sum + i), decay, vf_mul(factor, vf_load(r->part + i))));
        vf_store(r->max + i, max);
        vf_store(r->decay + i, decay);
        vf_store(r->factor + i, factor);
    }
}

INLINE void i8_values_tile(const struct i8_head *h, size_t row, size_t vector, size_t first, size_t n_keys,
                           const size_t n_rows, const size_t n) {
    struct i8_rows *r = h->rows;
    const int8_t *values = h->values + (first / 4 * h->vectors + vector) * 64;
    vi sum[I8_TILE][4];
    UNROLL for (size_t i = 0; i < n_rows; i++) UNROLL for (size_t v = 0; v < n; v++) sum[i][v] = vi_zero();
    for (size_t key = 0; key < n_keys; key += 4, values += h->vectors * 64) {
        vi x[4];
        UNROLL for (size_t v = 0; v < n; v++) x[v] = vi_load(values + v * 64);
        UNROLL for (size_t i = 0; i < n_rows; i++) {
            vi p = vi_broadcast(&r->p[row + i][key]);
            UNROLL for (size_t v = 0; v < n; v++) sum[i][v] = vi_dot(sum[i][v], p, x[v]);
        }
    }
    UNROLL for (size_t v = 0; v < n; v++) {
        vf scale = vf_load(h->value_scales + (first / I8_KEYS * h->vectors + vector + v) * 16);
        UNROLL for (size_t i = 0; i < n_rows; i++) {
            float *acc = r->acc[row + i] + (vector + v) * 16;
            vf before = vf_mul(vf_load(acc), vf_set1(r->decay[row + i]));
            vf block = vf_mul(vf_of_vi(sum[i][v]), scale);
            vf_store(acc, vf_fma(block, vf_set1(r->factor[row + i]), before));
        }
    }
}

// 5 vectors are 3 and 2, so that no vector goes alone.
INLINE void i8_values(const struct i8_head *h, size_t row, size_t first, size_t n_keys, const size_t n_rows) {
    size_t at = 0;
    for (; h->vectors - at >= 6 || h->vectors - at == 4; at += 4)
        i8_values_tile(h, row, at, first, n_keys, n_rows, 4);
    for (; h->vectors - at >= 3; at += 3)
        i8_values_tile(h, row, at, first, n_keys, n_rows, 3);
    for (; h->vectors - at >= 2; at += 2)
        i8_values_tile(h, row, at, first, n_keys, n_rows, 2);
    if (at < h->vectors)
        i8_values_tile(h, row, at, first, n_keys, n_rows, 1);
}

static void i8_block(const struct i8_head *h, size_t n_rows, size_t first, size_t n_keys) {
    size_t row = 0;
    for (; row + I8_TILE <= n_rows; row += I8_TILE)
        i8_scores(h, row, first, n_keys, I8_TILE);
    for (; row < n_rows; row++)
        i8_scores(h, row, first, n_keys, 1);
    i8_softmax(h, n_rows, n_keys);
    for (row = 0; row + I8_TILE <= n_rows; row += I8_TILE)
        i8_values(h, row, first, n_keys, I8_TILE);
    for (; row < n_rows; row++)
        i8_values(h, row, first, n_keys, 1);
}

static void vector_attn_int8(const struct attn_int8 *a) {
    struct i8_head h = i8_head(a);
    memset(h.rows, 0, sizeof *h.rows);
    i8_mean(&h);
    i8_pack_keys(&h);
    i8_pack_values(&h);
    for (size_t row = 0, n; row < a->n_rows; row += n) {
        n = a->n_rows - row < I8_ROWS ? a->n_rows - row : I8_ROWS;
        i8_begin_rows(&h, row, n);
        for (size_t key = 0; key < a->n_keys; key += I8_KEYS)
            i8_block(&h, n, key, a->n_keys - key < I8_KEYS ? a->n_keys - key : I8_KEYS);
        for (size_t i = 0; i < n; i++)
            for (size_t d = 0; d < a->head_dim; d++)
                a->out[(row + i) * a->out_stride + d] = h.rows->acc[i][d] / h.rows->sum[i];
    }
}

#endif
