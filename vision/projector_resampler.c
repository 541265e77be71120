// features [n_patches, n_embd] -> rows [n_query, n_embd_row] of each tile: MiniCPM-V's perceiver.
//
//   v = LN(W_kv features)     k = v + position(line, column)     q = LN(query)
//   rows = P LN(attention(W_q q + b, W_k k + b, W_v v + b) W_o + b), heads 128 wide
//
// resampler.{query, kv, ln_q, ln_kv, attn.{q, k, v, out}, ln_post, proj, pos_embed_k}: the
// last a square table of sines and cosines, line by line. Source: MiniCPM-V 2.6, resampler.py.
#include "base/mem.h"
#include "vision/projector.h"
#include "vision/vision_bind.h"

#include <math.h>
#include <stdlib.h>

enum {
    HEAD_DIM = 128,
    ATTN_Q = 0,
    ATTN_K,
    ATTN_V,
    ATTN_OUT,
    KV,
    PROJ,
    LN_Q = 0,
    LN_KV,
    LN_POST,
    QUERY = 0,
    POSITION
};

static size_t n_rows(const struct vision_hparams *hp, size_t n_patches) {
    (void)n_patches;
    return hp->n_query;
}

static bool bind(struct vision_model *m, struct err *err) {
    static const char *const attn[] = {"resampler.attn.q", "resampler.attn.k", "resampler.attn.v",
                                       "resampler.attn.out"};
    static const char *const norms[] = {"resampler.ln_q", "resampler.ln_kv", "resampler.ln_post"};
    struct vision_projector *p = &m->projector;
    if (!vision_bind_linear(m, &p->linear[KV], "resampler.kv", BIND_ANY, m->hp.n_embd, err))
        return false;
    size_t n = weight_n_out(p->linear[KV].w);
    if (n % HEAD_DIM != 0)
        return err_set(err, ERR_MODEL, "resampler.kv.weight: %zu outputs, want a multiple of %d", n,
                       HEAD_DIM);
    for (size_t i = 0; i < 4; i++)
        if (!vision_bind_biased(m, &p->linear[i], attn[i], n, n, err))
            return false;
    for (size_t i = 0; i < 3; i++)
        if (!vision_bind_norm(m, &p->norm[i], norms[i], n, false, err))
            return false;
    size_t side = m->hp.table_side;
    if (!vision_bind_table(m, &p->vector[QUERY], "resampler.query", m->hp.n_query, n, err) ||
        !vision_bind_table(m, &p->vector[POSITION], "resampler.pos_embed_k", side * side, n, err) ||
        !vision_bind_linear(m, &p->linear[PROJ], "resampler.proj", BIND_ANY, n, err))
        return false;
    m->hp.n_embd_row = weight_n_out(p->linear[PROJ].w);
    return true;
}

static size_t n_work(const struct vision_model *m, size_t n_patches) {
    size_t n = weight_n_out(m->projector.linear[KV].w);
    return (4 * n_patches + 4 * m->hp.n_query) *
           n; // a tile has at least one patch, so this holds its queries too
}

// k = v + the table's rows of the patches
static void add_positions(const struct projector *p, float *k, size_t n) {
    const struct vision_model *m = p->model;
    struct ops *o = m->ops;
    for (size_t t = 0; t < p->n_tiles; t++)
        for (size_t i = 0; i < p->n_patches; i++) {
            size_t at = p->order[i], row = at / p->n_cols * m->hp.table_side + at % p->n_cols;
            o->add(o, k + (t * p->n_patches + i) * n, m->projector.vector[POSITION] + row * n, n);
        }
}

static void attend(const struct projector *p, float *out, const float *q, const float *k, const float *v,
                   size_t n, size_t tile) {
    struct ops *o = p->model->ops;
    size_t n_query = p->model->hp.n_query, first = tile * p->n_patches * n;
    struct attn_part part = {.q = q,
                             .out = out,
                             .k = k + first,
                             .v = v + first,
                             .q_stride = n,
                             .out_stride = n,
                             .kv_stride = n,
                             .n_rows = n_query,
                             .n_keys = p->n_patches};
    struct attn attn = {.n_head = n / HEAD_DIM,
                        .n_head_kv = n / HEAD_DIM,
                        .head_dim = HEAD_DIM,
                        .kv_type = TENSOR_F32,
                        .scale = 1.0f / sqrtf(HEAD_DIM),
                        .parts = &part,
                        .n_parts = 1};
    o->attention(o, &attn);
}

static void run(const struct projector *p, const float *features) {
    const struct vision_projector *l = &p->model->projector;
    struct ops *o = p->model->ops;
    size_t n = weight_n_out(l->linear[KV].w), n_query = p->model->hp.n_query,
           rows = p->n_tiles * p->n_patches;
    float *values = p->work, *keys = values + rows * n, *k = keys + rows * n, *v = k + rows * n;
    float *queries = v + rows * n, *q = queries + n_query * n, *attended = q + n_query * n,
          *y = attended + n_query * n;

    projector_linear(p, keys, &l->linear[KV], features, rows);
    projector_norm(p, values, keys, &l->norm[LN_KV], rows, n);
    o->convert_rows(o, keys, TENSOR_F32, n, values, n, rows, n);
    add_positions(p, keys, n);
    projector_linear(p, k, &l->linear[ATTN_K], keys, rows);
    projector_linear(p, v, &l->linear[ATTN_V], values, rows);
    projector_norm(p, queries, l->vector[QUERY], &l->norm[LN_Q], n_query, n);
    projector_linear(p, q, &l->linear[ATTN_Q], queries, n_query);
    for (size_t tile = 0; tile < p->n_tiles; tile++) {
        attend(p, attended, q, k, v, n, tile);
        projector_linear(p, y, &l->linear[ATTN_OUT], attended, n_query);
        projector_norm(p, attended, y, &l->norm[LN_POST], n_query, n);
        projector_linear(p, p->rows + tile * n_query * p->model->hp.n_embd_row, &l->linear[PROJ], attended,
                         n_query);
    }
}

const struct projector_kind projector_resampler = {
    .n_rows = n_rows, .bind = bind, .n_work = n_work, .run = run};
