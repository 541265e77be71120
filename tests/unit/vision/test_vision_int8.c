// Rows in 8 bits beside those in f32, on a trained model: near enough, the same for any number of threads, and
// never taken for each other.
#include "check.h"

#include "compute/ops.h"
#include "vision/vision.h"

#include <math.h>

#define DEMO "samples/demo/"

struct encoder {
    struct ops *ops;
    struct vision *vision;
};

static struct encoder encoder_open(size_t n_threads, bool int8) {
    struct err err = {0};
    struct encoder e = {.ops = cpu_open(&(struct cpu_options){.n_threads = n_threads}, &err)};
    if (e.ops)
        e.vision =
            vision_open(DEMO "demo-mmproj-f16.gguf", e.ops, &(struct vision_options){.int8 = int8}, &err);
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

int main(void) {
    struct encoder f32 = encoder_open(2, false), one = encoder_open(1, true), three = encoder_open(3, true);
    CHECK(strcmp(vision_hash(one.vision), vision_hash(three.vision)) == 0);
    CHECK(strcmp(vision_hash(one.vision), vision_hash(f32.vision)) != 0);
    static const char *const pictures[] = {DEMO "samples/blue-ring.png", DEMO "samples/number-15.png",
                                           DEMO "samples/3-shapes-heart-cross.jpg"};
    for (size_t i = 0; i < sizeof pictures / sizeof *pictures; i++)
        check_picture(&f32, &one, &three, pictures[i]);
    encoder_close(&f32);
    encoder_close(&one);
    encoder_close(&three);
    return check_result();
}
