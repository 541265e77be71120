// ocellus inspect image: a picture after each stage of vision/.
//
//   rgb       [height, width, 3] u8
//   pixels    [n_tiles, 3, S, S] f32
//   features  [n_patches, n_embd_vit] f32, the ViT's output
//   rows      [n_tokens, n_embd] f32, the projector's
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/encode.h"
#include "compute/gguf.h"
#include "compute/ops.h"

#include <stdlib.h>
#include <string.h>

static bool inspect_rgb(struct cli_options *o, struct err *err) {
    if (o->images.n != 1)
        return err_set(err, ERR_INVALID_VALUE, "--image: want one, found %zu", o->images.n);
    struct vision_options limits = cli_vision_limits(o);
    size_t size_bytes, width_px, height_px;
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
    struct cli_array a = {.n_dims = 4};
    a.floats = vision_image_pixels(image, &a.shape[0], &a.shape[2], &a.shape[3]);
    a.shape[1] = 3;
    return cli_write_array(&a, o->out, err);
}

// Width of the ViT's rows: the seam tells the number of floats only.
static bool vit_n_embd(const char *mmproj_path, size_t *n_embd, struct err *err) {
    struct gguf *g = gguf_open(mmproj_path, err);
    if (!g)
        return false;
    uint64_t value = 0;
    bool ok = gguf_get_uint(g, "clip.vision.embedding_length", 1, UINT32_MAX, &value, NULL, err);
    *n_embd = (size_t)value;
    gguf_close(g);
    return ok;
}

// Takes image.
static bool write_encoded(struct vision *v, struct vision_image *image, const struct cli_options *o,
                          struct err *err) {
    bool features = strcmp(o->stage, "features") == 0, ok = false;
    struct cli_array a = {.n_dims = 2};
    size_t n = vision_image_n_tokens(image) * vision_n_embd(v);
    a.shape[1] = vision_n_embd(v);
    float *values = NULL;
    struct vision_encode *e = cli_encode(v, image, err);
    if (!e)
        return false;
    if (features) {
        n = vision_encode_n_features(e);
        if (!vit_n_embd(o->config.mmproj_path, &a.shape[1], err))
            goto fail;
    }
    a.shape[0] = n / a.shape[1];
    values = try_malloc_array(n, sizeof *values, o->stage, err);
    if (!values)
        goto fail;
    if (features)
        vision_encode_features(e, values);
    else
        vision_encode_rows(e, values);
    a.floats = values;
    ok = cli_write_array(&a, o->out, err);

fail:
    free(values);
    vision_encode_destroy(e);
    return ok;
}

bool cmd_inspect_image(struct cli_options *o, struct err *err) {
    if (!o->stage)
        return err_set(err, ERR_INVALID_VALUE, "--stage is missing: rgb, pixels, features or rows");
    if (strcmp(o->stage, "rgb") == 0)
        return inspect_rgb(o, err);
    if (!o->config.mmproj_path)
        return err_set(err, ERR_INVALID_VALUE, "--mmproj FILE is missing");
    if (!cli_check_model(o->config.mmproj_path, err))
        return false;
    bool ok = false;
    struct vision *v = NULL;
    struct vision_options limits = cli_vision_limits(o);
    struct ops *ops = cpu_open(&(struct cpu_options){.n_threads = o->config.n_threads}, err);
    if (!ops)
        return false;
    v = vision_open(o->config.mmproj_path, ops, &limits, err);
    if (!v)
        goto fail;
    struct vision_image *image = o->pixels ? image_from_pixels(v, o, err) : cli_prepare_image(v, o, err);
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
