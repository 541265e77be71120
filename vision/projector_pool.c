// features [n_cells, merge^2, n_embd] -> rows [n_cells, n_embd_row]: the mean of a cell's patches.
//
//   row = W RMS(mean(p_0 .. p_k)) ; the stored norm weight already contains the + 1 of Gemma
//
// mm.soft_emb_norm, mm.input_projection (stored [n_embd, n_embd_row]). The rows are not multiplied by
// sqrt(n_embd). Source: Hugging Face Gemma3MultiModalProjector.
#include "vision/projector.h"
#include "vision/vision_bind.h"

static bool bind(struct vision_model *m, struct err *err) {
    struct vision_projector *p = &m->projector;
    if (!vision_bind_norm(m, &p->norm[0], "mm.soft_emb_norm", m->hp.n_embd, true, err) ||
        !vision_bind_transposed(m, &p->linear[0], "mm.input_projection", BIND_ANY, m->hp.n_embd, err))
        return false;
    m->hp.n_embd_row = weight_n_out(p->linear[0].w);
    return true;
}

static size_t n_work(const struct vision_model *m, size_t n_patches) {
    return projector_cell_rows(&m->hp, n_patches) * m->hp.n_embd;
}

static void run(const struct projector *p, const float *features) {
    const struct vision_projector *layers = &p->model->projector;
    const struct vision_hparams *hp = &p->model->hp;
    struct ops *o = p->model->ops;
    size_t n_rows = projector_cell_rows(hp, p->n_tiles * p->n_patches);
    o->mean_rows(o, p->work, features, hp->merge * hp->merge, n_rows, hp->n_embd);
    projector_norm(p, p->work, p->work, &layers->norm[0], n_rows, hp->n_embd);
    projector_linear(p, p->rows, &layers->linear[0], p->work, n_rows);
}

const struct projector_kind projector_pool = {
    .n_rows = projector_cell_rows, .bind = bind, .n_work = n_work, .run = run};
