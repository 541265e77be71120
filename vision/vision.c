// The public face of the layer: limits, prepared pictures, and the encode cut into steps.
//
//   bytes -> image -> rgb -> preprocess -> pixels -> vit -> features -> projector -> rows
//
// An encode counts 1 (embedding) + n_block + 1 (projector) layers. Its working memory is its own, so that
// several may be under way at once; the model is only read.
#include "vision/vision.h"

#include "base/mem.h"
#include "base/sha256.h"
#include "vision/image.h"
#include "vision/preprocess.h"
#include "vision/projector.h"
#include "vision/vision_hash.h"
#include "vision/vit.h"

#include <stdlib.h>

struct vision {
    struct vision_model model;
    struct vision_options limits;
    char hash[SHA256_HEX_SIZE];
};

struct vision_image {
    float *pixels; // [1, 3, image_size, image_size] f32
    size_t image_size, n_tokens;
};

struct vision_encode {
    const struct vision_model *model;
    struct vision_image *image;
    struct vit vit;
    struct projector projector;
    size_t n_done;
};

static struct vision_options with_defaults(const struct vision_options *options) {
    struct vision_options limits = options ? *options : (struct vision_options){0};
    if (!limits.max_image_bytes)
        limits.max_image_bytes = (size_t)20 << 20;
    if (!limits.max_pixels)
        limits.max_pixels = 64 * 1000 * 1000;
    return limits;
}

struct vision *vision_open(const char *path, struct ops *ops, const struct vision_options *options,
                           struct err *err) {
    struct vision *v = xcalloc(1, sizeof *v);
    v->limits = with_defaults(options);
    if (!vision_model_init(&v->model, path, ops, &v->limits.load, err) ||
        !vision_hash_file(v->model.gguf, v->hash, err)) {
        vision_close(v);
        return NULL;
    }
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

size_t vision_max_tokens(const struct vision *v) {
    return v->model.hp.n_patches;
}

const char *vision_hash(const struct vision *v) {
    return v->hash;
}

const struct vision_options *vision_limits(const struct vision *v) {
    return &v->limits;
}

bool vision_probe(const struct vision *v, const uint8_t *bytes, size_t size_bytes, struct vision_info *info,
                  struct err *err) {
    struct image_info header;
    if (!image_probe(bytes, size_bytes, &v->limits, &header, err))
        return false;
    bool swap = header.orientation >= 5;
    *info = (struct vision_info){
        .width_px = swap ? header.height_px : header.width_px,
        .height_px = swap ? header.width_px : header.height_px,
        .n_tokens = v->model.hp.n_patches,
    };
    return true;
}

static struct vision_image *new_image(const struct vision *v, struct err *err) {
    size_t s = v->model.hp.image_size;
    float *pixels = try_malloc_array(s * s, 3 * sizeof *pixels, "pixels", err);
    if (!pixels)
        return NULL;
    struct vision_image *image = xcalloc(1, sizeof *image);
    *image = (struct vision_image){.pixels = pixels, .image_size = s, .n_tokens = v->model.hp.n_patches};
    return image;
}

struct vision_image *vision_prepare(const struct vision *v, const uint8_t *bytes, size_t size_bytes,
                                    struct err *err) {
    const struct vision_hparams *hp = &v->model.hp;
    struct preprocess p = {.image_size = hp->image_size};
    struct image decoded;
    memcpy(p.mean, hp->mean, sizeof p.mean);
    memcpy(p.std, hp->std, sizeof p.std);
    if (!image_decode(bytes, size_bytes, &v->limits, &decoded, err))
        return NULL;
    struct vision_image *image = new_image(v, err);
    if (image && !preprocess_image(&p, &decoded, image->pixels, err)) {
        vision_image_destroy(image);
        image = NULL;
    }
    image_clear(&decoded);
    return image;
}

struct vision_image *vision_image_from_pixels(const struct vision *v, const float *pixels, size_t n_tiles,
                                              size_t height_px, size_t width_px, struct err *err) {
    size_t s = v->model.hp.image_size;
    if (n_tiles != 1 || height_px != s || width_px != s) {
        err_set(err, ERR_INVALID_VALUE, "pixels: shape [%zu, 3, %zu, %zu], want [1, 3, %zu, %zu]", n_tiles,
                height_px, width_px, s, s);
        return NULL;
    }
    struct vision_image *image = new_image(v, err);
    if (image)
        memcpy(image->pixels, pixels, 3 * s * s * sizeof *pixels);
    return image;
}

void vision_image_destroy(struct vision_image *image) {
    if (!image)
        return;
    free(image->pixels);
    free(image);
}

const float *vision_image_pixels(const struct vision_image *image, size_t *n_tiles, size_t *height_px,
                                 size_t *width_px) {
    *n_tiles = 1;
    *height_px = *width_px = image->image_size;
    return image->pixels;
}

size_t vision_image_n_tokens(const struct vision_image *image) {
    return image->n_tokens;
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

struct vision_encode *vision_encode_create(struct vision *v, struct vision_image *image, struct err *err) {
    struct vision_encode *e = xcalloc(1, sizeof *e);
    e->model = &v->model;
    e->image = image;
    if (!vit_init(&e->vit, e->model, err) || !projector_init(&e->projector, e->model, err)) {
        vision_encode_destroy(e);
        return NULL;
    }
    return e;
}

void vision_encode_destroy(struct vision_encode *e) {
    if (!e)
        return;
    vit_clear(&e->vit);
    projector_clear(&e->projector);
    vision_image_destroy(e->image);
    free(e);
}

bool vision_encode_step(struct vision_encode *e, size_t n_layers, struct err *err) {
    size_t n_block = e->model->hp.n_block, total = n_block + 2;
    if (e->n_done == total)
        return err_set(err, ERR_INTERNAL, "image encode: stepped after its end");
    for (; n_layers > 0 && e->n_done < total; n_layers--, e->n_done++) {
        if (e->n_done == 0)
            vit_embed(&e->vit, e->image->pixels);
        else if (e->n_done <= n_block)
            vit_block(&e->vit, e->n_done - 1);
        else
            projector_run(&e->projector, vit_features(&e->vit));
    }
    return true;
}

void vision_encode_progress(const struct vision_encode *e, size_t *done, size_t *total) {
    *done = e->n_done;
    *total = e->model->hp.n_block + 2;
}

size_t vision_encode_n_features(const struct vision_encode *e) {
    return e->model->hp.n_patches * e->model->hp.n_embd;
}

void vision_encode_rows(struct vision_encode *e, float *out) {
    struct ops *o = e->model->ops;
    o->read(o, out, projector_rows(&e->projector),
            e->model->hp.n_patches * e->model->hp.n_embd_row * sizeof *out);
}

void vision_encode_features(struct vision_encode *e, float *out) {
    struct ops *o = e->model->ops;
    o->read(o, out, vit_features(&e->vit), vision_encode_n_features(e) * sizeof *out);
}
