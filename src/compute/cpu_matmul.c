// Products with weights on the CPU.
//
// takes x [n_rows, n_in] f32 and a weight [n_out, n_in] of any type
// gives y [n_rows, n_out] = x w^T + bias, or added to y
//
// Weights opened with WEIGHT_ROWS_ANY go through the panel kernels (quantised) or the dot kernels: one
// arithmetic for any number of rows. WEIGHT_ROWS_FIXED goes through OpenBLAS, where there is one, a fixed
// number of outputs at a time: its rounding follows the shape it is called with, so the shape must not follow
// the number of threads. WEIGHT_ROWS_INT8 is in cpu_int8.c.
#include "base/mem.h"
#include "base/sizes.h"
#include "compute/cpu_backend.h"
#include "compute/quant.h"

#include <assert.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    PACK_BYTES = 256 * 1024, // repacked by one chunk
    CHUNK_MACS = 16 * 1024,  // a chunk's least work
    CHUNKS_A_THREAD = 16,    // so that a thread that is held up does not hold up all
    OUTPUT_TILE = 4,         // outputs that the dot kernels work together
    PANEL_ROW_BLOCK = 256,   // 8-bit rows that stay in the cache while the weights pass
    BLAS_OUTS = 128,         // outputs of one call of OpenBLAS
};

struct pack_job {
    const struct weight *w;
    size_t panels_a_chunk, n_panels;
};

static void pack_chunk(void *ctx, size_t chunk, size_t thread) {
    (void)thread;
    const struct pack_job *j = ctx;
    const struct weight *w = j->w;
    size_t end = size_min((chunk + 1) * j->panels_a_chunk, j->n_panels);
    for (size_t i = chunk * j->panels_a_chunk; i < end; i++) {
        size_t out = i * PANEL_OUTS;
        panel_pack(w->panels + out * w->row_bytes, panel_type(w->type), w->type, w->data + out * w->row_bytes,
                   w->row_bytes, size_min(PANEL_OUTS, w->n_out - out));
    }
}

bool cpu_take_panels(struct cpu *c, struct weight *w, const struct tensor *t, struct err *err) {
    size_t size_bytes;
    if (size_mul(div_up(w->n_out, PANEL_OUTS) * PANEL_OUTS, w->row_bytes, &size_bytes))
        w->panels = panels_take(&c->arena, size_bytes);
    if (!w->panels)
        return err_set(err, ERR_NOMEM, "%s: no memory for %zu rows of %zu bytes", t->name, w->n_out,
                       w->row_bytes);
    w->arena = c->arena;
    return true;
}

static bool is_loaded(const struct weight *w) {
    return !w->panels || !w->data;
}

void cpu_weight_load(struct ops *o, struct weight *w) {
    struct pack_job j = {.w = w, .n_panels = div_up(w->n_out, PANEL_OUTS)};
    if (is_loaded(w))
        return;
    j.panels_a_chunk = div_up(PACK_BYTES, PANEL_OUTS * w->row_bytes);
    cpu_run((struct cpu *)o, div_up(j.n_panels, j.panels_a_chunk), w->n_out * w->n_in, pack_chunk, &j);
    w->data = NULL;
}

void cpu_weight_row(const struct cpu *c, const struct weight *w, size_t row, float *y) {
    const uint8_t *data = w->data + row * w->row_bytes;
    if (w->type == TENSOR_F16)
        c->k.f16_to_f32(y, (const uint16_t *)(const void *)data, w->n_in);
    else
        quant_traits(w->type)->dequantise(y, data, w->n_in);
}

