// features [n_lines, n_cols, n_embd] -> rows [n_lines / 2, n_cols / 2, n_embd_row]: MobileVLM.
//
//   ldp     x = W_3 gelu(W_1 x + b) + b; x = x + block_1(x); x = block_2(x)    mm.model.mlp.1, .3, mb_block.1, .2
//   block   y = hard_swish(LN(conv(x)))                     block.0.0 (block_2: every second place), block.0.1
//           y = y hard_sigmoid(F_2 relu(F_1 mean(y) + b) + b)   block.1.fc1, .fc2; the mean of all places
//           LN(W y)                                             block.2.0, block.2.1
//   ldpv2   x = W_2 gelu(W_0 x + b) + b; x = mean of 2 x 2 places; x + conv(x) + b   mm.model.mlp.0, .2, peg.0
//
// conv is depthwise, 3 x 3; files hold it as [n_embd_row, 3, 3]. Sources: LDPBlock and LDPNetV2Projector of
// MobileVLM (mobilevlm/model/vision_projector.py), torchvision's InvertedResidual and SqueezeExcitation, timm's
// LayerNormAct2d: each place is normalised over its channels, with the eps 1e-5 whatever the encoder's.
#include "base/mem.h"
#include "vision/projector.h"
#include "vision/vision_bind.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { N_TAPS = 9, N_BLOCKS = 2 };

static const float norm_eps = 1e-5f;

// struct vision_projector: the MLP first, then of block k what stands here.
enum { MLP_IN, MLP_OUT, BLOCK_LINEARS };
enum { SQUEEZE, EXCITE, PROJECT, LINEARS_A_BLOCK };
enum { BEHIND_CONV, BEHIND_PROJECT, NORMS_A_BLOCK };

static const struct vision_linear *linear_of(const struct vision_projector *p, size_t block, size_t which) {
    return &p->linear[BLOCK_LINEARS + block * LINEARS_A_BLOCK + which];
}

static bool bind_mlp(struct vision_model *m, const char *in, const char *out, struct err *err) {
    struct vision_projector *p = &m->projector;
    if (!vision_bind_biased(m, &p->linear[MLP_IN], in, BIND_ANY, m->hp.n_embd, err) ||
        !vision_bind_biased(m, &p->linear[MLP_OUT], out, BIND_ANY, weight_n_out(p->linear[MLP_IN].w), err))
        return false;
    m->hp.n_embd_row = weight_n_out(p->linear[MLP_OUT].w);
    return true;
}

// [n, 3, 3] of the file -> [3, 3, n] in the backend.
static bool bind_conv(struct vision_model *m, float **out, const char *name, struct err *err) {
    size_t n = m->hp.n_embd_row;
    const struct tensor *t = vision_find(m, name, err);
    if (!t)
        return false;
    if (t->ne[0] != 3 || t->ne[1] != 3 || t->ne[t->n_dims - 1] != n)
        return err_set(err, ERR_MODEL, "%s: shape [%zu, %zu, %zu, %zu], want [%zu, 3, 3]", name, t->ne[3],
                       t->ne[2], t->ne[1], t->ne[0], n);
    float *stored = vision_read_tensor(m, t, N_TAPS * n, err);
    float *turned = stored ? try_malloc_array(N_TAPS * n, sizeof *turned, name, err) : NULL;
    if (turned)
        *out = m->ops->alloc(m->ops, N_TAPS * n * sizeof *turned, err);
    for (size_t i = 0; turned && i < N_TAPS * n; i++)
        turned[i] = stored[i % n * N_TAPS + i / n];
    if (*out)
        m->ops->write(m->ops, *out, turned, N_TAPS * n * sizeof *turned);
    free(stored);
    free(turned);
    return *out;
}

