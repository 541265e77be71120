// Products of cpu_int8.h, written over the vectors of cpu_vector.h and cpu_tiles.h, which the including file has.
//
// The 256 inputs of INT8_PANELS panels stay in the first-level cache while all rows pass. A tile keeps the sums of some
// rows in registers: whole numbers over a group, floats over a block; then the totals in memory take the block
// times the outputs' scales. Each result takes its groups and blocks in order: it is the same in any tile.
#ifndef COMPUTE_CPU_INT8_TILES_H
#define COMPUTE_CPU_INT8_TILES_H

#include "compute/cpu_int8.h"

enum {
    INT8_PANELS =
        VF_N == 16 ? INT8_OUTS / PANEL_OUTS : 1, // that rows pass together, by the registers there are
    INT8_VECTORS = INT8_PANELS * VECTORS,
    INT8_ROWS = 4,        // of a tile of so many panels
    INT8_SINGLE_ROWS = 8, // of a tile of one panel
};

// totals += a block of n inputs of w [n_panels] times n_rows rows.
INLINE void int8_tile(const struct int8_product *p, const uint8_t *w, const struct int8_row *x, float *totals,
                      size_t n, const size_t n_panels, const size_t n_rows) {
    const size_t n_vectors = n_panels * VECTORS;
    vf acc[INT8_VECTORS][INT8_SINGLE_ROWS];
    UNROLL for (size_t r = 0; r < n_rows; r++) UNROLL for (size_t v = 0; v < n_vectors; v++) acc[v][r] =
        vf_set1(x[r].offset);
    for (size_t g = 0; g < n / INT8_GROUP; g++) {
        vi sum[INT8_VECTORS][INT8_SINGLE_ROWS];
        UNROLL for (size_t r = 0; r < n_rows; r++) UNROLL for (size_t v = 0; v < n_vectors; v++) sum[v][r] =
            vi_zero();
        UNROLL for (size_t k = g * INT8_GROUP; k < (g + 1) * INT8_GROUP; k += 4) {
            vi q[INT8_VECTORS];
            UNROLL for (size_t v = 0; v < n_vectors; v++) q[v] =
                vi_load(w + v / VECTORS * p->panel_bytes + k * PANEL_OUTS + v % VECTORS * VI_BYTES);
            UNROLL for (size_t r = 0; r < n_rows; r++) {
                vi qs = vi_broadcast(x[r].qs + k);
                UNROLL for (size_t v = 0; v < n_vectors; v++) sum[v][r] = vi_dot(sum[v][r], q[v], qs);
            }
        }
        UNROLL for (size_t r = 0; r < n_rows; r++) {
            vf d = vf_set1(x[r].d[g]);
            UNROLL for (size_t v = 0; v < n_vectors; v++) acc[v][r] =
                vf_fma(vf_of_vi(sum[v][r]), d, acc[v][r]);
        }
    }
    UNROLL for (size_t v = 0; v < n_vectors; v++) {
        const float *scales =
            (const float *)(const void *)(w + v / VECTORS * p->panel_bytes + n * PANEL_OUTS);
        vf scale = vf_load(scales + v % VECTORS * VF_N);
        UNROLL for (size_t r = 0; r < n_rows; r++) {
            float *total = totals + r * INT8_OUTS + v * VF_N;
            vf_store(total, vf_fma(acc[v][r], scale, vf_load(total)));
        }
    }
}

// Each a function of its own: inlined together they spill.
#define INT8_TILE(name, n_panels, n_rows)                                                                    \
    static __attribute__((noinline)) void int8_tile_##name(                                                  \
        const struct int8_product *p, const uint8_t *w, const struct int8_row *x, float *totals, size_t n) { \
        int8_tile(p, w, x, totals, n, n_panels, n_rows);                                                     \
    }
INT8_TILE(full, INT8_PANELS, INT8_ROWS)
INT8_TILE(full_row, INT8_PANELS, 1)
INT8_TILE(single, 1, INT8_SINGLE_ROWS)
INT8_TILE(single_row, 1, 1)

INLINE void int8_tiles(const struct int8_product *p, const uint8_t *w, const struct int8_row *x, size_t n,
                       const size_t n_panels) {
    const bool full = n_panels == INT8_PANELS;
    const size_t most = full ? INT8_ROWS : INT8_SINGLE_ROWS;
    size_t row = 0;
    for (; row + most <= p->n_rows; row += most)
        (full ? int8_tile_full : int8_tile_single)(p, w, x + row, p->totals + row * INT8_OUTS, n);
    for (; row < p->n_rows; row++)
        (full ? int8_tile_full_row : int8_tile_single_row)(p, w, x + row, p->totals + row * INT8_OUTS, n);
}

INLINE void int8_panels(const struct int8_product *p, size_t out, const size_t n_panels) {
    const uint8_t *w = p->w + out / PANEL_OUTS * p->panel_bytes;
    const struct int8_row *x = p->x;
    size_t left = p->n_out - out;
    memset(p->totals, 0, p->n_rows * INT8_OUTS * sizeof *p->totals);
    for (size_t at = 0, n; at < p->n_in; at += n, x += p->x_stride) {
        n = p->n_in - at < INT8_N ? p->n_in - at : INT8_N;
        int8_tiles(p, w, x, n, n_panels);
        w += n * PANEL_OUTS + PANEL_OUTS * sizeof(float);
    }
    store_totals(p->y + out, p->y_stride, p->totals, INT8_OUTS, p->n_rows,
                 left < n_panels * PANEL_OUTS ? left : n_panels * PANEL_OUTS, p->bias ? p->bias + out : NULL,
                 p->add);
}

static void vector_int8_product(const struct int8_product *p) {
    size_t out = 0;
    for (; out + INT8_PANELS * PANEL_OUTS <= p->n_out; out += INT8_PANELS * PANEL_OUTS)
        int8_panels(p, out, INT8_PANELS);
    for (; out < p->n_out; out += PANEL_OUTS)
        int8_panels(p, out, 1);
}

static float vector_int8_quantise(int8_t *qs, const float *x, size_t n, int *sum) {
    float d = quantise(qs, x, n);
    *sum = 0;
    for (size_t i = 0; i < n; i += 32) {
        int sums[2];
        sums_of_16(sums, qs + i);
        *sum += sums[0] + sums[1];
    }
    return d;
}

static void int8_kernels(struct cpu_kernels *k) {
    k->int8_quantise = vector_int8_quantise;
    k->int8_product = vector_int8_product;
}

#endif
