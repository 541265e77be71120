// An mmproj file whose metadata is bent: every integer key at 0, 1, the largest and of a wrong type.
#include "check.h"

#include "compute/ops.h"
#include "vision/vision.h"

#define MMPROJ "tests/golden/vision/tiny/mmproj.gguf"

static struct ops *ops;
static char *data;
static size_t data_size;

// Where the value type of a key lies in the file; the value is 4 bytes behind it.
static char *find_type(const char *key) {
    size_t n = strlen(key);
    for (size_t i = 0; i + n + 8 < data_size; i++)
        if (memcmp(data + i, key, n) == 0)
            return data + i + n;
    printf("%s is not in " MMPROJ "\n", key);
    exit(1);
}

// Opens the file as `data` has it now, from a file without a name.
static struct vision *open_data(struct err *err) {
    char path[64];
    FILE *f = tmpfile();
    if (!f || fwrite(data, 1, data_size, f) != data_size || fflush(f) != 0) {
        printf("cannot write a temporary file\n");
        exit(1);
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", fileno(f));
    struct vision *v = vision_open(path, ops, NULL, err);
    fclose(f);
    return v;
}

static void check_value(const char *key, uint32_t type, uint32_t value, bool may_open) {
    struct err err = {0};
    char *at = find_type(key), saved[8];
    memcpy(saved, at, 8);
    memcpy(at, &type, 4);
    memcpy(at + 4, &value, 4);
    struct vision *v = open_data(&err);
    memcpy(at, saved, 8);
    if (v ? !may_open : err.code != ERR_MODEL || !strstr(err.msg, key)) {
        printf("%s: type %u, value %u: %s\n", key, type, value, v ? "opened" : err.msg);
        check_failed++;
    }
    vision_close(v);
}

static void check_integers(void) {
    static const struct {
        const char *key;
        bool one_is_valid;
    } keys[] = {
        {"clip.vision.image_size", false},
        {"clip.vision.patch_size", false},
        {"clip.vision.embedding_length", false},
        {"clip.vision.block_count", true}, // what is stored counts
        {"clip.vision.attention.head_count", true},
    };
    const uint32_t u32 = 4, f32 = 6;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        check_value(keys[i].key, u32, 0, false);
        check_value(keys[i].key, u32, 1, keys[i].one_is_valid);
        check_value(keys[i].key, u32, UINT32_MAX, false);
        check_value(keys[i].key, u32, UINT32_MAX / 2, false);
        check_value(keys[i].key, f32, 14, false);
    }
    check_value("clip.vision.projection_dim", u32, UINT32_MAX, true); // not trusted, so not read
    check_value("clip.vision.feed_forward_length", u32, 0, true);     // likewise
    check_value("clip.vision.attention.layer_norm_epsilon", f32, 0, false);
    check_value("clip.vision.attention.layer_norm_epsilon", u32, 1, false);
}

// A name changed in one letter is a key or tensor that is missing.
static void check_missing(const char *name, const char *part) {
    struct err err = {0};
    char *end = find_type(name) - 1, saved = *end;
    *end = '~';
    struct vision *v = open_data(&err);
    *end = saved;
    CHECK(!v);
    CHECK_ERR(&err, ERR_MODEL, part);
    vision_close(v);
}

static void check_projector_type(void) {
    struct err err = {0};
    char *text = find_type("clip.projector_type") + 4 + 8; // type, length
    memcpy(text, "mlq", 3);
    struct vision *v = open_data(&err);
    memcpy(text, "mlp", 3);
    CHECK(!v);
    CHECK_ERR(&err, ERR_MODEL, "clip.projector_type: mlq, want one of mlp, ");
    vision_close(v);
}

// The identity changes with the metadata and with weights, and not from one open to the next.
static void check_hash(void) {
    struct err err = {0};
    struct vision *plain = open_data(&err), *again = open_data(&err);
    data[data_size - 1] ^= 1;
    struct vision *retrained = open_data(&err);
    data[data_size - 1] ^= 1;
    char *act = find_type("clip.use_gelu") + 4;
    *act = 1;
    struct vision *other_act = open_data(&err);
    *act = 0;
    CHECK(plain && again && retrained && other_act);
    CHECK_STR(vision_hash(plain), vision_hash(again));
    CHECK(strcmp(vision_hash(plain), vision_hash(retrained)) != 0);
    CHECK(strcmp(vision_hash(plain), vision_hash(other_act)) != 0);
    vision_close(plain);
    vision_close(again);
    vision_close(retrained);
    vision_close(other_act);
}

int main(void) {
    struct err err = {0};
    ops = cpu_open(&(struct cpu_options){.n_threads = 1}, &err);
    data = check_read_file(MMPROJ, &data_size);
    if (!ops) {
        printf("cannot start: %s\n", err.msg);
        return 1;
    }
    check_integers();
    check_missing("clip.vision.image_size", "clip.vision.image_size: missing");
    check_missing("clip.vision.image_mean", "clip.vision.image_mean: missing");
    check_missing("v.blk.1.ln2.bias", "v.blk.1.ln2.bias: missing");
    check_missing("mm.0.weight", "mm.0.weight: missing");
    check_projector_type();
    check_hash();
    ops->close(ops);
    free(data);
    return check_result();
}
