// features [n_cells, merge^2, n_embd] -> rows [n_cells, n_embd_row]: Qwen-VL.
//
//   row = W_2 gelu(W_0 [norm(p_0) .. norm(p_k)] + b) + b             v.post_ln, mm.0, mm.2
//   deepstack, behind a block i that has v.deepstack.i: row part = fc2 gelu(fc1 LN([p_0 .. p_k]) + b) + b
//
// A row is the main part, then the part of each tapped block in order: n_embd_row = (1 + n_deepstack)
// n_embd_lm. Sources: Hugging Face Qwen2VL PatchMerger, Qwen2_5_VLPatchMerger, Qwen3VLVisionPatchMerger
// (use_postshuffle_norm for deepstack).
#include "vision/projector.h"
#include "vision/vision_bind.h"

#include <stdio.h>

#define KEY_DEEPSTACK "clip.vision.is_deepstack_layers"

static size_t n_cell_values(const struct vision_hparams *hp) {
    return hp->merge * hp->merge * hp->n_embd;
}

static bool check_deepstack_key(const struct vision_model *m, struct err *err) {
    const struct gguf_key *key = gguf_find_key(m->gguf, KEY_DEEPSTACK);
    if (key && (key->type != GGUF_ARRAY || key->item_type != GGUF_BOOL || key->n < m->hp.n_block))
        return err_set(err, ERR_MODEL, KEY_DEEPSTACK ": want an array of a bool for each of %zu blocks",
                       m->hp.n_block);
    for (size_t i = 0; i < gguf_n_tensors(m->gguf); i++) {
        const char *name = gguf_tensor_at(m->gguf, i)->name;
        size_t block;
        if (sscanf(name, "v.deepstack.%4zu.", &block) == 1 &&
            (block >= m->hp.n_block || (key && !gguf_array_int(key, block))))
            return err_set(err, ERR_MODEL, "%s: block %zu of %zu is not tapped%s", name, block, m->hp.n_block,
                           key ? " by " KEY_DEEPSTACK : "");
    }
    return true;
}

// Whether block i is tapped: as the key says where the file has it, else where there are tensors.
static bool is_tapped(const struct vision_model *m, size_t i) {
    const struct gguf_key *key = gguf_find_key(m->gguf, KEY_DEEPSTACK);
    char name[48];
    snprintf(name, sizeof name, "v.deepstack.%zu.fc1.weight", i);
    return key ? gguf_array_int(key, i) : gguf_find_tensor(m->gguf, name) != NULL;
}

static bool bind_tap(struct vision_model *m, size_t i, size_t n_embd_lm, struct err *err) {
    struct vision_block *b = &m->blocks[i];
    size_t n = n_cell_values(&m->hp);
    char name[48];
    if (!is_tapped(m, i))
        return true;
    m->hp.n_deepstack++;
    snprintf(name, sizeof name, "v.deepstack.%zu.norm", i);
    if (!vision_bind_norm(m, &b->tap_norm, name, n, false, err))
        return false;
    snprintf(name, sizeof name, "v.deepstack.%zu.fc1", i);
    if (!vision_bind_biased(m, &b->tap_in, name, BIND_ANY, n, err))
        return false;
    snprintf(name, sizeof name, "v.deepstack.%zu.fc2", i);
    return vision_bind_biased(m, &b->tap_out, name, n_embd_lm, weight_n_out(b->tap_in.w), err);
}

static bool bind(struct vision_model *m, struct err *err) {
    struct vision_projector *p = &m->projector;
    size_t n = n_cell_values(&m->hp);
    if (!vision_bind_norm(m, &p->norm[0], "v.post_ln", m->hp.n_embd, m->hp.family->rms_norm, err) ||
        !vision_bind_biased(m, &p->linear[0], "mm.0", BIND_ANY, n, err) ||
        !vision_bind_biased(m, &p->linear[1], "mm.2", BIND_ANY, weight_n_out(p->linear[0].w), err))
        return false;
    size_t n_embd_lm = weight_n_out(p->linear[1].w);
    if (!check_deepstack_key(m, err))
        return false;
    for (size_t i = 0; i < m->hp.n_block; i++)
        if (!bind_tap(m, i, n_embd_lm, err))
            return false;
    m->hp.n_embd_row = (1 + m->hp.n_deepstack) * n_embd_lm;
    return true;
}

static size_t widest_hidden(const struct vision_model *m) {
    size_t n = weight_n_out(m->projector.linear[0].w);
    for (size_t i = 0; i < m->hp.n_block; i++)
        if (m->blocks[i].tap_in.w && weight_n_out(m->blocks[i].tap_in.w) > n)
            n = weight_n_out(m->blocks[i].tap_in.w);
    return n;
}

static size_t n_work(const struct vision_model *m, size_t n_patches) {
    size_t n_rows = projector_cell_rows(&m->hp, n_patches);
    return n_patches * m->hp.n_embd + n_rows * (widest_hidden(m) + m->hp.n_embd_row);
}

// Part `part` of the rows = W_2 gelu(W_1 x); x [n_rows, merge^2 n_embd] lies at the start of p->work.
static void run_part(const struct projector *p, size_t part, const struct vision_linear *in,
                     const struct vision_linear *out, size_t n_rows) {
    const struct vision_hparams *hp = &p->model->hp;
    struct ops *o = p->model->ops;
    size_t n_embd_lm = hp->n_embd_row / (1 + hp->n_deepstack);
    float *hidden = p->work + n_rows * n_cell_values(hp), *y = hidden + n_rows * widest_hidden(p->model);
    projector_linear(p, hidden, in, p->work, n_rows);
    projector_activate(p, hidden, n_rows, in);
    projector_linear(p, y, out, hidden, n_rows);
    o->copy_rows(o, p->rows + part * n_embd_lm, hp->n_embd_row, y, n_embd_lm, n_rows, n_embd_lm);
}

static void run(const struct projector *p, const float *features) {
    const struct vision_projector *layers = &p->model->projector;
    const struct vision_hparams *hp = &p->model->hp;
    size_t n_patches = p->n_tiles * p->n_patches;
    projector_norm(p, p->work, features, &layers->norm[0], n_patches, hp->n_embd);
    run_part(p, 0, &layers->linear[0], &layers->linear[1], projector_cell_rows(hp, n_patches));
}

static void tap(const struct projector *p, size_t block, const float *x) {
    const struct vision_hparams *hp = &p->model->hp;
    const struct vision_block *b = &p->model->blocks[block];
    if (!b->tap_in.w)
        return;
    size_t n_rows = projector_cell_rows(hp, p->n_tiles * p->n_patches), part = 1;
    for (size_t i = 0; i < block; i++)
        part += p->model->blocks[i].tap_in.w != NULL;
    projector_norm(p, p->work, x, &b->tap_norm, n_rows, n_cell_values(hp));
    run_part(p, part, &b->tap_in, &b->tap_out, n_rows);
}

const struct projector_kind projector_merger = {
    .n_rows = projector_cell_rows, .bind = bind, .n_work = n_work, .run = run, .tap = tap};
