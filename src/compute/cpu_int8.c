// Products of float weights in 8 bits.
//
// takes x [n_rows, n_in] f32 and weights that cpu_int8_create made of floats
// gives y [n_rows, n_out] = x w^T + bias, or added to y
//
// Rows are quantised once for all products with them; a chunk is a block of rows and some panels.
#include "compute/cpu_int8.h"

#include "base/sizes.h"
#include "compute/cpu_backend.h"
#include "compute/quantise.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

enum {
    ROW_BLOCK = 320,     // rows whose totals stay in the second-level cache
    CHUNKS_A_THREAD = 4, // so that a thread that is held up does not hold up all
};

struct create_job {
    const struct cpu *c;
    const struct weight *from, *to;
    atomic_bool has_bad_value;
};

// values: n floats of output `out` of the panel, quantised to its block.
static void fill_block(const struct cpu *c, uint8_t *block, size_t out, const float *values, size_t n) {
    int8_t qs[INT8_N];
    int sum;
    float d = c->k.int8_quantise(qs, values, n, &sum);
    for (size_t k = 0; k < n; k++)
        block[(k / 4 * PANEL_OUTS + out) * 4 + k % 4] = (uint8_t)(qs[k] + INT8_OFFSET);
    memcpy(block + n * PANEL_OUTS + out * sizeof d, &d, sizeof d);
}

static bool is_sound(const float *values, size_t n) {
    bool sound = true;
    for (size_t k = 0; k < n; k++)
        sound &= fabsf(values[k]) <= QUANTISE_MAX;
    return sound;
}

static void create_chunk(void *ctx, size_t panel, size_t thread) {
    struct create_job *j = ctx;
    const struct weight *to = j->to;
    float *values = j->c->thread_scratch[thread].data;
    memset(values, 0, to->n_stored * sizeof *values); // what is past n_in stays so
    for (size_t i = 0; i < size_min(PANEL_OUTS, to->n_out - panel * PANEL_OUTS); i++) {
        uint8_t *block = to->panels + panel * to->row_bytes * PANEL_OUTS;
        cpu_weight_row(j->c, j->from, panel * PANEL_OUTS + i, values);
        if (!is_sound(values, to->n_in)) {
            atomic_store(&j->has_bad_value, true);
            return;
        }
        for (size_t at = 0, n; at < to->n_stored; at += n) {
            n = size_min(INT8_N, to->n_stored - at);
            fill_block(j->c, block, i, values + at, n);
            block += n * PANEL_OUTS + PANEL_OUTS * sizeof(float);
        }
    }
}

bool cpu_int8_create(struct cpu *c, struct weight *w, const struct tensor *t, struct err *err) {
    struct weight from = *w;
    w->is_int8 = true;
    w->data = NULL;
    w->n_stored = div_up(w->n_in, INT8_GROUP) * INT8_GROUP;
    w->row_bytes = w->n_stored + div_up(w->n_stored, INT8_N) * sizeof(float);
    if (!cpu_take_panels(c, w, t, err))
        return false;
    struct create_job j = {.c = c, .from = &from, .to = w};
    cpu_scratch_get_all(c, w->n_stored * sizeof(float));
    cpu_run(c, div_up(w->n_out, PANEL_OUTS), w->n_out * w->n_in, create_chunk, &j);
    if (atomic_load(&j.has_bad_value))
        return err_set(err, ERR_MODEL, "%s: a value that is not a number or over %g", t->name,
                       (double)QUANTISE_MAX);
    return true;
}

struct product_job {
    const struct cpu *c;
    const struct product *products;
    const float *x;
    struct int8_row *rows; // [blocks of a row, n_rows]
    size_t n_rows, n_in, n_stored;
    size_t rows_a_block, outs_a_chunk;
    bool add;
};

static void quantise_row(void *ctx, size_t row, size_t thread) {
    (void)thread;
    const struct product_job *j = ctx;
    const float *x = j->x + row * j->n_in;
    struct int8_row *to = j->rows + row;
    for (size_t at = 0; at < j->n_stored; at += INT8_GROUP) {
        float filled[INT8_GROUP];
        const float *values = x + at;
        size_t g = at % INT8_N / INT8_GROUP;
        if (g == 0)
            to->offset = 0;
        if (at + INT8_GROUP > j->n_in) {
            memset(filled, 0, sizeof filled);
            values = memcpy(filled, values, (j->n_in - at) * sizeof *x);
        }
        int sum;
        to->d[g] = j->c->k.int8_quantise(to->qs + g * INT8_GROUP, values, INT8_GROUP, &sum);
        to->offset -= to->d[g] * (float)(INT8_OFFSET * sum);
        if (at % INT8_N == INT8_N - INT8_GROUP)
            to += j->n_rows;
    }
}

static size_t product_chunks(const struct product_job *j, const struct product *product) {
    return div_up(j->n_rows, j->rows_a_block) * div_up(product->w->n_out, j->outs_a_chunk);
}

// Chunks of one block of rows follow each other, so that all threads share it in their caches.
static void product_chunk(void *ctx, size_t chunk, size_t thread) {
    const struct product_job *j = ctx;
    const struct product *product = j->products;
    for (; chunk >= product_chunks(j, product); product++)
        chunk -= product_chunks(j, product);
    const struct weight *w = product->w;
    size_t n_chunks = div_up(w->n_out, j->outs_a_chunk);
    size_t row = chunk / n_chunks * j->rows_a_block, out = chunk % n_chunks * j->outs_a_chunk;
    struct int8_product p = {.y = product->y + row * w->n_out + out,
                             .w = w->panels + out * w->row_bytes,
                             .x = j->rows + row,
                             .y_stride = w->n_out,
                             .panel_bytes = w->row_bytes * PANEL_OUTS,
                             .x_stride = j->n_rows,
                             .n_rows = size_min(j->rows_a_block, j->n_rows - row),
                             .n_out = size_min(j->outs_a_chunk, w->n_out - out),
                             .n_in = w->n_stored,
                             .bias = product->bias ? product->bias + out : NULL,
                             .add = j->add,
                             .totals = j->c->thread_scratch[thread].data};
    j->c->k.int8_product(&p);
}

void cpu_int8_matmul(struct cpu *c, const struct product *products, size_t n, const float *x, size_t n_rows,
                     bool add) {
    const struct weight *w = products->w;
    struct product_job j = {.c = c,
                            .products = products,
                            .x = x,
                            .n_rows = n_rows,
                            .n_in = w->n_in,
                            .n_stored = w->n_stored,
                            .rows_a_block = div_up(n_rows, div_up(n_rows, ROW_BLOCK)),
                            .add = add};
    size_t n_out = 0, n_chunks = 0;
    j.rows = cpu_scratch_get(&c->activations, n_rows * div_up(w->n_stored, INT8_N) * sizeof *j.rows);
    cpu_run(c, n_rows, n_rows * w->n_in * CPU_QUANTISE_MACS, quantise_row, &j);
    for (size_t i = 0; i < n; i++)
        n_out += products[i].w->n_out;
    j.outs_a_chunk = div_up(n_out, CHUNKS_A_THREAD * pool_n_threads(c->pool) * INT8_OUTS) * INT8_OUTS;
    for (size_t i = 0; i < n; i++)
        n_chunks += product_chunks(&j, &products[i]);
    cpu_scratch_get_all(c, j.rows_a_block * INT8_OUTS * sizeof(float));
    cpu_run(c, n_chunks, n_rows * w->n_in * n_out, product_chunk, &j);
}
