// Products of panels with 8-bit rows, written over the vectors of cpu_vector.h and cpu_unpack.h and
//   vi_zero vi_broadcast(p)    an i32 of memory in every lane
//   vi_dot(acc, w, x, wide)    acc + sums of 4 products of u8 and i8; w <= 63 unless wide
//   vi_step(acc, w, x, most)   the same for unpacked quants w <= most, in lanes that may have as few as 16 bits: they
//                              hold DOT_STEPS(most) of them
//   vi_steps_begin(sum, most), vi_steps_end(sum, acc, most)   acc for such steps, and sum + what they gave
//   vi_group_start(p, offset)  what the sum of a group starts with, p = act_block's `start`
//   vi_dot_pairs(acc, a, b)    acc + sums of 2 products of i16
//   vf_of_vi                   lanes as f32
//   TILE_ROWS, TILE_PANELS     what a tile has registers for
//
// takes panels of 16 outputs and rows of act_block; gives y = x w^T
//
// 256 inputs of up to three panels are unpacked to bytes that stay in the first-level cache while all rows
// pass; for a single row quants go from memory to the products by themselves. A tile keeps the sums of some
// rows and all its outputs in registers. The sum over a group of 16 or 32 inputs is an exact integer that
// starts at minus the offset of the quants times the sum of the row's; then floats take it in one order:
// groups, then blocks of 256. So a result does not depend on the tile.
#ifndef COMPUTE_CPU_TILES_H
#define COMPUTE_CPU_TILES_H

#include "compute/cpu_unpack.h"

enum {
    VECTORS = PANEL_OUTS / VF_N, // of a panel
    TILE_VECTORS = PANELS_TOGETHER * VECTORS,
    SINGLE_ROWS = 8,       // rows of a tile of one panel
    PREFETCH_BYTES = 4096, // that a few rows read ahead of themselves
    TOTALS = PANELS_TOGETHER * PANEL_OUTS,
};

// Loops over a tile must be gone for its sums to stay in registers.
#ifdef __clang__
#define UNROLL _Pragma("unroll")
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) // gcc cannot there, and warns
#define UNROLL
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

#define UNPACKED TENSOR_F32 // in place of a type: quants are taken as they have been unpacked

// One block of up to 256 inputs of some panels, against rows.
struct tile_job {
    const struct panel_unpacked *w;
    const uint8_t *block;      // of one panel, where quants are not unpacked
    const struct act_block *x; // [n_rows]
    float *totals;             // [n_rows, PANELS_TOGETHER, PANEL_OUTS], of the blocks before
    size_t n_rows, n;          // n inputs
};

// Unit k / 4 of group g: as unpacked, or straight from a panel's block.
INLINE vi tile_unit(const struct tile_job *j, size_t g, size_t k, size_t v, const struct panel_kind kind,
                    enum tensor_type type) {
    if (type == UNPACKED)
        return vi_load(&j->w->q[0][0][0] + v / VECTORS * sizeof *j->w + (g * kind.group + k) * PANEL_OUTS +
                       v % VECTORS * VI_BYTES);
    if (quant_block_n(type) == 32)
        return unit32(j->block + g * quant_block_bytes(type) * PANEL_OUTS, k / 4, v, type);
    return unit256(j->block, (g * kind.group + k) / 4, v, type);
}

// Steps whose sums fit 16 bits: each is two products of a quant and of 127.
#define DOT_STEPS(most) ((most) <= 15 ? 8 : (most) <= 31 ? 4 : (most) <= 63 ? 2 : 1)

// acc[v][r] += w . x over the n inputs from k on of group g.
INLINE void tile_steps(vi acc[TILE_VECTORS][SINGLE_ROWS], const struct tile_job *j, const struct act_block *x,
                       size_t g, size_t k, const size_t n, const size_t n_vectors, const size_t n_rows,
                       const struct panel_kind kind, enum tensor_type type) {
    UNROLL for (size_t i = 0; i < n; i += 4) {
        vi w[TILE_VECTORS];
        UNROLL for (size_t v = 0; v < n_vectors; v++) w[v] = tile_unit(j, g, k + i, v, kind, type);
        UNROLL for (size_t r = 0; r < n_rows; r++) {
            vi qs = vi_broadcast(x[r].qs + g * kind.group + k + i);
            UNROLL for (size_t v = 0; v < n_vectors; v++) acc[v][r] = vi_step(acc[v][r], w[v], qs, kind.most);
        }
    }
}

