// Products of panels with 8-bit rows, written over the vectors of cpu_vector.h and cpu_unpack.h and
//   vi_zero vi_broadcast(p)    an i32 of memory in every lane
//   vi_dot(acc, w, x)          acc + sums of 4 products of u8 and i8
//   vi_step(acc, w, x, most)   the same for unpacked quants w <= most, in lanes that may have as few as 16 bits: they
//                              hold DOT_STEPS(most) of them
//   vi_steps_begin(sum, most), vi_steps_end(sum, acc, most)   acc for such steps, and sum + what they gave
//   vi_group_start(p, offset)  what the sum of a group starts with, p = act_block's `start`
//   vi_dot_pairs(acc, a, b)    acc + sums of 2 products of i16
//   vf_of_vi                   lanes as f32
//   TILE_ROWS                  rows whose sums of a panel the registers hold: 4 or 8
//
// takes panels of 16 outputs and rows of act_block; gives y = x w^T
//
// A panel passes block by block of 256 inputs, and each block meets all rows, TILE_ROWS at a time: their sums
// stay in registers, quants go from memory (for further tiles, the first-level cache) through a few operations
// into the products. The sum over a group of 16 or 32 inputs is an exact integer that starts at minus the
// offset of the quants times the sum of the row's; then floats take it in one order: groups, then blocks of
// 256. So a result does not depend on the tile.
#ifndef COMPUTE_CPU_TILES_H
#define COMPUTE_CPU_TILES_H

#include "compute/cpu_unpack.h"

enum { VECTORS = PANEL_OUTS / VF_N }; // of a panel

// Loops over a tile must be gone for its sums to stay in registers.
#ifdef __clang__
#define UNROLL _Pragma("unroll")
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) // gcc cannot there, and warns
#define UNROLL
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

// One block of up to 256 inputs of a panel, against rows.
struct tile_job {
    const struct panel_scales *w;
    const uint8_t *quants;     // in the panel; of codebook types unpacked [PANEL_N / 4, PANEL_OUTS, 4]
    const struct act_block *x; // [n_rows]
    float *totals;             // [n_rows, PANEL_OUTS], of the blocks before
    size_t n_rows, n;          // n inputs
};

// A group of inputs that share a scale, in the order of a row. Where a type of 256 keeps its quants is known
// at compile time but for the half.
struct tile_group {
    size_t half, in_half; // of 8 x 32 or 16 x 16
    size_t at;            // of all
};

// Whether vectors take the type's quants; the codebook types are unpacked by plain C.
INLINE bool is_interleaved(enum tensor_type type) {
    return quant_block_n(type) == 32 || panel_kind(type).offset != 128 || type == TENSOR_IQ4_XS;
}

// Inputs k .. k + 3 of a group.
INLINE vi tile_unit(const struct tile_job *j, const struct tile_group g, size_t k, size_t v,
                    enum tensor_type type) {
    const size_t group = panel_kind(type).group;
    if (!is_interleaved(type))
        return vi_load(j->quants + (g.at * group + k) * PANEL_OUTS + v * VI_BYTES);
    if (quant_block_n(type) == 32)
        return unit32(j->quants + g.at * quant_block_bytes(type) * PANEL_OUTS, k / 4, v, type);
    return unit256(j->quants, g.half, (g.in_half * group + k) / 4, v, type);
}

// Steps whose sums fit 16 bits: each is two products of a quant and of 127.
#define DOT_STEPS(most) ((most) <= 15 ? 8 : (most) <= 31 ? 4 : (most) <= 63 ? 2 : 1)

// acc[v][r] += w . x over the n inputs from k on of a group.
INLINE void tile_steps(vi acc[VECTORS][TILE_ROWS], const struct tile_job *j, const struct act_block *x,
                       const struct tile_group g, size_t k, const size_t n, const size_t n_rows,
                       enum tensor_type type) {
    const struct panel_kind kind = panel_kind(type);
    UNROLL for (size_t i = 0; i < n; i += 4) {
        vi w[VECTORS];
        UNROLL for (size_t v = 0; v < VECTORS; v++) w[v] = tile_unit(j, g, k + i, v, type);
        UNROLL for (size_t r = 0; r < n_rows; r++) {
            vi qs = vi_broadcast(x[r].qs + g.at * kind.group + k + i);
            UNROLL for (size_t v = 0; v < VECTORS; v++) acc[v][r] = vi_step(acc[v][r], w[v], qs, kind.most);
        }
    }
}

