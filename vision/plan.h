// What becomes of a picture, known from its size alone: tiles to encode, rows to expect, where they stand.
//
//   picture -> [first resize] -> sheet: a resize laid on a canvas -> tiles, cut in raster order
//                             -> overview: a resize of the picture, or of the sheet
#ifndef VISION_PLAN_H
#define VISION_PLAN_H

#include "base/err.h"
#include "vision/vision.h"

#include <stdbool.h>
#include <stddef.h>

struct vision_hparams;

struct size {
    size_t width, height;
};

enum { PLAN_TILES_MAX = 1024, PLAN_PIXELS_MAX = 1 << 27 };

struct plan {
    struct size picture;         // pixels, upright
    struct vision_detail detail; // what is asked for
    bool largest; // no picture's: rows and spans of the one that takes most, or no fewer; plan_init_largest
    // The first resize, of the whole picture; width 0: none.
    struct size first;
    // The sheet; n_cols 0: none. The picture is resized to `placed` and lies at left, top; black elsewhere.
    struct size sheet, placed;
    size_t left, top, n_cols, n_lines;
    // The overview; width 0: none.
    struct size overview;
    bool overview_last, overview_of_sheet;
    bool pad; // resized with a border in the mean's colour that makes it a square
    // The overview is cut from a resize to this size, at these pixels; width 0: it is the resize.
    struct size uncut;
    size_t cut_left, cut_top;

    size_t n_tiles;
    size_t n_rows; // of the language model
    // anyres: lines of the joined tiles that are kept, from map_top, map_left on, in patches; 0x0: no map.
    struct size map;
    size_t map_left, map_top;
    bool newline;     // anyres: the newline row behind each line of the map, or behind an overview alone
    struct size grid; // M-RoPE: columns and lines of rows; 0: one position a row

    struct vision_span *spans; // what stands in the prompt, in order
    size_t n_spans;
};

// Fills *p for a picture of this size; detail may be NULL. False with ERR_IMAGE_TOO_LARGE or ERR_IMAGE_UNSUPPORTED; plan_clear it
// also then.
bool plan_init(struct plan *p, const struct vision_hparams *hp, size_t width_px, size_t height_px,
               const struct vision_detail *detail, struct err *err);
// Rows and spans of the picture that takes most; a bound where no formula says which one does.
void plan_init_largest(struct plan *p, const struct vision_hparams *hp);
// As plan_init for n_tiles ready tiles of this size; ERR_INVALID_VALUE for one that the model does not take.
bool plan_init_tiles(struct plan *p, const struct vision_hparams *hp, size_t n_tiles, size_t width_px,
                     size_t height_px, struct err *err);
void plan_clear(struct plan *p);

// The tile's size in pixels; tile < n_tiles.
struct size plan_tile(const struct plan *p, size_t tile);
// Whether a tile is the overview.
bool plan_is_overview(const struct plan *p, size_t tile);
// f32 values of all tiles, [tile][3][height][width].
size_t plan_n_values(const struct plan *p);

// Its sizes as text, which tells it from other plans of the same picture.
void plan_form(const struct plan *p, char form[VISION_FORM_SIZE]);

// For the kinds of preprocessing: most rows that a picture may take, where low detail means low_rows.
size_t plan_row_limit(const struct plan *p, size_t low_rows);
// The same: appends to the spans.
void plan_add_text(struct plan *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
void plan_add_number(struct plan *p); // of the picture in the conversation
void plan_add_rows(struct plan *p, size_t n_rows);

// The kinds of preprocessing, one file each. Without a limit they do what the original does; with one they take
// the largest form within it that the original would make for some parameters, and the smallest where none is.
bool plan_pad(const struct vision_hparams *hp, struct plan *p, struct err *err);
bool plan_squash(const struct vision_hparams *hp, struct plan *p, struct err *err);
bool plan_crop(const struct vision_hparams *hp, struct plan *p, struct err *err);
bool plan_anyres(const struct vision_hparams *hp, struct plan *p, struct err *err);
bool plan_longest_edge(const struct vision_hparams *hp, struct plan *p, struct err *err);
bool plan_pixel_range(const struct vision_hparams *hp, struct plan *p, struct err *err);
bool plan_fit(const struct vision_hparams *hp, struct plan *p, struct err *err);
bool plan_tile_grid(const struct vision_hparams *hp, struct plan *p, struct err *err);
bool plan_slices(const struct vision_hparams *hp, struct plan *p, struct err *err);

#endif