// *w from the tensor's shape and type.
static bool describe(struct weight *w, const struct tensor *t, enum weight_rows rows, struct err *err) {
    const struct quant_traits *traits = quant_traits(t->type);
    if (!traits) {
        char list[QUANT_TYPE_LIST_SIZE];
        return err_set(err, ERR_MODEL, "%s: type %s, want one of %s", t->name, quant_type_name(t->type),
                       quant_type_list(list));
    }
    if (t->n_dims < 2 || t->n_dims > TENSOR_DIMS_MAX) {
        return err_set(err, ERR_MODEL, "%s: %zu dimension(s), want 2 to %d", t->name, t->n_dims,
                       TENSOR_DIMS_MAX);
    }
    size_t n_in = 1, n_out = t->ne[t->n_dims - 1], size_bytes;
    bool fits = true;
    for (size_t i = 0; i + 1 < t->n_dims; i++)
        fits = fits && size_mul(n_in, t->ne[i], &n_in);
    if (!fits || n_in > INT_MAX || n_in == 0 || n_in % traits->block_n != 0) { // BLAS counts in int
        return err_set(err, ERR_MODEL, "%s: rows of %zu values, want a multiple of %zu below 2^31", t->name,
                       fits ? n_in : SIZE_MAX, traits->block_n);
    }
    size_t row_bytes = n_in / traits->block_n * traits->block_bytes;
    if (!size_mul(n_out, row_bytes, &size_bytes) || n_out == 0 || t->size_bytes != size_bytes) {
        return err_set(err, ERR_MODEL, "%s: %zu bytes of data, want %zu rows of %zu bytes", t->name,
                       t->size_bytes, n_out, row_bytes);
    }
    if ((uintptr_t)t->data % sizeof(float) != 0) {
        return err_set(err, ERR_MODEL, "%s: data is not aligned to %zu bytes", t->name, sizeof(float));
    }
    *w = (struct weight){
        .type = t->type, .rows = rows, .n_in = n_in, .n_out = n_out, .row_bytes = row_bytes, .data = t->data};
    return true;
}

struct weight *cpu_weight_create(struct ops *o, const struct tensor *t, enum weight_rows rows,
                                 struct err *err) {
    struct cpu *c = (struct cpu *)o;
    struct weight *w = xcalloc(1, sizeof *w);
    bool ok = describe(w, t, rows, err);
    if (ok && rows == WEIGHT_ROWS_INT8 && quant_traits(t->type)->block_n == 1) {
        ok = cpu_int8_create(c, w, t, err);
    } else if (ok) {
        w->by_panels =
            c->k.panels[t->type] && rows != WEIGHT_ROWS_NONE && (rows != WEIGHT_ROWS_FIXED || !c->blas);
        ok = !w->by_panels || !panel_type(w->type) || cpu_take_panels(c, w, t, err);
    }
    if (ok)
        return w;
    cpu_weight_release(o, w);
    return NULL;
}

void cpu_weight_release(struct ops *o, struct weight *w) {
    (void)o;
    if (!w)
        return;
    panels_give(w->arena);
    free(w);
}

size_t weight_n_in(const struct weight *w) {
    return w->n_in;
}

size_t weight_n_out(const struct weight *w) {
    return w->n_out;
}

const void *weight_memory(const struct weight *w, size_t *size_bytes) {
    size_t n_out = w->data ? w->n_out : div_up(w->n_out, PANEL_OUTS) * PANEL_OUTS;
    *size_bytes = n_out * w->row_bytes;
    return w->data ? w->data : w->panels;
}

size_t weight_read_bytes(const struct weight *w) {
    return w->n_out * w->row_bytes;
}

bool weight_is_int8(const struct weight *w) {
    return w->is_int8 || quant_traits(w->type)->block_n > 1;
}

static void panel_row(struct cpu *c, const struct weight *w, size_t row, float *y) {
    uint8_t *bytes = cpu_scratch_get(&c->activations, w->row_bytes);
    size_t out = row % PANEL_OUTS;
    panel_unpack_row(bytes, panel_type(w->type), w->type, w->panels + (row - out) * w->row_bytes,
                     w->row_bytes, out);
    quant_traits(w->type)->dequantise(y, bytes, w->n_in);
}

