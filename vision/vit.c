// pixels [n_tiles, 3, height, width] -> features [n_tiles * n_patches, n_embd]: the vision transformer.
//
//   x = [class; patches W^T + b] + position          each tile: n_rows rows, class row first where there is
//                                                    one
//   x = norm(x)                                      where the file has pre_ln
//   x = x + s1 (Wo attention(R(norm1(x))) + bo)      R: 2-D RoPE of q and k; rows see their tile, or their
//                                                    window
//   x = x + s2 (W2 act(W1 norm2(x) + b1) + b2)       for each stored block; act(gate) * up where there is a
//                                                    gate
//   features = x without the class rows              behind the last norm where it belongs to the encoder
//
// norm, act, position, R, s1 and s2 are the family's (family.c). Sources: Radford et al. 2021 (CLIP); Zhai et
// al. 2023 (SigLIP); Hugging Face CLIPVisionTransformer and LlavaModel.get_image_features, which takes
// hidden_states[-2] (files store the blocks up to there); SiglipVisionTransformer, Qwen2VisionTransformer,
// Qwen2_5_VisionTransformer, Qwen3VLVisionModel, InternVLVisionModel, PixtralVisionModel.
#include "vision/vit.h"

#include "base/mem.h"
#include "vision/vit_place.h"

#include <math.h>
#include <stdlib.h>

enum {
    ALIGN_FLOATS = 16, // 64 bytes
    FF_ROWS = 1024,    // rows whose hidden layer is in memory at once
};

static const double rope_base = 10000;

static size_t ff_rows(const struct vit *t) {
    size_t rows = t->n_tiles * t->n_rows;
    return rows < FF_ROWS ? rows : FF_ROWS;
}

