// mmproj files of every family whose metadata or tensors lie: each key at other values and types, keys that do not
// belong there, each tensor missing, of another shape or type. Such a file is refused by the name of what is wrong, or it is harmless: then
// it encodes a small picture. Memory stays small in either case.
#define _GNU_SOURCE // memfd_create
#include "check.h"

#include "compute/ops.h"
#include "vision/vision.h"

#include <dirent.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum { ALIGN = 32, ENTRIES_MAX = 256, PATCHES_MAX = 2048, MEMORY_MAX = 256 << 20 };
enum { U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 }; // types of GGUF

// A key or a tensor of the file: where its name ends, where its value or shape ends.
struct entry {
    char name[96];
    size_t name_end, end;
};

struct file {
    const char *path;
    uint8_t *data;
    size_t size_bytes, directory_end, data_begin;
    struct entry keys[ENTRIES_MAX], tensors[ENTRIES_MAX];
    size_t n_keys, n_tensors;
};

static struct ops *ops;
static size_t n_refused, n_harmless;

static uint64_t read_number(const uint8_t *at, size_t size_bytes) {
    uint64_t value = 0;
    memcpy(&value, at, size_bytes);
    return value;
}

static size_t skip_value(const uint8_t *data, size_t at, uint64_t type) {
    static const size_t sizes[] = {[U8] = 1,  [I8] = 1,   [U16] = 2, [I16] = 2, [U32] = 4, [I32] = 4,
                                   [F32] = 4, [BOOL] = 1, [U64] = 8, [I64] = 8, [F64] = 8};
    if (type == STRING)
        return at + 8 + read_number(data + at, 8);
    if (type != ARRAY)
        return at + sizes[type];
    uint64_t item_type = read_number(data + at, 4), n = read_number(data + at + 4, 8);
    for (at += 12; n > 0; n--)
        at = skip_value(data, at, item_type);
    return at;
}

static size_t read_name(const struct file *f, struct entry *e, size_t at) {
    size_t len = read_number(f->data + at, 8);
    snprintf(e->name, sizeof e->name, "%.*s", (int)len, (const char *)f->data + at + 8);
    return e->name_end = at + 8 + len;
}

static struct file read_file(const char *path) {
    struct file f = {.path = path};
    f.data = check_read_file(path, &f.size_bytes);
    f.n_tensors = read_number(f.data + 8, 8);
    f.n_keys = read_number(f.data + 16, 8);
    if (f.n_tensors > ENTRIES_MAX || f.n_keys > ENTRIES_MAX) {
        printf("%s has more entries than this test takes\n", path);
        exit(1);
    }
    size_t at = 24;
    for (size_t i = 0; i < f.n_keys; i++) {
        at = read_name(&f, &f.keys[i], at);
        at = f.keys[i].end = skip_value(f.data, at + 4, read_number(f.data + at, 4));
    }
    for (size_t i = 0; i < f.n_tensors; i++) {
        at = read_name(&f, &f.tensors[i], at);
        at = f.tensors[i].end = at + 4 + 8 * read_number(f.data + at, 4) + 4 + 8;
    }
    f.directory_end = at;
    f.data_begin = (at + ALIGN - 1) / ALIGN * ALIGN;
    return f;
}

// The file with `n` other bytes in the place of [begin, end) of its directory, as an open file without a name.
static struct vision *open_changed(const struct file *f, size_t begin, size_t end, const void *bytes,
                                   size_t n, struct err *err) {
    static const uint8_t zeros[ALIGN];
    size_t directory = f->directory_end - (end - begin) + n;
    size_t pad = (directory + ALIGN - 1) / ALIGN * ALIGN - directory;
    char path[64];
    int fd = memfd_create("mmproj", 0);
    FILE *out = fd >= 0 ? fdopen(fd, "wb") : NULL;
    if (!out) {
        perror("memfd_create");
        exit(1);
    }
    bool ok = fwrite(f->data, 1, begin, out) == begin && fwrite(bytes, 1, n, out) == n &&
              fwrite(f->data + end, 1, f->directory_end - end, out) == f->directory_end - end &&
              fwrite(zeros, 1, pad, out) == pad &&
              fwrite(f->data + f->data_begin, 1, f->size_bytes - f->data_begin, out) ==
                  f->size_bytes - f->data_begin &&
              fflush(out) == 0;
    CHECK(ok);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fileno(out));
    struct vision *v = vision_open(path, ops, NULL, err);
    fclose(out);
    return v;
}

