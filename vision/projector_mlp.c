// features [n_patches, n_embd] -> rows [n_patches, n_embd_row]: the layers mm.0, mm.1 ... as the file has
// them.
//
//   mm.N.weight of two dimensions: y = x W^T + b     of one: layer norm     missing: the family's GELU
//
// LLaVA-1.5 (mlp2x_gelu) has mm.0, mm.2; Yi-VL (mlp2x_gelu_Norm) mm.0, norm mm.1, mm.3, norm mm.4.
// Source: llava/model/multimodal_projector/builder.py of both, where torch's nn.GELU is the erf form and its
// nn.LayerNorm has the eps 1e-5 whatever the encoder's; moondream/vision_encoder.py (the tanh form).
#include "vision/projector.h"
#include "vision/vision_bind.h"

#include <stdio.h>

static const float norm_eps = 1e-5f;

static size_t n_rows(const struct vision_hparams *hp, size_t n_patches) {
    (void)hp;
    return n_patches;
}

static const struct tensor *layer(const struct vision_model *m, char prefix[static 16], size_t i,
                                  const char *part) {
    char name[32];
    snprintf(prefix, 16, "mm.%zu", i);
    snprintf(name, sizeof name, "%s.%s", prefix, part);
    return gguf_find_tensor(m->gguf, name);
}

// Whether something stands at mm.i or, behind a GELU, at the next.
static bool has_more(const struct vision_model *m, size_t i) {
    char prefix[16];
    for (size_t k = i; k < i + (i > 0 ? 2 : 1); k++)
        if (layer(m, prefix, k, "weight") || layer(m, prefix, k, "bias"))
            return true;
    return false;
}

// linear[i] and norm[i] are what stands at mm.i; neither: GELU.
static bool bind(struct vision_model *m, struct err *err) {
    struct vision_projector *p = &m->projector;
    size_t width = m->hp.n_embd;
    char prefix[16];
    for (size_t i = 0; has_more(m, i); i++) {
        if (i == PROJECTOR_LINEARS_MAX)
            return err_set(err, ERR_MODEL, "mm.%zu: want at most %d projector layers", i,
                           PROJECTOR_LINEARS_MAX);
        p->n_linear = i + 1;
        const struct tensor *t = layer(m, prefix, i, "weight");
        if (!t && layer(m, prefix, i, "bias"))
            return err_set(err, ERR_MODEL, "%s.weight: missing", prefix);
        if (!t)
            continue;
        if (t->ne[1] == 1 && t->ne[0] == width) {
            if (!vision_bind_norm(m, &p->norm[i], prefix, width, false, err))
                return false;
            continue;
        }
        if (!vision_bind_biased(m, &p->linear[i], prefix, BIND_ANY, width, err))
            return false;
        width = weight_n_out(p->linear[i].w);
    }
    m->hp.n_embd_row = width;
    return p->linear[0].w || vision_find(m, "mm.0.weight", err);
}

static size_t widest(const struct vision_model *m) {
    size_t n = 0;
    for (size_t i = 0; i < m->projector.n_linear; i++)
        if (m->projector.linear[i].w && weight_n_out(m->projector.linear[i].w) > n)
            n = weight_n_out(m->projector.linear[i].w);
    return n;
}

static size_t n_work(const struct vision_model *m, size_t n_patches) {
    return 2 * n_patches * widest(m);
}

static void run(const struct projector *p, const float *features) {
    const struct vision_projector *layers = &p->model->projector;
    struct ops *o = p->model->ops;
    size_t rows = p->n_tiles * p->n_patches, width = p->model->hp.n_embd, last = layers->n_linear - 1;
    float *spare[2] = {p->work, p->work + rows * widest(p->model)};
    const float *x = features;
    for (size_t i = 0; i <= last; i++) {
        float *y = i == last ? p->rows : spare[i % 2];
        if (layers->linear[i].w) {
            projector_linear(p, y, &layers->linear[i], x, rows);
            width = weight_n_out(layers->linear[i].w);
        } else if (layers->norm[i].w) {
            o->layer_norm(o, y, x, layers->norm[i].w, layers->norm[i].b, norm_eps, rows, width);
        } else {
            o->copy_rows(o, y, width, x, width, rows, width);
            o->activate(o, y, p->model->hp.family->projector_gelu, rows * width);
        }
        x = y;
    }
}

const struct projector_kind projector_mlp = {.n_rows = n_rows, .bind = bind, .n_work = n_work, .run = run};
