// Pillow's resize of a picture that lies on a canvas of one colour.
#ifndef VISION_RESIZE_H
#define VISION_RESIZE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum resize_filter {
    RESIZE_BICUBIC,
    RESIZE_BILINEAR,
    RESIZE_LANCZOS,
};

struct resize {
    const uint8_t *rgb; // [height, width, 3] u8
    size_t width_px, height_px;
    size_t canvas_width_px, canvas_height_px; // >= left + width, top + height; sides below 2^17
    size_t left_px, top_px;                   // where the picture lies on the canvas
    uint8_t fill[3];                          // the canvas' colour elsewhere
    enum resize_filter filter;
};

// out: [out_height, out_width, 3] u8, equal in every byte to pasting the picture on the canvas and calling
// Image.resize((out_width, out_height), filter). The canvas is never made: memory grows with height *
// out_width. Any thread. False with ERR_NOMEM.
bool resize_image(const struct resize *r, uint8_t *out, size_t out_width_px, size_t out_height_px,
                  struct err *err);

#endif
