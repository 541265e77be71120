// The vision transformer, step by step.
#ifndef VISION_VIT_H
#define VISION_VIT_H

#include "vision/vision_model.h"

struct vit_range {
    size_t first, n; // rows
};

// Of a block: those that make queries, keys and values, then those that do the rest. One of both: one in all.
struct vit_slices {
    size_t qkv, rest;
};

// Working memory of a batch of tiles of one size. A tile is n_rows rows: the class token, if there is one,
// then its patches cell by cell, window by window.
struct vit {
    const struct vision_model *model; // borrowed
    size_t n_tiles, n_cols, n_lines;  // tiles; patches of each
    size_t n_patches, n_rows;         // of each tile
    size_t *order;                    // [n_patches]: where in the tile, line by line, each patch stands
    int32_t *places;                  // [n_tiles * n_rows, 2] line and column of each row, for RoPE
    struct rope rope;
    float *freqs;                      // [head_dim / 2]
    uint8_t *axes;                     // [head_dim / 2]: 0 line, 1 column
    struct vit_range *whole, *windows; // rows that see each other: [n_tiles], [n_windows]
    struct attn_part *parts;           // [n_tiles + n_windows] of them in a slice
    size_t n_windows;
    struct vit_slices slices;

    float *memory;    // one allocation in the backend that holds all the others, f32
    float *x;         // [n_tiles * n_rows, n_embd] the residual stream
    float *norm;      // [rows of a slice, n_embd]
    float *qkv;       // [3, n_tiles * n_rows, n_embd], or [n_tiles * n_rows, 3, n_embd] where fused
    float *attn;      // [rows of a slice, n_embd]
    float *ff, *gate; // [rows of a slice, n_ff]
    float *patches;   // [patches at a time, 3 * patch_size * patch_size]
};

// False with ERR_NOMEM. vit_clear also after failure.
bool vit_init(struct vit *t, const struct vision_model *m, size_t n_tiles, size_t width_px, size_t height_px,
              struct err *err);
void vit_clear(struct vit *t);

void vit_embed(struct vit *t, const float *pixels); // [n_tiles, 3, height, width] f32, host memory
// A block runs in slices of rows, each a short step also of a very large tile: all of 0 .. n - 1, in order.
size_t vit_block_slices(const struct vision_model *m, size_t n_tiles, size_t n_patches);
void vit_block(struct vit *t, size_t i, size_t slice);
// [n_tiles * n_patches, n_embd] f32 in the backend, without the class rows, behind the last norm where it
// belongs to the encoder; borrowed until the next call.
const float *vit_features(struct vit *t);

#endif
