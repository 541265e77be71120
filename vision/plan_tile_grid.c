// InternVL: the grid of at most max_tiles whose proportions are nearest to the picture's, the picture
// squashed onto it, and behind more than one tile an overview.
//
// Grids are tried by their number of tiles, then columns; of equally near ones a later one wins where the
// picture has more than half its pixels. Source: Hugging Face GotOcr2ImageProcessor.crop_image_to_patches,
// get_optimal_tiled_canvas.
#include "vision/plan.h"
#include "vision/vision_model.h"

#include <math.h>

bool plan_tile_grid(const struct vision_hparams *hp, struct plan *p, struct err *err) {
    (void)err;
    struct size best = {1, 1}, tile = {hp->image_size, hp->image_size};
    double aspect = (double)p->picture.width / (double)p->picture.height, nearest = INFINITY;
    double area = (double)p->picture.width * (double)p->picture.height;
    for (size_t n = hp->params.min_tiles; n <= hp->params.max_tiles; n++)
        for (size_t cols = 1; cols <= n; cols++) {
            if (n % cols != 0)
                continue;
            double distance = fabs(aspect - (double)cols / (double)(n / cols));
            bool is_half_filled = area > 0.5 * (double)(tile.width * tile.height * n);
            if (distance < nearest || (distance == nearest && is_half_filled)) {
                nearest = distance;
                best = (struct size){cols, n / cols};
            }
        }
    size_t n_rows = vision_tile_rows(hp, tile), n_tiles = best.width * best.height;
    if (n_tiles > 1) {
        p->n_cols = best.width;
        p->n_lines = best.height;
        p->sheet = p->placed = (struct size){best.width * tile.width, best.height * tile.height};
        n_rows *= n_tiles + 1;
    }
    p->overview = tile;
    p->overview_last = true;
    plan_add_rows(p, n_rows);
    return true;
}
