// features [n_patches, n_embd] -> rows [n_query, n_embd_row] of each tile: MiniCPM-V's perceiver.
//
//   v = LN(W_kv features)     k = v + position(line, column)     q = LN(query)
//   rows = P LN(attention(W_q q + b, W_k k + b, W_v v + b) W_o + b), heads 128 wide
//
// Positions are sines and cosines, the first half of the values by column, the second by line. They are computed for
// tiles of any size, as the original does: the file's resampler.pos_embed_k is a copy of those of 70 x 70 patches,
// rounded to f16. Others: resampler.{query, kv, ln_q, ln_kv, attn.{q, k, v, out}, ln_post, proj}.
// Source: MiniCPM-V 2.6, resampler.py (get_2d_sincos_pos_embed, Resampler._adjust_pos_cache).
#include "base/mem.h"
#include "vision/projector.h"
#include "vision/vision_bind.h"

#include <math.h>
#include <stdlib.h>

enum { HEAD_DIM = 128, ATTN_Q = 0, ATTN_K, ATTN_V, ATTN_OUT, KV, PROJ, LN_Q = 0, LN_KV, LN_POST, QUERY = 0 };

static const double wave_base = 10000;

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
    if (!vision_bind_table(m, &p->vector[QUERY], "resampler.query", m->hp.n_query, n, err) ||
        !vision_bind_linear(m, &p->linear[PROJ], "resampler.proj", BIND_ANY, n, err))
        return false;
    m->hp.n_embd_row = weight_n_out(p->linear[PROJ].w);
    return true;
}

static size_t n_work(const struct vision_model *m, size_t n_patches) {
    size_t n = weight_n_out(m->projector.linear[KV].w);
    return (3 * n_patches + 4 * m->hp.n_query) * n;
}

// waves [n_positions, n] = sin(i w_j), then cos(i w_j), j < n / 2; w_j = base^(-2j / n)
static void write_waves(struct ops *o, float *waves, size_t n_positions, size_t n) {
    float *row = xcalloc(n, sizeof *row);
    for (size_t i = 0; i < n_positions; i++) {
        for (size_t j = 0; j < n / 2; j++) {
            double angle = (double)i * pow(wave_base, -2.0 * (double)j / (double)n);
            row[j] = (float)sin(angle);
            row[n / 2 + j] = (float)cos(angle);
        }
        o->write(o, waves + i * n, row, n * sizeof *row);
    }
    free(row);
}

// x [n_tiles * n_patches, n] += position; waves: memory for as much as x
static void add_positions(const struct projector *p, float *x, float *waves, size_t n) {
    struct ops *o = p->model->ops;
    size_t n_lines = p->n_patches / p->n_cols, half = n / 2;
    write_waves(o, waves, p->n_cols > n_lines ? p->n_cols : n_lines, half);
    for (size_t i = 0; i < p->n_tiles * p->n_patches; i++) {
        size_t at = p->order[i % p->n_patches];
        o->add(o, x + i * n, waves + at % p->n_cols * half, half);
        o->add(o, x + i * n + half, waves + at / p->n_cols * half, half);
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
                        .scale = 1.0f / sqrtf(HEAD_DIM),
                        .parts = &part,
                        .n_parts = 1};
    o->attention(o, &attn);
}

static void run(const struct projector *p, const float *features) {
    const struct vision_projector *l = &p->model->projector;
    size_t n = weight_n_out(l->linear[KV].w), n_query = p->model->hp.n_query,
           rows = p->n_tiles * p->n_patches;
    float *x = p->work, *k = x + rows * n, *v = k + rows * n;
    float *queries = v + rows * n, *q = queries + n_query * n, *attended = q + n_query * n,
          *y = attended + n_query * n;

    projector_linear(p, x, &l->linear[KV], features, rows);
    projector_norm(p, x, x, &l->norm[LN_KV], rows, n);
    projector_linear(p, v, &l->linear[ATTN_V], x, rows);
    add_positions(p, x, k, n); // k is free until then
    projector_linear(p, k, &l->linear[ATTN_K], x, rows);
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
