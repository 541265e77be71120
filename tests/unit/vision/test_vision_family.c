// Which family a file of the LLaVA kind belongs to, what of it runs, and what is refused.
#include "check.h"

#include "compute/ops.h"
#include "vision/plan.h"
#include "vision/vision.h"
#include "vision/vision_model.h"

#define FOLDER "tests/golden/vision-families-own/"

static struct ops *ops;

struct file {
    char *data;
    size_t size;
};

static struct file read_mmproj(const char *name) {
    char path[128];
    struct file f;
    snprintf(path, sizeof path, FOLDER "%s/mmproj.gguf", name);
    f.data = check_read_file(path, &f.size);
    return f;
}

// Where this stands for the first time.
static char *find(const struct file *f, const char *text) {
    size_t n = strlen(text);
    for (size_t i = 0; i + n <= f->size; i++)
        if (memcmp(f->data + i, text, n) == 0)
            return f->data + i;
    printf("%s is not in the file\n", text);
    exit(1);
}

// Opens the bytes as they are now, from a file without a name.
static struct vision *open_file(const struct file *f, struct err *err) {
    char path[64];
    FILE *out = tmpfile();
    if (!out || fwrite(f->data, 1, f->size, out) != f->size || fflush(out) != 0) {
        printf("cannot write a temporary file\n");
        exit(1);
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", fileno(out));
    struct vision *v = vision_open(path, ops, NULL, err);
    fclose(out);
    return v;
}

// Blocks that run for a picture of one tile; SIZE_MAX: the file was refused.
static size_t n_blocks(const struct file *f) {
    struct err err = {0};
    enum { SIDE = 16 };
    float *pixels = calloc(3 * SIDE * SIDE, sizeof *pixels);
    struct vision *v = open_file(f, &err);
    struct vision_image *image = v ? vision_image_from_pixels(v, pixels, 1, SIDE, SIDE, &err) : NULL;
    struct vision_encode *e = image ? vision_encode_create(v, image, &err) : NULL;
    size_t done, total = SIZE_MAX;
    if (e)
        vision_encode_progress(e, &done, &total);
    else
        printf("refused: %s\n", err.msg);
    vision_encode_destroy(e);
    vision_close(v);
    free(pixels);
    return e ? total - 2 : SIZE_MAX; // without the embedding and the projector
}

// Files hold two blocks and a copy of the second.
static void check_blocks(void) {
    struct file moondream = read_mmproj("moondream2"), nano = read_mmproj("nanollava");
    CHECK(n_blocks(&moondream) == 2);
    CHECK(n_blocks(&nano) == 1); // SigLIP's last one is not used
    memcpy(find(&nano, "nanoLLaVA"), "NANOLLAVA", 9);
    CHECK(n_blocks(&nano) == 1);
    memcpy(find(&nano, "NANOLLAVA"), "nanoLLaVB", 9);
    CHECK(n_blocks(&nano) == 2);             // an unknown name: what is stored, less the copy
    moondream.data[moondream.size - 1] ^= 1; // of the last bias of the last block, which is no copy now
    CHECK(n_blocks(&moondream) == 3);
    free(moondream.data);
    free(nano.data);
}

static void check_refused(struct file *f, const char *part) {
    struct err err = {0};
    struct vision *v = open_file(f, &err);
    CHECK(!v);
    CHECK_ERR(&err, ERR_MODEL, part);
    vision_close(v);
}

// What the file says of the picture's shape.
static void check_aspect(void) {
    struct file f = read_mmproj("llava-square");
    static const char key[] = "clip.vision.image_aspect_ratio";
    char *aspect = find(&f, key) + sizeof key - 1 + 4 + 8; // behind the type and the length
    memcpy(aspect, "anyres", 6);
    check_refused(&f, "clip.vision.image_grid_pinpoints: missing");
    char *type = find(&f, "mlp");
    memcpy(type, "ldp", 3);
    check_refused(&f, "clip.vision.image_grid_pinpoints: anyres, want one tile for ldp");
    memcpy(type, "mlp", 3);
    memcpy(aspect, "circle", 6);
    check_refused(&f, "clip.vision.image_aspect_ratio: circle, want one of pad, square, anyres");
    free(f.data);
}

static void check_ldp(void) {
    static const char *const names[] = {
        "mm.model.mlp.1.weight",
        "mm.model.mb_block.1.block.0.0.weight",
        "mm.model.mb_block.1.block.1.fc2.weight",
        "mm.model.mb_block.2.block.0.1.bias",
        "mm.model.mb_block.2.block.2.0.weight",
    };
    char part[64];
    struct file f = read_mmproj("mobilevlm");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *at = find(&f, names[i]);
        *at = '~';
        snprintf(part, sizeof part, "%s: missing", names[i]);
        check_refused(&f, part);
        *at = 'm';
    }
    static const char kernel[] = "mm.model.mb_block.2.block.0.0.weight";
    char *n_cols = find(&f, kernel) + sizeof kernel - 1 + 4; // behind the number of dimensions
    *n_cols = 2;
    check_refused(&f, "mm.model.mb_block.2.block.0.0.weight: shape [1, 16, 3, 2], want [16, 3, 3]");
    free(f.data);
}

// The plans of one square, for a picture of this size.
static void check_plan(vision_plan_fn *plan, size_t width_px, size_t height_px, struct size uncut,
                       size_t left, size_t top) {
    struct err err = {0};
    struct plan p;
    struct vision_hparams hp = {
        .family = vision_family_find((struct gguf_string){"mlp", 3}, (struct gguf_string){"", 0}),
        .plan = plan,
        .image_size = 378,
        .unseen = 6,
        .patch_size = 14,
        .merge = 1};
    CHECK(plan_init(&p, &hp, width_px, height_px, NULL, &err));
    CHECK(p.n_rows == 27 * 27 && p.overview.width == 378 && p.overview.height == 378);
    CHECK(p.uncut.width == uncut.width && p.uncut.height == uncut.height && p.cut_left == left &&
          p.cut_top == top);
    plan_clear(&p);
    CHECK(plan_init(&p, &hp, 170, 1, NULL, &err));
    plan_clear(&p);
    bool is_ok = plan_init(&p, &hp, 1, 171, NULL, &err);
    CHECK(is_ok == (plan != plan_crop));
    if (!is_ok)
        CHECK_ERR(&err, ERR_IMAGE_UNSUPPORTED, "1x171, want sides of at most 170 to 1");
    plan_clear(&p);
}

int main(void) {
    struct err err = {0};
    ops = cpu_open(&(struct cpu_options){.n_threads = 1}, &err);
    if (!ops) {
        printf("cannot start: %s\n", err.msg);
        return 1;
    }
    check_blocks();
    check_aspect();
    check_ldp();
    check_plan(plan_pad, 640, 480, (struct size){384, 384}, 0, 0);
    check_plan(plan_squash, 640, 480, (struct size){384, 384}, 0, 0);
    check_plan(plan_crop, 640, 480, (struct size){512, 384}, 64, 0);
    check_plan(plan_crop, 333, 1000, (struct size){384, 1153}, 0, 384);
    ops->close(ops);
    return check_result();
}
