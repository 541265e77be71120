// mmproj file -> struct vision_model: every tensor found by name, its shape checked, then given to the
// backend.
//
//   v.patch_embd.weight [n_embd, 3, P, P] (.weight.1?)   v.position_embd.weight?   v.class_embd [n_embd]?
//   v.pre_ln.*?   v.post_ln.*?   v.blk.N.{ln1, attn_q, attn_k, attn_v | attn_qkv, attn_out, ln2, ffn_up,
//   ffn_gate?, ffn_down, ls1?, ls2?}   and the projector's own
//
// (? may be missing; so may every bias.)
#include "vision/vision_model.h"

#include "base/mem.h"
#include "compute/file_weight.h"
#include "vision/projector.h"
#include "vision/vision_bind.h"
#include "vision/vision_hash.h"
#include "vision/vision_hparams.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { PREFIX_SIZE = 48, NAME_SIZE = TENSOR_NAME_SIZE };

size_t vision_tile_rows(const struct vision_hparams *hp, struct size tile) {
    return hp->family->projector->n_rows(hp, tile.width / hp->patch_size * (tile.height / hp->patch_size));
}

static const struct tensor *find_patch(const struct vision_model *m, const char *name, struct err *err) {
    size_t p = m->hp.patch_size, n_embd = m->hp.n_embd;
    const struct tensor *t = vision_find(m, name, err);
    if (t && (t->ne[0] != p || t->ne[1] != p || t->ne[2] != 3 || t->ne[3] != n_embd)) {
        err_set(err, ERR_MODEL,
                "%s: shape [%zu, %zu, %zu, %zu], want [%zu, 3, %zu, %zu] by clip.vision.embedding_length and "
                "clip.vision.patch_size",
                name, t->ne[3], t->ne[2], t->ne[1], t->ne[0], n_embd, p, p);
        return NULL;
    }
    return t;
}

// A picture is a film of two equal frames: the sum of the two kernels does.
static bool bind_two_frames(struct vision_model *m, const struct tensor *first, struct err *err) {
    const struct tensor *second = find_patch(m, "v.patch_embd.weight.1", err);
    if (!second)
        return false;
    size_t n_in = 3 * m->hp.patch_size * m->hp.patch_size, n = n_in * m->hp.n_embd;
    float *sum = vision_read_tensor(m, first, n, err), *other = vision_read_tensor(m, second, n, err);
    if (!sum || !other) {
        free(sum);
        free(other);
        return false;
    }
    for (size_t i = 0; i < n; i++)
        sum[i] += other[i];
    free(other);
    return vision_bind_derived(m, &m->patch_embd, "v.patch_embd", sum, m->hp.n_embd, n_in, err) &&
           (m->patch_embd.bias || !m->hp.family->patch_bias || vision_find(m, "v.patch_embd.bias", err));
}

static bool bind_patch_embd(struct vision_model *m, struct err *err) {
    const struct tensor *t = find_patch(m, "v.patch_embd.weight", err);
    if (!t)
        return false;
    if (m->hp.family->two_frames)
        return bind_two_frames(m, t, err);
    m->patch_embd.w = file_weight_create(m->ops, m->gguf, t, WEIGHT_ROWS_FIXED, err);
    return m->patch_embd.w && vision_bind_vector(m, &m->patch_embd.bias, "v.patch_embd.bias", m->hp.n_embd,
                                                 m->hp.family->patch_bias, err);
}

static bool bind_class(struct vision_model *m, struct err *err) {
    const struct tensor *t = gguf_find_tensor(m->gguf, "v.class_embd");
    m->hp.has_class = t != NULL;
    if (t)
        m->class_embd = vision_read_tensor(m, t, m->hp.n_embd, err);
    return !t || m->class_embd;
}

