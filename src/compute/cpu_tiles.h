// Products of panels with 8-bit rows, written over the vectors of cpu_vector.h and cpu_unpack.h and
//   vi_zero vi_broadcast(p)    an i32 of memory in every lane
//   vi_dot(acc, w, x)          acc + sums of 4 products of u8 and i8
//   vi_dot_pairs(acc, a, b)    acc + sums of 2 products of i16
//   vf_of_vi                   lanes as f32
//   TILE_ROWS                  rows that a tile of PANELS_TOGETHER panels has registers for
//
// takes panels of 16 outputs and rows of act_block; gives y = x w^T
//
// 256 inputs of up to three panels are unpacked to bytes that stay in the first-level cache while all rows
// pass; a tile keeps the sums of some rows and all its outputs in registers. The sum over a group of 16 or 32
// inputs is an exact integer that starts at minus the offset of the quants times the sum of the row's; then
// floats take it in one order: groups, then blocks of 256. So a result does not depend on the tile.
#ifndef COMPUTE_CPU_TILES_H
#define COMPUTE_CPU_TILES_H

#include "compute/cpu_unpack.h"

enum {
    VECTORS = PANEL_OUTS / VF_N, // of a panel
    TILE_VECTORS = PANELS_TOGETHER * VECTORS,
    SINGLE_ROWS = 8, // rows of a tile of one panel
    TOTALS = PANELS_TOGETHER * PANEL_OUTS,
    PREFETCH_BYTES = 4096, // that decoding reads ahead of itself
};

// One block of up to 256 inputs of some panels, against rows.
struct tile_job {
    const struct panel_unpacked *w;
    const struct act_block *x; // [n_rows]
    float *totals;             // [n_rows, PANELS_TOGETHER, PANEL_OUTS]
    size_t n_rows, n;          // inputs
    bool first;                // totals hold nothing yet
};

INLINE void tile(const struct tile_job *j, size_t row, const size_t n_panels, const size_t n_rows,
                 const struct panel_kind kind) {
    const size_t n_vectors = n_panels * VECTORS;
    const struct act_block *x = j->x + row;
    vf acc[TILE_VECTORS][SINGLE_ROWS];
    for (size_t r = 0; r < n_rows; r++)
        for (size_t v = 0; v < n_vectors; v++) {
            const float *total = j->totals + (row + r) * TOTALS + v * VF_N;
            acc[v][r] = kind.fine_rows && !j->first ? vf_load(total) : vf_set1(0);
        }
    for (size_t g = 0; g < j->n / kind.group; g++) {
        vi sum[TILE_VECTORS][SINGLE_ROWS];
        for (size_t r = 0; r < n_rows; r++)
            for (size_t v = 0; v < n_vectors; v++)
                sum[v][r] = kind.offset ? vi_broadcast(&x[r].start[g]) : vi_zero();
        for (size_t k = 0; k < kind.group; k += 4) {
            vi w[TILE_VECTORS];
            for (size_t v = 0; v < n_vectors; v++)
                w[v] = vi_load(j->w[v / VECTORS].q[(g * kind.group + k) / 4][v % VECTORS * VF_N]);
            for (size_t r = 0; r < n_rows; r++) {
                vi qs = vi_broadcast(x[r].qs + g * kind.group + k);
                for (size_t v = 0; v < n_vectors; v++)
                    sum[v][r] = vi_dot(sum[v][r], w[v], qs);
            }
        }
        for (size_t v = 0; v < n_vectors; v++) {
            const struct panel_unpacked *w = &j->w[v / VECTORS];
            vf scale = vf_load(w->scales[g] + v % VECTORS * VF_N);
            for (size_t r = 0; r < n_rows; r++) {
                vf s = kind.fine_rows ? vf_mul(scale, vf_set1(x[r].d[g])) : scale;
                acc[v][r] = vf_fma(vf_of_vi(sum[v][r]), s, acc[v][r]);
                if (kind.mins == PANEL_MINS_F32)
                    acc[v][r] =
                        vf_fma(vf_load(w->m[g] + v % VECTORS * VF_N), vf_set1(x[r].sums[g]), acc[v][r]);
            }
        }
    }
    for (size_t r = 0; r < n_rows; r++)
        for (size_t v = 0; v < n_vectors; v++) {
            const struct panel_unpacked *w = &j->w[v / VECTORS];
            float *total = j->totals + (row + r) * TOTALS + v * VF_N;
            if (kind.mins == PANEL_MINS_I16) {
                vi sum = vi_zero();
                for (size_t i = 0; i < j->n / kind.group / 2; i++)
                    sum = vi_dot_pairs(sum, vi_load(w->mins[i][v % VECTORS * VF_N]),
                                       vi_broadcast(x[r].group_sums + 2 * i));
                vf d_min = vf_load(w->d_min + v % VECTORS * VF_N);
                acc[v][r] = vf_sub(acc[v][r], vf_mul(vf_of_vi(sum), d_min));
            }
            if (!kind.fine_rows)
                acc[v][r] = vf_fma(acc[v][r], vf_set1(x[r].d[0]), j->first ? vf_set1(0) : vf_load(total));
            vf_store(total, acc[v][r]);
        }
}