// sum[v][r] = -offset * sum(x) + w . x over a group: whole numbers.
INLINE void tile_sums(vi sum[VECTORS][TILE_ROWS], const struct tile_job *j, const struct act_block *x,
                      const struct tile_group g, const size_t n_rows, enum tensor_type type) {
    const struct panel_kind kind = panel_kind(type);
    const size_t at_once = 4 * DOT_STEPS(kind.most) < kind.group ? 4 * DOT_STEPS(kind.most) : kind.group;
    vi acc[VECTORS][TILE_ROWS];
    UNROLL for (size_t r = 0; r < n_rows; r++) UNROLL for (size_t v = 0; v < VECTORS; v++) sum[v][r] =
        kind.offset ? vi_group_start(&x[r].start[g.at], kind.offset) : vi_zero();
    UNROLL for (size_t k = 0; k < kind.group; k += at_once) {
        UNROLL for (size_t r = 0; r < n_rows; r++) UNROLL for (size_t v = 0; v < VECTORS; v++) acc[v][r] =
            vi_steps_begin(sum[v][r], kind.most);
        tile_steps(acc, j, x, g, k, at_once, n_rows, type);
        UNROLL for (size_t r = 0; r < n_rows; r++) UNROLL for (size_t v = 0; v < VECTORS; v++) sum[v][r] =
            vi_steps_end(sum[v][r], acc[v][r], kind.most);
    }
}

// A group's share of the bytes to come: a whole block's at once would fill all the buffers. How far ahead was
// found by trying (docs/performance.md).
INLINE void prefetch_group(const struct tile_job *j, const struct tile_group g, enum tensor_type type) {
    const size_t bytes = quant_block_bytes(type) * PANEL_OUTS * panel_kind(type).group / quant_block_n(type);
    const uint8_t *ahead = j->quants + g.at * bytes + (type == TENSOR_Q8_0 ? 4096 : 8192);
    for (size_t i = 0; i < bytes; i += 64)
        _mm_prefetch((const char *)ahead + i, _MM_HINT_T1);
}

// acc += scale sum
INLINE void tile_add_group(vf acc[VECTORS][TILE_ROWS], const struct tile_job *j, const struct act_block *x,
                           const struct tile_group g, const size_t n_rows, enum tensor_type type) {
    const struct panel_kind kind = panel_kind(type);
    vi sum[VECTORS][TILE_ROWS];
    if (x == j->x && is_interleaved(type))
        prefetch_group(j, g, type);
    tile_sums(sum, j, x, g, n_rows, type);
    UNROLL for (size_t v = 0; v < VECTORS; v++) {
        vf scale = vf_load(j->w->scales[g.at] + v * VF_N);
        UNROLL for (size_t r = 0; r < n_rows; r++) {
            vf s = kind.fine_rows ? vf_mul(scale, vf_set1(x[r].d[g.at])) : scale;
            acc[v][r] = vf_fma(vf_of_vi(sum[v][r]), s, acc[v][r]);
            if (kind.mins == PANEL_MINS_F32)
                acc[v][r] = vf_fma(vf_load(j->w->m[g.at] + v * VF_N), vf_set1(x[r].sums[g.at]), acc[v][r]);
        }
    }
}

// acc -= d_min (mins . sums of the groups of x)
INLINE void tile_mins(vf acc[VECTORS][TILE_ROWS], const struct tile_job *j, const struct act_block *x,
                      const size_t n_rows, enum tensor_type type) {
    vi sum[VECTORS][TILE_ROWS];
    UNROLL for (size_t v = 0; v < VECTORS; v++) UNROLL for (size_t r = 0; r < n_rows; r++) sum[v][r] =
        vi_zero();
    UNROLL for (size_t i = 0; i < PANEL_N / panel_kind(type).group / 2; i++)
        UNROLL for (size_t v = 0; v < VECTORS; v++) {
        vi mins = vi_load(j->w->mins[i][v * VF_N]);
        UNROLL for (size_t r = 0; r < n_rows; r++) sum[v][r] =
            vi_dot_pairs(sum[v][r], mins, vi_broadcast(x[r].group_sums + 2 * i));
    }
    UNROLL for (size_t v = 0; v < VECTORS; v++) {
        vf d_min = vf_load(j->w->d_min + v * VF_N);
        UNROLL for (size_t r = 0; r < n_rows; r++) acc[v][r] =
            vf_sub(acc[v][r], vf_mul(vf_of_vi(sum[v][r]), d_min));
    }
}