static bool bind_block(struct vision_model *m, size_t k, struct err *err) {
    struct vision_projector *p = &m->projector;
    struct vision_linear *linear = &p->linear[BLOCK_LINEARS + k * LINEARS_A_BLOCK];
    struct vision_norm *norm = &p->norm[k * NORMS_A_BLOCK];
    size_t n = m->hp.n_embd_row;
    char names[6][48];
    static const char *const parts[6] = {"0.0.weight", "0.1", "1.fc1", "1.fc2", "2.0", "2.1"};
    for (size_t i = 0; i < 6; i++)
        snprintf(names[i], sizeof names[i], "mm.model.mb_block.%zu.block.%s", k + 1, parts[i]);
    return bind_conv(m, &p->vector[k], names[0], err) &&
           vision_bind_norm(m, &norm[BEHIND_CONV], names[1], n, false, err) &&
           vision_bind_biased(m, &linear[SQUEEZE], names[2], BIND_ANY, n, err) &&
           vision_bind_biased(m, &linear[EXCITE], names[3], n, weight_n_out(linear[SQUEEZE].w), err) &&
           vision_bind_linear(m, &linear[PROJECT], names[4], n, n, err) &&
           vision_bind_norm(m, &norm[BEHIND_PROJECT], names[5], n, false, err);
}

static bool bind(struct vision_model *m, struct err *err) {
    if (!bind_mlp(m, "mm.model.mlp.1", "mm.model.mlp.3", err))
        return false;
    for (size_t k = 0; k < N_BLOCKS; k++)
        if (!bind_block(m, k, err))
            return false;
    return true;
}

static size_t side_of(size_t n_patches) { // tiles of these families are squares
    return (size_t)(sqrt((double)n_patches) + 0.5);
}

static size_t n_rows(const struct vision_hparams *hp, size_t n_patches) {
    (void)hp;
    size_t side = (side_of(n_patches) + 1) / 2;
    return side * side;
}

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

static size_t widest(const struct vision_model *m) {
    return larger(m->hp.n_embd_row, weight_n_out(m->projector.linear[MLP_IN].w));
}

// Two grids at full size; for each tile (n_patches at most) a mean, its squeezed form and a gate.
static size_t n_work(const struct vision_model *m, size_t n_patches) {
    size_t squeezed = 0;
    for (size_t k = 0; k < N_BLOCKS; k++)
        squeezed = larger(squeezed, weight_n_out(linear_of(&m->projector, k, SQUEEZE)->w));
    return n_patches * (2 * widest(m) + m->hp.n_embd_row) + n_patches * (2 * m->hp.n_embd_row + squeezed);
}

// The MLP on all patches: the result in p->work, `hidden` behind it is free again.
static float *run_mlp(const struct projector *p, const float *features, float *hidden) {
    const struct vision_linear *linear = p->model->projector.linear;
    size_t n = p->n_tiles * p->n_patches;
    projector_linear(p, hidden, &linear[MLP_IN], features, n);
    projector_activate(p, hidden, n, &linear[MLP_IN]);
    projector_linear(p, p->work, &linear[MLP_OUT], hidden, n);
    return p->work;
}

// Each tile of y [n_tiles, n_places, n] times its gate, which is made of the tile's mean.
static void excite(const struct projector *p, size_t k, float *y, size_t n_places, float *spare) {
    const struct vision_projector *layers = &p->model->projector;
    const struct vision_linear *squeeze = linear_of(layers, k, SQUEEZE);
    struct ops *o = p->model->ops;
    size_t n = p->model->hp.n_embd_row, n_squeezed = weight_n_out(squeeze->w);
    float *mean = spare, *gate = mean + p->n_tiles * n, *squeezed = gate + p->n_tiles * n;
    o->mean_rows(o, mean, y, n_places, p->n_tiles, n);
    projector_linear(p, squeezed, squeeze, mean, p->n_tiles);
    o->activate(o, squeezed, ACT_RELU, p->n_tiles * n_squeezed);
    projector_linear(p, gate, linear_of(layers, k, EXCITE), squeezed, p->n_tiles);
    o->activate(o, gate, ACT_HARD_SIGMOID, p->n_tiles * n);
    for (size_t tile = 0; tile < p->n_tiles; tile++)
        o->mul_rows(o, y + tile * n_places * n, gate + tile * n, n_places, n);
}