INLINE void tiles(const struct tile_job *j, size_t n_panels, const struct panel_kind kind) {
    size_t row = 0;
    if (n_panels == PANELS_TOGETHER) {
        for (; row + TILE_ROWS <= j->n_rows; row += TILE_ROWS)
            tile(j, row, PANELS_TOGETHER, TILE_ROWS, kind);
        for (; row < j->n_rows; row++)
            tile(j, row, PANELS_TOGETHER, 1, kind);
        return;
    }
    for (; row + SINGLE_ROWS <= j->n_rows; row += SINGLE_ROWS)
        tile(j, row, 1, SINGLE_ROWS, kind);
    for (; row + 4 <= j->n_rows; row += 4)
        tile(j, row, 1, 4, kind);
    for (; row + 2 <= j->n_rows; row += 2)
        tile(j, row, 1, 2, kind);
    for (; row < j->n_rows; row++)
        tile(j, row, 1, 1, kind);
}

// One copy of the tiles for each kind, not for each type: whether there is an offset counts, not which.
#define TILES(name, ...)                                                                                     \
    static __attribute__((noinline)) void tiles_##name(const struct tile_job *j, size_t n_panels) {          \
        tiles(j, n_panels, (struct panel_kind){__VA_ARGS__});                                                \
    }
TILES(fine, true, 32, PANEL_MINS_NONE, 1)
TILES(fine_mins, true, 32, PANEL_MINS_F32, 0)
TILES(coarse32, false, 32, PANEL_MINS_NONE, 1)
TILES(coarse16, false, 16, PANEL_MINS_NONE, 1)
TILES(coarse32_mins, false, 32, PANEL_MINS_I16, 0)
TILES(coarse16_mins, false, 16, PANEL_MINS_I16, 0)

INLINE void tiles_of_kind(const struct tile_job *j, size_t n_panels, const struct panel_kind kind) {
    if (kind.mins == PANEL_MINS_F32)
        tiles_fine_mins(j, n_panels);
    else if (kind.fine_rows)
        tiles_fine(j, n_panels);
    else if (kind.mins == PANEL_MINS_I16 && kind.group == 32)
        tiles_coarse32_mins(j, n_panels);
    else if (kind.mins == PANEL_MINS_I16)
        tiles_coarse16_mins(j, n_panels);
    else if (kind.group == 32)
        tiles_coarse32(j, n_panels);
    else
        tiles_coarse16(j, n_panels);
}

// Block i of 256 inputs (n of them) of a panel.
INLINE void unpack(struct panel_unpacked *u, const struct panel_product *p, const uint8_t *panel, size_t i,
                   size_t n, size_t n_outs, enum tensor_type type) {
    const size_t block_n = quant_block_n(type), bytes = quant_block_bytes(type) * PANEL_OUTS;
    const uint8_t *block = panel + i * (PANEL_N / block_n) * bytes;
    if (block_n == 32)
        for (size_t k = 0; k < n / 32; k++)
            unpack32(u, k, block + k * bytes, type);
    else if (type == TENSOR_Q2_K)
        unpack_q2_k(u, block);
    else if (type == TENSOR_Q3_K)
        unpack_q3_k(u, block);
    else if (type == TENSOR_Q4_K)
        unpack_q4_k(u, block);
    else if (type == TENSOR_Q5_K)
        unpack_q5_k(u, block);
    else if (type == TENSOR_Q6_K)
        unpack_q6_k(u, block);
    else if (type == TENSOR_IQ4_XS)
        unpack_iq4_xs(u, block);
    else
        unpack_rows(u, panel, p->panel_bytes / PANEL_OUTS, i, n_outs, type);
}

