#include "cli/encode.h"

#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

static bool read_param(const char *text, struct vision_params *params, struct err *err) {
    const struct {
        const char *name;
        size_t *value;
    } known[] = {{"min_pixels", &params->min_pixels},
                 {"max_pixels", &params->max_pixels},
                 {"min_tiles", &params->min_tiles},
                 {"max_tiles", &params->max_tiles},
                 {"max_slices", &params->max_slices}};
    const char *equals = strchr(text, '=');
    for (size_t i = 0; equals && i < sizeof known / sizeof *known; i++) {
        size_t len = (size_t)(equals - text), n = 0;
        if (strlen(known[i].name) != len || memcmp(known[i].name, text, len) != 0)
            continue;
        int32_t *value = cli_parse_ids(equals + 1, text, INT32_MAX, &n, err);
        if (value && n == 1)
            *known[i].value = (size_t)value[0];
        free(value);
        return n == 1 || err_set(err, ERR_INVALID_VALUE, "--param %s: want one number", text);
    }
    return err_set(
        err, ERR_INVALID_VALUE,
        "--param %s: want min_pixels, max_pixels, min_tiles, max_tiles or max_slices, = and a number", text);
}

bool cli_vision_options(const struct cli_options *o, struct vision_options *out, struct err *err) {
    *out = (struct vision_options){.max_image_bytes = o->config.max_image_bytes,
                                   .max_pixels = o->config.max_pixels,
                                   .precision = o->config.vision_precision,
                                   .load = o->config.load};
    for (size_t i = 0; i < o->params.n; i++)
        if (!read_param(o->params.items[i], &out->params, err))
            return false;
    return true;
}

const char *cli_one_image(const struct cli_options *o, struct err *err) {
    if (o->images.n == 1)
        return o->images.items[0];
    err_set(err, ERR_INVALID_VALUE, "--image: want one, found %zu", o->images.n);
    return NULL;
}

static uint8_t *read_image(const struct cli_options *o, const char *path, size_t *size_bytes,
                           struct err *err) {
    return path ? cli_read_file(path, o->config.max_image_bytes, size_bytes, err) : NULL;
}

// In rows: there is no language model to count special strings.
static struct vision_detail detail_of(const struct cli_options *o) {
    return (struct vision_detail){.max_tokens = o->max_image_tokens,
                                  .low = o->detail && strcmp(o->detail, "low") == 0};
}

bool cli_image_layout(const struct vision *v, const struct cli_options *o, const char *path,
                      struct vision_layout *layout, struct err *err) {
    size_t size_bytes;
    struct vision_info info;
    uint8_t *bytes = read_image(o, path, &size_bytes, err);
    struct vision_detail detail = detail_of(o);
    bool ok = bytes && vision_probe(v, bytes, size_bytes, &detail, &info, layout, err);
    free(bytes);
    return ok;
}

struct vision_image *cli_prepare_image(const struct vision *v, const struct cli_options *o, const char *path,
                                       struct err *err) {
    size_t size_bytes;
    uint8_t *bytes = read_image(o, path, &size_bytes, err);
    struct vision_detail detail = detail_of(o);
    struct vision_image *image = bytes ? vision_prepare(v, bytes, size_bytes, &detail, err) : NULL;
    free(bytes);
    return image;
}

struct vision_encode *cli_encode(struct vision *v, struct vision_image *image, bool keep_features,
                                 struct err *err) {
    struct vision_encode *e = vision_encode_create(v, image, err);
    size_t done = 0, total = 1;
    if (e && keep_features && !vision_encode_keep_features(e, err)) {
        vision_encode_destroy(e);
        return NULL;
    }
    while (e && done < total) {
        if (!vision_encode_step(e, 1, err)) {
            vision_encode_destroy(e);
            return NULL;
        }
        vision_encode_progress(e, &done, &total);
    }
    return e;
}
