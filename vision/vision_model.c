// mmproj file -> struct vision_model: every tensor found by name, its shape checked, then given to the
// backend.
//
//   v.patch_embd.weight [n_embd, 3, P, P]   v.position_embd.weight [n_rows, n_embd]   v.class_embd [n_embd]?
//   v.pre_ln.*?   v.blk.N.{ln1, attn_q, attn_k, attn_v, attn_out, ln2, ffn_up, ffn_down}   mm.{0, 2, 4 ..}
//
// (? may be missing; so may every bias.) v.post_ln is not read: the path of LLaVA ends before it.
#include "vision/vision_model.h"

#include "base/mem.h"
#include "vision/vision_hparams.h"

#include <stdio.h>
#include <stdlib.h>

enum { NAME_SIZE = TENSOR_NAME_SIZE, PREFIX_SIZE = NAME_SIZE - 16, N_EMBD_ROW_MAX = 1 << 18 };

// [n_rows, n] of whatever type -> new f32 in the backend's memory. n_dims and order of the file are `t`'s.
static float *read_rows(struct vision_model *m, const struct tensor *t, size_t n_rows, size_t n,
                        struct err *err) {
    struct tensor matrix = *t;
    matrix.n_dims = 2;
    matrix.ne[0] = n;
    matrix.ne[1] = n_rows;
    matrix.ne[2] = matrix.ne[3] = 1;
    float *out = NULL;
    int32_t *ids = try_malloc_array(n_rows, sizeof *ids, t->name, err);
    struct weight *w = ids ? m->ops->weight_create(m->ops, &matrix, WEIGHT_ROWS_FIXED, err) : NULL;
    if (w)
        out = m->ops->alloc(m->ops, n_rows * n * sizeof *out, err); // fits: the file holds as many values
    if (out) {
        for (size_t i = 0; i < n_rows; i++)
            ids[i] = (int32_t)i;
        m->ops->get_rows(m->ops, out, w, ids, n_rows);
    }
    m->ops->weight_release(m->ops, w);
    free(ids);
    return out;
}

static const struct tensor *find(const struct vision_model *m, const char *name, struct err *err) {
    const struct tensor *t = gguf_find_tensor(m->gguf, name);
    if (!t)
        err_set(err, ERR_MODEL, "%s: missing", name);
    return t;
}

// A vector [n]; a missing one leaves *out NULL, which is an error only where it is required.
static bool bind_vector(struct vision_model *m, float **out, const char *name, size_t n, bool required,
                        struct err *err) {
    const struct tensor *t = gguf_find_tensor(m->gguf, name);
    if (!t)
        return !required || find(m, name, err);
    if (t->ne[0] != n || t->ne[1] * t->ne[2] * t->ne[3] != 1)
        return err_set(err, ERR_MODEL, "%s: shape [%zu, %zu], want [%zu]", name, t->ne[1], t->ne[0], n);
    *out = read_rows(m, t, 1, n, err);
    return *out;
}

static bool bind_norm(struct vision_model *m, struct vision_norm *norm, const char *prefix, struct err *err) {
    char name[NAME_SIZE];
    snprintf(name, sizeof name, "%s.weight", prefix);
    if (!bind_vector(m, &norm->w, name, m->hp.n_embd, true, err))
        return false;
    snprintf(name, sizeof name, "%s.bias", prefix);
    return bind_vector(m, &norm->b, name, m->hp.n_embd, true, err);
}

// prefix.weight [n_out, n_in] and prefix.bias [n_out]; `key` names the metadata that the sizes come from.
static bool bind_linear(struct vision_model *m, struct vision_linear *linear, const char *prefix,
                        size_t n_out, size_t n_in, const char *key, struct err *err) {
    char name[NAME_SIZE];
    snprintf(name, sizeof name, "%s.weight", prefix);
    const struct tensor *t = find(m, name, err);
    if (!t)
        return false;
    if (t->ne[0] != n_in || t->ne[1] != n_out || t->ne[2] * t->ne[3] != 1)
        return err_set(err, ERR_MODEL, "%s: shape [%zu, %zu], want [%zu, %zu] by %s", name, t->ne[1],
                       t->ne[0], n_out, n_in, key);
    linear->w = m->ops->weight_create(m->ops, t, WEIGHT_ROWS_FIXED, err);
    snprintf(name, sizeof name, "%s.bias", prefix);
    return linear->w && bind_vector(m, &linear->bias, name, n_out, false, err);
}

