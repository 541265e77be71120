// Where the patches of a tile stand: their order, their positions, their windows.
#ifndef VISION_VIT_PLACE_H
#define VISION_VIT_PLACE_H

#include "vision/vision_model.h"

// order[n_cols * n_lines]: the patches cell by cell (merge x merge, line by line), the cells line by line
// within each window, the windows line by line. ends[n]: where each window ends; at most one a cell. Returns
// n.
size_t vit_place_order(const struct vision_hparams *hp, size_t n_cols, size_t n_lines, size_t *order,
                       size_t *ends);

// The place, line by line, of the cell that a patch belongs to.
size_t vit_place_cell(const struct vision_hparams *hp, size_t n_cols, size_t patch);

// out[n_cols * n_lines, n_embd] in that order: the position embedding of each patch.
void vit_place_embed(const struct vision_model *m, size_t n_cols, size_t n_lines, const size_t *order,
                     float *out);

#endif
