// An mmproj file opened for the backend: hyperparameters checked, weights bound to named fields.
#ifndef VISION_VISION_MODEL_H
#define VISION_VISION_MODEL_H

#include "compute/gguf.h"
#include "compute/ops.h"

struct vision_hparams {
    size_t image_size, patch_size;       // pixels
    size_t n_embd, n_ff, n_head, n_rows; // n_rows = n_patches + 1 with a class token
    size_t n_patches;                    // (image_size / patch_size)^2
    size_t n_block;                      // blocks that run
    size_t n_embd_row;                   // width of a row: what the projector gives
    float eps, mean[3], std[3];
    enum act act;
    bool has_class;
};

struct vision_linear { // y = x w^T + bias
    struct weight *w;  // [n_out, n_in]
    float *bias;       // [n_out] f32, or NULL
};

struct vision_norm { // layer norm
    float *w, *b;    // [n_embd] f32
};

struct vision_block {
    struct vision_norm ln1, ln2;
    struct vision_linear attn_q, attn_k, attn_v, attn_out; // [n_embd, n_embd]
    struct vision_linear ffn_in, ffn_out;                  // [n_ff, n_embd], [n_embd, n_ff]
};

enum { VISION_BLOCKS_MAX = 512, PROJECTOR_LAYERS_MAX = 8 };

struct vision_model {
    struct ops *ops; // borrowed
    struct gguf *gguf;
    struct vision_hparams hp;
    struct vision_linear patch_embd; // [n_embd, 3 * patch_size * patch_size]
    float *position_embd;            // [n_rows, n_embd] f32; the class embedding is added to row 0
    struct vision_norm pre_ln;       // w is NULL without one
    struct vision_block *blocks;     // [n_block]
    size_t n_projector;
    struct vision_linear projector[PROJECTOR_LAYERS_MAX]; // mm.0, mm.2, ...
};

// False with ERR_MODEL that names the key or tensor. Fills *m; vision_model_clear it also after failure.
bool vision_model_init(struct vision_model *m, const char *path, struct ops *ops,
                       const struct load_options *load, struct err *err);
void vision_model_clear(struct vision_model *m);

#endif