static bool bind_embedding(struct vision_model *m, struct err *err) {
    static const char patch[] = "v.patch_embd.weight", position[] = "v.position_embd.weight";
    struct vision_hparams *hp = &m->hp;
    size_t p = hp->patch_size;
    const struct tensor *t = find(m, patch, err);
    if (!t)
        return false;
    if (t->ne[0] != p || t->ne[1] != p || t->ne[2] != 3 || t->ne[3] != hp->n_embd)
        return err_set(
            err, ERR_MODEL,
            "%s: shape [%zu, %zu, %zu, %zu], want [%zu, 3, %zu, %zu] by clip.vision.embedding_length and "
            "clip.vision.patch_size",
            patch, t->ne[3], t->ne[2], t->ne[1], t->ne[0], hp->n_embd, p, p);
    m->patch_embd.w = m->ops->weight_create(m->ops, t, WEIGHT_ROWS_FIXED, err);
    if (!m->patch_embd.w || !bind_vector(m, &m->patch_embd.bias, "v.patch_embd.bias", hp->n_embd, false, err))
        return false;

    hp->has_class = gguf_find_tensor(m->gguf, "v.class_embd");
    hp->n_rows = hp->n_patches + hp->has_class;
    t = find(m, position, err);
    if (!t)
        return false;
    if (t->ne[0] != hp->n_embd || t->ne[1] != hp->n_rows || t->ne[2] * t->ne[3] != 1)
        return err_set(err, ERR_MODEL,
                       "%s: shape [%zu, %zu], want [%zu, %zu] by clip.vision.image_size %zu and "
                       "clip.vision.patch_size %zu",
                       position, t->ne[1], t->ne[0], hp->n_rows, hp->n_embd, hp->image_size, p);
    m->position_embd = read_rows(m, t, hp->n_rows, hp->n_embd, err);
    if (!m->position_embd)
        return false;
    float *class_embd = NULL;
    if (!bind_vector(m, &class_embd, "v.class_embd", hp->n_embd, false, err))
        return false;
    if (class_embd)
        m->ops->add(m->ops, m->position_embd, class_embd, hp->n_embd);
    m->ops->release(m->ops, class_embd);
    return true;
}

// Old files call the first linear ffn_down and the second ffn_up, newer ones the other way round: the shapes
// tell. With n_ff = n_embd they cannot, and the meaning of the names in all other models holds.
static bool ffn_is_swapped(const struct vision_model *m, const char *up) {
    char name[NAME_SIZE];
    snprintf(name, sizeof name, "%s.weight", up);
    const struct tensor *t = gguf_find_tensor(m->gguf, name);
    return m->hp.n_ff != m->hp.n_embd && t && t->ne[0] == m->hp.n_ff && t->ne[1] == m->hp.n_embd;
}

static bool bind_block(struct vision_model *m, size_t i, struct err *err) {
    static const char embd[] = "clip.vision.embedding_length", ff[] = "clip.vision.feed_forward_length";
    struct vision_block *b = &m->blocks[i];
    size_t n_embd = m->hp.n_embd, n_ff = m->hp.n_ff;
    struct {
        struct vision_linear *linear;
        const char *name;
    } attn[] = {
        {&b->attn_q, "attn_q"}, {&b->attn_k, "attn_k"}, {&b->attn_v, "attn_v"}, {&b->attn_out, "attn_out"}};
    char name[PREFIX_SIZE], up[PREFIX_SIZE], down[PREFIX_SIZE];
    for (size_t k = 0; k < sizeof attn / sizeof *attn; k++) {
        snprintf(name, sizeof name, "v.blk.%zu.%s", i, attn[k].name);
        if (!bind_linear(m, attn[k].linear, name, n_embd, n_embd, embd, err))
            return false;
    }
    snprintf(name, sizeof name, "v.blk.%zu.ln1", i);
    if (!bind_norm(m, &b->ln1, name, err))
        return false;
    snprintf(name, sizeof name, "v.blk.%zu.ln2", i);
    if (!bind_norm(m, &b->ln2, name, err))
        return false;
    snprintf(up, sizeof up, "v.blk.%zu.ffn_up", i);
    snprintf(down, sizeof down, "v.blk.%zu.ffn_down", i);
    bool swapped = ffn_is_swapped(m, up);
    return bind_linear(m, &b->ffn_in, swapped ? down : up, n_ff, n_embd, ff, err) &&
           bind_linear(m, &b->ffn_out, swapped ? up : down, n_embd, n_ff, ff, err);
}

