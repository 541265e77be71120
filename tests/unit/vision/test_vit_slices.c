// A block in slices of rows gives what it gives in one, bit by bit: windows, tiles side by side, class tokens.
#include "check.h"

#include "compute/ops.h"
#include "vision/vision.h"
#include "vision/vit.h"

#include <dirent.h>

static size_t n_checked;

static float *features_of(struct ops *o, const struct vision_model *m, size_t side_px, const float *pixels,
                          struct vit_slices slices, size_t *n) {
    struct err err = {0};
    enum { N_TILES = 2 };
    struct vit t;
    CHECK(vit_init(&t, m, N_TILES, side_px, side_px, &err));
    CHECK(t.slices.qkv == 1 && t.slices.rest == 1); // so that there is memory for any others
    t.slices = slices;
    vit_embed(&t, pixels);
    for (size_t i = 0; i < m->hp.n_block; i++)
        for (size_t slice = 0; slice < (slices.rest > 1 ? slices.qkv + slices.rest : 1); slice++)
            vit_block(&t, i, slice);
    *n = t.n_tiles * t.n_patches * m->hp.n_embd;
    float *features = malloc(*n * sizeof *features);
    o->read(o, features, vit_features(&t), *n * sizeof *features);
    vit_clear(&t);
    return features;
}

static void check_model(struct ops *o, const char *path) {
    struct err err = {0};
    struct vision_model m;
    CHECK(vision_model_init(&m, path, o, &(struct vision_options){.precision = VISION_INT8}, &err));
    size_t cell = m.hp.patch_size * m.hp.merge, n; // with RoPE any size will do
    size_t side = m.hp.family->rope ? 12 * cell : m.hp.image_size;
    float *pixels = malloc(2 * 3 * side * side * sizeof *pixels);
    for (size_t i = 0; i < 2 * 3 * side * side; i++)
        pixels[i] = sinf((float)(i % 7919) * 0.37f);
    float *want = features_of(o, &m, side, pixels, (struct vit_slices){1, 1}, &n);
    static const struct vit_slices others[] = {{1, 2}, {2, 3}, {3, 7}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        float *got = features_of(o, &m, side, pixels, others[i], &n);
        if (memcmp(got, want, n * sizeof *got) != 0) {
            printf("%s: in %zu and %zu slices other features\n", path, others[i].qkv, others[i].rest);
            check_failed++;
        }
        free(got);
    }
    free(want);
    free(pixels);
    vision_model_clear(&m);
    n_checked++;
}

static void check_folder(struct ops *o, const char *folder) {
    DIR *dir = opendir(folder);
    CHECK(dir);
    for (const struct dirent *entry; dir && (entry = readdir(dir));) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s/mmproj.gguf", folder, entry->d_name);
        if (access(path, R_OK) == 0)
            check_model(o, path);
    }
    if (dir)
        closedir(dir);
}

int main(void) {
    struct err err = {0};
    struct ops *o = cpu_open(&(struct cpu_options){.n_threads = 2}, &err);
    check_folder(o, "tests/golden/vision-families");
    check_folder(o, "tests/golden/vision-families-own");
    CHECK(n_checked >= 10);
    o->close(o);
    return check_result();
}
