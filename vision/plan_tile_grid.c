// InternVL: the grid of at most max_tiles whose proportions are nearest to the picture's, the picture
// squashed onto it, and behind more than one tile an overview.
//
// A limit on the rows lowers max_tiles. Grids are tried by their number of tiles, then columns; of equally near ones a later one wins where the
// picture has more than half its pixels. Source: Hugging Face GotOcr2ImageProcessor.crop_image_to_patches,
// get_optimal_tiled_canvas.
#include "vision/plan.h"
#include "vision/vision_model.h"

#include <math.h>

bool plan_tile_grid(const struct vision_hparams *hp, struct plan *p, struct err *err) {
    (void)err;
    struct size best = {1, 1}, tile = {hp->image_size, hp->image_size};
    size_t n_rows = vision_tile_rows(hp, tile), limit = plan_row_limit(p, 0);
    size_t min = hp->params.min_tiles, max = hp->params.max_tiles;
    if (max > 1 && (max + 1) * n_rows > limit)
        max = limit / n_rows > 2 ? limit / n_rows - 1 : 1; // two tiles have an overview, too
    min = min < max ? min : max;
    if (p->largest)
        p->picture = (struct size){max, 1}; // the one grid of these proportions
    double aspect = (double)p->picture.width / (double)p->picture.height, nearest = INFINITY;
    double area = (double)p->picture.width * (double)p->picture.height;
    for (size_t n = min; n <= max; n++)
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
    size_t n_tiles = best.width * best.height;
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
