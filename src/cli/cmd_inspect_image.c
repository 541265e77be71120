// ocellus inspect image: a picture after each stage of vision/.
//
//   rgb       [height, width, 3] u8
//   pixels    [n_tiles, 3, height, width] f32; tiles of different sizes one after another, in one dimension
//   features  [n_patches, n_embd_vit] f32, the ViT's output
//   rows      [n_tokens, n_embd] f32, the projector's
//   layout    what stands in a prompt for the picture, JSON: [{"text": S} | {"rows": [first, count]}, ...]
#include "base/log.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/encode.h"
#include "compute/ops.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool inspect_rgb(struct cli_options *o, struct err *err) {
    if (o->images.n != 1)
        return err_set(err, ERR_INVALID_VALUE, "--image: want one, found %zu", o->images.n);
    struct vision_options limits;
    size_t size_bytes, width_px, height_px;
    if (!cli_vision_options(o, &limits, err))
        return false;
    uint8_t *bytes = cli_read_file(o->images.items[0], limits.max_image_bytes, &size_bytes, err);
    if (!bytes)
        return false;
    uint8_t *rgb = vision_decode_rgb(bytes, size_bytes, &limits, &width_px, &height_px, err);
    free(bytes);
    if (!rgb)
        return false;
    struct cli_array array = {.n_dims = 3, .shape = {height_px, width_px, 3}, .bytes = rgb};
    bool ok = cli_write_array(&array, o->out, err);
    free(rgb);
    return ok;
}

// The picture of --pixels and --shape. Returns new.
static struct vision_image *image_from_pixels(const struct vision *v, const struct cli_options *o,
                                              struct err *err) {
    struct vision_image *image = NULL;
    uint8_t *bytes = NULL;
    size_t n_dims = 0, size_bytes, n;
    int32_t *shape = cli_parse_ids(o->shape ? o->shape : "", "--shape", 1 << 20, &n_dims, err);
    if (!shape)
        return NULL;
    if (n_dims != 4 || shape[1] != 3) {
        err_set(err, ERR_INVALID_VALUE, "--shape: want T,3,H,W, found %s", o->shape);
        goto fail;
    }
    bytes = cli_read_file(o->pixels, SIZE_MAX, &size_bytes, err);
    if (!bytes)
        goto fail;
    if (!size_mul((size_t)shape[0] * 3, (size_t)shape[2] * (size_t)shape[3], &n) ||
        !size_mul(n, sizeof(float), &n) || n != size_bytes) {
        err_set(err, ERR_INVALID_VALUE, "%s: %zu bytes are not a shape of %s f32", o->pixels, size_bytes,
                o->shape);
        goto fail;
    }
    image = vision_image_from_pixels(v, (const float *)(const void *)bytes, (size_t)shape[0],
                                     (size_t)shape[2], (size_t)shape[3], err);

fail:
    free(bytes);
    free(shape);
    return image;
}

static bool write_pixels(const struct vision_image *image, const struct cli_options *o, struct err *err) {
    size_t n_values, n_tiles = vision_image_n_tiles(image), height, width;
    struct cli_array a = {.n_dims = 4};
    a.floats = vision_image_pixels(image, &n_values);
    vision_image_tile(image, n_tiles - 1, &height, &width);
    if (n_tiles * 3 * height * width == n_values) {
        const size_t shape[] = {n_tiles, 3, height, width};
        memcpy(a.shape, shape, sizeof shape);
    } else {
        a.n_dims = 1;
        a.shape[0] = n_values;
    }
    return cli_write_array(&a, o->out, err);
}

// Takes image.
static bool write_encoded(struct vision *v, struct vision_image *image, const struct cli_options *o,
                          struct err *err) {
    bool features = strcmp(o->stage, "features") == 0, ok = false;
    struct cli_array a = {.n_dims = 2, .shape = {vision_image_n_tokens(image), vision_n_embd(v)}};
    float *rows = NULL;
    struct vision_encode *e = cli_encode(v, image, features, err);
    if (!e)
        return false;
    log_event(LOG_LEVEL_INFO, "%s", vision_precision_note(v));
    if (features) {
        a.floats = vision_encode_features(e, &a.shape[0]);
        a.shape[1] = vision_n_embd_vit(v);
    } else {
        a.floats = rows = try_malloc_array(a.shape[0], a.shape[1] * sizeof *rows, o->stage, err);
        if (!rows)
            goto fail;
        vision_encode_rows(e, rows);
    }
    ok = cli_write_array(&a, o->out, err);

fail:
    free(rows);
    vision_encode_destroy(e);
    return ok;
}

static json_t *span_json(const struct vision_span *span) {
    if (span->n_rows)
        return json_pack("{s:[ii]}", "rows", (int)span->first_row, (int)span->n_rows);
    return json_pack("{s:s}", "text", span->is_number ? "0" : span->text);
}

static bool write_layout(const struct vision *v, const struct cli_options *o, struct err *err) {
    struct vision_layout layout;
    if (!cli_image_layout(v, o, cli_one_image(o, err), &layout, err))
        return false;
    json_t *spans = json_array();
    for (size_t i = 0; i < layout.n_spans; i++)
        json_array_append_new(spans, span_json(&layout.spans[i]));
    free(layout.spans);
    FILE *f = o->out ? fopen(o->out, "w") : stdout;
    bool ok = f && json_dumpf(spans, f, 0) == 0 && fputc('\n', f) != EOF;
    if (f && o->out)
        ok = fclose(f) == 0 && ok;
    json_decref(spans);
    if (!ok)
        err_set(err, ERR_INTERNAL, "%s: %s", o->out ? o->out : "stdout", strerror(errno));
    return ok;
}

bool cmd_inspect_image(struct cli_options *o, struct err *err) {
    if (!o->stage)
        return err_set(err, ERR_INVALID_VALUE, "--stage is missing: rgb, pixels, features, rows or layout");
    if (strcmp(o->stage, "rgb") == 0)
        return inspect_rgb(o, err);
    if (!o->config.mmproj_path)
        return err_set(err, ERR_INVALID_VALUE, "--mmproj FILE is missing");
    if (!cli_check_model(o->config.mmproj_path, err))
        return false;
    bool ok = false;
    struct vision *v = NULL;
    struct vision_options options;
    if (!cli_vision_options(o, &options, err))
        return false;
    struct ops *ops = cpu_open(&(struct cpu_options){.n_threads = o->config.n_threads}, err);
    if (!ops)
        return false;
    v = vision_open(o->config.mmproj_path, ops, &options, err);
    if (!v)
        goto fail;
    if (strcmp(o->stage, "layout") == 0) {
        ok = write_layout(v, o, err);
        goto fail;
    }
    struct vision_image *image =
        o->pixels ? image_from_pixels(v, o, err) : cli_prepare_image(v, o, cli_one_image(o, err), err);
    if (!image)
        goto fail;
    if (strcmp(o->stage, "pixels") == 0) {
        ok = write_pixels(image, o, err);
        vision_image_destroy(image);
    } else {
        ok = write_encoded(v, image, o, err);
    }

fail:
    vision_close(v);
    ops->close(ops);
    return ok;
}