INLINE void prefetch(const uint8_t *p, size_t size_bytes) {
    for (size_t i = 0; i < size_bytes; i += 64)
        _mm_prefetch((const char *)p + i, _MM_HINT_T1);
}

static void store_totals(const struct panel_product *p, const float *totals, size_t out, size_t n_outs) {
    for (size_t r = 0; r < p->n_rows; r++, totals += TOTALS)
        for (size_t at = 0; at < n_outs; at += VF_N) {
            size_t n = n_outs - at < VF_N ? n_outs - at : VF_N;
            float *y = p->y + r * p->y_stride + out + at;
            vf v = vf_load(totals + at);
            if (p->bias)
                v = vf_add(v, vf_load_part(p->bias + out + at, n));
            if (p->add)
                v = vf_add(vf_load_part(y, n), v);
            vf_store_part(y, n, v);
        }
}

// Some panels from output `out` on. A few rows take one panel at a time, so that memory is read in order.
INLINE void panel_product(const struct panel_product *p, size_t out, const size_t n_panels,
                          enum tensor_type type) {
    struct panel_scratch *s = p->scratch;
    const uint8_t *panel = p->w + out / PANEL_OUTS * p->panel_bytes;
    const size_t block_bytes = quant_block_bytes(type) * (PANEL_N / quant_block_n(type)) * PANEL_OUTS;
    size_t n_outs = p->n_out - out < n_panels * PANEL_OUTS ? p->n_out - out : n_panels * PANEL_OUTS;
    for (size_t i = 0; i < act_n_blocks(p->n_in); i++) {
        size_t n = p->n_in - i * PANEL_N < PANEL_N ? p->n_in - i * PANEL_N : PANEL_N;
        for (size_t k = 0; k < n_panels; k++) {
            if (n_panels == 1)
                prefetch(panel + i * block_bytes + PREFETCH_BYTES, block_bytes);
            size_t left = n_outs - k * PANEL_OUTS < PANEL_OUTS ? n_outs - k * PANEL_OUTS : PANEL_OUTS;
            unpack(&s->panels[k], p, panel + k * p->panel_bytes, i, n, left, type);
        }
        struct tile_job job = {s->panels, p->x + i * p->x_stride, s->totals, p->n_rows, n, i == 0};
        tiles_of_kind(&job, n_panels, panel_kind(type));
    }
    store_totals(p, s->totals, out, n_outs);
}

INLINE void panel_products(const struct panel_product *p, enum tensor_type type) {
    size_t out = 0;
    if (p->n_rows > SINGLE_ROWS)
        for (; out + TOTALS <= p->n_out; out += TOTALS)
            panel_product(p, out, PANELS_TOGETHER, type);
    for (; out < p->n_out; out += PANEL_OUTS)
        panel_product(p, out, 1, type);
}

// The table's functions have no argument for the type.
#define PANEL_PRODUCT(type, name, block_n, label)                                                            \
    static void panels_##name(const struct panel_product *p) {                                               \
        panel_products(p, TENSOR_##type);                                                                    \
    }
#define PANEL_ROW(type, name, block_n, label) k->panels[TENSOR_##type] = panels_##name;
QUANT_BLOCK_TYPES(PANEL_PRODUCT)

// qs[n] by the arithmetic of quant.c, so that all instruction sets see the same activations. Returns d.
INLINE float quantise(int8_t *qs, const float *x, size_t n) {
    vf largest = vf_set1(0);
    for (size_t i = 0; i < n; i += VF_N)
        largest = vf_max(vf_abs(vf_load(x + i)), largest);
    float max = vf_max_of(largest);
    vf inverse = vf_set1(max > 1e-30f ? 127.0f / max : 0);
    for (size_t i = 0; i < n; i += VF_N)
        vf_store_i8(qs + i, vf_mul(vf_load(x + i), inverse));
    return max / 127.0f;
}

static void quantise_act(struct act_block *a, const float *x, size_t n, const struct panel_kind *kind) {
    if (kind->fine_rows)
        for (size_t i = 0; i < n / 32; i++)
            a->d[i] = quantise(a->qs + 32 * i, x + 32 * i, 32);
    else {
        float d = quantise(a->qs, x, n);
        for (size_t i = 0; i < 8; i++)
            a->d[i] = d;
    }
    act_set_sums(a, kind, n);
}

static void panel_kernels(struct cpu_kernels *k) {
    QUANT_BLOCK_TYPES(PANEL_ROW)
    k->quantise_act = quantise_act;
}

#endif
