// rgb [height, width, 3] u8 -> pixels [tile][3][height][width] f32, by a plan.
//
//   1. the resizes of the plan, each rounding to u8 as Pillow does
//   2. the tiles cut out
//   3. (x / 255 - mean) / std
#include "vision/preprocess.h"

#include "base/mem.h"
#include "vision/resize.h"

#include <stdlib.h>

struct normaliser {
    float values[3][256];
};

static void normaliser_init(struct normaliser *n, const struct vision_hparams *hp) {
    for (size_t c = 0; c < 3; c++)
        for (int x = 0; x < 256; x++)
            n->values[c][x] = ((float)x / 255.0f - hp->mean[c]) / hp->std[c];
}

// pixels [3, size] = the part of rgb [.., line_px, 3] that begins at left, top.
static void cut_tile(const struct normaliser *n, const uint8_t *rgb, size_t line_px, size_t left, size_t top,
                     struct size size, float *pixels) {
    for (size_t c = 0; c < 3; c++)
        for (size_t y = 0; y < size.height; y++)
            for (size_t x = 0; x < size.width; x++)
                *pixels++ = n->values[c][rgb[3 * ((top + y) * line_px + left + x) + c]];
}

static bool resize_whole(const struct image *from, enum resize_filter filter, struct image *to,
                         struct size size, struct err *err) {
    struct resize r = {.rgb = from->rgb,
                       .width_px = from->width_px,
                       .height_px = from->height_px,
                       .canvas_width_px = from->width_px,
                       .canvas_height_px = from->height_px,
                       .filter = filter};
    *to = (struct image){.width_px = size.width, .height_px = size.height};
    to->rgb = try_malloc_array(size.width * size.height, 3, "preprocessing", err);
    return to->rgb && resize_image(&r, to->rgb, size.width, size.height, err);
}

// As resize_whole, with the picture in the middle of a square of the mean's colour, which is cut to u8.
static bool resize_padded(const struct vision_hparams *hp, const struct image *from, struct image *to,
                          struct size size, struct err *err) {
    size_t w = from->width_px, h = from->height_px, side = w > h ? w : h;
    struct resize r = {.rgb = from->rgb,
                       .width_px = w,
                       .height_px = h,
                       .canvas_width_px = side,
                       .canvas_height_px = side,
                       .left_px = (side - w) / 2,
                       .top_px = (side - h) / 2,
                       .filter = hp->family->filter};
    for (size_t c = 0; c < 3; c++)
        r.fill[c] = (uint8_t)((double)hp->mean[c] * 255);
    *to = (struct image){.width_px = size.width, .height_px = size.height};
    to->rgb = try_malloc_array(size.width * size.height, 3, "preprocessing", err);
    return to->rgb && resize_image(&r, to->rgb, size.width, size.height, err);
}

// The sheet: a resize, on a black canvas where it does not fill it.
static bool make_sheet(const struct vision_hparams *hp, const struct plan *p, const struct image *from,
                       struct image *sheet, struct err *err) {
    enum resize_filter filter = hp->family->filter;
    if (p->placed.width == p->sheet.width && p->placed.height == p->sheet.height)
        return resize_whole(from, filter, sheet, p->sheet, err);
    struct image placed;
    bool ok = resize_whole(from, filter, &placed, p->placed, err);
    *sheet = (struct image){.width_px = p->sheet.width, .height_px = p->sheet.height};
    sheet->rgb = ok ? try_malloc_array(p->sheet.width * p->sheet.height, 3, "preprocessing", err) : NULL;
    if (sheet->rgb) {
        memset(sheet->rgb, 0, 3 * p->sheet.width * p->sheet.height);
        for (size_t y = 0; y < p->placed.height; y++)
            memcpy(sheet->rgb + 3 * ((p->top + y) * p->sheet.width + p->left),
                   placed.rgb + 3 * y * p->placed.width, 3 * p->placed.width);
    }
    image_clear(&placed);
    return sheet->rgb;
}

static bool make_overview(const struct vision_hparams *hp, const struct plan *p, const struct image *picture,
                          const struct image *sheet, struct image *overview, struct err *err) {
    struct size size = p->uncut.width ? p->uncut : p->overview;
    if (p->pad)
        return resize_padded(hp, picture, overview, size, err);
    return resize_whole(p->overview_of_sheet ? sheet : picture, hp->family->filter, overview, size, err);
}

bool preprocess_image(const struct vision_hparams *hp, const struct plan *p, const struct image *image,
                      float *pixels, struct err *err) {
    struct image first = {0}, sheet = {0}, overview = {0};
    struct normaliser n;
    normaliser_init(&n, hp);
    bool ok = true;
    if (p->first.width)
        ok = resize_whole(image, hp->family->filter, &first, p->first, err);
    if (ok && p->sheet.width)
        ok = make_sheet(hp, p, p->first.width ? &first : image, &sheet, err);
    if (ok && p->overview.width)
        ok = make_overview(hp, p, image, &sheet, &overview, err);
    for (size_t tile = 0; ok && tile < p->n_tiles; tile++) {
        struct size size = plan_tile(p, tile);
        if (plan_is_overview(p, tile)) {
            cut_tile(&n, overview.rgb, overview.width_px, p->cut_left, p->cut_top, size, pixels);
        } else {
            size_t i = tile - (p->overview.width && !p->overview_last);
            cut_tile(&n, sheet.rgb, sheet.width_px, i % p->n_cols * size.width, i / p->n_cols * size.height,
                     size, pixels);
        }
        pixels += 3 * size.width * size.height;
    }
    image_clear(&first);
    image_clear(&sheet);
    image_clear(&overview);
    return ok;
}
