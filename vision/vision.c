// The public face of the layer: limits, prepared pictures, and the encode cut into steps.
//
//   bytes -> image -> rgb -> preprocess (by a plan) -> pixels of tiles -> vit -> features -> projector ->
//   rows
//
// Tiles of one size are encoded in batches. An encode counts 1 (embedding) + n_block + 1 (projector) layers
// for each batch. Its working memory is its own, so that several may be under way at once; the model is only
// read.
#include "vision/vision.h"

#include "base/mem.h"
#include "vision/image.h"
#include "vision/preprocess.h"
#include "vision/projector.h"
#include "vision/vit.h"
#include "vision/vit_place.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    BATCH_PATCHES = 1024
}; // most patches of a batch of several tiles: a layer of it must stay a short step

struct vision {
    struct vision_model model;
    struct vision_options limits;
    char precision_note[96];
};

struct vision_image {
    struct plan plan;
    float *pixels; // [plan_n_values] f32
};

struct vision_encode {
    const struct vision_model *model;
    struct vision_image *image;
    size_t first_tile, n_tiles; // of the batch under way
    size_t n_slices;            // of each of its blocks
    size_t n_layers;            // of it that have run
    size_t n_done, n_total;     // layers of the whole encode
    const float *pixels;        // of the batch
    struct vit vit;
    struct projector projector;
    size_t n_tile_rows; // rows that are done
    float *tile_rows;   // [rows of all tiles, n_embd_row] f32 host memory, tile after tile
    size_t n_features;
    float *features; // [patches of all tiles, n_embd] f32 host memory, or NULL: not wanted
};

static struct vision_options with_defaults(const struct vision_options *options) {
    struct vision_options limits = options ? *options : (struct vision_options){0};
    if (!limits.max_image_bytes)
        limits.max_image_bytes = (size_t)20 << 20;
    if (!limits.max_pixels)
        limits.max_pixels = 64 * 1000 * 1000;
    return limits;
}

static void note_precision(struct vision *v) {
    const struct vision_hparams *hp = &v->model.hp;
    enum vision_precision asked = v->limits.precision;
    int n = snprintf(v->precision_note, sizeof v->precision_note,
                     "pictures in %s: ", v->model.precision == WEIGHT_ROWS_INT8 ? "int8" : "f32");
    char *why = v->precision_note + n;
    size_t size = sizeof v->precision_note - (size_t)n;
    if (asked == VISION_AUTO)
        snprintf(why, size, "%zux%zu pixels take %.1f GFLOP, int8 is from %d on", hp->image_size,
                 hp->image_size, vision_model_gflop(&v->model), VISION_INT8_GFLOP);
    else
        snprintf(why, size, "as asked");
}

struct vision *vision_open(const char *path, struct ops *ops, const struct vision_options *options,
                           struct err *err) {
    struct vision *v = xcalloc(1, sizeof *v);
    v->limits = with_defaults(options);
    if (!vision_model_init(&v->model, path, ops, &v->limits, err)) {
        vision_close(v);
        return NULL;
    }
    note_precision(v);
    return v;
}

void vision_close(struct vision *v) {
    if (!v)
        return;
    vision_model_clear(&v->model);
    free(v);
}

size_t vision_n_embd(const struct vision *v) {
    return v->model.hp.n_embd_row;
}

size_t vision_n_deepstack(const struct vision *v) {
    return v->model.hp.n_deepstack;
}

size_t vision_n_embd_vit(const struct vision *v) {
    return v->model.hp.n_embd;
}

bool vision_single_image(const struct vision *v) {
    return v->model.hp.family->single_image;
}

const char *vision_hash(const struct vision *v) {
    return v->model.hash;
}

const char *vision_precision_note(const struct vision *v) {
    return v->precision_note;
}

static void fill_layout(const struct vision_hparams *hp, const struct plan *plan,
                        struct vision_layout *layout) {
    *layout = (struct vision_layout){.n_spans = plan->n_spans,
                                     .n_tokens = plan->n_rows,
                                     .grid_width = plan->grid.width,
                                     .grid_height = plan->grid.height,
                                     .both_ways = hp->family->both_ways};
    layout->spans = xcalloc(layout->n_spans, sizeof *layout->spans);
    memcpy(layout->spans, plan->spans, layout->n_spans * sizeof *layout->spans);
    plan_form(plan, layout->form);
}

