// LLaVA. Version 1.5, without a list of resolutions: one padded square (plan_square.c). 1.6: an overview, and
// tiles of the resolution of a list that wastes least.
//
//   1. of clip.vision.image_grid_pinpoints, read as (height, width), the one that keeps most of the picture's
//      pixels, then wastes fewest; the first of equals
//   2. the overview: the picture squashed into one tile
//   3. the sheet: the picture scaled into that resolution, in the middle of a black canvas; cut into tiles
//   4. spatial_unpad: the features of the tiles are joined to one map, the lines or columns of the border are
//      taken away, and a newline row follows each line of the map. Otherwise: the rows of tile after tile.
//
// Source: Hugging Face LlavaNextImageProcessor, LlavaNextModel.pack_image_features, unpad_image,
// select_best_resolution (image_processing_utils.py).
#include "vision/plan.h"
#include "vision/vision_model.h"

#include <math.h>

static struct size best_resolution(const struct vision_hparams *hp, struct size picture) {
    struct size best = {0};
    size_t best_kept = 0, least_wasted = SIZE_MAX;
    for (size_t i = 0; i < hp->n_resolutions; i++) {
        struct size r = hp->resolutions[i];
        double scale =
            fmin((double)r.width / (double)picture.width, (double)r.height / (double)picture.height);
        size_t width = (size_t)((double)picture.width * scale);
        size_t height = (size_t)((double)picture.height * scale);
        size_t kept = width * height, all = picture.width * picture.height;
        kept = kept < all ? kept : all;
        size_t wasted = r.width * r.height - kept;
        if (best.width == 0 || kept > best_kept || (kept == best_kept && wasted < least_wasted)) {
            best = r;
            best_kept = kept;
            least_wasted = wasted;
        }
    }
    return best;
}

static void place_on_sheet(struct plan *p) {
    double across = (double)p->sheet.width / (double)p->picture.width;
    double down = (double)p->sheet.height / (double)p->picture.height;
    p->placed = p->sheet;
    if (across < down) {
        size_t height = (size_t)ceil((double)p->picture.height * across);
        p->placed.height = height < p->sheet.height ? height : p->sheet.height;
    } else {
        size_t width = (size_t)ceil((double)p->picture.width * down);
        p->placed.width = width < p->sheet.width ? width : p->sheet.width;
    }
    p->left = (p->sheet.width - p->placed.width) / 2;
    p->top = (p->sheet.height - p->placed.height) / 2;
}

// Python's int(round(x, 7)).
static size_t whole(double x) {
    return (size_t)(nearbyint(x * 1e7) / 1e7);
}

// The border goes by the proportions of the picture itself and whole patches, so a padded line can stay.
static void unpad(struct plan *p, size_t side) {
    struct size picture = p->picture, map = {p->n_cols * side, p->n_lines * side};
    double wanted = (double)picture.width / (double)picture.height;
    p->map = map;
    if (wanted > (double)map.width / (double)map.height) {
        size_t height = whole((double)picture.height * ((double)map.width / (double)picture.width));
        p->map_top = (map.height - height) / 2;
        p->map.height = map.height - 2 * p->map_top;
    } else {
        size_t width = whole((double)picture.width * ((double)map.height / (double)picture.height));
        p->map_left = (map.width - width) / 2;
        p->map.width = map.width - 2 * p->map_left;
    }
}

bool plan_anyres(const struct vision_hparams *hp, struct plan *p, struct err *err) {
    if (hp->n_resolutions == 0)
        return plan_pad(hp, p, err);
    p->overview = (struct size){hp->image_size, hp->image_size};
    p->sheet = best_resolution(hp, p->picture);
    p->n_cols = p->sheet.width / hp->image_size;
    p->n_lines = p->sheet.height / hp->image_size;
    place_on_sheet(p);
    size_t side = hp->image_size / hp->patch_size, n_rows = side * side;
    if (hp->unpad) {
        unpad(p, side);
        n_rows += p->map.height * (p->map.width + 1);
    } else {
        n_rows += n_rows * p->n_cols * p->n_lines;
    }
    plan_add_rows(p, n_rows);
    return true;
}
