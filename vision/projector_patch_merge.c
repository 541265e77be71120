// features [n_cells, merge^2, n_embd] -> rows [n_cells, n_embd_row]: Pixtral, Mistral Small 3.1.
//
//   row = W_2 gelu(W_1 M [RMS(p_0) .. RMS(p_k)])     mm.input_norm, mm.patch_merger, mm.1, mm.2
//
// Pixtral itself has no merger: merge = 1, without mm.input_norm. mm.patch_merger takes (channel, line,
// column) as torch's unfold gives them; its columns are put in our order, (line, column, channel), at
// loading. Source: Hugging Face Mistral3PatchMerger, Mistral3MultiModalProjector.
#include "base/mem.h"
#include "vision/projector.h"
#include "vision/vision_bind.h"

#include <stdlib.h>

static bool bind_merger(struct vision_model *m, struct err *err) {
    static const char prefix[] = "mm.patch_merger", name[] = "mm.patch_merger.weight";
    size_t n_embd = m->hp.n_embd, n_patch = m->hp.merge * m->hp.merge, n_cell = n_patch * n_embd;
    const struct tensor *t = vision_find(m, name, err);
    if (!t)
        return false;
    if (t->ne[0] != n_cell || t->ne[1] != n_embd || t->ne[2] * t->ne[3] != 1)
        return err_set(err, ERR_MODEL, "%s: shape [%zu, %zu], want [%zu, %zu]", name, t->ne[1], t->ne[0],
                       n_embd, n_cell);
    float *stored = vision_read_tensor(m, t, n_embd * n_cell, err);
    float *values = stored ? try_malloc_array(n_embd * n_cell, sizeof *values, name, err) : NULL;
    for (size_t o = 0; values && o < n_embd; o++)
        for (size_t c = 0; c < n_embd; c++)
            for (size_t i = 0; i < n_patch; i++)
                values[o * n_cell + i * n_embd + c] = stored[o * n_cell + c * n_patch + i];
    free(stored);
    return values && vision_bind_derived(m, &m->projector.linear[0], prefix, values, n_embd, n_cell, err);
}

static bool bind(struct vision_model *m, struct err *err) {
    static const char merger[] = "mm.patch_merger.weight";
    struct vision_projector *p = &m->projector;
    if (m->hp.merge == 1 && gguf_find_tensor(m->gguf, merger))
        return err_set(err, ERR_MODEL,
                       "%s: found, want none where clip.vision.spatial_merge_size is 1 or missing", merger);
    if (m->hp.merge > 1 &&
        (!vision_bind_norm(m, &p->norm[0], "mm.input_norm", m->hp.n_embd, true, err) || !bind_merger(m, err)))
        return false;
    if (!vision_bind_linear(m, &p->linear[1], "mm.1", BIND_ANY, m->hp.n_embd, err) ||
        !vision_bind_linear(m, &p->linear[2], "mm.2", BIND_ANY, weight_n_out(p->linear[1].w), err))
        return false;
    m->hp.n_embd_row = weight_n_out(p->linear[2].w);
    return true;
}

static size_t n_work(const struct vision_model *m, size_t n_patches) {
    size_t n_rows = projector_cell_rows(&m->hp, n_patches);
    return n_patches * m->hp.n_embd + n_rows * (m->hp.n_embd + weight_n_out(m->projector.linear[1].w));
}

static void run(const struct projector *p, const float *features) {
    const struct vision_projector *layers = &p->model->projector;
    const struct vision_hparams *hp = &p->model->hp;
    size_t n_patches = p->n_tiles * p->n_patches, n_rows = projector_cell_rows(hp, n_patches);
    float *norm = p->work, *merged = norm + n_patches * hp->n_embd, *hidden = merged + n_rows * hp->n_embd;
    const float *x = features;
    if (hp->merge > 1) {
        projector_norm(p, norm, features, &layers->norm[0], n_patches, hp->n_embd);
        projector_linear(p, merged, &layers->linear[0], norm, n_rows);
        x = merged;
    }
    projector_linear(p, hidden, &layers->linear[1], x, n_rows);
    projector_activate(p, hidden, n_rows, &layers->linear[1]);
    projector_linear(p, p->rows, &layers->linear[2], hidden, n_rows);
}

const struct projector_kind projector_patch_merge = {
    .n_rows = projector_cell_rows, .bind = bind, .n_work = n_work, .run = run};