void vision_largest(const struct vision *v, struct vision_layout *layout) {
    struct plan plan;
    plan_init_largest(&plan, &v->model.hp);
    fill_layout(&v->model.hp, &plan, layout);
    plan_clear(&plan);
}

bool vision_probe(const struct vision *v, const uint8_t *bytes, size_t size_bytes,
                  const struct vision_detail *detail, struct vision_info *info, struct vision_layout *layout,
                  struct err *err) {
    struct image_info header;
    struct plan plan;
    if (!image_probe(bytes, size_bytes, &v->limits, &header, err))
        return false;
    bool swap = header.orientation >= 5;
    size_t width = (header.width_px + header.scale_denom - 1) / header.scale_denom;
    size_t height = (header.height_px + header.scale_denom - 1) / header.scale_denom;
    bool ok = plan_init(&plan, &v->model.hp, swap ? height : width, swap ? width : height, detail, err);
    *info = (struct vision_info){
        .width_px = swap ? header.height_px : header.width_px,
        .height_px = swap ? header.width_px : header.height_px,
        .n_tokens = plan.n_rows,
    };
    if (ok && layout)
        fill_layout(&v->model.hp, &plan, layout);
    plan_clear(&plan);
    return ok;
}

struct vision_image *vision_prepare(const struct vision *v, const uint8_t *bytes, size_t size_bytes,
                                    const struct vision_detail *detail, struct err *err) {
    const struct vision_hparams *hp = &v->model.hp;
    struct image decoded;
    if (!image_decode(bytes, size_bytes, &v->limits, &decoded, err))
        return NULL;
    struct vision_image *image = xcalloc(1, sizeof *image);
    bool ok = plan_init(&image->plan, hp, decoded.width_px, decoded.height_px, detail, err);
    if (ok)
        image->pixels = try_malloc_array(plan_n_values(&image->plan), sizeof *image->pixels, "pixels", err);
    ok = ok && image->pixels && preprocess_image(hp, &image->plan, &decoded, image->pixels, err);
    image_clear(&decoded);
    if (ok)
        return image;
    vision_image_destroy(image);
    return NULL;
}

struct vision_image *vision_image_from_pixels(const struct vision *v, const float *pixels, size_t n_tiles,
                                              size_t height_px, size_t width_px, struct err *err) {
    const struct vision_hparams *hp = &v->model.hp;
    struct vision_image *image = xcalloc(1, sizeof *image);
    if (plan_init_tiles(&image->plan, hp, n_tiles, width_px, height_px, err)) {
        size_t n = plan_n_values(&image->plan);
        image->pixels = try_malloc_array(n, sizeof *image->pixels, "pixels", err);
        if (image->pixels)
            memcpy(image->pixels, pixels, n * sizeof *pixels);
    }
    if (image->pixels)
        return image;
    vision_image_destroy(image);
    return NULL;
}

void vision_image_destroy(struct vision_image *image) {
    if (!image)
        return;
    plan_clear(&image->plan);
    free(image->pixels);
    free(image);
}

const float *vision_image_pixels(const struct vision_image *image, size_t *n_values) {
    *n_values = plan_n_values(&image->plan);
    return image->pixels;
}

size_t vision_image_n_tiles(const struct vision_image *image) {
    return image->plan.n_tiles;
}

void vision_image_tile(const struct vision_image *image, size_t tile, size_t *height_px, size_t *width_px) {
    struct size size = plan_tile(&image->plan, tile);
    *height_px = size.height;
    *width_px = size.width;
}

size_t vision_image_n_tokens(const struct vision_image *image) {
    return image->plan.n_rows;
}

uint8_t *vision_decode_rgb(const uint8_t *bytes, size_t size_bytes, const struct vision_options *limits,
                           size_t *width_px, size_t *height_px, struct err *err) {
    struct vision_options filled = with_defaults(limits);
    struct image image;
    if (!image_decode(bytes, size_bytes, &filled, &image, err))
        return NULL;
    *width_px = image.width_px;
    *height_px = image.height_px;
    return image.rgb;
}