void cpu_get_rows(struct ops *o, float *y, const struct weight *w, const int32_t *ids, size_t n_rows) {
    struct cpu *c = (struct cpu *)o;
    assert(!w->is_int8 && is_loaded(w));
    for (size_t i = 0; i < n_rows; i++) {
        assert(ids[i] >= 0 && (size_t)ids[i] < w->n_out);
        if (w->panels)
            panel_row(c, w, (size_t)ids[i], y + i * w->n_in);
        else
            cpu_weight_row(c, w, (size_t)ids[i], y + i * w->n_in);
    }
}

struct matmul_job {
    const struct cpu *c;
    const struct weight *w;
    struct dot d; // of the whole product; x still to be filled in where it is quantised
    const float *x;
    size_t chunk; // outputs of one chunk
    void (*quantise)(void *y, const float *x, size_t n);
    char *activations; // [n_rows, d.x_stride bytes]
};

static void quantise_dot_row(void *ctx, size_t row, size_t thread) {
    (void)thread;
    const struct matmul_job *j = ctx;
    const struct weight *w = j->w;
    j->quantise(j->activations + row * j->d.x_stride, j->x + row * w->n_in, w->n_in);
}

static void dot_chunk(void *ctx, size_t chunk, size_t thread) {
    (void)thread;
    const struct matmul_job *j = ctx;
    size_t out = chunk * j->chunk;
    struct dot d = j->d;
    d.n_out = size_min(j->chunk, j->w->n_out - out);
    d.w += out * d.w_stride;
    d.bias = d.bias ? d.bias + out : NULL;
    d.y += out;
    j->c->k.dot[j->w->type](&d);
}

static void matmul_dot(struct cpu *c, struct matmul_job *j) {
    const struct weight *w = j->w;
    size_t n_rows = j->d.n_rows, n_macs = n_rows * w->n_in * w->n_out;
    j->d.w = w->data;
    j->d.w_stride = w->row_bytes;
    j->d.n_in = w->n_in;
    j->d.x = (const uint8_t *)j->x;
    j->d.x_stride = w->n_in * sizeof(float);
    size_t block_n = quant_traits(w->type)->block_n;
    if (block_n > 1) {
        j->quantise = block_n == 32 ? quant_a32 : quant_a256;
        j->d.x_stride =
            block_n == 32 ? w->n_in / 32 * sizeof(struct a32) : w->n_in / 256 * sizeof(struct a256);
        j->activations = cpu_scratch_get(&c->activations, n_rows * j->d.x_stride);
        j->d.x = (const uint8_t *)j->activations;
        cpu_run(c, n_rows, n_rows * w->n_in * CPU_QUANTISE_MACS, quantise_dot_row, j);
    }
    size_t least = div_up(CHUNK_MACS, size_max(1, n_rows * w->n_in));
    size_t share = div_up(w->n_out, CHUNKS_A_THREAD * pool_n_threads(c->pool));
    j->chunk = div_up(size_max(least, share), OUTPUT_TILE) * OUTPUT_TILE;
    cpu_run(c, div_up(w->n_out, j->chunk), n_macs, dot_chunk, j);
}

// One product of a panel_job.
struct panel_part {
    const struct weight *w;
    struct panel_product p; // of all rows and outputs
    struct panel_kind kind;
    struct act_block *blocks; // [blocks of a row, n_rows]
    size_t n_chunks;
};

struct panel_job {
    const struct cpu *c;
    struct panel_part parts[PRODUCTS_MAX];
    size_t n_parts;
    const float *x;
    size_t n_rows, rows_a_block, chunk; // rows and outputs of one chunk
};

// The part before `part` whose activations it shares, or itself.
static size_t same_activations(const struct panel_job *j, size_t part) {
    const struct panel_part *b = &j->parts[part];
    for (size_t i = 0; i < part; i++) {
        const struct panel_part *a = &j->parts[i];
        if (a->w->n_in == b->w->n_in && a->kind.fine_rows == b->kind.fine_rows &&
            a->kind.group == b->kind.group && a->kind.mins == b->kind.mins &&
            a->kind.offset == b->kind.offset)
            return i;
    }
    return part;
}

