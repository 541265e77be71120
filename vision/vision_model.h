// An mmproj file opened for the backend: hyperparameters checked, weights bound to named fields.
#ifndef VISION_VISION_MODEL_H
#define VISION_VISION_MODEL_H

#include "base/sha256.h"
#include "compute/gguf.h"
#include "compute/ops.h"
#include "vision/family.h"
#include "vision/plan.h"

enum { VISION_BLOCKS_MAX = 512, RESOLUTIONS_MAX = 64, PROJECTOR_LINEARS_MAX = 8, PROJECTOR_VECTORS_MAX = 2 };

struct vision_hparams {
    const struct vision_family *family;
    vision_plan_fn *plan;
    size_t image_size, patch_size; // pixels; image_size: of a square tile, or the longest side of a picture
    size_t unseen;                 // pixels that the resized square is wider than its whole patches
    size_t n_embd, n_ff, n_head;
    size_t n_block;    // blocks that run
    size_t n_embd_row; // width of a row, n_embd_lm * (1 + n_deepstack): what the projector gives
    size_t n_deepstack;
    float eps, mean[3], std[3];
    enum act act;
    bool has_class;
    size_t merge;         // patches a side of a cell, which becomes one row
    size_t window;        // cells a side of an attention window; 0: none
    size_t full_every;    // of the blocks each of these sees all, the others their window
    size_t table_side;    // of the square table of positions, in patches; 0: no table
    size_t n_query;       // rows of a resampler for each tile
    size_t longest_edge;  // pixels
    size_t n_resolutions; // of anyres
    struct size resolutions[RESOLUTIONS_MAX];
    bool unpad;                  // anyres: the tiles are joined to one map
    struct vision_params params; // with all defaults filled in
};

struct vision_linear { // y = x w^T + bias
    struct weight *w;  // [n_out, n_in]
    float *bias;       // [n_out] f32, or NULL
};

struct vision_norm { // layer norm, or RMS norm without b
    float *w, *b;    // [n] f32; w NULL: no norm
};

struct vision_block {
    struct vision_norm ln1, ln2;
    struct vision_linear attn_q, attn_k, attn_v, attn_out; // [n_embd, n_embd]
    struct vision_linear attn_qkv;                         // [3 n_embd, n_embd] in their place
    struct vision_linear ffn_gate;                         // [n_ff, n_embd] or none
    struct vision_linear ffn_in, ffn_out;                  // [n_ff, n_embd], [n_embd, n_ff]
    float *scale1, *scale2;                                // [n_embd] of what each half adds, or NULL
    struct vision_norm tap_norm;                           // deepstack: [merge^2 n_embd]
    struct vision_linear tap_in, tap_out;                  // w NULL: not tapped
};

// What a kind of projector has bound; each file of a kind says which is which.
struct vision_projector {
    size_t n_linear;
    struct vision_linear linear[PROJECTOR_LINEARS_MAX];
    struct vision_norm norm[PROJECTOR_LINEARS_MAX];
    float *vector[PROJECTOR_VECTORS_MAX];
};

struct vision_model {
    struct ops *ops; // borrowed
    struct gguf *gguf;
    char hash[SHA256_HEX_SIZE]; // of the file (vision_hash_file)
    enum weight_rows precision; // of all weights but the patch embedding's, which is a small part of the work
    struct vision_hparams hp;
    struct vision_linear patch_embd; // [n_embd, 3 * patch_size * patch_size]
    float *position_table;           // host memory [table_side^2 (+ 1: the class token's, first), n_embd] f32
    float *class_embd;               // host memory [n_embd] f32, or NULL
    struct vision_norm pre_ln, post_ln;
    struct vision_block *blocks; // [n_block]
    struct vision_projector projector;
    float *newline; // host memory [n_embd_row]: the row behind each line of a map, or NULL
    void **derived; // host memory of weights that the file does not hold as they are used
    size_t n_derived;
};

// False with ERR_MODEL that names the key or tensor. Fills *m; vision_model_clear it also after failure.
bool vision_model_init(struct vision_model *m, const char *path, struct ops *ops,
                       const struct vision_options *options, struct err *err);
void vision_model_clear(struct vision_model *m);

// Floating-point operations of the blocks for a square of image_size pixels, in 10^9.
double vision_model_gflop(const struct vision_model *m);

// Rows of the language model that a tile of this size in pixels gives.
size_t vision_tile_rows(const struct vision_hparams *hp, struct size tile);

#endif