static size_t patches_of(const struct vision_encode *e, size_t tile) {
    struct size size = plan_tile(&e->image->plan, tile);
    size_t p = e->model->hp.patch_size;
    return size.width / p * (size.height / p);
}

// Tiles from `first` on that are encoded together: equal ones, up to BATCH_PATCHES.
static size_t batch_of(const struct vision_encode *e, size_t first) {
    const struct plan *plan = &e->image->plan;
    struct size size = plan_tile(plan, first);
    size_t n = 1, patches = patches_of(e, first);
    for (; first + n < plan->n_tiles && (n + 1) * patches <= BATCH_PATCHES; n++) {
        struct size next = plan_tile(plan, first + n);
        if (next.width != size.width || next.height != size.height)
            break;
    }
    return n;
}

// Of the batch that begins with `tile`.
static size_t n_steps(const struct vision_encode *e, size_t tile) {
    return 2 + e->model->hp.n_block * vit_block_slices(e->model, batch_of(e, tile), patches_of(e, tile));
}

struct vision_encode *vision_encode_create(struct vision *v, struct vision_image *image, struct err *err) {
    struct vision_encode *e = xcalloc(1, sizeof *e);
    size_t n_rows = 0;
    e->model = &v->model;
    e->image = image;
    e->pixels = image->pixels;
    for (size_t tile = 0; tile < image->plan.n_tiles; tile++)
        n_rows += vision_tile_rows(&v->model.hp, plan_tile(&image->plan, tile));
    for (size_t tile = 0; tile < image->plan.n_tiles; tile += batch_of(e, tile))
        e->n_total += n_steps(e, tile);
    e->tile_rows = try_malloc_array(n_rows, v->model.hp.n_embd_row * sizeof *e->tile_rows, "image rows", err);
    if (!e->tile_rows) {
        vision_encode_destroy(e);
        return NULL;
    }
    return e;
}

bool vision_encode_keep_features(struct vision_encode *e, struct err *err) {
    size_t n = 0;
    for (size_t tile = 0; tile < e->image->plan.n_tiles; tile++)
        n += patches_of(e, tile);
    e->features = try_malloc_array(n, e->model->hp.n_embd * sizeof *e->features, "features", err);
    return e->features;
}

static void end_batch(struct vision_encode *e) {
    vit_clear(&e->vit);
    projector_clear(&e->projector);
    e->first_tile += e->n_tiles;
    e->n_tiles = e->n_layers = 0;
}

void vision_encode_destroy(struct vision_encode *e) {
    if (!e)
        return;
    end_batch(e);
    vision_image_destroy(e->image);
    free(e->tile_rows);
    free(e->features);
    free(e);
}

static bool begin_batch(struct vision_encode *e, struct err *err) {
    struct size size = plan_tile(&e->image->plan, e->first_tile);
    e->n_tiles = batch_of(e, e->first_tile);
    e->n_slices = vit_block_slices(e->model, e->n_tiles, patches_of(e, e->first_tile));
    return vit_init(&e->vit, e->model, e->n_tiles, size.width, size.height, err) &&
           projector_init(&e->projector, e->model, e->n_tiles, e->vit.n_patches, e->vit.n_cols, e->vit.order,
                          err);
}

// The order of the encoder's rows -> the original's: patches line by line, or cells line by line.
static void keep_features(struct vision_encode *e, const float *features) {
    const struct vision_hparams *hp = &e->model->hp;
    const struct vit *t = &e->vit;
    struct ops *o = e->model->ops;
    size_t n_embd = hp->n_embd, n_cell = hp->merge * hp->merge;
    for (size_t i = 0; i < t->n_tiles * t->n_patches; i++) {
        size_t row = i % t->n_patches, at = t->order[row];
        if (hp->family->cell_features)
            at = vit_place_cell(hp, t->n_cols, t->order[row / n_cell * n_cell]) * n_cell + row % n_cell;
        o->read(o, e->features + (e->n_features + i / t->n_patches * t->n_patches + at) * n_embd,
                features + i * n_embd, n_embd * sizeof *features);
    }
    e->n_features += t->n_tiles * t->n_patches;
}