// out = block_k(x), of `places` places a tile when the convolution has run; y and spare are working memory.
static void run_block(const struct projector *p, size_t k, float *out, const float *x,
                      const struct grid *grid, float *y, float *spare) {
    const struct vision_projector *layers = &p->model->projector;
    const struct vision_norm *norm = &layers->norm[k * NORMS_A_BLOCK];
    struct ops *o = p->model->ops;
    size_t n = p->model->hp.n_embd_row, n_lines = (grid->n_lines + grid->stride - 1) / grid->stride,
           n_cols = (grid->n_cols + grid->stride - 1) / grid->stride, n_places = n_lines * n_cols,
           rows = p->n_tiles * n_places;
    o->conv_rows(o, y, x, layers->vector[k], NULL, grid, n);
    o->layer_norm(o, y, y, norm[BEHIND_CONV].w, norm[BEHIND_CONV].b, norm_eps, rows, n);
    o->activate(o, y, ACT_HARD_SWISH, rows * n);
    excite(p, k, y, n_places, spare);
    projector_linear(p, out, linear_of(layers, k, PROJECT), y, rows);
    o->layer_norm(o, out, out, norm[BEHIND_PROJECT].w, norm[BEHIND_PROJECT].b, norm_eps, rows, n);
}

static void run(const struct projector *p, const float *features) {
    struct ops *o = p->model->ops;
    size_t n_patches = p->n_tiles * p->n_patches, n = p->model->hp.n_embd_row,
           full = n_patches * widest(p->model);
    float *y = p->work + full, *out = y + full, *spare = out + n_patches * n;
    float *x = run_mlp(p, features, y);
    struct grid grid = {p->n_tiles, p->n_patches / p->n_cols, p->n_cols, 1};
    run_block(p, 0, out, x, &grid, y, spare);
    o->add(o, x, out, n_patches * n);
    grid.stride = 2;
    run_block(p, 1, p->rows, x, &grid, y, spare);
}

const struct projector_kind projector_ldp = {.n_rows = n_rows, .bind = bind, .n_work = n_work, .run = run};

// ---- version 2: patches stand cell by cell ----

static bool bind_v2(struct vision_model *m, struct err *err) {
    return bind_mlp(m, "mm.model.mlp.0", "mm.model.mlp.2", err) &&
           bind_conv(m, &m->projector.vector[0], "mm.model.peg.0.weight", err) &&
           vision_bind_vector(m, &m->projector.vector[1], "mm.model.peg.0.bias", m->hp.n_embd_row, true, err);
}

static size_t n_work_v2(const struct vision_model *m, size_t n_patches) {
    return 2 * n_patches * widest(m);
}

static void run_v2(const struct projector *p, const float *features) {
    const struct vision_hparams *hp = &p->model->hp;
    const struct vision_projector *layers = &p->model->projector;
    struct ops *o = p->model->ops;
    size_t n_cell = hp->merge * hp->merge, n = hp->n_embd_row, n_cols = p->n_cols / hp->merge,
           n_cells = p->n_patches / n_cell;
    float *cells = p->work + p->n_tiles * p->n_patches * widest(p->model);
    const float *x = run_mlp(p, features, cells);
    o->mean_rows(o, cells, x, n_cell, p->n_tiles * n_cells, n);
    o->conv_rows(o, p->rows, cells, layers->vector[0], layers->vector[1],
                 &(struct grid){p->n_tiles, n_cells / n_cols, n_cols, 1}, n);
    o->add(o, p->rows, cells, p->n_tiles * n_cells * n);
}

const struct projector_kind projector_ldpv2 = {
    .n_rows = projector_cell_rows, .bind = bind_v2, .n_work = n_work_v2, .run = run_v2};
