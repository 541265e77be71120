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
#include "base/sizes.h"
#include "vision/vit_place.h"

#include <math.h>
#include <stdlib.h>

enum {
    ALIGN_FLOATS = 16, // 64 bytes
    SLICE_ROWS_MIN = 64,
    SLICE_ROWS_MAX = 2048, // hidden layers of more rows would be large
    PATCHES_AT_A_TIME = 1024,
};

static const double slice_macs = 16e9; // a fifth of a second in f32 on two cores
static const double rope_base = 10000;

static size_t n_slices(size_t rows, double macs_a_row) {
    double most = slice_macs / macs_a_row;
    size_t n = most > SLICE_ROWS_MAX ? SLICE_ROWS_MAX : most < SLICE_ROWS_MIN ? SLICE_ROWS_MIN : (size_t)most;
    return div_up(rows, n);
}

static struct vit_slices slices_of(const struct vision_model *m, size_t n_tiles, size_t n_patches) {
    const struct vision_hparams *hp = &m->hp;
    size_t rows = n_patches + hp->has_class;
    double n = (double)hp->n_embd, n_hidden = (m->blocks[0].ffn_gate.w ? 3 : 2) * (double)hp->n_ff;
    return (struct vit_slices){n_slices(n_tiles * rows, 3 * n * n),
                               n_slices(n_tiles * rows, n * (n + n_hidden + 2 * (double)rows))};
}

size_t vit_block_slices(const struct vision_model *m, size_t n_tiles, size_t n_patches) {
    struct vit_slices s = slices_of(m, n_tiles, n_patches);
    return s.rest > 1 ? s.qkv + s.rest : 1;
}

// Part i of n of all rows.
static struct vit_range slice_rows(const struct vit *t, size_t i, size_t n) {
    size_t rows = t->n_tiles * t->n_rows, share = div_up(rows, n), first = size_min(i * share, rows);
    return (struct vit_range){first, size_min(share, rows - first)};
}