static void quantise_part_row(const struct panel_job *j, const struct panel_part *part, size_t row) {
    size_t n_in = part->w->n_in;
    for (size_t at = 0; at < n_in; at += PANEL_N)
        j->c->k.quantise_act(part->blocks + at / PANEL_N * j->n_rows + row, j->x + row * n_in + at,
                             size_min(PANEL_N, n_in - at), &part->kind);
}

static void quantise_row(void *ctx, size_t row, size_t thread) {
    (void)thread;
    const struct panel_job *j = ctx;
    for (size_t i = 0; i < j->n_parts; i++)
        if (same_activations(j, i) == i)
            quantise_part_row(j, &j->parts[i], row);
}

// Chunks of one block of rows follow each other, so that all threads share it in their caches.
static void panel_chunk(void *ctx, size_t chunk, size_t thread) {
    const struct panel_job *j = ctx;
    const struct panel_part *part = j->parts;
    for (; chunk >= part->n_chunks; part++)
        chunk -= part->n_chunks;
    size_t n_chunks = div_up(part->w->n_out, j->chunk);
    size_t row = chunk / n_chunks * j->rows_a_block, out = chunk % n_chunks * j->chunk;
    struct panel_product p = part->p;
    p.y += row * p.y_stride + out;
    p.w += out * part->w->row_bytes;
    p.x += row;
    p.n_rows = size_min(j->rows_a_block, p.n_rows - row);
    p.n_out = size_min(j->chunk, part->w->n_out - out);
    p.bias = p.bias ? p.bias + out : NULL;
    p.scratch = j->c->thread_scratch[thread].data;
    j->c->k.panels[part->w->type](&p);
}

// Gives each part its activations: memory of its own, or that of a part before.
static void place_activations(struct cpu *c, struct panel_job *j) {
    size_t n_blocks = 0, first[PRODUCTS_MAX];
    for (size_t i = 0; i < j->n_parts; i++) {
        size_t same = same_activations(j, i);
        first[i] = same < i ? first[same] : n_blocks;
        n_blocks += same < i ? 0 : j->n_rows * act_n_blocks(j->parts[i].w->n_in);
    }
    struct act_block *blocks = cpu_scratch_get(&c->activations, n_blocks * sizeof *blocks);
    for (size_t i = 0; i < j->n_parts; i++)
        j->parts[i].blocks = blocks + first[i];
}

static void matmul_panels(struct cpu *c, const struct product *products, size_t n, const float *x,
                          size_t n_rows, bool add) {
    struct panel_job j = {.c = c, .n_parts = n, .x = x, .n_rows = n_rows};
    size_t n_in = weight_n_in(products[0].w), n_out = 0, n_chunks = 0;
    for (size_t i = 0; i < n; i++) {
        const struct weight *w = products[i].w;
        j.parts[i].w = w;
        j.parts[i].kind = panel_kind(w->type);
        n_out += w->n_out;
    }
    place_activations(c, &j);
    cpu_run(c, n_rows, n_rows * n_in * CPU_QUANTISE_MACS, quantise_row, &j);
    size_t n_blocks = div_up(n_rows, PANEL_ROW_BLOCK);
    j.rows_a_block = div_up(n_rows, n_blocks);
    size_t least = div_up(CHUNK_MACS, size_max(1, j.rows_a_block * n_in));
    size_t share = div_up(n_out, CHUNKS_A_THREAD * pool_n_threads(c->pool));
    size_t tile_outs = TILE_PANELS_MAX * PANEL_OUTS;
    j.chunk = div_up(size_max(least, share), tile_outs) * tile_outs;
    for (size_t i = 0; i < n; i++) {
        struct panel_part *part = &j.parts[i];
        const struct weight *w = part->w;
        assert(is_loaded(w));
        part->p = (struct panel_product){.y = products[i].y,
                                         .w = w->panels ? w->panels : w->data,
                                         .x = part->blocks,
                                         .y_stride = w->n_out,
                                         .panel_bytes = w->row_bytes * PANEL_OUTS,
                                         .x_stride = n_rows,
                                         .n_rows = n_rows,
                                         .n_in = w->n_in,
                                         .bias = products[i].bias,
                                         .add = add};
        part->n_chunks = n_blocks * div_up(w->n_out, j.chunk);
        n_chunks += part->n_chunks;
    }
    cpu_scratch_get_all(c, panel_scratch_bytes(j.rows_a_block));
    cpu_run(c, n_chunks, n_rows * n_in * n_out, panel_chunk, &j);
}