// sum[v][r] = -offset * sum(x) + w . x over group g: whole numbers.
INLINE void tile_group(vi sum[TILE_VECTORS][SINGLE_ROWS], const struct tile_job *j, const struct act_block *x,
                       size_t g, const size_t n_vectors, const size_t n_rows, const struct panel_kind kind,
                       enum tensor_type type) {
    const size_t at_once = 4 * DOT_STEPS(kind.most) < kind.group ? 4 * DOT_STEPS(kind.most) : kind.group;
    vi acc[TILE_VECTORS][SINGLE_ROWS];
    UNROLL for (size_t r = 0; r < n_rows; r++) UNROLL for (size_t v = 0; v < n_vectors; v++) sum[v][r] =
        kind.offset ? vi_group_start(&x[r].start[g], kind.offset) : vi_zero();
    UNROLL for (size_t k = 0; k < kind.group; k += at_once) {
        UNROLL for (size_t r = 0; r < n_rows; r++) UNROLL for (size_t v = 0; v < n_vectors; v++) acc[v][r] =
            vi_steps_begin(sum[v][r], kind.most);
        tile_steps(acc, j, x, g, k, at_once, n_vectors, n_rows, kind, type);
        UNROLL for (size_t r = 0; r < n_rows; r++) UNROLL for (size_t v = 0; v < n_vectors; v++) sum[v][r] =
            vi_steps_end(sum[v][r], acc[v][r], kind.most);
    }
}

INLINE void prefetch(const uint8_t *p, size_t size_bytes) {
    for (size_t i = 0; i < size_bytes; i += 64)
        _mm_prefetch((const char *)p + i, _MM_HINT_T1);
}

// acc += scale sum
INLINE void tile_add_group(vf acc[TILE_VECTORS][SINGLE_ROWS], const struct tile_job *j,
                           const struct act_block *x, size_t g, const size_t n_vectors, const size_t n_rows,
                           const struct panel_kind kind, enum tensor_type type) {
    if (type !=
        UNPACKED) { // a group's share of the bytes: a whole block's at once would fill all the buffers
        const size_t bytes = quant_block_bytes(type) * PANEL_OUTS * kind.group / quant_block_n(type);
        prefetch(j->block + g * bytes + PREFETCH_BYTES, bytes);
    }
    vi sum[TILE_VECTORS][SINGLE_ROWS];
    tile_group(sum, j, x, g, n_vectors, n_rows, kind, type);
    UNROLL for (size_t v = 0; v < n_vectors; v++) {
        const struct panel_unpacked *w = &j->w[v / VECTORS];
        vf scale = vf_load(w->scales[g] + v % VECTORS * VF_N);
        UNROLL for (size_t r = 0; r < n_rows; r++) {
            vf s = kind.fine_rows ? vf_mul(scale, vf_set1(x[r].d[g])) : scale;
            acc[v][r] = vf_fma(vf_of_vi(sum[v][r]), s, acc[v][r]);
            if (kind.mins == PANEL_MINS_F32)
                acc[v][r] = vf_fma(vf_load(w->m[g] + v % VECTORS * VF_N), vf_set1(x[r].sums[g]), acc[v][r]);
        }
    }
}

// acc -= d_min (mins . sums of the groups of x)
INLINE void tile_mins(vf acc[TILE_VECTORS][SINGLE_ROWS], const struct tile_job *j, const struct act_block *x,
                      const size_t n_vectors, const size_t n_rows, const struct panel_kind kind) {
    vi sum[TILE_VECTORS][SINGLE_ROWS];
    UNROLL for (size_t v = 0; v < n_vectors; v++) UNROLL for (size_t r = 0; r < n_rows; r++) sum[v][r] =
        vi_zero();
    UNROLL for (size_t i = 0; i < PANEL_N / kind.group / 2; i++)
        UNROLL for (size_t v = 0; v < n_vectors; v++) {
        vi mins = vi_load(j->w[v / VECTORS].mins[i][v % VECTORS * VF_N]);
        UNROLL for (size_t r = 0; r < n_rows; r++) sum[v][r] =
            vi_dot_pairs(sum[v][r], mins, vi_broadcast(x[r].group_sums + 2 * i));
    }
    UNROLL for (size_t v = 0; v < n_vectors; v++) {
        vf d_min = vf_load(j->w[v / VECTORS].d_min + v % VECTORS * VF_N);
        UNROLL for (size_t r = 0; r < n_rows; r++) acc[v][r] =
            vf_sub(acc[v][r], vf_mul(vf_of_vi(sum[v][r]), d_min));
    }
}

