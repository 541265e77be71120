// MiniCPM-V: an overview of about scale^2 pixels that keeps the picture's proportions, and where the picture
// is larger a grid of slices, cut from a resize of its own.
//
// A limit on the rows lowers the number of slices. Sizes go to whole patches by Python's round (halves to even). Source: MiniCPM-V 2.6,
// image_processing_minicpmv.py: slice_image, find_best_resize, get_refine_size, get_sliced_grid,
// get_slice_image_placeholder.
#include "vision/plan.h"
#include "vision/vision_model.h"

#include <math.h>

static double whole_multiple(double length, size_t of) {
    double n = nearbyint(length / (double)of);
    return (n < 1 ? 1 : n) * (double)of;
}

struct real_size {
    double width, height;
};

static struct size best_resize(const struct vision_hparams *hp, struct real_size s, bool may_grow) {
    double scale = (double)hp->image_size;
    if (s.width * s.height > scale * scale || may_grow) {
        double aspect = s.width / s.height;
        s.height = floor(scale / sqrt(aspect));
        s.width = floor(s.height * aspect);
    }
    return (struct size){(size_t)whole_multiple(s.width, hp->patch_size),
                         (size_t)whole_multiple(s.height, hp->patch_size)};
}

// Of the grids with n - 1, n, n + 1 slices the one whose proportions are nearest, by logarithm.
static struct size best_grid(const struct plan *p, size_t n, size_t n_max) {
    double aspect = log((double)p->picture.width / (double)p->picture.height), nearest = INFINITY;
    struct size best = {1, 1};
    for (size_t k = n - 1; k <= n + 1; k++)
        for (size_t cols = 1; cols <= k && k != 1 && k <= n_max; cols++) {
            if (k % cols != 0)
                continue;
            double distance = fabs(aspect - log((double)cols / (double)(k / cols)));
            if (distance < nearest) {
                nearest = distance;
                best = (struct size){cols, k / cols};
            }
        }
    return best;
}

// How many slices each way; {0}: the overview alone.
static struct size choose_grid(const struct vision_hparams *hp, const struct plan *p, size_t max_slices) {
    double scale = (double)hp->image_size, area = (double)p->picture.width * (double)p->picture.height;
    double wanted = fmin(ceil(area / (scale * scale)), (double)max_slices);
    return wanted > 1 ? best_grid(p, (size_t)wanted, max_slices) : (struct size){0};
}

bool plan_slices(const struct vision_hparams *hp, struct plan *p, struct err *err) {
    (void)err;
    size_t n_rows = hp->n_query, limit = plan_row_limit(p, 0), max_slices = hp->params.max_slices;
    if (p->largest) // slice under slice: most line ends
        p->picture = (struct size){hp->image_size, hp->image_size * max_slices};
    struct size grid = choose_grid(hp, p, max_slices);
    while (grid.width && (grid.width * grid.height + 1) * n_rows > limit)
        grid = choose_grid(hp, p, --max_slices);
    struct real_size picture = {(double)p->picture.width, (double)p->picture.height};
    p->overview = best_resize(hp, picture, grid.width == 0);
    plan_add_text(p, "<image_id>");
    plan_add_number(p);
    plan_add_text(p, "</image_id><image>");
    plan_add_rows(p, n_rows);
    plan_add_text(p, "</image>");
    if (grid.width) {
        struct real_size cell = {whole_multiple(picture.width, grid.width) / (double)grid.width,
                                 whole_multiple(picture.height, grid.height) / (double)grid.height};
        struct size slice = best_resize(hp, cell, true);
        p->n_cols = grid.width;
        p->n_lines = grid.height;
        p->sheet = p->placed = (struct size){slice.width * grid.width, slice.height * grid.height};
        for (size_t i = 0; i < grid.width * grid.height; i++) {
            plan_add_text(p, i > 0 && i % grid.width == 0 ? "\n<slice>" : "<slice>");
            plan_add_rows(p, n_rows);
            plan_add_text(p, "</slice>");
        }
    }
    return true;
}
