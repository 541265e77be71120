// One picture of about its own size: whole cells (merge x merge patches), within limits.
//
//   pixel_range  each side rounded to whole cells, halves to even; scaled where the area leaves min_pixels to
//                max_pixels: Hugging Face smart_resize (image_processing_qwen2_vl.py)
//   fit          shrunk into a square of image_size where it is larger, then up to whole cells: Hugging Face
//                PixtralImageProcessor (get_resize_output_image_size)
//
// A limit on the rows lowers max_pixels, or the side of the square by whole cells.
#include "vision/plan.h"
#include "vision/vision_model.h"

#include <math.h>

enum {
    ASPECT_MAX = 200,
    LOW_ROWS = 256, // of low detail: the least that the cards of Qwen-VL propose, and half a Pixtral's side
};

static size_t at_least(size_t n, size_t least) {
    return n > least ? n : least;
}

// What no picture exceeds, in cells. With m = min_pixels in cells, a picture that grows takes a x b cells, a b = m
// and a <= ASPECT_MAX b, and less than one more each way. One that shrinks takes no more than max_pixels, but that
// a strip is at least one cell high.
static size_t most_cells(double min, double max) {
    double grown = min + sqrt(ASPECT_MAX * min) + sqrt(min / ASPECT_MAX) + 1;
    return (size_t)fmax(fmax(max, grown), ASPECT_MAX);
}

// A strip that would take more cells than it may: shorter, not thinner.
static void cut_cells(struct size *grid, size_t most) {
    size_t *longer = grid->width > grid->height ? &grid->width : &grid->height;
    size_t *other = grid->width > grid->height ? &grid->height : &grid->width;
    if (grid->width * grid->height <= most)
        return;
    *other = *other < most ? *other : most;
    *longer = most / *other;
}

// Sides in pixels -> cells.
static struct size smart_resize(struct size picture, size_t cell, double min, double max) {
    double w = (double)picture.width, h = (double)picture.height, side = (double)cell;
    // nearbyint rounds halves to even, as Python does
    struct size grid = {at_least((size_t)nearbyint(w / side), 1), at_least((size_t)nearbyint(h / side), 1)};
    double area = (double)(grid.width * cell) * (double)(grid.height * cell);
    if (area > max) {
        double by = sqrt(w * h / max);
        grid.width = at_least((size_t)floor(w / by / side), 1);
        grid.height = at_least((size_t)floor(h / by / side), 1);
    } else if (area < min) {
        double by = sqrt(min / (w * h));
        grid.width = (size_t)ceil(w * by / side);
        grid.height = (size_t)ceil(h * by / side);
    }
    return grid;
}

bool plan_pixel_range(const struct vision_hparams *hp, struct plan *p, struct err *err) {
    size_t w = p->picture.width, h = p->picture.height, cell = hp->patch_size * hp->merge;
    size_t limit = at_least(plan_row_limit(p, LOW_ROWS), 1);
    double min = (double)hp->params.min_pixels, max = (double)hp->params.max_pixels;
    double cell_px = (double)(cell * cell);
    if (p->largest) {
        plan_add_rows(p, most_cells(min / cell_px, max / cell_px));
        return true;
    }
    if (at_least(w, h) > ASPECT_MAX * (w < h ? w : h))
        return err_set(err, ERR_IMAGE_UNSUPPORTED, "image: %zux%zu, want sides of at most %d to 1", w, h,
                       ASPECT_MAX);
    struct size grid = smart_resize(p->picture, cell, min, max);
    if (grid.width * grid.height > limit) {
        max = fmin(max, (double)limit * cell_px);
        grid = smart_resize(p->picture, cell, fmin(min, max), max);
        cut_cells(&grid, limit);
    }
    p->overview = (struct size){grid.width * cell, grid.height * cell};
    p->grid = grid;
    plan_add_rows(p, vision_tile_rows(hp, p->overview));
    return true;
}

static struct size fit_into(struct size picture, size_t side, size_t cell) {
    double ratio = (double)at_least(picture.width, picture.height) / (double)side;
    if (ratio > 1) {
        picture.width = at_least((size_t)floor((double)picture.width / ratio), 1);
        picture.height = at_least((size_t)floor((double)picture.height / ratio), 1);
    }
    return (struct size){(picture.width - 1) / cell + 1, (picture.height - 1) / cell + 1};
}

bool plan_fit(const struct vision_hparams *hp, struct plan *p, struct err *err) {
    (void)err;
    size_t cell = hp->patch_size * hp->merge, limit = plan_row_limit(p, LOW_ROWS), side = hp->image_size;
    if (p->largest)
        p->picture = (struct size){side, side};
    struct size grid = fit_into(p->picture, side, cell);
    while (grid.width * grid.height > limit && side > cell) {
        side = (side - 1) / cell * cell;
        grid = fit_into(p->picture, side, cell);
    }
    p->overview = (struct size){grid.width * cell, grid.height * cell};
    for (size_t y = 0; y < grid.height; y++) {
        plan_add_rows(p, grid.width);
        plan_add_text(p, y + 1 < grid.height ? "[IMG_BREAK]" : "[IMG_END]");
    }
    return true;
}
