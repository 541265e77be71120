// The vision transformer, step by step.
#ifndef VISION_VIT_H
#define VISION_VIT_H

#include "vision/vision_model.h"

// Working memory of one picture, in the backend. Shapes are f32.
struct vit {
    const struct vision_model *model; // borrowed
    float *memory;                    // one allocation that holds all the others
    float *x;                         // [n_rows, n_embd] the residual stream
    float *norm;                      // [n_rows, n_embd]
    float *q, *k, *v, *attn;          // [n_rows, n_embd]
    float *ff;                        // [n_rows, n_ff]
    float *patches;                   // [n_patches, 3 * patch_size * patch_size]
    float *host;                      // the same, host memory
};

// False with ERR_NOMEM. vit_clear also after failure.
bool vit_init(struct vit *t, const struct vision_model *m, struct err *err);
void vit_clear(struct vit *t);

void vit_embed(struct vit *t, const float *pixels); // pixels: [3, image_size, image_size] f32, host memory
void vit_block(struct vit *t, size_t i);
const float *vit_features(const struct vit *t); // [n_patches, n_embd] f32, without the class row

#endif
