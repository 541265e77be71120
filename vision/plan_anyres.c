// LLaVA 1.6: an overview, and tiles of the resolution of a list that wastes least.
//
//   1. of clip.vision.image_grid_pinpoints, read as (height, width), the one that keeps most of the picture's
//      pixels, then wastes fewest; the first of equals
//   2. the overview: the picture squashed into one tile
//   3. the sheet: the picture scaled into that resolution, in the middle of a black canvas; cut into tiles
//   4. spatial_unpad: the features of the tiles are joined to one map, the lines or columns of the border are
//      taken away, and a newline row follows each line of the map. Otherwise: the rows of tile after tile.
//
// With a limit the resolutions that keep to it take part in 1; where none does, the overview stands alone, with
// a newline row behind it as in LLaVA's prepare_inputs_labels_for_multimodal (llava/model/llava_arch.py).
//
// Source: Hugging Face LlavaNextImageProcessor, LlavaNextModel.pack_image_features, unpad_image,
// select_best_resolution (image_processing_utils.py).
#include "vision/plan.h"
#include "vision/vision_model.h"

#include <math.h>

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

// Fills in the sheet and all that follows from it. Returns the rows.
static size_t lay_sheet(const struct vision_hparams *hp, struct plan *p, struct size sheet) {
    size_t side = hp->image_size / hp->patch_size, n_rows = side * side;
    p->sheet = sheet;
    p->n_cols = sheet.width / hp->image_size;
    p->n_lines = sheet.height / hp->image_size;
    place_on_sheet(p);
    if (!hp->unpad)
        return n_rows + n_rows * p->n_cols * p->n_lines;
    unpad(p, side);
    return n_rows + p->map.height * (p->map.width + 1);
}

static struct size best_resolution(const struct vision_hparams *hp, const struct plan *p, size_t max_rows) {
    struct size best = {0}, picture = p->picture;
    size_t best_kept = 0, least_wasted = SIZE_MAX;
    for (size_t i = 0; i < hp->n_resolutions; i++) {
        struct plan trial = {.picture = picture};
        struct size r = hp->resolutions[i];
        double scale =
            fmin((double)r.width / (double)picture.width, (double)r.height / (double)picture.height);
        size_t width = (size_t)((double)picture.width * scale);
        size_t height = (size_t)((double)picture.height * scale);
        size_t kept = width * height, all = picture.width * picture.height;
        kept = kept < all ? kept : all;
        size_t wasted = r.width * r.height - kept;
        bool is_better = best.width == 0 || kept > best_kept || (kept == best_kept && wasted < least_wasted);
        if (is_better && (max_rows == SIZE_MAX || lay_sheet(hp, &trial, r) <= max_rows)) {
            best = r;
            best_kept = kept;
            least_wasted = wasted;
        }
    }
    return best;
}

// A picture of exactly a resolution's size keeps all its pixels there and wastes none: no line is cut off.
static struct size largest_picture(const struct vision_hparams *hp) {
    struct size largest = hp->resolutions[0];
    size_t most = 0;
    for (size_t i = 0; i < hp->n_resolutions; i++) {
        struct plan trial = {.picture = hp->resolutions[i]};
        size_t n_rows = lay_sheet(hp, &trial, hp->resolutions[i]);
        if (n_rows > most) {
            most = n_rows;
            largest = hp->resolutions[i];
        }
    }
    return largest;
}

bool plan_anyres(const struct vision_hparams *hp, struct plan *p, struct err *err) {
    (void)err;
    if (p->largest)
        p->picture = largest_picture(hp);
    size_t side = hp->image_size / hp->patch_size;
    struct size sheet = best_resolution(hp, p, plan_row_limit(p, 0));
    p->overview = (struct size){hp->image_size, hp->image_size};
    p->newline = hp->unpad;
    plan_add_rows(p, sheet.width ? lay_sheet(hp, p, sheet) : side * side + p->newline);
    return true;
}
