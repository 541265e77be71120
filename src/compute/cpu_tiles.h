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
//   WIDE_PANELS, WIDE_ROWS     the tile of many rows; 1 panel = there is none
//   WIDE_FINE_ROWS             its rows where each 32 inputs of a row have a factor
//
// takes panels of 16 outputs and rows of act_block; gives y = x w^T
//
// Panels pass block by block of 256 inputs, and each block meets all rows, a tile at a time. A tile's sums stay
// in registers. For few rows it is TILE_ROWS of one panel, and quants go from memory through a few operations
// into the products. From UNPACK_ROWS rows on a block is unpacked first, to the first-level cache, and a tile is
// WIDE_ROWS of WIDE_PANELS, which share the loads of the rows.
//
// The sum over a group of 16 or 32 inputs is an exact integer that starts at minus the offset of the quants times
// the sum of the row's; then floats take it in one order: groups, then blocks of 256. So a result does not depend
// on the tile.
#ifndef COMPUTE_CPU_TILES_H
#define COMPUTE_CPU_TILES_H

#include "base/sizes.h"
#include "compute/cpu_unpack.h"

enum { UNPACK_ROWS = 40 }; // from so many rows on it pays to unpack quants once
enum { VECTORS = PANEL_OUTS / VF_N, TILE_VECTORS = WIDE_PANELS * VECTORS }; // of a panel, of a tile

// Loops over a tile must be gone for its sums to stay in registers.
#ifdef __clang__
#define UNROLL _Pragma("unroll")
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) // gcc cannot there, and warns
#define UNROLL
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

// What is asked of memory while tiles of unpacked quants run, a share beside each row: all at once would fill the
// buffers, and loads would wait behind it.
struct tile_ahead {
    const uint8_t *next;           // the first panel's next block
    size_t n_bytes, n_bytes_a_row; // of a block, 0 = do not ask; of it beside one row
    size_t panel_bytes;
    float *y; // [n_rows, outputs of the panels] of the last block; NULL before
    size_t y_stride;
};

// One block of up to 256 inputs of some panels, against rows.
struct tile_job {
    const struct panel_scales *w; // [panels]
    const uint8_t *quants;        // in the panel, or unpacked [panels, PANEL_N / 4, PANEL_OUTS, 4]
    const struct act_block *x;    // [n_rows]
    float *totals;                // [n_rows, panels, PANEL_OUTS], of the blocks before
    size_t n_rows, n;             // n inputs
    struct tile_ahead ahead;
};

