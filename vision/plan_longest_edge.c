// Idefics3, SmolVLM: the longest edge is brought to a fixed length (small pictures grow), both sides to whole
// tiles, and the overview is a resize of that sheet and comes last.
//
// A limit on the rows brings the longest edge down to fewer tiles, as the original's size parameter would.
// Sizes come from integer steps with a cut after each; the short side of the first resize is made even.
// Source: Hugging Face Idefics3ImageProcessor (_resize_output_size_rescale_to_max_len,
// resize_for_vision_encoder, split_image) and Idefics3Processor (_prompt_split_image, _prompt_single_image).
#include "vision/plan.h"
#include "vision/vision_model.h"

#define FAKE "<fake_token_around_image>"

static size_t max1(size_t n) {
    return n ? n : 1;
}

static size_t to_multiple(size_t n, size_t of) {
    return (n + of - 1) / of * of;
}

static struct size scaled_to_edge(struct size picture, size_t edge) {
    double aspect = (double)picture.width / (double)picture.height;
    struct size s = {edge, edge};
    if (picture.width >= picture.height) {
        s.height = (size_t)((double)edge / aspect);
        s.height += s.height % 2;
    } else {
        s.width = (size_t)((double)edge * aspect);
        s.width += s.width % 2;
    }
    return (struct size){max1(s.width), max1(s.height)};
}

static struct size whole_tiles(struct size s, size_t tile) {
    double aspect = (double)s.width / (double)s.height;
    if (s.width >= s.height) {
        s.width = to_multiple(s.width, tile);
        s.height = to_multiple(max1((size_t)((double)s.width / aspect)), tile);
    } else {
        s.height = to_multiple(s.height, tile);
        s.width = to_multiple(max1((size_t)((double)s.height * aspect)), tile);
    }
    return s;
}

// Returns the rows.
static size_t lay_sheet(const struct vision_hparams *hp, struct plan *p, size_t edge) {
    struct size tile = {hp->image_size, hp->image_size};
    size_t n_tiles = 0;
    p->first = scaled_to_edge(p->picture, edge);
    p->sheet = p->placed = whole_tiles(p->first, hp->image_size);
    p->n_cols = p->n_lines = 0;
    if (p->sheet.width > tile.width || p->sheet.height > tile.height) {
        p->n_cols = p->sheet.width / tile.width;
        p->n_lines = p->sheet.height / tile.height;
        n_tiles = p->n_cols * p->n_lines;
    }
    return (n_tiles + 1) * vision_tile_rows(hp, tile);
}

bool plan_longest_edge(const struct vision_hparams *hp, struct plan *p, struct err *err) {
    (void)err;
    size_t limit = plan_row_limit(p, 0), edge = hp->longest_edge;
    struct size tile = {hp->image_size, hp->image_size};
    size_t n_rows = vision_tile_rows(hp, tile);
    if (p->largest)
        p->picture = tile; // no side is longer than the longest edge
    while (lay_sheet(hp, p, edge) > limit && edge > hp->image_size)
        edge = (edge - 1) / hp->image_size * hp->image_size;
    p->overview = tile;
    p->overview_last = p->overview_of_sheet = true;
    for (size_t y = 1; y <= p->n_lines; y++) {
        for (size_t x = 1; x <= p->n_cols; x++) {
            plan_add_text(p, FAKE "<row_%zu_col_%zu>", y, x);
            plan_add_rows(p, n_rows);
        }
        plan_add_text(p, "\n");
    }
    if (p->n_lines > 0)
        plan_add_text(p, "\n");
    plan_add_text(p, FAKE "<global-img>");
    plan_add_rows(p, n_rows);
    plan_add_text(p, FAKE);
    return true;
}
