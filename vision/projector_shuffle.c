// features [n_cells, merge^2, n_embd] -> rows [n_cells, n_embd_row]: the patches of a cell side by side.
//
//   Idefics3  row = W [p_0 .. p_k]                         mm.model.fc
//   InternVL  row = W_3 gelu(W_1 LN([p_0 .. p_k]) + b) + b  mm.model.mlp.0 (norm), .1, .3
//
// Inside a cell patches stand line by line, each with all its channels. Sources: Hugging Face
// Idefics3Connector.pixel_shuffle; InternVLModel.pixel_shuffle, InternVLMultiModalProjector (its norm has
// torch's eps, 1e-5, whatever the encoder's).
#include "vision/projector.h"
#include "vision/vision_bind.h"

static const float mlp_eps = 1e-5f;

static bool bind(struct vision_model *m, struct err *err) {
    struct vision_projector *p = &m->projector;
    size_t n_cell = m->hp.merge * m->hp.merge * m->hp.n_embd;
    bool ok;
    if (gguf_find_tensor(m->gguf, "mm.model.fc.weight")) {
        p->n_linear = 1;
        ok = vision_bind_linear(m, &p->linear[0], "mm.model.fc", BIND_ANY, n_cell, err);
    } else {
        p->n_linear = 2;
        ok = vision_bind_norm(m, &p->norm[0], "mm.model.mlp.0", n_cell, false, err) &&
             vision_bind_biased(m, &p->linear[0], "mm.model.mlp.1", BIND_ANY, n_cell, err) &&
             vision_bind_biased(m, &p->linear[1], "mm.model.mlp.3", BIND_ANY, weight_n_out(p->linear[0].w),
                                err);
    }
    if (ok)
        m->hp.n_embd_row = weight_n_out(p->linear[p->n_linear - 1].w);
    return ok;
}

static size_t n_work(const struct vision_model *m, size_t n_patches) {
    const struct vision_projector *p = &m->projector;
    return n_patches * m->hp.n_embd + projector_cell_rows(&m->hp, n_patches) * weight_n_out(p->linear[0].w);
}

static void run(const struct projector *p, const float *features) {
    const struct vision_projector *layers = &p->model->projector;
    const struct vision_hparams *hp = &p->model->hp;
    struct ops *o = p->model->ops;
    size_t n_rows = projector_cell_rows(hp, p->n_tiles * p->n_patches),
           n_cell = hp->merge * hp->merge * hp->n_embd;
    if (layers->n_linear == 1) {
        projector_linear(p, p->rows, &layers->linear[0], features, n_rows);
        return;
    }
    float *norm = p->work, *hidden = norm + n_rows * n_cell;
    o->layer_norm(o, norm, features, layers->norm[0].w, layers->norm[0].b, mlp_eps, n_rows, n_cell);
    projector_linear(p, hidden, &layers->linear[0], norm, n_rows);
    projector_activate(p, hidden, n_rows, &layers->linear[0]);
    projector_linear(p, p->rows, &layers->linear[1], hidden, n_rows);
}

const struct projector_kind projector_shuffle = {
    .n_rows = projector_cell_rows, .bind = bind, .n_work = n_work, .run = run};