INLINE void tile(const struct tile_job *j, size_t row, const size_t n_panels, const size_t n_rows,
                 const struct panel_kind kind, enum tensor_type type) {
    const size_t n_vectors = n_panels * VECTORS, n = kind.fine_rows ? j->n : PANEL_N;
    const struct act_block *x = j->x + row;
    float *totals = j->totals + row * TOTALS;
    vf acc[TILE_VECTORS][SINGLE_ROWS];
    UNROLL for (size_t r = 0; r < n_rows; r++) UNROLL for (size_t v = 0; v < n_vectors; v++) acc[v][r] =
        kind.fine_rows ? vf_load(totals + r * TOTALS + v * VF_N) : vf_set1(0);
    if (type == UNPACKED || kind.fine_rows)
        for (size_t g = 0; g < n / kind.group; g++)
            tile_add_group(acc, j, x, g, n_vectors, n_rows, kind, type);
    else // unrolled, because where a type of 256 keeps its quants depends on the group
        UNROLL for (size_t g = 0; g < PANEL_N / kind.group; g++)
            tile_add_group(acc, j, x, g, n_vectors, n_rows, kind, type);
    if (kind.mins == PANEL_MINS_I16)
        tile_mins(acc, j, x, n_vectors, n_rows, kind);
    UNROLL for (size_t r = 0; r < n_rows; r++) UNROLL for (size_t v = 0; v < n_vectors; v++) {
        float *total = totals + r * TOTALS + v * VF_N;
        vf_store(total, kind.fine_rows ? acc[v][r] : vf_fma(acc[v][r], vf_set1(x[r].d[0]), vf_load(total)));
    }
}

INLINE void tiles(const struct tile_job *j, size_t n_panels, const struct panel_kind kind) {
    size_t row = 0;
    if (n_panels == PANELS_TOGETHER) {
        for (; row + TILE_ROWS <= j->n_rows; row += TILE_ROWS)
            for (size_t k = 0; k < PANELS_TOGETHER; k += TILE_PANELS) {
                struct tile_job some = *j;
                some.w += k;
                some.totals += k * PANEL_OUTS;
                tile(&some, row, TILE_PANELS, TILE_ROWS, kind, UNPACKED);
            }
        for (; row < j->n_rows; row++)
            tile(j, row, PANELS_TOGETHER, 1, kind, UNPACKED);
        return;
    }
    for (; row + SINGLE_ROWS <= j->n_rows; row += SINGLE_ROWS)
        tile(j, row, 1, SINGLE_ROWS, kind, UNPACKED);
    for (; row + 4 <= j->n_rows; row += 4)
        tile(j, row, 1, 4, kind, UNPACKED);
    for (; row + 2 <= j->n_rows; row += 2)
        tile(j, row, 1, 2, kind, UNPACKED);
    for (; row < j->n_rows; row++)
        tile(j, row, 1, 1, kind, UNPACKED);
}

// One copy of the tiles for each kind, not for each type: of offsets counts whether there is one, or 128.
#define TILES(name, ...)                                                                                     \
    static __attribute__((noinline)) void tiles_##name(const struct tile_job *j, size_t n_panels) {          \
        tiles(j, n_panels, (struct panel_kind){__VA_ARGS__});                                                \
    }
TILES(fine, true, 32, PANEL_MINS_NONE, 1, 15)
TILES(fine_5_bits, true, 32, PANEL_MINS_NONE, 1, 31)
TILES(fine_wide, true, 32, PANEL_MINS_NONE, 128, 255)
TILES(fine_mins, true, 32, PANEL_MINS_F32, 0, 31)
TILES(coarse32_wide, false, 32, PANEL_MINS_NONE, 128, 255)
TILES(coarse16, false, 16, PANEL_MINS_NONE, 1, 63)
TILES(coarse16_wide, false, 16, PANEL_MINS_NONE, 128, 255)
TILES(coarse32_mins, false, 32, PANEL_MINS_I16, 0, 15)
TILES(coarse32_mins_5_bits, false, 32, PANEL_MINS_I16, 0, 31)
TILES(coarse16_mins, false, 16, PANEL_MINS_I16, 0, 3)

