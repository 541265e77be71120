// Rows in 8 bits beside those in f32, of a trained model and of a large tower of random weights: near enough, the
// same for any number of threads, and never taken for each other. Without a word the model's size chooses.
#include "check.h"

#include "compute/ops.h"
#include "vision/vision.h"

#include <math.h>

#define DEMO "samples/demo/"

struct encoder {
    struct ops *ops;
    struct vision *vision;
};

static struct encoder encoder_open(const char *path, size_t n_threads, enum vision_precision precision) {
    struct err err = {0};
    struct encoder e = {.ops = cpu_open(&(struct cpu_options){.n_threads = n_threads}, &err)};
    if (e.ops)
        e.vision = vision_open(path, e.ops, &(struct vision_options){.precision = precision}, &err);
    if (!e.vision) {
        printf("cannot start: %s\n", err.msg);
        exit(1);
    }
    return e;
}

static void encoder_close(struct encoder *e) {
    vision_close(e->vision);
    e->ops->close(e->ops);
}

static float *rows_of(struct encoder *e, const char *path, size_t *n_rows) {
    struct err err = {0};
    size_t size_bytes, done = 0, total = 1;
    uint8_t *bytes = check_read_file(path, &size_bytes);
    struct vision_image *image = vision_prepare(e->vision, bytes, size_bytes, NULL, &err);
    CHECK(image);
    *n_rows = vision_image_n_tokens(image);
    struct vision_encode *encode = vision_encode_create(e->vision, image, &err);
    while (done < total) {
        CHECK(vision_encode_step(encode, 4, &err));
        vision_encode_progress(encode, &done, &total);
    }
    float *rows = malloc(*n_rows * vision_n_embd(e->vision) * sizeof *rows);
    vision_encode_rows(encode, rows);
    vision_encode_destroy(encode);
    free(bytes);
    return rows;
}

static double cosine(const float *a, const float *b, size_t n) {
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < n; i++) {
        ab += (double)a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
    }
    return ab / sqrt(aa * bb);
}

static void check_picture(struct encoder *f32, struct encoder *one, struct encoder *three, const char *path) {
    size_t n_rows, n = vision_n_embd(f32->vision);
    float *want = rows_of(f32, path, &n_rows), *rows = rows_of(one, path, &n_rows),
          *again = rows_of(three, path, &n_rows);
    CHECK(memcmp(rows, again, n_rows * n * sizeof *rows) == 0);
    CHECK(memcmp(rows, want, n_rows * n * sizeof *rows) != 0);
    double worst = 1, mean = 0;
    for (size_t r = 0; r < n_rows; r++) {
        double c = cosine(rows + r * n, want + r * n, n);
        worst = c < worst ? c : worst;
        mean += c / (double)n_rows;
    }
    printf("%s: cosine of rows %.6f in the mean, %.6f at worst\n", path, mean, worst);
    CHECK(mean >= 0.9995 && worst >= 0.998);
    free(want);
    free(rows);
    free(again);
}

static void check_model(const char *path, const char *const *pictures, size_t n_pictures) {
    struct encoder f32 = encoder_open(path, 2, VISION_F32), one = encoder_open(path, 1, VISION_INT8),
                   three = encoder_open(path, 3, VISION_INT8);
    CHECK(strcmp(vision_hash(one.vision), vision_hash(three.vision)) == 0);
    CHECK(strcmp(vision_hash(one.vision), vision_hash(f32.vision)) != 0);
    for (size_t i = 0; i < n_pictures; i++)
        check_picture(&f32, &one, &three, pictures[i]);
    encoder_close(&f32);
    encoder_close(&one);
    encoder_close(&three);
}

static void check_choice(const char *path, enum vision_precision want) {
    struct encoder chosen = encoder_open(path, 1, VISION_AUTO), forced = encoder_open(path, 1, want);
    const char *note = vision_precision_note(chosen.vision);
    CHECK_STR(vision_hash(chosen.vision), vision_hash(forced.vision));
    CHECK(strstr(note, want == VISION_INT8 ? "in int8: " : "in f32: ") && strstr(note, "GFLOP"));
    CHECK(strstr(vision_precision_note(forced.vision), "as asked"));
    encoder_close(&chosen);
    encoder_close(&forced);
}

int main(void) {
    static const char *const pictures[] = {DEMO "samples/blue-ring.png", DEMO "samples/number-15.png",
                                           DEMO "samples/3-shapes-heart-cross.jpg"};
    const char *demo = DEMO "demo-mmproj-f16.gguf", *large = getenv("OCELLUS_SLOW_MMPROJ");
    if (!large) {
        printf("OCELLUS_SLOW_MMPROJ is not set\n");
        return CHECK_SKIPPED;
    }
    check_model(demo, pictures, sizeof pictures / sizeof *pictures);
    check_model(large, pictures, 1);
    check_choice(demo, VISION_F32);
    check_choice(large, VISION_INT8);
    return check_result();
}
