// The golden pictures through the whole layer: rgb, pixels, features and rows against the original model's.
#include "check.h"

#include "base/json.h"
#include "compute/ops.h"
#include "vision/vision.h"

#define FOLDER "tests/golden/vision/tiny/"

static void *read_case_file(const json_t *item, const char *key, size_t *size_bytes) {
    char path[256];
    snprintf(path, sizeof path, FOLDER "%s", json_string_value(json_object_get(item, key)));
    return check_read_file(path, size_bytes);
}

static void check_nmse_of(const char *file, const char *stage, const float *got, size_t n, const json_t *item,
                          double limit) {
    size_t size_bytes;
    float *want = read_case_file(item, stage, &size_bytes);
    CHECK(size_bytes == n * sizeof *want);
    double nmse = size_bytes == n * sizeof *want ? check_nmse(got, want, n) : 1;
    printf("%-22s %-8s NMSE %.3g\n", file, stage, nmse);
    CHECK(nmse <= limit);
    free(want);
}

static void check_rgb(const json_t *item, const uint8_t *bytes, size_t size_bytes) {
    struct err err = {0};
    size_t width_px = 0, height_px = 0, want_size;
    uint8_t *want = read_case_file(item, "rgb", &want_size);
    uint8_t *rgb = vision_decode_rgb(bytes, size_bytes, NULL, &width_px, &height_px, &err);
    CHECK(rgb);
    const json_t *size = json_object_get(item, "size");
    CHECK(width_px == (size_t)json_integer_value(json_array_get(size, 0)));
    CHECK(height_px == (size_t)json_integer_value(json_array_get(size, 1)));
    CHECK(want_size == 3 * width_px * height_px && memcmp(rgb, want, want_size) == 0);
    free(rgb);
    free(want);
}

// `slice` layers a step.
static void check_encode(struct vision *v, struct vision_image *image, const json_t *item, const char *file,
                         size_t slice, const json_t *limits) {
    struct err err = {0};
    size_t n_rows = vision_image_n_tokens(image) * vision_n_embd(v), done = 0, total = 1;
    struct vision_encode *e = vision_encode_create(v, image, &err);
    CHECK(e && vision_encode_keep_features(e, &err));
    while (done < total) {
        size_t before = done;
        CHECK(vision_encode_step(e, slice, &err));
        vision_encode_progress(e, &done, &total);
        CHECK(done == (before + slice < total ? before + slice : total));
    }
    CHECK(!vision_encode_step(e, 1, &err));
    size_t n_features;
    float *rows = malloc(n_rows * sizeof *rows);
    const float *features = vision_encode_features(e, &n_features);
    vision_encode_rows(e, rows);
    check_nmse_of(file, "features", features, n_features * vision_n_embd_vit(v), item,
                  json_number_value(json_object_get(limits, "features")));
    check_nmse_of(file, "rows", rows, n_rows, item, json_number_value(json_object_get(limits, "rows")));
    free(rows);
    vision_encode_destroy(e);
}

static void check_item(struct vision *v, const json_t *item, size_t slice, const json_t *limits) {
    struct err err = {0};
    const char *file = json_string_value(json_object_get(item, "file"));
    size_t size_bytes, n_values, height_px, width_px;
    uint8_t *bytes = read_case_file(item, "file", &size_bytes);
    check_rgb(item, bytes, size_bytes);
    if (json_object_get(item, "pixels")) {
        struct vision_info info;
        struct vision_image *image = vision_prepare(v, bytes, size_bytes, NULL, &err);
        CHECK(image);
        CHECK(vision_probe(v, bytes, size_bytes, NULL, &info, NULL, &err));
        CHECK(info.width_px == (size_t)json_integer_value(json_array_get(json_object_get(item, "size"), 0)));
        CHECK(info.n_tokens == vision_image_n_tokens(image));
        const float *pixels = vision_image_pixels(image, &n_values);
        vision_image_tile(image, 0, &height_px, &width_px);
        CHECK(vision_image_n_tiles(image) == 1 && height_px == 56 && width_px == 56);
        check_nmse_of(file, "pixels", pixels, n_values, item, 1e-12);
        check_encode(v, image, item, file, slice, limits);
    }
    free(bytes);
}

static void check_pixels_seam(struct vision *v) {
    struct err first = {0}, *err = &first;
    float *pixels = calloc(3 * 56 * 56, sizeof *pixels);
    CHECK(!vision_image_from_pixels(v, pixels, 1, 56, 28, err));
    CHECK_ERR(err, ERR_INVALID_VALUE, "[1, 3, 56, 28], want tiles of 56");
    struct vision_image *image = vision_image_from_pixels(v, pixels, 1, 56, 56, err);
    CHECK(image && vision_image_n_tokens(image) == 16);
    // A cancelled encode: destroyed before its end.
    struct vision_encode *e = vision_encode_create(v, image, err);
    CHECK(e && vision_encode_step(e, 2, err));
    vision_encode_destroy(e);
    free(pixels);
}

int main(void) {
    struct err err = {0};
    json_t *root = json_load_file(FOLDER "case.json", 0, NULL);
    struct ops *ops = cpu_open(&(struct cpu_options){.n_threads = 2}, &err);
    struct vision *v = ops ? vision_open(FOLDER "mmproj.gguf", ops, NULL, &err) : NULL;
    if (!root || !v) {
        printf("cannot start: %s\n", err.msg);
        return 1;
    }
    CHECK(vision_n_embd(v) == 256);
    CHECK(strlen(vision_hash(v)) == 64);
    const json_t *images = json_object_get(root, "images");
    CHECK(json_array_size(images) >= 9);
    for (size_t i = 0; i < json_array_size(images); i++)
        check_item(v, json_array_get(images, i), 1 + i % 5, json_object_get(root, "max_nmse"));
    check_pixels_seam(v);
    vision_close(v);
    ops->close(ops);
    json_decref(root);
    return check_result();
}