// Rows of one cell each go to their cell's place, line by line; others stay as they are.
static void keep_rows(struct vision_encode *e) {
    const struct vision_hparams *hp = &e->model->hp;
    const struct vit *t = &e->vit;
    struct ops *o = e->model->ops;
    size_t n_embd = hp->n_embd_row, n_cell = hp->merge * hp->merge;
    size_t per_tile = hp->family->projector->n_rows(hp, t->n_patches);
    for (size_t i = 0; i < t->n_tiles * per_tile; i++) {
        size_t row = i % per_tile, at = row;
        if (hp->merge > 1)
            at = vit_place_cell(hp, t->n_cols, t->order[row * n_cell]);
        o->read(o, e->tile_rows + (e->n_tile_rows + i / per_tile * per_tile + at) * n_embd,
                e->projector.rows + i * n_embd, n_embd * sizeof *e->tile_rows);
    }
    e->n_tile_rows += t->n_tiles * per_tile;
}

static bool run_layer(struct vision_encode *e, struct err *err) {
    const struct vision_hparams *hp = &e->model->hp;
    const struct projector_kind *projector = hp->family->projector;
    if (e->n_layers == 0) {
        if (!begin_batch(e, err))
            return false;
        vit_embed(&e->vit, e->pixels);
    } else if (e->n_layers <= hp->n_block * e->n_slices) {
        size_t block = (e->n_layers - 1) / e->n_slices, slice = (e->n_layers - 1) % e->n_slices;
        vit_block(&e->vit, block, slice);
        if (projector->tap && slice + 1 == e->n_slices)
            projector->tap(&e->projector, block, e->vit.x);
    } else {
        const float *features = vit_features(&e->vit);
        if (e->features)
            keep_features(e, features);
        projector->run(&e->projector, features);
        keep_rows(e);
        e->pixels += e->n_tiles * e->vit.n_patches * 3 * hp->patch_size * hp->patch_size;
        end_batch(e);
        return true;
    }
    e->n_layers++;
    return true;
}

bool vision_encode_step(struct vision_encode *e, size_t n_layers, struct err *err) {
    if (e->n_done == e->n_total)
        return err_set(err, ERR_INTERNAL, "image encode: stepped after its end");
    for (; n_layers > 0 && e->n_done < e->n_total; n_layers--, e->n_done++)
        if (!run_layer(e, err))
            return false;
    return true;
}

void vision_encode_progress(const struct vision_encode *e, size_t *done, size_t *total) {
    *done = e->n_done;
    *total = e->n_total;
}

// anyres: the overview's rows, then the kept part of the joined tiles, each line followed by the newline row. An
// overview alone is followed by it, too.
static void join_tiles(const struct vision_encode *e, float *out) {
    const struct vision_hparams *hp = &e->model->hp;
    const struct plan *plan = &e->image->plan;
    size_t n = hp->n_embd_row, side = hp->image_size / hp->patch_size, per_tile = side * side;
    memcpy(out, e->tile_rows, per_tile * n * sizeof *out);
    out += per_tile * n;
    if (plan->n_cols == 0)
        memcpy(out, e->model->newline, n * sizeof *out);
    for (size_t y = plan->map_top; y < plan->map_top + plan->map.height; y++) {
        for (size_t x = plan->map_left; x < plan->map_left + plan->map.width; x++, out += n) {
            size_t tile = 1 + y / side * plan->n_cols + x / side;
            size_t row = tile * per_tile + y % side * side + x % side;
            memcpy(out, e->tile_rows + row * n, n * sizeof *out);
        }
        memcpy(out, e->model->newline, n * sizeof *out);
        out += n;
    }
}

void vision_encode_rows(const struct vision_encode *e, float *out) {
    if (e->image->plan.newline)
        join_tiles(e, out);
    else
        memcpy(out, e->tile_rows, e->n_tile_rows * e->model->hp.n_embd_row * sizeof *out);
}

const float *vision_encode_features(const struct vision_encode *e, size_t *n_features) {
    *n_features = e->n_features;
    return e->features;
}
