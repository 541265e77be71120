// The public seam of the vision layer: bytes of a picture -> embedding rows of the language model.
//
//   vision_probe    bytes -> size and number of rows, from the header alone
//   vision_prepare  bytes -> rgb -> pixels of tiles [tile][3][height][width] f32 (decode, EXIF, resize,
//                   normalise)
//   vision_encode_* pixels -> ViT -> projector -> rows [n_tokens, n_embd] f32, a few layers at a time
#ifndef VISION_VISION_H
#define VISION_VISION_H

#include "base/err.h"
#include "base/load.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ops;
struct vision;        // an open mmproj file: read-only after vision_open
struct vision_image;  // one prepared picture
struct vision_encode; // one encode under way

// How large pictures become. Zero: what the file says, else what the original processor of the family does.
struct vision_params {
    size_t min_pixels, max_pixels; // Qwen-VL: of the resized picture
    size_t min_tiles, max_tiles;   // InternVL
    size_t max_slices;             // MiniCPM-V
};

// Arithmetic of the encoder's products. Those in 8 bits are several times as fast, rows a little less exact.
enum vision_precision {
    VISION_AUTO, // 8 bits where a picture takes VISION_INT8_GFLOP or more: below, f32 is fast enough
    VISION_F32,
    VISION_INT8,
};

enum { VISION_INT8_GFLOP = 20 };

struct vision_options {              // zero means default
    size_t max_image_bytes;          // 20 MiB
    size_t max_pixels;               // 64 million
    struct vision_params params;     // of preprocessing
    enum vision_precision precision; // VISION_AUTO
    struct load_options load;        // mapped
};

// How large one picture may become. Zero: as the original makes it. What has no smaller form keeps its smallest.
struct vision_detail {
    size_t max_tokens; // rows, 0: any number
    bool low;          // the overview alone; of a family without tiles at most 256 rows
};

enum { VISION_SPAN_TEXT_SIZE = 64, VISION_FORM_SIZE = 96 };

struct vision_span {                  // a piece of what stands in a prompt for a picture: one of
    char text[VISION_SPAN_TEXT_SIZE]; // special strings
    bool is_number;                   // the picture's number in the conversation, from 0, as text
    size_t first_row, n_rows;         // rows
};

struct vision_layout {
    struct vision_span *spans; // neighbouring texts are one text to the tokenizer
    size_t n_spans;
    size_t n_tokens;                // rows of all spans
    size_t grid_width, grid_height; // M-RoPE: rows are placed by line and column; 0: one position a row
    bool both_ways;                 // rows of the picture see each other both ways
    char form
        [VISION_FORM_SIZE]; // sizes of what is encoded: the same picture in the same form has the same rows
};

struct vision_info {
    size_t width_px, height_px; // after EXIF orientation
    size_t n_tokens;            // rows that an encode will give
};

// Returns new. Borrows ops until vision_close; no thread may use ops meanwhile. ERR_MODEL names key or
// tensor.
struct vision *vision_open(const char *path, struct ops *ops, const struct vision_options *options,
                           struct err *err);
void vision_close(struct vision *v);

size_t vision_n_embd(const struct vision *v); // width of a row
// Which arithmetic is in use and why, for a log; borrowed until closed.
const char *vision_precision_note(const struct vision *v);
// Deepstack: a row is n_embd / (1 + this) values for the embedding, then as many for each of the first
// layers.
size_t vision_n_deepstack(const struct vision *v);
size_t vision_n_embd_vit(const struct vision *v); // width of a feature
// Of the picture that takes most, or a bound for those whose size follows the picture's: free the spans.
void vision_largest(const struct vision *v, struct vision_layout *layout);
bool vision_single_image(const struct vision *v); // trained on one picture a conversation
// Identity of what is computed, for cache keys: SHA-256 hex of the mmproj file's metadata, tensor directory,
// size and a sample of each tensor, and of the arithmetic in use.
const char *vision_hash(const struct vision *v);

// Any thread. Checks magic bytes, header and limits before any pixel is allocated: ERR_IMAGE_UNSUPPORTED,
// ERR_IMAGE_TOO_LARGE, ERR_IMAGE_TRUNCATED. detail may be NULL. layout (may be NULL) tells how the
// rows stand in a prompt; free its spans.
bool vision_probe(const struct vision *v, const uint8_t *bytes, size_t size_bytes,
                  const struct vision_detail *detail, struct vision_info *info, struct vision_layout *layout,
                  struct err *err);

// Any thread. Returns new; borrows nothing. Errors as vision_probe, and ERR_IMAGE_TRUNCATED for damaged data.
struct vision_image *vision_prepare(const struct vision *v, const uint8_t *bytes, size_t size_bytes,
                                    const struct vision_detail *detail, struct err *err);
// Returns new from ready pixels [n_tiles, 3, height, width] f32, whose rows follow tile after tile;
// ERR_INVALID_VALUE for a shape the model does not take.
struct vision_image *vision_image_from_pixels(const struct vision *v, const float *pixels, size_t n_tiles,
                                              size_t height_px, size_t width_px, struct err *err);
void vision_image_destroy(struct vision_image *image);
// Tiles may differ in size: tile i begins behind the values of the tiles before it.
const float *vision_image_pixels(const struct vision_image *image, size_t *n_values);
size_t vision_image_n_tiles(const struct vision_image *image);
void vision_image_tile(const struct vision_image *image, size_t tile, size_t *height_px, size_t *width_px);
size_t vision_image_n_tokens(const struct vision_image *image);

// The stage before preprocessing, for inspection: returns new rgb [height, width, 3] u8 (free it). Any
// thread.
uint8_t *vision_decode_rgb(const uint8_t *bytes, size_t size_bytes, const struct vision_options *limits,
                           size_t *width_px, size_t *height_px, struct err *err);

// The encode, on the inference thread. vision_encode_create takes the image. A step runs at most n_layers
// steps of the whole (for each batch of tiles the embedding, each block, or slice of one, and the projector count
// one) and may
// be followed by other work; destroying an unfinished encode cancels it.
struct vision_encode *vision_encode_create(struct vision *v, struct vision_image *image, struct err *err);
// For inspection, before the first step: the ViT's output is kept too.
bool vision_encode_keep_features(struct vision_encode *e, struct err *err);
void vision_encode_destroy(struct vision_encode *e);
bool vision_encode_step(struct vision_encode *e, size_t n_layers, struct err *err);
void vision_encode_progress(const struct vision_encode *e, size_t *done,
                            size_t *total); // in layers; done == total: finished
// After the last step: copies rows [n_tokens, n_embd] to host memory.
void vision_encode_rows(const struct vision_encode *e, float *out);
// [n_features, n_embd_vit] f32 of all tiles, borrowed until destroyed.
const float *vision_encode_features(const struct vision_encode *e, size_t *n_features);

#endif