// The table is a square of patches: as many as a tile has, or of its own size where it is stretched.
static bool bind_positions(struct vision_model *m, struct err *err) {
    static const char name[] = "v.position_embd.weight";
    struct vision_hparams *hp = &m->hp;
    if (hp->family->position == POSITION_NONE)
        return true;
    const struct tensor *t = vision_find(m, name, err);
    if (!t)
        return false;
    size_t n_rows = t->ne[1], n_patches = n_rows - hp->has_class;
    size_t side = hp->image_size / hp->patch_size, root = (size_t)(sqrt((double)n_patches) + 0.5);
    if (t->ne[0] != hp->n_embd || n_rows <= hp->has_class || t->ne[2] * t->ne[3] != 1 ||
        root * root != n_patches || (hp->family->position == POSITION_TABLE && root != side))
        return err_set(err, ERR_MODEL,
                       "%s: shape [%zu, %zu], want [%zu, %zu] by clip.vision.image_size %zu and "
                       "clip.vision.patch_size %zu",
                       name, n_rows, t->ne[0], side * side + hp->has_class, hp->n_embd, hp->image_size,
                       hp->patch_size);
    hp->table_side = root;
    m->position_table = vision_read_tensor(m, t, n_rows * hp->n_embd, err);
    return m->position_table;
}

// Old files call the first linear ffn_down and the second ffn_up, newer ones the other way round: the shapes
// tell. When they are square they cannot, and the meaning of the names in all other models holds.
static bool read_ff(struct vision_model *m, bool *swapped, struct err *err) {
    static const char up[] = "v.blk.0.ffn_up.weight";
    const struct tensor *t = vision_find(m, up, err);
    if (!t)
        return false;
    size_t n_embd = m->hp.n_embd;
    *swapped = t->ne[0] != n_embd && t->ne[1] == n_embd;
    m->hp.n_ff = *swapped ? t->ne[0] : t->ne[1];
    return *swapped || t->ne[0] == n_embd ||
           err_set(err, ERR_MODEL,
                   "%s: shape [%zu, %zu], want one side of %zu by clip.vision.embedding_length", up, t->ne[1],
                   t->ne[0], n_embd);
}

static bool bind_attention(struct vision_model *m, struct vision_block *b, size_t i, struct err *err) {
    struct {
        struct vision_linear *linear;
        const char *name;
    } parts[] = {{&b->attn_q, "attn_q"}, {&b->attn_k, "attn_k"}, {&b->attn_v, "attn_v"}};
    size_t n_embd = m->hp.n_embd;
    char name[PREFIX_SIZE], weight[PREFIX_SIZE + 8];
    snprintf(name, sizeof name, "v.blk.%zu.attn_out", i);
    if (!vision_bind_linear(m, &b->attn_out, name, n_embd, n_embd, err))
        return false;
    snprintf(name, sizeof name, "v.blk.%zu.attn_qkv", i);
    snprintf(weight, sizeof weight, "%s.weight", name);
    bool is_fused = gguf_find_tensor(m->gguf, weight);
    if (i > 0 && is_fused != (m->blocks[0].attn_qkv.w != NULL))
        return err_set(err, ERR_MODEL, "%s: %s, want as in block 0", weight, is_fused ? "found" : "missing");
    if (is_fused)
        return vision_bind_linear(m, &b->attn_qkv, name, 3 * n_embd, n_embd, err);
    for (size_t k = 0; k < sizeof parts / sizeof *parts; k++) {
        snprintf(name, sizeof name, "v.blk.%zu.%s", i, parts[k].name);
        if (!vision_bind_linear(m, parts[k].linear, name, n_embd, n_embd, err))
            return false;
    }
    return true;
}