// A picture through the whole layer: rows that are numbers, or an error of the picture.
static void encode(struct vision *v, const char *what) {
    struct err err = {0};
    size_t size_bytes, n_values;
    uint8_t *bytes = check_read_file("tests/golden/vision/tiny/grey.png", &size_bytes);
    struct vision_layout largest;
    vision_largest(v, &largest);
    CHECK(largest.n_tokens > 0 && vision_n_embd(v) > 0);
    free(largest.spans);
    struct vision_image *image = vision_prepare(v, bytes, size_bytes, NULL, &err);
    free(bytes);
    if (!image) {
        if (err.code != ERR_IMAGE_UNSUPPORTED && err.code != ERR_IMAGE_TOO_LARGE && err.code != ERR_NOMEM) {
            printf("%s: %s\n", what, err.msg);
            check_failed++;
        }
        return;
    }
    (void)vision_image_pixels(image, &n_values);
    if (vision_image_n_tokens(image) > PATCHES_MAX || n_values > (size_t)PATCHES_MAX * 3 * 14 * 14) {
        vision_image_destroy(image);
        return;
    }
    size_t n = vision_image_n_tokens(image) * vision_n_embd(v), done = 0, total = 1, n_bad = 0;
    struct vision_encode *e = vision_encode_create(v, image, &err);
    while (e && done < total && vision_encode_step(e, 100, &err))
        vision_encode_progress(e, &done, &total);
    CHECK_STR(err.msg, "");
    if (e && done == total) {
        float *rows = malloc(n * sizeof *rows);
        vision_encode_rows(e, rows);
        for (size_t i = 0; i < n; i++)
            n_bad += !isfinite(rows[i]);
        free(rows);
    }
    if (n_bad) {
        printf("%s: %zu of %zu values are no numbers\n", what, n_bad, n);
        check_failed++;
    }
    vision_encode_destroy(e);
}

// The message has the entry's name, or begins with that of what contradicts it.
static bool is_named(const char *msg, const char *name) {
    static const char *const others[] = {"clip.", "v.", "mm.", "resampler."};
    bool found = strstr(msg, name) || strstr(msg, ": key clip.");
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        found = found || strncmp(msg, others[i], strlen(others[i])) == 0;
    return found;
}

static void check_outcome(const struct file *f, struct vision *v, const struct err *err,
                          const struct entry *e, const char *change) {
    char what[256];
    snprintf(what, sizeof what, "%s: %s %s", f->path, e->name, change);
    if (v) {
        n_harmless++;
        encode(v, what);
    } else {
        n_refused++;
        if (!(err->code == ERR_MODEL || err->code == ERR_INVALID_VALUE) || !is_named(err->msg, e->name)) {
            printf("%s: error %d, %s\n", what, (int)err->code, err->msg);
            check_failed++;
        }
    }
    vision_close(v);
}

struct value {
    const char *name;
    uint32_t type, item_type;
    uint64_t n; // items of an array, or length of a string
    union {
        uint64_t u;
        double f64;
        float f32[3];
        int32_t i32[4];
        char text[16];
    } as;
    size_t size_bytes;
};

static const struct value values[] = {
    {"floats NaN", ARRAY, F32, 3, {.f32 = {NAN, NAN, NAN}}, 12},
    {"u32 0", U32, 0, 0, {.u = 0}, 4},
    {"u32 1", U32, 0, 0, {.u = 1}, 4},
    {"u32 2", U32, 0, 0, {.u = 2}, 4},
    {"u32 7", U32, 0, 0, {.u = 7}, 4},
    {"u32 64", U32, 0, 0, {.u = 64}, 4},
    {"u32 8192", U32, 0, 0, {.u = 8192}, 4},
    {"u32 2^26", U32, 0, 0, {.u = 1 << 26}, 4},
    {"u32 max", U32, 0, 0, {.u = UINT32_MAX}, 4},
    {"i32 -1", I32, 0, 0, {.i32 = {-1}}, 4},
    {"i32 min", I32, 0, 0, {.i32 = {INT32_MIN}}, 4},
    {"u64 max", U64, 0, 0, {.u = UINT64_MAX}, 8},
    {"i64 min", I64, 0, 0, {.u = (uint64_t)1 << 63}, 8},
    {"f32 0", F32, 0, 0, {.f32 = {0}}, 4},
    {"f32 -1", F32, 0, 0, {.f32 = {-1}}, 4},
    {"f32 max", F32, 0, 0, {.f32 = {3.4e38f}}, 4},
    {"f32 NaN", F32, 0, 0, {.f32 = {NAN}}, 4},
    {"f32 inf", F32, 0, 0, {.f32 = {INFINITY}}, 4},
    {"f64 1e300", F64, 0, 0, {.f64 = 1e300}, 8},
    {"false", BOOL, 0, 0, {.u = 0}, 1},
    {"true", BOOL, 0, 0, {.u = 1}, 1},
    {"bool 2", BOOL, 0, 0, {.u = 2}, 1},
    {"empty text", STRING, 0, 0, {.u = 0}, 0},
    {"text", STRING, 0, 3, {.text = "mlp"}, 3},
    {"no integers", ARRAY, I32, 0, {.u = 0}, 0},
    {"integers 0", ARRAY, I32, 4, {.i32 = {0}}, 16},
    {"integers -1", ARRAY, I32, 4, {.i32 = {-1, -1, -1, -1}}, 16},
    {"integers max", ARRAY, I32, 2, {.i32 = {INT32_MAX, INT32_MAX}}, 8},
    {"3 integers", ARRAY, I32, 3, {.i32 = {32, 32, 32}}, 12},
    {"no floats", ARRAY, F32, 0, {.u = 0}, 0},
    {"floats 0", ARRAY, F32, 3, {.f32 = {0}}, 12},
    {"floats -1", ARRAY, F32, 3, {.f32 = {-1, -1, -1}}, 12},
    {"floats inf", ARRAY, F32, 3, {.f32 = {INFINITY, INFINITY, INFINITY}}, 12},
    {"floats 1e-30", ARRAY, F32, 3, {.f32 = {1e-30f, 1e-30f, 1e-30f}}, 12},
    {"2 floats", ARRAY, F32, 2, {.f32 = {0.5f, 0.5f}}, 8},
    {"2 bools", ARRAY, BOOL, 2, {.u = 0x0101}, 2},
    {"no bools", ARRAY, BOOL, 0, {.u = 0}, 0},
};

