#include "cli/encode.h"

#include "cli/cli.h"

#include <stdlib.h>

struct vision_options cli_vision_limits(const struct cli_options *o) {
    return (struct vision_options){.max_image_bytes = o->config.max_image_bytes,
                                   .max_pixels = o->config.max_pixels,
                                   .load = o->config.load};
}

struct vision_image *cli_prepare_image(const struct vision *v, const struct cli_options *o, struct err *err) {
    if (o->images.n != 1) {
        err_set(err, ERR_INVALID_VALUE, "--image: want one, found %zu", o->images.n);
        return NULL;
    }
    size_t size_bytes;
    uint8_t *bytes = cli_read_file(o->images.items[0], o->config.max_image_bytes, &size_bytes, err);
    if (!bytes)
        return NULL;
    struct vision_image *image = vision_prepare(v, bytes, size_bytes, err);
    free(bytes);
    return image;
}

struct vision_encode *cli_encode(struct vision *v, struct vision_image *image, struct err *err) {
    struct vision_encode *e = vision_encode_create(v, image, err);
    size_t done = 0, total = 1;
    while (e && done < total) {
        if (!vision_encode_step(e, 1, err)) {
            vision_encode_destroy(e);
            return NULL;
        }
        vision_encode_progress(e, &done, &total);
    }
    return e;
}
