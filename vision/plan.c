// Plans: what the kinds of preprocessing share.
#include "vision/plan.h"

#include "base/mem.h"
#include "vision/image.h"
#include "vision/vision_model.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct vision_span *add_span(struct plan *p) {
    enum { STEP = 16 };
    if (p->n_spans % STEP == 0) { // few pictures need a second step
        struct vision_span *longer = xcalloc(p->n_spans + STEP, sizeof *longer);
        if (p->n_spans)
            memcpy(longer, p->spans, p->n_spans * sizeof *longer);
        free(p->spans);
        p->spans = longer;
    }
    return &p->spans[p->n_spans++];
}

void plan_add_text(struct plan *p, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(add_span(p)->text, VISION_SPAN_TEXT_SIZE, format, arguments);
    va_end(arguments);
}

void plan_add_number(struct plan *p) {
    add_span(p)->is_number = true;
}

void plan_add_rows(struct plan *p, size_t n_rows) {
    struct vision_span *span = add_span(p);
    span->first_row = p->n_rows;
    span->n_rows = n_rows;
    p->n_rows += n_rows;
}

bool plan_is_overview(const struct plan *p, size_t tile) {
    return p->overview.width > 0 && tile == (p->overview_last ? p->n_tiles - 1 : 0);
}

struct size plan_tile(const struct plan *p, size_t tile) {
    if (plan_is_overview(p, tile))
        return p->overview;
    return (struct size){p->sheet.width / p->n_cols, p->sheet.height / p->n_lines};
}

size_t plan_n_values(const struct plan *p) {
    size_t sheet = p->n_cols ? p->sheet.width * p->sheet.height : 0;
    return 3 * (sheet + p->overview.width * p->overview.height);
}

static bool make(struct plan *p, const struct vision_hparams *hp, struct err *err) {
    const struct vision_family *family = hp->family;
    if (family->before)
        plan_add_text(p, "%s", family->before);
    if (!hp->plan(hp, p, err))
        return false;
    p->n_tiles = p->n_cols * p->n_lines + (p->overview.width > 0);
    if (family->after)
        plan_add_text(p, "%s", family->after);
    return true;
}

bool plan_init(struct plan *p, const struct vision_hparams *hp, size_t width_px, size_t height_px,
               const struct vision_detail *detail, struct err *err) {
    *p = (struct plan){.picture = {width_px, height_px}};
    if (detail)
        p->detail = *detail;
    if (!make(p, hp, err))
        return false;
    if (p->n_tiles > PLAN_TILES_MAX)
        return err_set(err, ERR_IMAGE_TOO_LARGE, "image: %zu tiles, at most %d are encoded", p->n_tiles,
                       PLAN_TILES_MAX);
    size_t n_pixels = plan_n_values(p) / 3; // of a thin picture: each tile is at least a patch high
    return n_pixels <= PLAN_PIXELS_MAX ||
           err_set(err, ERR_IMAGE_TOO_LARGE, "image: %zux%zu becomes %zu pixels, at most %d are encoded",
                   width_px, height_px, n_pixels, PLAN_PIXELS_MAX);
}

void plan_init_largest(struct plan *p, const struct vision_hparams *hp) {
    *p = (struct plan){.picture = {1, 1}, .largest = true}; // the size, where any will do
    make(p, hp, NULL);
}

size_t plan_row_limit(const struct plan *p, size_t low_rows) {
    size_t limit = p->detail.max_tokens ? p->detail.max_tokens : SIZE_MAX;
    return p->detail.low && low_rows < limit ? low_rows : limit;
}

void plan_form(const struct plan *p, char form[VISION_FORM_SIZE]) {
    snprintf(form, VISION_FORM_SIZE, "%zux%zu+%zux%zu+%zux%zu", p->first.width, p->first.height,
             p->sheet.width, p->sheet.height, p->overview.width, p->overview.height);
}

bool plan_init_tiles(struct plan *p, const struct vision_hparams *hp, size_t n_tiles, size_t width_px,
                     size_t height_px, struct err *err) {
    size_t cell = hp->patch_size * hp->merge, size = hp->image_size;
    bool is_fixed = hp->family->position == POSITION_TABLE;
    *p = (struct plan){0};
    if (n_tiles == 0 || n_tiles > PLAN_TILES_MAX || width_px == 0 || height_px == 0 ||
        width_px > IMAGE_SIDE_MAX || height_px > IMAGE_SIDE_MAX || width_px % cell || height_px % cell ||
        (is_fixed && (width_px != size || height_px != size)))
        return err_set(err, ERR_INVALID_VALUE, "pixels: shape [%zu, 3, %zu, %zu], want tiles of %s%zu",
                       n_tiles, height_px, width_px, is_fixed ? "" : "multiples of ", is_fixed ? size : cell);
    p->sheet = (struct size){n_tiles * width_px, height_px};
    p->n_cols = p->n_tiles = n_tiles;
    p->n_lines = 1;
    if (hp->family->grid_positions)
        p->grid = (struct size){width_px / cell, height_px / cell};
    plan_add_rows(p, n_tiles * vision_tile_rows(hp, plan_tile(p, 0)));
    return true;
}

void plan_clear(struct plan *p) {
    free(p->spans);
    *p = (struct plan){0};
}
