// rgb [height, width, 3] u8 -> pixels [3, S, S] f32.
//
//   1. paste in the middle of a square of side max(width, height), coloured int(mean * 255)
//   2. bicubic resize to S x S
//   3. (x / 255 - mean) / std
//
// Source: LLaVA's expand2square (llava/mm_utils.py), then Hugging Face's CLIPImageProcessor.
#include "vision/preprocess.h"

#include "base/mem.h"
#include "vision/resize.h"

#include <stdlib.h>

static void normalise(const struct preprocess *p, const uint8_t *rgb, float *pixels) {
    size_t n = p->image_size * p->image_size;
    float values[256];
    for (size_t c = 0; c < 3; c++) {
        for (int x = 0; x < 256; x++)
            values[x] = ((float)x / 255.0f - p->mean[c]) / p->std[c];
        for (size_t i = 0; i < n; i++)
            pixels[c * n + i] = values[rgb[3 * i + c]];
    }
}

bool preprocess_image(const struct preprocess *p, const struct image *image, float *pixels, struct err *err) {
    size_t w = image->width_px, h = image->height_px, side = w > h ? w : h, s = p->image_size;
    struct resize r = {
        .rgb = image->rgb,
        .width_px = w,
        .height_px = h,
        .canvas_width_px = side,
        .canvas_height_px = side,
        .left_px = (side - w) / 2,
        .top_px = (side - h) / 2,
    };
    for (size_t c = 0; c < 3; c++)
        r.fill[c] = (uint8_t)((double)p->mean[c] * 255);
    uint8_t *square = try_malloc_array(s * s, 3, "preprocessing", err); // [S, S, 3] u8
    bool ok = square && resize_bicubic(&r, square, s, s, err);
    if (ok)
        normalise(p, square, pixels);
    free(square);
    return ok;
}