// What is known of a tile at compile time. Vector v holds outputs of panel v / VECTORS; only unpacked tiles have
// more than one.
struct tile_shape {
    size_t n_rows, n_vectors;
    bool unpacked;
    enum tensor_type type;
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

INLINE size_t panel_block_bytes(enum tensor_type type) {
    return quant_block_bytes(type) * (PANEL_N / quant_block_n(type)) * PANEL_OUTS;
}

// Inputs 4 j .. 4 j + 3 of a block's 32 from 32 `run` on, or of its half from 128 half on.
INLINE vi packed_unit(const uint8_t *block, size_t run, size_t half, const size_t j, size_t v,
                      enum tensor_type type) {
    if (quant_block_n(type) == 32)
        return unit32(block + run * quant_block_bytes(type) * PANEL_OUTS, j, v, type);
    return unit256(block, half, j, v, type);
}

// Inputs k .. k + 3 of a group.
INLINE vi tile_unit(const struct tile_job *j, const struct tile_group g, size_t k, size_t vector,
                    const struct tile_shape shape) {
    const size_t group = panel_kind(shape.type).group, panel = vector / VECTORS, v = vector % VECTORS;
    if (shape.unpacked)
        return vi_load(j->quants + (panel * PANEL_N + g.at * group + k) * PANEL_OUTS + v * VI_BYTES);
    return packed_unit(j->quants, g.at, g.half, (g.in_half * group + k) / 4, v, shape.type);
}

// Steps whose sums fit 16 bits: each is two products of a quant and of 127.
#define DOT_STEPS(most) ((most) <= 15 ? 8 : (most) <= 31 ? 4 : (most) <= 63 ? 2 : 1)

// acc[v][r] += w . x over the n inputs from k on of a group.
INLINE void tile_steps(vi acc[TILE_VECTORS][TILE_ROWS], const struct tile_job *j, const struct act_block *x,
                       const struct tile_group g, size_t k, const size_t n, const struct tile_shape shape) {
    const struct panel_kind kind = panel_kind(shape.type);
    UNROLL for (size_t i = 0; i < n; i += 4) {
        vi w[TILE_VECTORS];
        UNROLL for (size_t v = 0; v < shape.n_vectors; v++) w[v] = tile_unit(j, g, k + i, v, shape);
        UNROLL for (size_t r = 0; r < shape.n_rows; r++) {
            vi qs = vi_broadcast(x[r].qs + g.at * kind.group + k + i);
            UNROLL for (size_t v = 0; v < shape.n_vectors; v++) acc[v][r] =
                vi_step(acc[v][r], w[v], qs, kind.most);
        }
    }
}

// sum[v][r] = -offset * sum(x) + w . x over a group: whole numbers.
INLINE void tile_sums(vi sum[TILE_VECTORS][TILE_ROWS], const struct tile_job *j, const struct act_block *x,
                      const struct tile_group g, const struct tile_shape shape) {
    const struct panel_kind kind = panel_kind(shape.type);
    const size_t at_once = 4 * DOT_STEPS(kind.most) < kind.group ? 4 * DOT_STEPS(kind.most) : kind.group;
    vi acc[TILE_VECTORS][TILE_ROWS];
    UNROLL for (size_t r = 0; r < shape.n_rows; r++) UNROLL for (size_t v = 0; v < shape.n_vectors; v++)
        sum[v][r] = kind.offset ? vi_group_start(&x[r].start[g.at], kind.offset) : vi_zero();
    UNROLL for (size_t k = 0; k < kind.group; k += at_once) {
        UNROLL for (size_t r = 0; r < shape.n_rows; r++) UNROLL for (size_t v = 0; v < shape.n_vectors; v++)
            acc[v][r] = vi_steps_begin(sum[v][r], kind.most);
        tile_steps(acc, j, x, g, k, at_once, shape);
        UNROLL for (size_t r = 0; r < shape.n_rows; r++) UNROLL for (size_t v = 0; v < shape.n_vectors; v++)
            sum[v][r] = vi_steps_end(sum[v][r], acc[v][r], kind.most);
    }
}

// A group's share of the bytes to come: a whole block's at once would fill all the buffers. How far ahead was
// found by trying (docs/performance.md).
INLINE void prefetch_group(const struct tile_job *j, const struct tile_group g,
                           const struct tile_shape shape) {
    const size_t bytes =
        quant_block_bytes(shape.type) * PANEL_OUTS * panel_kind(shape.type).group / quant_block_n(shape.type);
    const uint8_t *ahead = j->quants + g.at * bytes + (shape.n_rows == 1 ? 6144 : 8192);
    for (size_t i = 0; i < bytes; i += 64)
        _mm_prefetch((const char *)ahead + i, _MM_HINT_T0);
}

// acc += scale sum
INLINE void tile_add_group(vf acc[TILE_VECTORS][TILE_ROWS], const struct tile_job *j,
                           const struct act_block *x, const struct tile_group g,
                           const struct tile_shape shape) {
    const struct panel_kind kind = panel_kind(shape.type);
    vi sum[TILE_VECTORS][TILE_ROWS];
    if (x == j->x && !shape.unpacked)
        prefetch_group(j, g, shape);
    tile_sums(sum, j, x, g, shape);
    UNROLL for (size_t v = 0; v < shape.n_vectors; v++) {
        const struct panel_scales *w = j->w + v / VECTORS;
        size_t lane = v % VECTORS * VF_N;
        vf scale = vf_load(w->scales[g.at] + lane);
        UNROLL for (size_t r = 0; r < shape.n_rows; r++) {
            vf s = kind.fine_rows ? vf_mul(scale, vf_set1(x[r].d[g.at])) : scale;
            acc[v][r] = vf_fma(vf_of_vi(sum[v][r]), s, acc[v][r]);
            if (kind.mins == PANEL_MINS_F32)
                acc[v][r] = vf_fma(vf_load(w->m[g.at] + lane), vf_set1(x[r].sums[g.at]), acc[v][r]);
        }
    }
}

// acc -= d_min (mins . sums of the groups of x)
INLINE void tile_mins(vf acc[TILE_VECTORS][TILE_ROWS], const struct tile_job *j, const struct act_block *x,
                      const struct tile_shape shape) {
    vi sum[TILE_VECTORS][TILE_ROWS];
    UNROLL for (size_t v = 0; v < shape.n_vectors; v++) UNROLL for (size_t r = 0; r < shape.n_rows; r++)
        sum[v][r] = vi_zero();
    UNROLL for (size_t i = 0; i < PANEL_N / panel_kind(shape.type).group / 2; i++)
        UNROLL for (size_t v = 0; v < shape.n_vectors; v++) {
        vi mins = vi_load(j->w[v / VECTORS].mins[i][v % VECTORS * VF_N]);
        UNROLL for (size_t r = 0; r < shape.n_rows; r++) sum[v][r] =
            vi_dot_pairs(sum[v][r], mins, vi_broadcast(x[r].group_sums + 2 * i));
    }
    UNROLL for (size_t v = 0; v < shape.n_vectors; v++) {
        vf d_min = vf_load(j->w[v / VECTORS].d_min + v % VECTORS * VF_N);
        UNROLL for (size_t r = 0; r < shape.n_rows; r++) acc[v][r] =
            vf_sub(acc[v][r], vf_mul(vf_of_vi(sum[v][r]), d_min));
    }
}

INLINE void prefetch_beside(const struct tile_ahead *a, size_t row, const struct tile_shape shape) {
    const size_t n_panels = shape.n_vectors / VECTORS;
    size_t end = size_min((row + shape.n_rows) * a->n_bytes_a_row, a->n_bytes);
    for (size_t at = row * a->n_bytes_a_row; at < end; at += 64)
        for (size_t k = 0; k < n_panels; k++)
            _mm_prefetch((const char *)a->next + k * a->panel_bytes + at, _MM_HINT_T1);
    for (size_t r = row; a->y && r < row + shape.n_rows; r++)
        for (size_t k = 0; k < n_panels; k++)
            __builtin_prefetch(a->y + r * a->y_stride + k * PANEL_OUTS, 1);
}

INLINE void tile(const struct tile_job *j, size_t row, const struct tile_shape shape) {
    const enum tensor_type type = shape.type;
    const struct panel_kind kind = panel_kind(type);
    const size_t in_half = PANEL_N / 2 / kind.group;
    const struct act_block *x = j->x + row;
    float *totals = j->totals + row * shape.n_vectors * VF_N;
    vf acc[TILE_VECTORS][TILE_ROWS];
    if (shape.unpacked)
        prefetch_beside(&j->ahead, row, shape);
    UNROLL for (size_t r = 0; r < shape.n_rows; r++) UNROLL for (size_t v = 0; v < shape.n_vectors; v++)
        acc[v][r] = kind.fine_rows ? vf_load(totals + (r * shape.n_vectors + v) * VF_N) : vf_set1(0);
    if (quant_block_n(type) == 32 || shape.unpacked)
        for (size_t g = 0; g < j->n / kind.group; g++)
            tile_add_group(acc, j, x, (struct tile_group){.at = g}, shape);
    else
        for (size_t half = 0; half < 2; half++)
            UNROLL for (size_t g = 0; g < in_half; g++)
                tile_add_group(acc, j, x, (struct tile_group){half, g, half * in_half + g}, shape);
    if (kind.mins == PANEL_MINS_I16)
        tile_mins(acc, j, x, shape);
    UNROLL for (size_t r = 0; r < shape.n_rows; r++) UNROLL for (size_t v = 0; v < shape.n_vectors; v++) {
        float *total = totals + (r * shape.n_vectors + v) * VF_N;
        vf_store(total, kind.fine_rows ? acc[v][r] : vf_fma(acc[v][r], vf_set1(x[r].d[0]), vf_load(total)));
    }
}

// All rows, `most` at a time while there are so many.
INLINE void tiles(const struct tile_job *j, const size_t most, const size_t n_vectors, const bool unpacked,
                  enum tensor_type type) {
    size_t row = 0;
    for (; row + most <= j->n_rows; row += most)
        tile(j, row, (struct tile_shape){most, n_vectors, unpacked, type});
    for (; most > 4 && row + 4 <= j->n_rows; row += 4)
        tile(j, row, (struct tile_shape){4, n_vectors, unpacked, type});
    for (; row + 2 <= j->n_rows; row += 2)
        tile(j, row, (struct tile_shape){2, n_vectors, unpacked, type});
    for (; row < j->n_rows; row++)
        tile(j, row, (struct tile_shape){1, n_vectors, unpacked, type});
}

INLINE void tiles_unpacked(const struct tile_job *j, size_t n_panels, enum tensor_type type) {
    if (WIDE_PANELS > 1 && n_panels == WIDE_PANELS)
        tiles(j, panel_kind(type).fine_rows ? WIDE_FINE_ROWS : WIDE_ROWS, TILE_VECTORS, true, type);
    else
        tiles(j, TILE_ROWS, VECTORS, true, type);
}

// One copy for all types that are of one kind once they are unpacked, each by one of them.
#define TILES_UNPACKED(type)                                                                                 \
    static __attribute__((noinline)) void tiles_as_##type(const struct tile_job *j, size_t n_panels) {       \
        tiles_unpacked(j, n_panels, TENSOR_##type);                                                          \
    }
TILES_UNPACKED(Q8_0)
TILES_UNPACKED(Q4_1)
TILES_UNPACKED(Q4_K)
TILES_UNPACKED(Q2_K)
TILES_UNPACKED(IQ4_XS)
TILES_UNPACKED(IQ2_XXS)

INLINE void tiles_of_kind(const struct tile_job *j, size_t n_panels, enum tensor_type type) {
    const struct panel_kind kind = panel_kind(type);
    if (kind.fine_rows)
        (kind.mins ? tiles_as_Q4_1 : tiles_as_Q8_0)(j, n_panels);
    else if (kind.mins)
        (kind.group == 32 ? tiles_as_Q4_K : tiles_as_Q2_K)(j, n_panels);
    else
        (kind.group == 32 ? tiles_as_IQ4_XS : tiles_as_IQ2_XXS)(j, n_panels);
}

// to[PANEL_N / 4, PANEL_OUTS, 4] = the quants of n inputs.
INLINE void unpack_quants(uint8_t *to, const uint8_t *block, size_t n, enum tensor_type type) {
    const size_t n_units = quant_block_n(type) == 32 ? 8 : 32; // of 32 or 128 inputs
    for (size_t i = 0; i < n / 4 / n_units; i++)
        UNROLL for (size_t j = 0; j < n_units; j++)
            UNROLL for (size_t v = 0; v < VECTORS; v++, to += VI_BYTES)
                vi_store(to, packed_unit(block, i, i, j, v, type));
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

// Block i of a panel with n inputs as scales and quants.
INLINE void unpack(struct panel_scales *u, uint8_t quants[PANEL_N / 4][PANEL_OUTS][4], const uint8_t *panel,
                   const struct panel_product *p, size_t i, size_t n, size_t n_outs, enum tensor_type type) {
    if (!is_interleaved(type)) {
        unpack_rows(u, quants, panel, p->panel_bytes / PANEL_OUTS, i, size_min(n_outs, PANEL_OUTS), type);
        return;
    }
    const uint8_t *block = panel + i * panel_block_bytes(type);
    unpack_scales(u, block, n, type);
    unpack_quants(&quants[0][0][0], block, n, type);
}

// Beside block i of n_panels, the first at `panel` with its outputs at y.
INLINE struct tile_ahead ahead_of(const struct panel_product *p, const uint8_t *panel, float *y,
                                  size_t n_panels, size_t i, enum tensor_type type) {
    size_t n_bytes = is_interleaved(type) ? panel_block_bytes(type) : 0;
    bool last = i + 1 == act_n_blocks(p->n_in);
    return (struct tile_ahead){.next = panel + (last ? n_panels * p->panel_bytes : (i + 1) * n_bytes),
                               .n_bytes = n_bytes,
                               .n_bytes_a_row = div_up(n_bytes, p->n_rows * 64) * 64,
                               .panel_bytes = p->panel_bytes,
                               .y = last ? y : NULL,
                               .y_stride = p->y_stride};
}

// The n_panels of the outputs from `out` on: one straight from memory, or all from what their blocks unpack to.
INLINE void panel_product(const struct panel_product *p, size_t out, size_t n_panels, const bool unpacked,
                          enum tensor_type type) {
    struct panel_scratch *s = p->scratch;
    const uint8_t *panel = p->w + out / PANEL_OUTS * p->panel_bytes;
    size_t n_outs = size_min(p->n_out - out, n_panels * PANEL_OUTS);
    memset(s->totals, 0, p->n_rows * n_panels * PANEL_OUTS * sizeof *s->totals);
    for (size_t i = 0; i < act_n_blocks(p->n_in); i++) {
        size_t n = size_min(PANEL_N, p->n_in - i * PANEL_N);
        struct tile_job job = {
            .w = s->scales, .x = p->x + i * p->x_stride, .totals = s->totals, .n_rows = p->n_rows, .n = n};
        if (unpacked) {
            for (size_t k = 0; k < n_panels; k++)
                unpack(&s->scales[k], s->quants[k], panel + k * p->panel_bytes, p, i, n,
                       n_outs - k * PANEL_OUTS, type);
            job.quants = &s->quants[0][0][0][0];
            job.ahead = ahead_of(p, panel, p->y + out, n_panels, i, type);
            tiles_of_kind(&job, n_panels, type);
        } else {
            job.quants = panel + i * panel_block_bytes(type);
            unpack_scales(s->scales, job.quants, n, type);
            tiles(&job, TILE_ROWS, VECTORS, false, type);
        }
    }
    store_totals(p->y + out, p->y_stride, s->totals, n_panels * PANEL_OUTS, p->n_rows, n_outs,
                 p->bias ? p->bias + out : NULL, p->add);
}

INLINE void panel_products(const struct panel_product *p, enum tensor_type type) {
    const bool unpacked = !is_interleaved(type) || (WIDE_PANELS > 1 && p->n_rows >= UNPACK_ROWS);
    for (size_t out = 0, n; out < p->n_out; out += n * PANEL_OUTS) {
        n = unpacked ? size_min(WIDE_PANELS, div_up(p->n_out - out, PANEL_OUTS)) : 1;
        if (unpacked) // a constant: one row from the cache is 5 % faster so
            panel_product(p, out, n, true, type);
        else
            panel_product(p, out, 1, false, type);
    }
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

// Of the first and the last 16 of 32.
INLINE void sums_of_16(int sums[2], const int8_t *qs) {
    const __m256i sign = _mm256_set1_epi8(-128);
    __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)qs);
    int64_t of8[4]; // plus 8 times 128
    _mm256_storeu_si256((__m256i *)(void *)of8,
                        _mm256_sad_epu8(_mm256_xor_si256(v, sign), _mm256_setzero_si256()));
    sums[0] = (int)(of8[0] + of8[1]) - 16 * 128;
    sums[1] = (int)(of8[2] + of8[3]) - 16 * 128;
}

// The sums of n of a block's qs, which are set as d is.
INLINE void set_sums(struct act_block *a, size_t n, const struct panel_kind *kind) {
    for (size_t i = 0; i < n / 32; i++) {
        int sums[2];
        sums_of_16(sums, a->qs + 32 * i);
        if (kind->group == 32)
            sums[0] += sums[1];
        for (size_t k = 0, g = i * (32 / kind->group); k < 32 / kind->group; k++, g++) {
            a->group_sums[g] = (int16_t)sums[k];
            if (kind->mins == PANEL_MINS_F32)
                a->sums[g] = a->d[g] * (float)sums[k];
            else
                a->start[g] = -kind->offset * sums[k];
        }
    }
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
    set_sums(a, n, kind);
}

static void panel_kernels(struct cpu_kernels *k) {
    QUANT_BLOCK_TYPES(PANEL_ROW)
    k->quantise_act = quantise_act;
}

#endif
