// ViT features -> rows of the language model. One file a kind.
#ifndef VISION_PROJECTOR_H
#define VISION_PROJECTOR_H

#include "vision/vision_model.h"

// One batch of equal tiles at work.
struct projector {
    const struct vision_model *model; // borrowed
    size_t n_tiles, n_patches;        // tiles, patches of each
    size_t n_cols;                    // patches a line
    const size_t *order; // [n_patches]: where in the tile, line by line, each patch stands; borrowed
    float *work;         // [n_work] f32 in the backend
    float *rows;         // [n_tiles * rows a tile, n_embd_row] f32 in the backend
};

struct projector_kind {
    // Rows of a tile of n_patches.
    size_t (*n_rows)(const struct vision_hparams *hp, size_t n_patches);
    // Binds the tensors and sets hp.n_embd_row.
    bool (*bind)(struct vision_model *m, struct err *err);
    // Values of working memory for n_patches in all tiles together.
    size_t (*n_work)(const struct vision_model *m, size_t n_patches);
    // features: [n_tiles, n_patches, n_embd] f32 in the backend, cell by cell
    void (*run)(const struct projector *p, const float *features);
    // Deepstack, or NULL: behind block i; x as features.
    void (*tap)(const struct projector *p, size_t block, const float *x);
};

extern const struct projector_kind projector_mlp, projector_ldp, projector_ldpv2, projector_pool,
    projector_shuffle, projector_merger, projector_patch_merge, projector_resampler;

// False with ERR_NOMEM. projector_clear also after failure.
bool projector_init(struct projector *p, const struct vision_model *m, size_t n_tiles, size_t n_patches,
                    size_t n_cols, const size_t *order, struct err *err);
void projector_clear(struct projector *p);

// For the kinds. n_rows of a cell each.
size_t projector_cell_rows(const struct vision_hparams *hp, size_t n_patches);
void projector_linear(const struct projector *p, float *y, const struct vision_linear *l, const float *x,
                      size_t n_rows);
void projector_norm(const struct projector *p, float *y, const float *x, const struct vision_norm *n,
                    size_t n_rows, size_t n_values);
void projector_activate(const struct projector *p, float *x, size_t n_rows,
                        const struct vision_linear *behind);

#endif