static bool bind_ffn(struct vision_model *m, struct vision_block *b, size_t i, bool swapped,
                     struct err *err) {
    size_t n_embd = m->hp.n_embd, n_ff = m->hp.n_ff;
    char in[PREFIX_SIZE], out[PREFIX_SIZE], gate[PREFIX_SIZE], weight[PREFIX_SIZE + 8];
    snprintf(in, sizeof in, "v.blk.%zu.%s", i, swapped ? "ffn_down" : "ffn_up");
    snprintf(out, sizeof out, "v.blk.%zu.%s", i, swapped ? "ffn_up" : "ffn_down");
    snprintf(gate, sizeof gate, "v.blk.%zu.ffn_gate", i);
    snprintf(weight, sizeof weight, "%s.weight", gate);
    bool is_gated = gguf_find_tensor(m->gguf, weight);
    if (i > 0 && is_gated != (m->blocks[0].ffn_gate.w != NULL))
        return err_set(err, ERR_MODEL, "%s: %s, want as in block 0", weight, is_gated ? "found" : "missing");
    if (is_gated && !vision_bind_linear(m, &b->ffn_gate, gate, n_ff, n_embd, err))
        return false;
    return vision_bind_linear(m, &b->ffn_in, in, n_ff, n_embd, err) &&
           vision_bind_linear(m, &b->ffn_out, out, n_embd, n_ff, err);
}

static bool bind_block(struct vision_model *m, size_t i, bool swapped, struct err *err) {
    struct vision_block *b = &m->blocks[i];
    size_t n_embd = m->hp.n_embd;
    bool rms = m->hp.family->rms_norm;
    char ln1[PREFIX_SIZE], ln2[PREFIX_SIZE], ls1[PREFIX_SIZE], ls2[PREFIX_SIZE];
    snprintf(ln1, sizeof ln1, "v.blk.%zu.ln1", i);
    snprintf(ln2, sizeof ln2, "v.blk.%zu.ln2", i);
    snprintf(ls1, sizeof ls1, "v.blk.%zu.ls1.weight", i);
    snprintf(ls2, sizeof ls2, "v.blk.%zu.ls2.weight", i);
    return vision_bind_norm(m, &b->ln1, ln1, n_embd, rms, err) &&
           vision_bind_norm(m, &b->ln2, ln2, n_embd, rms, err) &&
           vision_bind_vector(m, &b->scale1, ls1, n_embd, false, err) &&
           vision_bind_vector(m, &b->scale2, ls2, n_embd, false, err) && bind_attention(m, b, i, err) &&
           bind_ffn(m, b, i, swapped, err);
}

// What may be missing is missing in all blocks or in none, those that do not run with them.
static bool check_blocks(const struct vision_model *m, struct err *err) {
    char name[2 * NAME_SIZE];
    for (size_t i = 0; i < gguf_n_tensors(m->gguf); i++) {
        const char *stored = gguf_tensor_at(m->gguf, i)->name;
        size_t block;
        int at = 0;
        if (sscanf(stored, "v.blk.%4zu.%n", &block, &at) != 1 || at == 0)
            continue;
        snprintf(name, sizeof name, "v.blk.0.%s", stored + at);
        if (!vision_find(m, name, err))
            return false;
        for (size_t k = 1; block == 0 && k < m->hp.n_block; k++) {
            snprintf(name, sizeof name, "v.blk.%zu.%s", k, stored + at);
            if (!vision_find(m, name, err))
                return false;
        }
    }
    return true;
}

static bool bind_newline(struct vision_model *m, struct err *err) {
    if (!m->hp.unpad)
        return true;
    const struct tensor *t = gguf_find_tensor(m->gguf, "model.image_newline");
    if (!t && !(t = vision_find(m, "v.image_newline", err)))
        return false;
    m->newline = vision_read_tensor(m, t, m->hp.n_embd_row, err);
    return m->newline;
}

static bool has_gate(const struct vision_model *m) {
    return gguf_find_tensor(m->gguf, "v.blk.0.ffn_gate.weight");
}

double vision_model_gflop(const struct vision_model *m) {
    const struct vision_hparams *hp = &m->hp;
    double side = (double)(hp->image_size / hp->patch_size), rows = side * side + hp->has_class;
    double n = (double)hp->n_embd, weights = 4 * n * n + (has_gate(m) ? 3 : 2) * n * (double)hp->n_ff;
    return 2e-9 * (double)hp->n_block * rows * (weights + 2 * rows * n);
}

