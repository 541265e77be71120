// features [n_patches, n_embd] -> rows [n_patches, n_embd_row]: linear layers with GELU (erf) between them.
//
//   y = W_n gelu( ... gelu(W_0 x + b_0) ... ) + b_n
//
// Source: LLaVA-1.5's mlp2x_gelu (llava/model/multimodal_projector/builder.py; torch's nn.GELU is the erf
// form).
#include "vision/projector.h"

bool projector_init(struct projector *p, const struct vision_model *m, struct err *err) {
    *p = (struct projector){.model = m};
    for (size_t i = 0; i < m->n_projector; i++) {
        size_t len = m->hp.n_patches * weight_n_out(m->projector[i].w);
        p->rows[i] = m->ops->alloc(m->ops, len * sizeof(float), err);
        if (!p->rows[i])
            return false;
    }
    return true;
}

void projector_clear(struct projector *p) {
    for (size_t i = 0; p->model && i < p->model->n_projector; i++)
        p->model->ops->release(p->model->ops, p->rows[i]);
    *p = (struct projector){0};
}

void projector_run(struct projector *p, const float *features) {
    const struct vision_model *m = p->model;
    struct ops *o = m->ops;
    size_t n_patches = m->hp.n_patches;
    const float *x = features;
    for (size_t i = 0; i < m->n_projector; i++) {
        const struct vision_linear *l = &m->projector[i];
        o->matmul(o, p->rows[i], l->w, l->bias, x, n_patches, false);
        if (i + 1 < m->n_projector)
            o->activate(o, p->rows[i], ACT_GELU, n_patches * weight_n_out(l->w));
        x = p->rows[i];
    }
}

const float *projector_rows(const struct projector *p) {
    return p->rows[p->model->n_projector - 1];
}
