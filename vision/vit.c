// pixels [3, S, S] -> features [n_patches, n_embd]: CLIP's vision transformer as LLaVA uses it.
//
//   x = [class; patches W^T + b] + position          x [n_rows, n_embd], class row first
//   x = LN(x)                                        where the file has pre_ln
//   x = x + Wo attention(LN1(x)) + bo                n_head heads, all rows see all rows, scale 1/sqrt(head_dim)
//   x = x + W2 act(W1 LN2(x) + b1) + b2              for each stored block
//   features = x without the class row               no LN after the last block
//
// Sources: Radford et al. 2021 (CLIP); Hugging Face CLIPVisionTransformer and LlavaModel.get_image_features,
// which takes hidden_states[-2]: files store the blocks up to there.
#include "vision/vit.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>

enum { ALIGN_FLOATS = 16 }; // 64 bytes

bool vit_init(struct vit *t, const struct vision_model *m, struct err *err) {
    const struct vision_hparams *hp = &m->hp;
    *t = (struct vit){.model = m};
    size_t n_patch = 3 * hp->patch_size * hp->patch_size; // below 2^28, and the other counts below 2^18
    size_t rows_len = hp->n_rows * hp->n_embd;
    struct {
        float **p;
        size_t len;
    } parts[] = {
        {&t->x, rows_len},
        {&t->norm, rows_len},
        {&t->q, rows_len},
        {&t->k, rows_len},
        {&t->v, rows_len},
        {&t->attn, rows_len},
        {&t->ff, hp->n_rows * hp->n_ff},
        {&t->patches, hp->n_patches * n_patch},
    };
    size_t total = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        total += (parts[i].len + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
    t->memory = m->ops->alloc(m->ops, total * sizeof *t->memory, err);
    t->host = try_malloc_array(hp->n_patches * n_patch, sizeof *t->host, "patches", err);
    if (!t->memory || !t->host)
        return false;
    float *at = t->memory;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        *parts[i].p = at;
        at += (parts[i].len + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
    }
    return true;
}

void vit_clear(struct vit *t) {
    if (t->model)
        t->model->ops->release(t->model->ops, t->memory);
    free(t->host);
    *t = (struct vit){0};
}

// A row of `patches` is one patch as the convolution's weight has it: [3, patch_size, patch_size].
static void cut_patches(float *patches, const float *pixels, size_t image_size, size_t patch_size) {
    size_t side = image_size / patch_size;
    for (size_t py = 0; py < side; py++)
        for (size_t px = 0; px < side; px++)
            for (size_t c = 0; c < 3; c++)
                for (size_t y = 0; y < patch_size; y++) {
                    size_t row = (c * image_size + py * patch_size + y) * image_size;
                    memcpy(patches, pixels + row + px * patch_size, patch_size * sizeof *patches);
                    patches += patch_size;
                }
}

static void linear(const struct vit *t, float *y, const struct vision_linear *l, const float *x, bool add) {
    struct ops *o = t->model->ops;
    o->matmul(o, y, l->w, l->bias, x, t->model->hp.n_rows, add);
}

static void norm(const struct vit *t, float *y, const float *x, const struct vision_norm *n) {
    const struct vision_hparams *hp = &t->model->hp;
    struct ops *o = t->model->ops;
    o->layer_norm(o, y, x, n->w, n->b, hp->eps, hp->n_rows, hp->n_embd);
}

void vit_embed(struct vit *t, const float *pixels) {
    const struct vision_model *m = t->model;
    const struct vision_hparams *hp = &m->hp;
    struct ops *o = m->ops;
    size_t patches_len = hp->n_patches * 3 * hp->patch_size * hp->patch_size;
    cut_patches(t->host, pixels, hp->image_size, hp->patch_size);
    o->write(o, t->patches, t->host, patches_len * sizeof *t->host);
    o->convert_rows(o, t->x, TENSOR_F32, hp->n_embd, m->position_embd, hp->n_embd, hp->n_rows, hp->n_embd);
    o->matmul(o, t->x + hp->has_class * hp->n_embd, m->patch_embd.w, m->patch_embd.bias, t->patches,
              hp->n_patches, true);
    if (m->pre_ln.w)
        norm(t, t->x, t->x, &m->pre_ln);
}

void vit_block(struct vit *t, size_t i) {
    const struct vision_hparams *hp = &t->model->hp;
    const struct vision_block *b = &t->model->blocks[i];
    struct ops *o = t->model->ops;
    size_t n_embd = hp->n_embd, n_rows = hp->n_rows, head_dim = n_embd / hp->n_head;

    norm(t, t->norm, t->x, &b->ln1);
    linear(t, t->q, &b->attn_q, t->norm, false);
    linear(t, t->k, &b->attn_k, t->norm, false);
    linear(t, t->v, &b->attn_v, t->norm, false);
    struct attn_part part = {
        .q = t->q,
        .out = t->attn,
        .k = t->k,
        .v = t->v,
        .q_stride = n_embd,
        .out_stride = n_embd,
        .kv_stride = n_embd,
        .n_rows = n_rows,
        .n_keys = n_rows,
    };
    struct attn attn = {
        .n_head = hp->n_head,
        .n_head_kv = hp->n_head,
        .head_dim = head_dim,
        .kv_type = TENSOR_F32,
        .scale = 1.0f / sqrtf((float)head_dim),
        .parts = &part,
        .n_parts = 1,
    };
    o->attention(o, &attn);
    linear(t, t->x, &b->attn_out, t->attn, true);

    norm(t, t->norm, t->x, &b->ln2);
    linear(t, t->ff, &b->ffn_in, t->norm, false);
    o->activate(o, t->ff, hp->act, n_rows * hp->n_ff);
    linear(t, t->x, &b->ffn_out, t->ff, true);
}

const float *vit_features(const struct vit *t) {
    return t->x + t->model->hp.has_class * t->model->hp.n_embd;
}
