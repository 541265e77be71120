// One picture of about its own size: whole cells (merge x merge patches), within limits.
//
//   pixel_range  each side rounded to whole cells, halves to even; scaled where the area leaves min_pixels to
//                max_pixels: Hugging Face smart_resize (image_processing_qwen2_vl.py)
//   fit          shrunk into a square of image_size where it is larger, then up to whole cells: Hugging Face
//                PixtralImageProcessor (get_resize_output_image_size)
#include "vision/plan.h"
#include "vision/vision_model.h"

#include <math.h>

enum { ASPECT_MAX = 200 };

static size_t at_least(size_t n, size_t least) {
    return n > least ? n : least;
}

bool plan_pixel_range(const struct vision_hparams *hp, struct plan *p, struct err *err) {
    size_t w = p->picture.width, h = p->picture.height, cell = hp->patch_size * hp->merge;
    if (at_least(w, h) > ASPECT_MAX * (w < h ? w : h))
        return err_set(err, ERR_IMAGE_UNSUPPORTED, "image: %zux%zu, want sides of at most %d to 1", w, h,
                       ASPECT_MAX);
    double dw = (double)w, dh = (double)h, dcell = (double)cell;
    double min = (double)hp->params.min_pixels, max = (double)hp->params.max_pixels;
    // nearbyint rounds halves to even, as Python does
    size_t out_w = at_least((size_t)nearbyint(dw / dcell) * cell, cell);
    size_t out_h = at_least((size_t)nearbyint(dh / dcell) * cell, cell);
    double area = (double)out_w * (double)out_h;
    if (area > max) {
        double by = sqrt(dw * dh / max);
        out_w = at_least((size_t)floor(dw / by / dcell) * cell, cell);
        out_h = at_least((size_t)floor(dh / by / dcell) * cell, cell);
    } else if (area < min) {
        double by = sqrt(min / (dw * dh));
        out_w = (size_t)ceil(dw * by / dcell) * cell;
        out_h = (size_t)ceil(dh * by / dcell) * cell;
    }
    p->overview = (struct size){out_w, out_h};
    p->grid = (struct size){out_w / cell, out_h / cell};
    plan_add_rows(p, vision_tile_rows(hp, p->overview));
    return true;
}

bool plan_fit(const struct vision_hparams *hp, struct plan *p, struct err *err) {
    (void)err;
    size_t w = p->picture.width, h = p->picture.height, cell = hp->patch_size * hp->merge;
    double ratio = (double)at_least(w, h) / (double)hp->image_size;
    if (ratio > 1) {
        w = at_least((size_t)floor((double)w / ratio), 1);
        h = at_least((size_t)floor((double)h / ratio), 1);
    }
    size_t n_cols = (w - 1) / cell + 1, n_lines = (h - 1) / cell + 1;
    p->overview = (struct size){n_cols * cell, n_lines * cell};
    for (size_t y = 0; y < n_lines; y++) {
        plan_add_rows(p, n_cols);
        plan_add_text(p, y + 1 < n_lines ? "[IMG_BREAK]" : "[IMG_END]");
    }
    return true;
}
