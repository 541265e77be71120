// ViT features -> rows of the language model.
#ifndef VISION_PROJECTOR_H
#define VISION_PROJECTOR_H

#include "vision/vision_model.h"

struct projector {
    const struct vision_model *model;  // borrowed
    float *rows[PROJECTOR_LAYERS_MAX]; // [n_patches, n_out of layer i] f32, in the backend
};

// False with ERR_NOMEM. projector_clear also after failure.
bool projector_init(struct projector *p, const struct vision_model *m, struct err *err);
void projector_clear(struct projector *p);

void projector_run(struct projector *p, const float *features); // [n_patches, n_embd] f32, in the backend
const float *projector_rows(const struct projector *p);         // [n_patches, n_embd_row] f32, in the backend

#endif