// mm.0, mm.2, mm.4 ...: the odd numbers are the activations between them.
static bool bind_projector(struct vision_model *m, struct err *err) {
    size_t n_in = m->hp.n_embd;
    for (m->n_projector = 0;; m->n_projector++) {
        char prefix[PREFIX_SIZE], name[NAME_SIZE];
        snprintf(prefix, sizeof prefix, "mm.%zu", 2 * m->n_projector);
        snprintf(name, sizeof name, "%s.weight", prefix);
        const struct tensor *t = gguf_find_tensor(m->gguf, name);
        if (!t && m->n_projector > 0)
            break;
        if (!t)
            return find(m, name, err);
        if (t->ne[1] == 0 || t->ne[1] > N_EMBD_ROW_MAX)
            return err_set(err, ERR_MODEL, "%s: shape [%zu, %zu], want at most %d outputs", name, t->ne[1],
                           t->ne[0], N_EMBD_ROW_MAX);
        if (m->n_projector == PROJECTOR_LAYERS_MAX)
            return err_set(err, ERR_MODEL, "%s: want at most %d projector layers", name,
                           PROJECTOR_LAYERS_MAX);
        if (!bind_linear(m, &m->projector[m->n_projector], prefix, t->ne[1], n_in, "the layer before it",
                         err))
            return false;
        n_in = t->ne[1];
    }
    m->hp.n_embd_row = n_in;
    return true;
}

bool vision_model_init(struct vision_model *m, const char *path, struct ops *ops,
                       const struct load_options *load, struct err *err) {
    *m = (struct vision_model){.ops = ops};
    m->gguf = gguf_open_with(path, load, err);
    if (!m->gguf || !vision_hparams_read(m->gguf, &m->hp, err))
        return false;
    m->blocks = xcalloc(m->hp.n_block, sizeof *m->blocks);
    if (!bind_embedding(m, err))
        return false;
    if (gguf_find_tensor(m->gguf, "v.pre_ln.weight") && !bind_norm(m, &m->pre_ln, "v.pre_ln", err))
        return false;
    for (size_t i = 0; i < m->hp.n_block; i++)
        if (!bind_block(m, i, err))
            return false;
    return bind_projector(m, err);
}

static void clear_linear(struct ops *o, struct vision_linear *linear) {
    o->weight_release(o, linear->w);
    o->release(o, linear->bias);
}

static void clear_norm(struct ops *o, struct vision_norm *norm) {
    o->release(o, norm->w);
    o->release(o, norm->b);
}

void vision_model_clear(struct vision_model *m) {
    struct ops *o = m->ops;
    for (size_t i = 0; m->blocks && i < m->hp.n_block; i++) {
        struct vision_block *b = &m->blocks[i];
        clear_norm(o, &b->ln1);
        clear_norm(o, &b->ln2);
        clear_linear(o, &b->attn_q);
        clear_linear(o, &b->attn_k);
        clear_linear(o, &b->attn_v);
        clear_linear(o, &b->attn_out);
        clear_linear(o, &b->ffn_in);
        clear_linear(o, &b->ffn_out);
    }
    for (size_t i = 0; i < PROJECTOR_LAYERS_MAX; i++)
        clear_linear(o, &m->projector[i]);
    clear_linear(o, &m->patch_embd);
    clear_norm(o, &m->pre_ln);
    o->release(o, m->position_embd);
    free(m->blocks);
    gguf_close(m->gguf); // last: weights may borrow its data
    *m = (struct vision_model){0};
}