static enum weight_rows choose_precision(const struct vision_model *m, enum vision_precision asked) {
    bool int8 = asked == VISION_INT8 || (asked == VISION_AUTO && vision_model_gflop(m) >= VISION_INT8_GFLOP);
    return int8 ? WEIGHT_ROWS_INT8 : WEIGHT_ROWS_FIXED;
}

bool vision_model_init(struct vision_model *m, const char *path, struct ops *ops,
                       const struct vision_options *options, struct err *err) {
    *m = (struct vision_model){.ops = ops};
    m->gguf = gguf_open_with(path, &options->load, err);
    bool swapped;
    if (!m->gguf || !vision_hparams_read(m->gguf, &options->params, &m->hp, err) ||
        !read_ff(m, &swapped, err))
        return false;
    const struct vision_family *family = m->hp.family;
    m->precision = choose_precision(m, options->precision);
    m->blocks = xcalloc(m->hp.n_block, sizeof *m->blocks);
    if (!vision_hash_file(m->gguf, m->precision == WEIGHT_ROWS_INT8, m->hash, err) ||
        !bind_patch_embd(m, err) || !bind_class(m, err) || !bind_positions(m, err))
        return false;
    bool has_pre_norm = family->pre_norm || gguf_find_tensor(m->gguf, "v.pre_ln.weight") ||
                        gguf_find_tensor(m->gguf, "v.pre_ln.bias");
    if (has_pre_norm && !vision_bind_norm(m, &m->pre_ln, "v.pre_ln", m->hp.n_embd, family->rms_norm, err))
        return false;
    if (family->post_norm &&
        !vision_bind_norm(m, &m->post_ln, "v.post_ln", m->hp.n_embd, family->rms_norm, err))
        return false;
    for (size_t i = 0; i < m->hp.n_block; i++)
        if (!bind_block(m, i, swapped, err))
            return false;
    return check_blocks(m, err) && family->projector->bind(m, err) && bind_newline(m, err);
}

static void clear_linear(struct ops *o, struct vision_linear *linear) {
    o->weight_release(o, linear->w);
    o->release(o, linear->bias);
}

static void clear_norm(struct ops *o, struct vision_norm *norm) {
    o->release(o, norm->w);
    o->release(o, norm->b);
}

static void clear_block(struct ops *o, struct vision_block *b) {
    struct vision_linear *linears[] = {&b->attn_q, &b->attn_k,  &b->attn_v,   &b->attn_out, &b->attn_qkv,
                                       &b->ffn_in, &b->ffn_out, &b->ffn_gate, &b->tap_in,   &b->tap_out};
    for (size_t i = 0; i < sizeof linears / sizeof *linears; i++)
        clear_linear(o, linears[i]);
    clear_norm(o, &b->ln1);
    clear_norm(o, &b->ln2);
    clear_norm(o, &b->tap_norm);
    o->release(o, b->scale1);
    o->release(o, b->scale2);
}

void vision_model_clear(struct vision_model *m) {
    struct ops *o = m->ops;
    for (size_t i = 0; m->blocks && i < m->hp.n_block; i++)
        clear_block(o, &m->blocks[i]);
    for (size_t i = 0; i < PROJECTOR_LINEARS_MAX; i++) {
        clear_linear(o, &m->projector.linear[i]);
        clear_norm(o, &m->projector.norm[i]);
    }
    for (size_t i = 0; i < PROJECTOR_VECTORS_MAX; i++)
        o->release(o, m->projector.vector[i]);
    clear_linear(o, &m->patch_embd);
    clear_norm(o, &m->pre_ln);
    clear_norm(o, &m->post_ln);
    for (size_t i = 0; i < m->n_derived; i++) // after the weights that borrow them
        free(m->derived[i]);
    free(m->derived);
    free(m->position_table);
    free(m->class_embd);
    free(m->newline);
    free(m->blocks);
    gguf_close(m->gguf); // last: weights may borrow its data
    *m = (struct vision_model){0};
}