// type, then what the type has: gives the length.
static size_t pack_value(const struct value *value, uint8_t out[64]) {
    size_t n = 4;
    memcpy(out, &value->type, 4);
    if (value->type == ARRAY) {
        memcpy(out + n, &value->item_type, 4);
        n += 4;
    }
    if (value->type == ARRAY || value->type == STRING) {
        memcpy(out + n, &value->n, 8);
        n += 8;
    }
    memcpy(out + n, &value->as, value->size_bytes);
    return n + value->size_bytes;
}

// Tensors that the model does without: the row behind a line also stands in the vocabulary, positions are computed, and
// two families do not apply the last norm.
static bool is_unused(const struct file *f, const struct entry *e) {
    static const struct {
        const char *folder, *name;
    } unused[] = {{"/pixtral/", "v.token_embd.img_break"},
                  {"/minicpmv/", "resampler.pos_embed_k"},
                  {"/nanollava/", "v.post_ln."},
                  {"/llama-3-vision-alpha/", "v.post_ln."}};
    for (size_t i = 0; i < sizeof unused / sizeof *unused; i++)
        if (strstr(f->path, unused[i].folder) &&
            strncmp(e->name, unused[i].name, strlen(unused[i].name)) == 0)
            return true;
    return false;
}

static void check_missing(const struct file *f, const struct entry *e, bool is_needed) {
    struct err err = {0};
    struct vision *v = open_changed(f, e->name_end - 1, e->name_end, "~", 1, &err);
    if (v && is_needed) {
        printf("%s: opened without %s\n", f->path, e->name);
        check_failed++;
    }
    check_outcome(f, v, &err, e, "missing");
}

// A key in the place of the bytes [begin, end), with each of the values.
static void check_values(const struct file *f, const struct entry *e, size_t begin, size_t end,
                         const uint8_t *name, size_t name_size) {
    for (size_t k = 0; k < sizeof values / sizeof *values; k++) {
        struct err err = {0};
        uint8_t bytes[8 + sizeof e->name + 64];
        if (name_size)
            memcpy(bytes, name, name_size);
        size_t n = name_size + pack_value(&values[k], bytes + name_size);
        struct vision *v = open_changed(f, begin, end, bytes, n, &err);
        bool is_unread = v && k == 0; // what is no value of any key
        check_outcome(f, v, &err, e, values[k].name);
        if (is_unread)
            return;
    }
}

static bool has_key(const struct file *f, const char *name) {
    for (size_t i = 0; i < f->n_keys; i++)
        if (strcmp(f->keys[i].name, name) == 0)
            return true;
    return false;
}

// Keys that other families have, at the end of this one's.
static void check_further_keys(struct file *f) {
    static const char *const names[] = {
        "clip.use_silu",
        "clip.minicpmv_query_num",
        "clip.minicpmv_version",
        "clip.vision.feature_layer",
        "clip.vision.image_aspect_ratio",
        "clip.vision.image_grid_pinpoints",
        "clip.vision.image_max_pixels",
        "clip.vision.image_min_pixels",
        "clip.vision.is_deepstack_layers",
        "clip.vision.mm_patch_merge_type",
        "clip.vision.n_wa_pattern",
        "clip.vision.preproc_image_size",
        "clip.vision.preproc_max_tiles",
        "clip.vision.preproc_min_tiles",
        "clip.vision.projector.scale_factor",
        "clip.vision.projector_type",
        "clip.vision.spatial_merge_size",
        "clip.vision.window_size",
    };
    size_t at = f->keys[f->n_keys - 1].end;
    f->data[16]++; // the number of keys
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct entry e;
        uint8_t name[8 + sizeof e.name];
        uint64_t len = strlen(names[i]);
        if (has_key(f, names[i]))
            continue;
        snprintf(e.name, sizeof e.name, "%s", names[i]);
        memcpy(name, &len, 8);
        memcpy(name + 8, names[i], len);
        check_values(f, &e, at, at, name, 8 + len);
    }
    f->data[16]--;
}

