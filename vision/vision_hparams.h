// The metadata of an mmproj file.
#ifndef VISION_VISION_HPARAMS_H
#define VISION_VISION_HPARAMS_H

#include "vision/vision_model.h"

// Fills what the keys say and the names of the tensors count: all of *hp but n_rows, has_class and
// n_embd_row. False with ERR_MODEL naming the key.
bool vision_hparams_read(const struct gguf *g, struct vision_hparams *hp, struct err *err);

#endif
