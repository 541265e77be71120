// What the kinds of projector share.
#include "vision/projector.h"

bool projector_init(struct projector *p, const struct vision_model *m, size_t n_tiles, size_t n_patches,
                    size_t n_cols, const size_t *order, struct err *err) {
    const struct projector_kind *kind = m->hp.family->projector;
    struct ops *o = m->ops;
    *p = (struct projector){
        .model = m, .n_tiles = n_tiles, .n_patches = n_patches, .n_cols = n_cols, .order = order};
    p->work = o->alloc(o, kind->n_work(m, n_tiles * n_patches) * sizeof(float), err);
    p->rows = o->alloc(o, n_tiles * kind->n_rows(&m->hp, n_patches) * m->hp.n_embd_row * sizeof(float), err);
    return p->work && p->rows;
}

void projector_clear(struct projector *p) {
    if (p->model) {
        p->model->ops->release(p->model->ops, p->work);
        p->model->ops->release(p->model->ops, p->rows);
    }
    *p = (struct projector){0};
}

size_t projector_cell_rows(const struct vision_hparams *hp, size_t n_patches) {
    return n_patches / (hp->merge * hp->merge);
}

void projector_linear(const struct projector *p, float *y, const struct vision_linear *l, const float *x,
                      size_t n_rows) {
    struct ops *o = p->model->ops;
    o->matmul(o, y, l->w, l->bias, x, n_rows, false);
}

// Layer norm, or RMS norm where n has no bias.
void projector_norm(const struct projector *p, float *y, const float *x, const struct vision_norm *n,
                    size_t n_rows, size_t n_values) {
    struct ops *o = p->model->ops;
    float eps = p->model->hp.eps;
    if (n->b)
        o->layer_norm(o, y, x, n->w, n->b, eps, n_rows, n_values);
    else
        o->rms_norm(o, y, x, n->w, eps, n_rows, n_values);
}

void projector_activate(const struct projector *p, float *x, size_t n_rows,
                        const struct vision_linear *behind) {
    struct ops *o = p->model->ops;
    o->activate(o, x, ACT_GELU, n_rows * weight_n_out(behind->w));
}