static bool allocate(struct vit *t, struct err *err) {
    const struct vision_model *m = t->model;
    const struct vision_hparams *hp = &m->hp;
    size_t n_patch = 3 * hp->patch_size * hp->patch_size; // below 2^28, and the other counts below 2^18
    size_t rows = t->n_tiles * t->n_rows, rows_len = rows * hp->n_embd,
           patches_len = t->n_tiles * t->n_patches * n_patch;
    bool is_gated = m->blocks[0].ffn_gate.w;
    struct {
        float **p;
        size_t len;
    } parts[] = {
        {&t->x, rows_len},
        {&t->norm, rows_len},
        {&t->qkv, 3 * rows_len},
        {&t->attn, rows_len},
        {&t->ff, ff_rows(t) * hp->n_ff},
        {&t->gate, is_gated ? ff_rows(t) * hp->n_ff : 0},
        {&t->patches, patches_len},
        {&t->positions, t->n_rows * hp->n_embd},
    };
    size_t total = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        total += (parts[i].len + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
    t->memory = m->ops->alloc(m->ops, total * sizeof *t->memory, err);
    t->host = try_malloc_array(patches_len > t->n_rows * hp->n_embd ? patches_len : t->n_rows * hp->n_embd,
                               sizeof *t->host, "patches", err);
    if (!t->memory || !t->host)
        return false;
    float *at = t->memory;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        *parts[i].p = at;
        at += (parts[i].len + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
    }
    return true;
}

static void init_positions(struct vit *t) {
    const struct vision_model *m = t->model;
    size_t n_embd = m->hp.n_embd;
    if (m->hp.has_class) // bound with its position, the table's first row
        for (size_t i = 0; i < n_embd; i++)
            t->host[i] = m->class_embd[i] + (m->position_table ? m->position_table[i] : 0);
    vit_place_embed(m, t->n_cols, t->n_lines, t->order, t->host + m->hp.has_class * n_embd);
    m->ops->write(m->ops, t->positions, t->host, t->n_rows * n_embd * sizeof *t->host);
}

// One frequency a pair of a head, and the axis it turns by.
static bool init_rope(struct vit *t, struct err *err) {
    const struct vision_hparams *hp = &t->model->hp;
    size_t n_rot = hp->n_embd / hp->n_head, n_pairs = n_rot / 2, rows = t->n_tiles * t->n_rows;
    if (hp->family->rope == ROPE_NONE)
        return true;
    t->freqs = xcalloc(n_pairs, sizeof *t->freqs);
    t->axes = xcalloc(n_pairs, sizeof *t->axes);
    t->places = try_malloc_array(rows, 2 * sizeof *t->places, "positions", err);
    if (!t->places)
        return false;
    for (size_t i = 0; i < n_pairs; i++) {
        size_t k = i % (n_pairs / 2);
        t->axes[i] = i >= n_pairs / 2;
        double power = hp->family->rope == ROPE_HALVES ? (double)(2 * k) / (double)n_pairs
                                                       : (double)(2 * (2 * k + t->axes[i])) / (double)n_rot;
        t->freqs[i] = (float)pow(rope_base, -power);
    }
    for (size_t i = 0; i < rows; i++) { // no family has both RoPE and a class token
        size_t at = t->order[i % t->n_rows];
        t->places[2 * i] = (int32_t)(at / t->n_cols);
        t->places[2 * i + 1] = (int32_t)(at % t->n_cols);
    }
    t->rope = (struct rope){.freqs = t->freqs,
                            .n_rot = n_rot,
                            .halves = hp->family->rope == ROPE_HALVES,
                            .magnitude = 1,
                            .n_axes = 2,
                            .axes = t->axes};
    return true;
}

static struct attn_part attn_part(const struct vit *t, size_t first, size_t n_rows) {
    size_t n_embd = t->model->hp.n_embd, rows_len = t->n_tiles * t->n_rows * n_embd;
    bool is_fused = t->model->blocks[0].attn_qkv.w;
    size_t stride = is_fused ? 3 * n_embd : n_embd, apart = is_fused ? n_embd : rows_len;
    const float *q = t->qkv + first * stride;
    return (struct attn_part){.q = q,
                              .k = q + apart,
                              .v = q + 2 * apart,
                              .out = t->attn + first * n_embd,
                              .q_stride = stride,
                              .kv_stride = stride,
                              .out_stride = n_embd,
                              .n_rows = n_rows,
                              .n_keys = n_rows};
}

static bool init_places(struct vit *t, struct err *err) {
    size_t n_cells = t->n_patches / (t->model->hp.merge * t->model->hp.merge);
    t->order = try_malloc_array(t->n_patches, sizeof *t->order, "patches", err);
    size_t *ends = try_malloc_array(n_cells, sizeof *ends, "windows", err);
    bool ok = t->order && ends;
    if (ok) {
        size_t n = vit_place_order(&t->model->hp, t->n_cols, t->n_lines, t->order, ends);
        t->n_windows = t->n_tiles * n;
        t->whole = xcalloc(t->n_tiles, sizeof *t->whole);
        t->windows = xcalloc(t->n_windows, sizeof *t->windows);
        for (size_t tile = 0; tile < t->n_tiles; tile++) {
            t->whole[tile] = attn_part(t, tile * t->n_rows, t->n_rows);
            for (size_t i = 0; i < n; i++) {
                size_t begin = i ? ends[i - 1] : 0;
                t->windows[tile * n + i] = attn_part(t, tile * t->n_rows + begin, ends[i] - begin);
            }
        }
    }
    free(ends);
    return ok;
}

bool vit_init(struct vit *t, const struct vision_model *m, size_t n_tiles, size_t width_px, size_t height_px,
              struct err *err) {
    const struct vision_hparams *hp = &m->hp;
    *t = (struct vit){.model = m,
                      .n_tiles = n_tiles,
                      .n_cols = width_px / hp->patch_size,
                      .n_lines = height_px / hp->patch_size};
    t->n_patches = t->n_cols * t->n_lines;
    t->n_rows = t->n_patches + hp->has_class;
    if (!allocate(t, err) || !init_places(t, err) || !init_rope(t, err))
        return false;
    init_positions(t);
    return true;
}

void vit_clear(struct vit *t) {
    if (t->model)
        t->model->ops->release(t->model->ops, t->memory);
    free(t->host);
    free(t->order);
    free(t->places);
    free(t->freqs);
    free(t->axes);
    free(t->whole);
    free(t->windows);
    *t = (struct vit){0};
}

// A row of `patches` is one patch as the convolution's weight has it: [3, patch_size, patch_size].
static void cut_patches(const struct vit *t, float *patches, const float *pixels) {
    size_t p = t->model->hp.patch_size, width = t->n_cols * p, height = t->n_lines * p;
    for (size_t i = 0; i < t->n_patches; i++) {
        size_t top = t->order[i] / t->n_cols * p, left = t->order[i] % t->n_cols * p;
        for (size_t c = 0; c < 3; c++)
            for (size_t y = 0; y < p; y++) {
                memcpy(patches, pixels + (c * height + top + y) * width + left, p * sizeof *patches);
                patches += p;
            }
    }
}

static void norm(const struct vit *t, float *y, const float *x, const struct vision_norm *n) {
    const struct vision_hparams *hp = &t->model->hp;
    struct ops *o = t->model->ops;
    size_t rows = t->n_tiles * t->n_rows;
    if (hp->family->rms_norm)
        o->rms_norm(o, y, x, n->w, hp->eps, rows, hp->n_embd);
    else
        o->layer_norm(o, y, x, n->w, n->b, hp->eps, rows, hp->n_embd);
}

void vit_embed(struct vit *t, const float *pixels) {
    const struct vision_model *m = t->model;
    const struct vision_hparams *hp = &m->hp;
    struct ops *o = m->ops;
    size_t n_patch = 3 * hp->patch_size * hp->patch_size, n_embd = hp->n_embd;
    size_t patches_len = t->n_patches * n_patch,
           tile_len = 3 * t->n_patches * hp->patch_size * hp->patch_size;
    for (size_t tile = 0; tile < t->n_tiles; tile++)
        cut_patches(t, t->host + tile * patches_len, pixels + tile * tile_len);
    o->write(o, t->patches, t->host, t->n_tiles * patches_len * sizeof *t->host);
    for (size_t tile = 0; tile < t->n_tiles; tile++) {
        float *x = t->x + tile * t->n_rows * n_embd;
        o->copy_rows(o, x, n_embd, t->positions, n_embd, t->n_rows, n_embd);
        o->matmul(o, x + hp->has_class * n_embd, m->patch_embd.w, m->patch_embd.bias,
                  t->patches + tile * patches_len, t->n_patches, true);
    }
    if (m->pre_ln.w)
        norm(t, t->x, t->x, &m->pre_ln);
}

// x += scale * (in W^T + b); spare is as large as x, and may be NULL without a scale.
static void add_linear(const struct vit *t, float *x, const struct vision_linear *l, const float *in,
                       const float *scale, float *spare, size_t rows) {
    struct ops *o = t->model->ops;
    size_t n_embd = t->model->hp.n_embd;
    if (!scale) {
        o->matmul(o, x, l->w, l->bias, in, rows, true);
        return;
    }
    o->matmul(o, spare, l->w, l->bias, in, rows, false);
    o->mul_rows(o, spare, scale, rows, n_embd);
    o->add(o, x, spare, rows * n_embd);
}

static void attention(struct vit *t, size_t i) {
    const struct vision_hparams *hp = &t->model->hp;
    const struct vision_block *b = &t->model->blocks[i];
    struct ops *o = t->model->ops;
    size_t n_embd = hp->n_embd, rows = t->n_tiles * t->n_rows, head_dim = n_embd / hp->n_head;
    if (b->attn_qkv.w) {
        o->matmul(o, t->qkv, b->attn_qkv.w, b->attn_qkv.bias, t->norm, rows, false);
    } else {
        const struct product products[] = {
            {t->qkv, b->attn_q.w, b->attn_q.bias},
            {t->qkv + rows * n_embd, b->attn_k.w, b->attn_k.bias},
            {t->qkv + 2 * rows * n_embd, b->attn_v.w, b->attn_v.bias},
        };
        o->matmul_many(o, products, 3, t->norm, rows);
    }
    if (hp->family->rope) {
        size_t stride = t->whole->q_stride, apart = b->attn_qkv.w ? n_embd : rows * n_embd;
        o->rope(o, t->qkv, stride, t->places, &t->rope, rows, hp->n_head, head_dim);
        o->rope(o, t->qkv + apart, stride, t->places, &t->rope, rows, hp->n_head, head_dim);
    }
    bool is_windowed = hp->window && (i + 1) % hp->full_every != 0;
    struct attn attn = {
        .n_head = hp->n_head,
        .n_head_kv = hp->n_head,
        .head_dim = head_dim,
        .scale = 1.0f / sqrtf((float)head_dim),
        .parts = is_windowed ? t->windows : t->whole,
        .n_parts = is_windowed ? t->n_windows : t->n_tiles,
        .int8 = !is_windowed && t->model->precision == WEIGHT_ROWS_INT8,
    };
    o->attention(o, &attn);
}

static void feed_forward(struct vit *t, const struct vision_block *b) {
    const struct vision_hparams *hp = &t->model->hp;
    struct ops *o = t->model->ops;
    size_t rows = t->n_tiles * t->n_rows, n_embd = hp->n_embd;
    for (size_t first = 0, n; first < rows; first += n) {
        n = rows - first < FF_ROWS ? rows - first : FF_ROWS;
        const float *in = t->norm + first * n_embd;
        o->matmul(o, t->ff, b->ffn_in.w, b->ffn_in.bias, in, n, false);
        if (b->ffn_gate.w) {
            o->matmul(o, t->gate, b->ffn_gate.w, b->ffn_gate.bias, in, n, false);
            o->activate_mul(o, t->ff, t->gate, t->ff, hp->act, n * hp->n_ff);
        } else {
            o->activate(o, t->ff, hp->act, n * hp->n_ff);
        }
        add_linear(t, t->x + first * n_embd, &b->ffn_out, t->ff, b->scale2, t->attn, n);
    }
}

void vit_block(struct vit *t, size_t i) {
    const struct vision_block *b = &t->model->blocks[i];
    norm(t, t->norm, t->x, &b->ln1);
    attention(t, i);
    add_linear(t, t->x, &b->attn_out, t->attn, b->scale1, t->norm, t->n_tiles * t->n_rows);
    norm(t, t->norm, t->x, &b->ln2);
    feed_forward(t, b);
}

const float *vit_features(struct vit *t) {
    const struct vision_model *m = t->model;
    struct ops *o = m->ops;
    size_t n_embd = m->hp.n_embd;
    const float *x = t->x;
    if (m->post_ln.w) {
        norm(t, t->norm, t->x, &m->post_ln);
        x = t->norm;
    }
    if (!m->hp.has_class)
        return x;
    for (size_t tile = 0; tile < t->n_tiles; tile++)
        o->copy_rows(o, t->attn + tile * t->n_patches * n_embd, n_embd, x + (tile * t->n_rows + 1) * n_embd,
                     n_embd, t->n_patches, n_embd);
    return t->attn;
}