INLINE void tiles_of_kind(const struct tile_job *j, size_t n_panels, const struct panel_kind kind) {
    if (kind.mins == PANEL_MINS_F32)
        tiles_fine_mins(j, n_panels);
    else if (kind.fine_rows && kind.offset == 128)
        tiles_fine_wide(j, n_panels);
    else if (kind.fine_rows && kind.most > 15)
        tiles_fine_5_bits(j, n_panels);
    else if (kind.fine_rows)
        tiles_fine(j, n_panels);
    else if (kind.mins == PANEL_MINS_I16 && kind.most > 15)
        tiles_coarse32_mins_5_bits(j, n_panels);
    else if (kind.mins == PANEL_MINS_I16 && kind.group == 32)
        tiles_coarse32_mins(j, n_panels);
    else if (kind.mins == PANEL_MINS_I16)
        tiles_coarse16_mins(j, n_panels);
    else if (kind.group == 32)
        tiles_coarse32_wide(j, n_panels);
    else if (kind.offset == 128)
        tiles_coarse16_wide(j, n_panels);
    else
        tiles_coarse16(j, n_panels);
}

// Whether vectors take the type's quants; the codebook types are unpacked by plain C.
INLINE bool is_interleaved(enum tensor_type type) {
    return quant_block_n(type) == 32 || panel_kind(type).offset != 128 || type == TENSOR_IQ4_XS;
}

INLINE void unpack_scales(struct panel_unpacked *u, const uint8_t *block, size_t n, enum tensor_type type) {
    if (quant_block_n(type) == 256)
        scales256(u, block, type);
    else
        for (size_t i = 0; i < n / 32; i++)
            scales32(u, i, block + i * quant_block_bytes(type) * PANEL_OUTS, type);
}

INLINE void unpack_quants(struct panel_unpacked *u, const uint8_t *block, size_t n, enum tensor_type type) {
    if (quant_block_n(type) == 32) {
        for (size_t i = 0; i < n / 32; i++, block += quant_block_bytes(type) * PANEL_OUTS)
            UNROLL for (size_t j = 0; j < 8; j++) UNROLL for (size_t v = 0; v < VECTORS; v++)
                vi_store(u->q[8 * i + j][v * VF_N], unit32(block, j, v, type));
        return;
    }
    UNROLL for (size_t run = 0; run < 8; run++) UNROLL for (size_t j = 0; j < 8; j++)
        UNROLL for (size_t v = 0; v < VECTORS; v++)
            vi_store(u->q[8 * run + j][v * VF_N], unit256(block, 8 * run + j, v, type));
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

// Some panels from output `out` on.
INLINE void panel_product(const struct panel_product *p, size_t out, const size_t n_panels,
                          enum tensor_type type) {
    struct panel_scratch *s = p->scratch;
    const struct panel_kind kind = panel_kind(type);
    const uint8_t *panel = p->w + out / PANEL_OUTS * p->panel_bytes;
    const size_t block_bytes = quant_block_bytes(type) * (PANEL_N / quant_block_n(type)) * PANEL_OUTS;
    size_t n_outs = p->n_out - out < n_panels * PANEL_OUTS ? p->n_out - out : n_panels * PANEL_OUTS;
    // A single row meets each quant once: straight from memory, which waits less for vectors than for bytes
    // stored and loaded again.
    const bool direct = n_panels == 1 && is_interleaved(type) && p->n_rows == 1;
    memset(s->totals, 0, p->n_rows * TOTALS * sizeof *s->totals);
    for (size_t i = 0; i < act_n_blocks(p->n_in); i++) {
        size_t n = p->n_in - i * PANEL_N < PANEL_N ? p->n_in - i * PANEL_N : PANEL_N;
        const uint8_t *block = panel + i * block_bytes;
        struct tile_job job = {s->panels, block, p->x + i * p->x_stride, s->totals, p->n_rows, n};
        for (size_t k = 0; k < n_panels; k++) {
            if (is_interleaved(type)) {
                if (n_panels == 1 && !direct)
                    prefetch(block + PREFETCH_BYTES, block_bytes);
                unpack_scales(&s->panels[k], block + k * p->panel_bytes, n, type);
                if (!direct)
                    unpack_quants(&s->panels[k], block + k * p->panel_bytes, n, type);
            } else {
                size_t left = n_outs - k * PANEL_OUTS < PANEL_OUTS ? n_outs - k * PANEL_OUTS : PANEL_OUTS;
                unpack_rows(&s->panels[k], panel + k * p->panel_bytes, p->panel_bytes / PANEL_OUTS, i, left,
                            type);
            }
        }
        if (direct)
            tile(&job, 0, 1, 1, kind, type);
        else
            tiles_of_kind(&job, n_panels, kind);
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