static void check_keys(const struct file *f) {
    for (size_t i = 0; i < f->n_keys; i++) {
        const struct entry *e = &f->keys[i];
        if (strncmp(e->name, "clip.", 5) != 0)
            continue;
        check_missing(f, e, false);
        check_values(f, e, e->name_end, e->end, NULL, 0);
    }
}

// The tensor with another shape, of n_dims <= 4, and type.
static void check_shape(const struct file *f, const struct entry *e, const char *change, uint32_t n_dims,
                        const uint64_t *dims, uint32_t type) {
    struct err err = {0};
    uint8_t bytes[64];
    size_t n = 4 + 8 * n_dims;
    memcpy(bytes, &n_dims, 4);
    memcpy(bytes + 4, dims, 8 * n_dims);
    memcpy(bytes + n, &type, 4);
    struct vision *v = open_changed(f, e->name_end, e->end - 8, bytes, n + 4, &err);
    check_outcome(f, v, &err, e, change);
}

static void check_tensors(const struct file *f) {
    enum { TYPE_F16 = 1, TYPE_I32 = 26 };
    for (size_t i = 0; i < f->n_tensors; i++) {
        const struct entry *e = &f->tensors[i];
        uint32_t n_dims = (uint32_t)read_number(f->data + e->name_end, 4);
        uint64_t dims[4], changed[4];
        memcpy(dims, f->data + e->name_end + 4, 8 * n_dims);
        uint32_t type = (uint32_t)read_number(f->data + e->end - 12, 4);
        check_missing(f, e, !is_unused(f, e));
        check_shape(f, e, "of type i32", n_dims, dims, TYPE_I32);
        for (uint32_t d = 0; d < n_dims; d++) {
            static const char *const changes[] = {"first side halved", "second side halved",
                                                  "third side halved", "fourth side halved"};
            memcpy(changed, dims, sizeof dims);
            changed[d] = (dims[d] + 1) / 2;
            if (dims[d] > 1)
                check_shape(f, e, changes[d], n_dims, changed, type);
        }
        if (n_dims >= 2 && dims[0] != dims[1]) {
            memcpy(changed, dims, sizeof dims);
            changed[0] = dims[1];
            changed[1] = dims[0];
            check_shape(f, e, "turned", n_dims, changed, type);
            changed[0] = dims[0] * dims[1];
            memmove(changed + 1, dims + 2, 8 * (n_dims - 2));
            check_shape(f, e, "flat", n_dims - 1, changed, type);
        }
        if (n_dims == 1)
            check_shape(f, e, "standing", 2, (uint64_t[]){1, dims[0]}, type);
        check_shape(f, e, "of one value", 1, (uint64_t[]){1}, type);
    }
}

static void check_file(const char *path) {
    struct file f = read_file(path);
    n_refused = n_harmless = 0;
    check_keys(&f);
    check_further_keys(&f);
    check_tensors(&f);
    printf("%s: %zu refused, %zu harmless\n", path, n_refused, n_harmless);
    CHECK(n_refused > 500);
    free(f.data);
}

// Every FOLDER/*/mmproj.gguf.
static size_t check_folder(const char *folder) {
    struct dirent **entries;
    size_t n_files = 0;
    int n = scandir(folder, &entries, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s/mmproj.gguf", folder, entries[i]->d_name);
        if (access(path, R_OK) == 0) {
            check_file(path);
            n_files++;
        }
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
    return n_files;
}

int main(void) {
    struct err err = {0};
    if (!SANITIZED) // a sanitizer reserves address space of its own
        CHECK(setrlimit(RLIMIT_AS, &(struct rlimit){MEMORY_MAX, MEMORY_MAX}) == 0);
    ops = cpu_open(&(struct cpu_options){.n_threads = 1}, &err);
    CHECK(ops);
    if (ops) {
        CHECK(check_folder("tests/golden/vision-families") >= 9);
        CHECK(check_folder("tests/golden/vision-families-own") >= 7);
        check_file("tests/golden/vision/tiny/mmproj.gguf");
        ops->close(ops);
    }
    return check_result();
}
