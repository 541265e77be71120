// rgb -> pixels, as LLaVA-1.5 does it.
#ifndef VISION_PREPROCESS_H
#define VISION_PREPROCESS_H

#include "vision/image.h"

struct preprocess {
    size_t image_size; // S
    float mean[3], std[3];
};

// Any thread. pixels: [3, S, S] f32. False with ERR_NOMEM.
bool preprocess_image(const struct preprocess *p, const struct image *image, float *pixels, struct err *err);

#endif