static bool allocate(struct vit *t, struct err *err) {
    const struct vision_model *m = t->model;
    const struct vision_hparams *hp = &m->hp;
    size_t n_patch = 3 * hp->patch_size * hp->patch_size; // below 2^28, and the other counts below 2^18
    size_t rows = t->n_tiles * t->n_rows, rows_len = rows * hp->n_embd;
    size_t rest = slice_rows(t, 0, t->slices.rest).n, qkv = slice_rows(t, 0, t->slices.qkv).n;
    bool is_gated = m->blocks[0].ffn_gate.w;
    struct {
        float **p;
        size_t len;
    } parts[] = {
        {&t->x, rows_len},
        {&t->norm, (rest > qkv ? rest : qkv) * hp->n_embd},
        {&t->qkv, 3 * rows_len},
        {&t->attn, rest * hp->n_embd},
        {&t->ff, rest * hp->n_ff},
        {&t->gate, is_gated ? rest * hp->n_ff : 0},
        {&t->patches, size_min(t->n_patches, PATCHES_AT_A_TIME) * n_patch},
    };
    size_t total = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        total += (parts[i].len + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
    t->memory = m->ops->alloc(m->ops, total * sizeof *t->memory, err);
    if (!t->memory)
        return false;
    float *at = t->memory;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        *parts[i].p = at;
        at += (parts[i].len + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
    }
    return true;
}

// What is added to each tile's rows.
static bool init_positions(struct vit *t, struct err *err) {
    const struct vision_model *m = t->model;
    size_t n_embd = m->hp.n_embd, len = t->n_rows * n_embd;
    float *host = try_malloc_array(len, sizeof *host, "positions", err);
    if (!host)
        return false;
    if (m->hp.has_class) // bound with its position, the table's first row
        for (size_t i = 0; i < n_embd; i++)
            host[i] = m->class_embd[i] + (m->position_table ? m->position_table[i] : 0);
    vit_place_embed(m, t->n_cols, t->n_lines, t->order, host + m->hp.has_class * n_embd);
    for (size_t tile = 0; tile < t->n_tiles; tile++)
        m->ops->write(m->ops, t->x + tile * len, host, len * sizeof *host);
    free(host);
    return true;
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
        t->parts = xcalloc(t->n_tiles + t->n_windows, sizeof *t->parts);
        for (size_t tile = 0; tile < t->n_tiles; tile++) {
            t->whole[tile] = (struct vit_range){tile * t->n_rows, t->n_rows};
            for (size_t i = 0; i < n; i++) {
                size_t begin = i ? ends[i - 1] : 0;
                t->windows[tile * n + i] = (struct vit_range){tile * t->n_rows + begin, ends[i] - begin};
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
    t->slices = slices_of(m, n_tiles, t->n_patches);
    return allocate(t, err) && init_places(t, err) && init_rope(t, err) && init_positions(t, err);
}

void vit_clear(struct vit *t) {
    if (t->model)
        t->model->ops->release(t->model->ops, t->memory);
    free(t->order);
    free(t->places);
    free(t->freqs);
    free(t->axes);
    free(t->whole);
    free(t->windows);
    free(t->parts);
    *t = (struct vit){0};
}

// Patches first .. first + n - 1 of a tile; each as the convolution's weight has it: [3, patch_size, patch_size].
static void cut_patches(const struct vit *t, const float *pixels, size_t first, size_t n) {
    size_t p = t->model->hp.patch_size, width = t->n_cols * p, height = t->n_lines * p;
    float *to = t->patches;
    for (size_t i = first; i < first + n; i++) {
        size_t top = t->order[i] / t->n_cols * p, left = t->order[i] % t->n_cols * p;
        for (size_t c = 0; c < 3; c++)
            for (size_t y = 0; y < p; y++, to += p)
                t->model->ops->write(t->model->ops, to, pixels + (c * height + top + y) * width + left,
                                     p * sizeof *to);
    }
}

static void norm(const struct vit *t, float *y, const float *x, const struct vision_norm *n, size_t rows) {
    const struct vision_hparams *hp = &t->model->hp;
    struct ops *o = t->model->ops;
    if (hp->family->rms_norm)
        o->rms_norm(o, y, x, n->w, hp->eps, rows, hp->n_embd);
    else
        o->layer_norm(o, y, x, n->w, n->b, hp->eps, rows, hp->n_embd);
}

void vit_embed(struct vit *t, const float *pixels) {
    const struct vision_model *m = t->model;
    const struct vision_hparams *hp = &m->hp;
    size_t n_embd = hp->n_embd, tile_len = 3 * t->n_patches * hp->patch_size * hp->patch_size;
    for (size_t tile = 0; tile < t->n_tiles; tile++)
        for (size_t first = 0, n; first < t->n_patches; first += n) {
            n = size_min(PATCHES_AT_A_TIME, t->n_patches - first);
            cut_patches(t, pixels + tile * tile_len, first, n);
            float *x = t->x + (tile * t->n_rows + hp->has_class + first) * n_embd;
            m->ops->matmul(m->ops, x, m->patch_embd.w, m->patch_embd.bias, t->patches, n, true);
        }
    if (m->pre_ln.w)
        norm(t, t->x, t->x, &m->pre_ln, t->n_tiles * t->n_rows);
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

// How far queries, keys and values lie apart, and the rows of each.
static size_t qkv_apart(const struct vit *t) {
    size_t n_embd = t->model->hp.n_embd;
    return t->model->blocks[0].attn_qkv.w ? n_embd : t->n_tiles * t->n_rows * n_embd;
}

static size_t qkv_stride(const struct vit *t) {
    return t->model->blocks[0].attn_qkv.w ? 3 * t->model->hp.n_embd : t->model->hp.n_embd;
}

static void project(struct vit *t, const struct vision_block *b, struct vit_range rows) {
    struct ops *o = t->model->ops;
    size_t apart = qkv_apart(t);
    float *q = t->qkv + rows.first * qkv_stride(t);
    norm(t, t->norm, t->x + rows.first * t->model->hp.n_embd, &b->ln1, rows.n);
    const struct product products[] = {{q, b->attn_q.w, b->attn_q.bias},
                                       {q + apart, b->attn_k.w, b->attn_k.bias},
                                       {q + 2 * apart, b->attn_v.w, b->attn_v.bias}};
    if (b->attn_qkv.w)
        o->matmul(o, q, b->attn_qkv.w, b->attn_qkv.bias, t->norm, rows.n, false);
    else
        o->matmul_many(o, products, 3, t->norm, rows.n);
}

static void rotate(struct vit *t) {
    const struct vision_hparams *hp = &t->model->hp;
    struct ops *o = t->model->ops;
    size_t rows = t->n_tiles * t->n_rows, head_dim = hp->n_embd / hp->n_head;
    if (!hp->family->rope)
        return;
    o->rope(o, t->qkv, qkv_stride(t), t->places, &t->rope, rows, hp->n_head, head_dim);
    o->rope(o, t->qkv + qkv_apart(t), qkv_stride(t), t->places, &t->rope, rows, hp->n_head, head_dim);
}

// Fills t->parts with what of the ranges lies in `rows`; returns how many.
static size_t find_parts(struct vit *t, const struct vit_range *ranges, size_t n_ranges,
                         struct vit_range rows) {
    size_t n = 0, n_embd = t->model->hp.n_embd, stride = qkv_stride(t), apart = qkv_apart(t);
    for (size_t i = 0; i < n_ranges; i++) {
        size_t begin = ranges[i].first, end = begin + ranges[i].n;
        size_t first = begin > rows.first ? begin : rows.first, last = size_min(end, rows.first + rows.n);
        if (first < last)
            t->parts[n++] = (struct attn_part){.q = t->qkv + first * stride,
                                               .k = t->qkv + apart + begin * stride,
                                               .v = t->qkv + 2 * apart + begin * stride,
                                               .out = t->attn + (first - rows.first) * n_embd,
                                               .q_stride = stride,
                                               .kv_stride = stride,
                                               .out_stride = n_embd,
                                               .n_rows = last - first,
                                               .n_keys = ranges[i].n};
    }
    return n;
}

static void attention(struct vit *t, size_t i, struct vit_range rows) {
    const struct vision_hparams *hp = &t->model->hp;
    bool is_windowed = hp->window && (i + 1) % hp->full_every != 0;
    size_t head_dim = hp->n_embd / hp->n_head;
    struct attn attn = {
        .n_head = hp->n_head,
        .n_head_kv = hp->n_head,
        .head_dim = head_dim,
        .scale = 1.0f / sqrtf((float)head_dim),
        .parts = t->parts,
        .n_parts = is_windowed ? find_parts(t, t->windows, t->n_windows, rows)
                               : find_parts(t, t->whole, t->n_tiles, rows),
        .int8 = !is_windowed && t->model->precision == WEIGHT_ROWS_INT8,
    };
    t->model->ops->attention(t->model->ops, &attn);
}

static void feed_forward(struct vit *t, const struct vision_block *b, float *x, size_t n) {
    const struct vision_hparams *hp = &t->model->hp;
    struct ops *o = t->model->ops;
    norm(t, t->norm, x, &b->ln2, n);
    o->matmul(o, t->ff, b->ffn_in.w, b->ffn_in.bias, t->norm, n, false);
    if (b->ffn_gate.w) {
        o->matmul(o, t->gate, b->ffn_gate.w, b->ffn_gate.bias, t->norm, n, false);
        o->activate_mul(o, t->ff, t->gate, t->ff, hp->act, n * hp->n_ff);
    } else {
        o->activate(o, t->ff, hp->act, n * hp->n_ff);
    }
    add_linear(t, x, &b->ffn_out, t->ff, b->scale2, t->attn, n);
}

// All queries, keys and values come first: the rest of a slice sees those of other slices.
void vit_block(struct vit *t, size_t i, size_t slice) {
    const struct vision_block *b = &t->model->blocks[i];
    const struct vit_slices *s = &t->slices;
    bool in_one = s->rest == 1;
    if (slice < s->qkv)
        project(t, b, slice_rows(t, slice, s->qkv));
    if (slice + 1 == s->qkv)
        rotate(t);
    if (slice < s->qkv && !in_one)
        return;
    struct vit_range rows = slice_rows(t, in_one ? 0 : slice - s->qkv, s->rest);
    float *x = t->x + rows.first * t->model->hp.n_embd;
    attention(t, i, rows);
    add_linear(t, x, &b->attn_out, t->attn, b->scale1, t->norm, rows.n);
    feed_forward(t, b, x, rows.n);
}

const float *vit_features(struct vit *t) {
    const struct vision_model *m = t->model;
    struct ops *o = m->ops;
    size_t n_embd = m->hp.n_embd;
    if (m->post_ln.w)
        norm(t, t->x, t->x, &m->post_ln, t->n_tiles * t->n_rows);
    if (!m->hp.has_class)
        return t->x;
    for (size_t tile = 0; tile < t->n_tiles; tile++)
        o->copy_rows(o, t->qkv + tile * t->n_patches * n_embd, n_embd, t->x + (tile * t->n_rows + 1) * n_embd,
                     n_embd, t->n_patches, n_embd);
    return t->qkv;
}
