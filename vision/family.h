// The families of vision models: one row of a table each.
#ifndef VISION_FAMILY_H
#define VISION_FAMILY_H

#include "compute/gguf.h"
#include "compute/ops.h"
#include "vision/resize.h"

struct plan;
struct projector_kind;
struct vision_hparams;

enum vision_position {
    POSITION_NONE,
    POSITION_TABLE,    // a row of the table for each patch (and the class token): one size of picture only
    POSITION_BUCKETS,  // the table's rows at the fraction of the side where a patch begins
    POSITION_BILINEAR, // the table stretched over the picture, corners on corners
};

enum vision_rope {
    ROPE_NONE,
    ROPE_HALVES, // first half of the angles by line, second by column; pairs (i, i + head_dim / 2)
    ROPE_PAIRS,  // even frequencies by line, then odd ones by column; pairs (2i, 2i + 1)
};

typedef bool vision_plan_fn(const struct vision_hparams *hp, struct plan *p, struct err *err);

struct vision_family {
    const char *projector_type; // of the file
    const char *name;           // part of the file's general.name, any case, or NULL: all other names
    // Fills the plan of a picture whose size is set: tiles, rows and special strings. One function a kind of
    // preprocessing.
    vision_plan_fn *plan;
    bool asks_plan; // the file may say another: clip.vision.image_aspect_ratio, image_grid_pinpoints
    enum resize_filter filter;
    const struct projector_kind *projector;
    enum vision_position position;
    enum vision_rope rope;
    enum act gelu;                 // what clip.use_gelu means
    enum act projector_gelu;       // of mlp
    size_t n_unused;               // blocks at the end that the file holds but the model does not use
    size_t unseen;                 // pixels that the resized square is wider than its whole patches
    bool quick_gelu;               // without clip.use_gelu and clip.use_silu; else one of them is true
    bool pre_norm;                 // v.pre_ln is never missing
    bool patch_bias;               // v.patch_embd.bias is never missing
    bool windows;                  // clip.vision.n_wa_pattern says which blocks see all
    bool rms_norm;                 // of the blocks, else layer norm
    bool post_norm;                // v.post_ln belongs to the encoder: features are behind it
    bool two_frames;               // the patch embedding has a kernel for each of two equal frames
    bool cell_features;            // the original keeps the patches cell by cell; else line by line
    bool both_ways;                // rows of a picture see each other both ways in the language model
    bool grid_positions;           // rows have M-RoPE positions by line and column
    bool single_image;             // trained on one picture a conversation
    size_t merge;                  // patches a side of a cell where the file does not say
    const char *merge_key;         // where it says so
    const char *before, *after;    // special strings around the rows of a whole picture
    size_t min_pixels, max_pixels; // where neither file nor caller say
};

// NULL for an unknown type. name: the file's general.name, or empty.
const struct vision_family *vision_family_find(struct gguf_string projector_type, struct gguf_string name);

// The projector types of the table, "mlp, ...", for messages.
enum { VISION_FAMILY_LIST_SIZE = 256 };
const char *vision_family_list(char list[VISION_FAMILY_LIST_SIZE]);

#endif
