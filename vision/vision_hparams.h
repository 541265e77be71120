// The metadata of an mmproj file.
#ifndef VISION_VISION_HPARAMS_H
#define VISION_VISION_HPARAMS_H

#include "vision/vision_model.h"

// Fills what the keys say and the names of the tensors count: all of *hp but what vision_model.c takes from
// the tensors' shapes. False with ERR_MODEL naming the key, or ERR_INVALID_VALUE for params that contradict
// each other.
bool vision_hparams_read(const struct gguf *g, const struct vision_params *params, struct vision_hparams *hp,
                         struct err *err);

#endif