static void blas_chunk(void *ctx, size_t panel, size_t thread) {
    const struct matmul_job *j = ctx;
    const struct weight *w = j->w;
    size_t out = panel * BLAS_OUTS, n_out = size_min(BLAS_OUTS, w->n_out - out);
    const uint8_t *rows = w->data + out * w->row_bytes;
    const float *panel_w = (const float *)(const void *)rows;
    if (w->type != TENSOR_F32) {
        float *f32 = j->c->thread_scratch[thread].data;
        for (size_t i = 0; i < n_out; i++)
            cpu_weight_row(j->c, w, out + i, f32 + i * w->n_in);
        panel_w = f32;
    }
    float *y = j->d.y + out;
    blas_matmul(j->c->blas, y, w->n_out, panel_w, j->x, j->d.n_rows, n_out, w->n_in, j->d.add);
    if (j->d.bias)
        for (size_t r = 0; r < j->d.n_rows; r++)
            for (size_t i = 0; i < n_out; i++)
                y[r * w->n_out + i] += j->d.bias[out + i];
}

void cpu_matmul(struct ops *o, float *y, const struct weight *w, const float *bias, const float *x,
                size_t n_rows, bool add) {
    struct cpu *c = (struct cpu *)o;
    struct matmul_job j = {.c = c, .w = w, .x = x};
    j.d = (struct dot){.y = y, .y_stride = w->n_out, .n_rows = n_rows, .bias = bias, .add = add};
    if (n_rows == 0)
        return;
    if (w->is_int8) {
        cpu_int8_matmul(c, &(struct product){y, w, bias}, 1, x, n_rows, add);
        return;
    }
    if (w->by_panels) {
        matmul_panels(c, &(struct product){y, w, bias}, 1, x, n_rows, add);
        return;
    }
    if (w->rows != WEIGHT_ROWS_FIXED || !c->blas) {
        matmul_dot(c, &j);
        return;
    }
    assert(n_rows <= INT_MAX);
    if (w->type != TENSOR_F32)
        cpu_scratch_get_all(c, size_min(BLAS_OUTS, w->n_out) * w->n_in * sizeof(float));
    cpu_run(c, div_up(w->n_out, BLAS_OUTS), n_rows * w->n_in * w->n_out, blas_chunk, &j);
}

void cpu_matmul_many(struct ops *o, const struct product *products, size_t n, const float *x, size_t n_rows) {
    bool by_panels = n_rows > 0, is_int8 = n_rows > 0;
    assert(n > 0 && n <= PRODUCTS_MAX);
    for (size_t i = 0; i < n; i++) {
        assert(products[i].w->n_in == products[0].w->n_in);
        by_panels &= products[i].w->by_panels;
        is_int8 &= products[i].w->is_int8;
    }
    if (is_int8) {
        cpu_int8_matmul((struct cpu *)o, products, n, x, n_rows, false);
        return;
    }
    if (by_panels) {
        matmul_panels((struct cpu *)o, products, n, x, n_rows, false);
        return;
    }
    for (size_t i = 0; i < n; i++)
        cpu_matmul(o, products[i].y, products[i].w, products[i].bias, x, n_rows, false);
}
