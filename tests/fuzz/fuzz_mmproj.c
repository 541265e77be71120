// Vision models: an mmproj file is refused, or opened and shown a picture of 24x10 pixels. What the file makes of
// it must be small: encoding pictures as large as some model takes is no fault of its file.
#include "fuzz/fuzz.h"

#include "compute/gguf.h"
#include "compute/ops.h"
#include "vision/vision.h"

enum { SIDE_MAX = 64, PATCH_MIN = 4, TILES_MAX = 4 };

static const uint8_t picture[] = { // PNG, grey, 1 bit
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44,
    0x52, 0x00, 0x00, 0x00, 0x18, 0x00, 0x00, 0x00, 0x0a, 0x01, 0x00, 0x00, 0x00, 0x00, 0x86,
    0x12, 0xa3, 0xc5, 0x00, 0x00, 0x00, 0x11, 0x49, 0x44, 0x41, 0x54, 0x78, 0xda, 0x63, 0x08,
    0xfd, 0xc0, 0xcf, 0xb0, 0x0a, 0x88, 0x09, 0xd0, 0x00, 0x2c, 0x1e, 0x0e, 0xf2, 0xe1, 0x96,
    0x2e, 0x13, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82};

static bool is_small(const char *path) {
    static const struct {
        const char *key;
        uint64_t min, max;
    } bounds[] = {
        {"clip.vision.image_size", 1, SIDE_MAX},
        {"clip.vision.preproc_image_size", 1, SIDE_MAX},
        {"clip.vision.patch_size", PATCH_MIN, SIDE_MAX},
    };
    struct gguf *g = gguf_open(path, NULL);
    bool ok = g != NULL;
    uint64_t value;
    for (size_t i = 0; ok && i < sizeof bounds / sizeof *bounds; i++)
        ok = gguf_get_uint(g, bounds[i].key, bounds[i].min, bounds[i].max, &value, NULL, NULL);
    gguf_close(g);
    return ok;
}

static void show(struct vision *v) {
    struct err err = {0};
    struct vision_info info;
    struct vision_layout layout;
    FUZZ_CHECK(vision_probe(v, picture, sizeof picture, NULL, &info, &layout, &err));
    free(layout.spans);
    struct vision_image *image = vision_prepare(v, picture, sizeof picture, NULL, &err);
    FUZZ_CHECK((image != NULL) == (err.code == ERR_NONE));
    if (!image)
        return;
    size_t n = vision_image_n_tokens(image) * vision_n_embd(v), done, total;
    FUZZ_CHECK(layout.n_tokens == vision_image_n_tokens(image) && layout.n_tokens == info.n_tokens);
    struct vision_encode *e = vision_encode_create(v, image, &err);
    FUZZ_CHECK((e != NULL) == (err.code == ERR_NONE));
    bool ok = e != NULL;
    for (done = 0, total = 1; ok && done < total; vision_encode_progress(e, &done, &total))
        ok = vision_encode_step(e, 1, &err);
    float *rows = ok ? malloc(n * sizeof *rows) : NULL;
    if (rows)
        vision_encode_rows(e, rows);
    free(rows);
    vision_encode_destroy(e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct ops *ops;
    struct err err = {0};
    if (!ops)
        ops = cpu_open(&(struct cpu_options){.n_threads = 1}, &err);
    FUZZ_CHECK(ops);
    const struct vision_options options = {.params = {.min_pixels = 1,
                                                      .max_pixels = SIDE_MAX * SIDE_MAX,
                                                      .max_tiles = TILES_MAX,
                                                      .max_slices = TILES_MAX}};
    const char *path = fuzz_file(0, 1, data, size);
    fuzz_begin(fuzz_largest(size) + 16 * FUZZ_MIB, 64 * FUZZ_MIB + 64 * size);
    struct vision *v = vision_open(path, ops, &options, &err);
    FUZZ_CHECK((v != NULL) == (err.code == ERR_NONE));
    if (v && is_small(path))
        show(v);
    vision_close(v);
    fuzz_end();
    return 0;
}