INLINE void tile(const struct tile_job *j, size_t row, const size_t n_rows, enum tensor_type type) {
    const struct panel_kind kind = panel_kind(type);
    const size_t in_half = PANEL_N / 2 / kind.group;
    const struct act_block *x = j->x + row;
    float *totals = j->totals + row * PANEL_OUTS;
    vf acc[VECTORS][TILE_ROWS];
    UNROLL for (size_t r = 0; r < n_rows; r++) UNROLL for (size_t v = 0; v < VECTORS; v++) acc[v][r] =
        kind.fine_rows ? vf_load(totals + r * PANEL_OUTS + v * VF_N) : vf_set1(0);
    if (quant_block_n(type) == 32 || !is_interleaved(type))
        for (size_t g = 0; g < j->n / kind.group; g++)
            tile_add_group(acc, j, x, (struct tile_group){.at = g}, n_rows, type);
    else
        for (size_t half = 0; half < 2; half++)
            UNROLL for (size_t g = 0; g < in_half; g++)
                tile_add_group(acc, j, x, (struct tile_group){half, g, half * in_half + g}, n_rows, type);
    if (kind.mins == PANEL_MINS_I16)
        tile_mins(acc, j, x, n_rows, type);
    UNROLL for (size_t r = 0; r < n_rows; r++) UNROLL for (size_t v = 0; v < VECTORS; v++) {
        float *total = totals + r * PANEL_OUTS + v * VF_N;
        vf_store(total, kind.fine_rows ? acc[v][r] : vf_fma(acc[v][r], vf_set1(x[r].d[0]), vf_load(total)));
    }
}

INLINE void tiles(const struct tile_job *j, enum tensor_type type) {
    size_t row = 0;
    for (; row + TILE_ROWS <= j->n_rows; row += TILE_ROWS)
        tile(j, row, TILE_ROWS, type);
    for (; TILE_ROWS > 4 && row + 4 <= j->n_rows; row += 4)
        tile(j, row, 4, type);
    for (; row + 2 <= j->n_rows; row += 2)
        tile(j, row, 2, type);
    for (; row < j->n_rows; row++)
        tile(j, row, 1, type);
}

// One copy for all codebook types: what is unpacked is of one kind.
static __attribute__((noinline)) void tiles_unpacked(const struct tile_job *j) {
    tiles(j, TENSOR_IQ2_XXS);
}

INLINE void unpack_scales(struct panel_scales *u, const uint8_t *block, size_t n, enum tensor_type type) {
    if (quant_block_n(type) == 256)
        scales256(u, block, type);
    else
        for (size_t i = 0; i < n / 32; i++)
            scales32(u, i, block + i * quant_block_bytes(type) * PANEL_OUTS, type);
}

// y [n_rows, n_outs] = totals + bias, or added to y; rows lie so many floats apart.
static void store_totals(float *y, size_t y_stride, const float *totals, size_t totals_stride, size_t n_rows,
                         size_t n_outs, const float *bias, bool add) {
    for (size_t r = 0; r < n_rows; r++, y += y_stride, totals += totals_stride)
        for (size_t at = 0; at < n_outs; at += VF_N) {
            size_t n = n_outs - at < VF_N ? n_outs - at : VF_N;
            vf v = vf_load(totals + at);
            if (bias)
                v = vf_add(v, vf_load_part(bias + at, n));
            if (add)
                v = vf_add(vf_load_part(y + at, n), v);
            vf_store_part(y + at, n, v);
        }
}

// The panel of the outputs from `out` on.
INLINE void panel_product(const struct panel_product *p, size_t out, enum tensor_type type) {
    struct panel_scratch *s = p->scratch;
    const uint8_t *panel = p->w + out / PANEL_OUTS * p->panel_bytes;
    const size_t block_bytes = quant_block_bytes(type) * (PANEL_N / quant_block_n(type)) * PANEL_OUTS;
    size_t n_outs = p->n_out - out < PANEL_OUTS ? p->n_out - out : PANEL_OUTS;
    memset(s->totals, 0, p->n_rows * PANEL_OUTS * sizeof *s->totals);
    for (size_t i = 0; i < act_n_blocks(p->n_in); i++) {
        size_t n = p->n_in - i * PANEL_N < PANEL_N ? p->n_in - i * PANEL_N : PANEL_N;
        struct tile_job job = {
            &s->scales, panel + i * block_bytes, p->x + i * p->x_stride, s->totals, p->n_rows, n};
        if (is_interleaved(type)) {
            unpack_scales(&s->scales, job.quants, n, type);
            tiles(&job, type);
        } else {
            job.quants = &s->quants[0][0][0];
            unpack_rows(s, panel, p->panel_bytes / PANEL_OUTS, i, n_outs, type);
            tiles_unpacked(&job);
        }
    }
    store_totals(p->y + out, p->y_stride, s->totals, PANEL_OUTS, p->n_rows, n_outs,
                 p->bias ? p->bias + out : NULL, p->add);
}

// The table's functions have no argument for the type.
#define PANEL_PRODUCT(type, name, block_n, label)                                                            \
    static void panels_##name(const struct panel_product *p) {                                               \
        for (size_t out = 0; out < p->n_out; out += PANEL_OUTS)                                              \
            panel_product(p, out, TENSOR_##type);                                                            \
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
