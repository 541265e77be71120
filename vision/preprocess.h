// rgb -> pixels of all tiles of a plan.
#ifndef VISION_PREPROCESS_H
#define VISION_PREPROCESS_H

#include "vision/image.h"
#include "vision/plan.h"
#include "vision/vision_model.h"

// Any thread. pixels: [plan_n_values(p)] f32, [tile][3][height][width]. False with ERR_NOMEM.
bool preprocess_image(const struct vision_hparams *hp, const struct plan *p, const struct image *image,
                      float *pixels, struct err *err);

#endif
