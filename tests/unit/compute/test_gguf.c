// The GGUF reader: what it reads of good files, and that it refuses files that are cut short or lie, by name
// and without memory for what they only announce.
#define _XOPEN_SOURCE 700 // P_tmpdir
#include "check.h"
#include "compute/gguf.h"
#include "compute/quant.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { IMAGE_SIZE = 4096, FIELDS_MAX = 64 };

// A file in the making, and where its lengths and counts stand.
struct image {
    uint8_t data[IMAGE_SIZE];
    size_t n;
    size_t fields[FIELDS_MAX];
    size_t n_fields;
    size_t n_tensors, n_keys;
    size_t keys_end;
};

static void put(struct image *m, const void *p, size_t n) {
    if (n > IMAGE_SIZE - m->n) {
        printf("the image is full\n");
        exit(1);
    }
    if (n > 0)
        memcpy(m->data + m->n, p, n);
    m->n += n;
}

static void put_u32(struct image *m, uint32_t v) {
    put(m, &v, sizeof v);
}

static void put_u64(struct image *m, uint64_t v) {
    put(m, &v, sizeof v);
}

static void put_field(struct image *m, uint64_t v) {
    m->fields[m->n_fields++] = m->n;
    put_u64(m, v);
}

static void put_string(struct image *m, const char *s) {
    put_field(m, strlen(s));
    put(m, s, strlen(s));
}

static void image_init(struct image *m, uint32_t version) {
    memset(m, 0, sizeof *m);
    put(m, "GGUF", 4);
    put_u32(m, version);
    put_field(m, 0);
    put_field(m, 0);
}

static void put_key(struct image *m, const char *name, uint32_t type, const void *value, size_t n) {
    put_string(m, name);
    put_u32(m, type);
    put(m, value, n);
    m->n_keys++;
    memcpy(m->data + 16, &(uint64_t){m->n_keys}, 8);
    m->keys_end = m->n;
}

static void put_array(struct image *m, const char *name, uint32_t item_type, uint64_t n, const void *items,
                      size_t size_bytes) {
    put_key(m, name, GGUF_ARRAY, &item_type, 4);
    put_field(m, n);
    put(m, items, size_bytes);
    m->keys_end = m->n;
}

struct entry {
    const char *name;
    uint32_t n_dims;
    uint64_t ne[5];
    uint32_t type;
    uint64_t offset;
};

static void put_tensor(struct image *m, const struct entry *e) {
    put_string(m, e->name);
    put_u32(m, e->n_dims);
    for (uint32_t d = 0; d < e->n_dims && d < 5; d++)
        put_field(m, e->ne[d]);
    put_u32(m, e->type);
    put_field(m, e->offset);
    m->n_tensors++;
    memcpy(m->data + 8, &(uint64_t){m->n_tensors}, 8);
}

static void put_data(struct image *m, size_t alignment, size_t n) {
    m->n = (m->n + alignment - 1) / alignment * alignment;
    for (size_t i = 0; i < n; i++)
        put(m, &(uint8_t){(uint8_t)i}, 1);
}

// Reads everything an open file hands out, so that a sanitizer sees a pointer that leaves the map.
static double touch(const struct gguf *g) {
    double sum = 0;
    for (size_t i = 0; i < gguf_n_keys(g); i++) {
        const struct gguf_key *key = gguf_key_at(g, i);
        enum gguf_type type = key->type == GGUF_ARRAY ? key->item_type : key->type;
        for (size_t k = 0; k < key->n; k++) {
            if (type == GGUF_STRING)
                for (size_t c = 0; c < key->strings[k].len; c++)
                    sum += key->strings[k].data[c];
            else
                sum += gguf_array_float(key, k);
        }
    }
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct tensor *t = gguf_tensor_at(g, i);
        const uint8_t *data = t->data;
        for (size_t k = 0; k < t->size_bytes; k++)
            sum += data[k];
        CHECK(gguf_find_tensor(g, t->name) == t);
    }
    return sum;
}

static FILE *scratch;
static char scratch_path[64];

static struct gguf *open_bytes(const void *data, size_t n, struct err *err) {
    *err = (struct err){0};
    // In this order: emptying the file first makes some file systems wait for the disk, thousands of times.
    if (pwrite(fileno(scratch), data, n, 0) != (ssize_t)n || ftruncate(fileno(scratch), (off_t)n) != 0) {
        perror("scratch file");
        exit(1);
    }
    struct gguf *g = gguf_open(scratch_path, err);
    CHECK((g != NULL) == (err->code == ERR_NONE));
    if (!g)
        CHECK(strncmp(err->msg, scratch_path, strlen(scratch_path)) == 0);
    return g;
}

static struct gguf *open_image(const struct image *m, struct err *err) {
    return open_bytes(m->data, m->n, err);
}

static void check_refused(const struct image *m, const char *part) {
    struct err err;
    struct gguf *g = open_image(m, &err);
    CHECK_ERR(&err, ERR_MODEL, part);
    gguf_close(g);
}

static const struct entry first = {"a.weight", 2, {32, 2}, TENSOR_Q8_0, 0};
static const struct entry last = {"b.weight", 1, {8}, TENSOR_F32, 96};

// Every type of value, then 2 x 34 bytes, padding to 96 and 32 bytes.
static struct image good_image(uint32_t version) {
    struct image m;
    image_init(&m, version);
    put_key(&m, "u8", GGUF_U8, &(uint8_t){200}, 1);
    put_key(&m, "i8", GGUF_I8, &(int8_t){-3}, 1);
    put_key(&m, "u16", GGUF_U16, &(uint16_t){60000}, 2);
    put_key(&m, "i16", GGUF_I16, &(int16_t){-300}, 2);
    put_key(&m, "u32", GGUF_U32, &(uint32_t){4000000000u}, 4);
    put_key(&m, "i32", GGUF_I32, &(int32_t){-70000}, 4);
    put_key(&m, "f32", GGUF_F32, &(float){1.5f}, 4);
    put_key(&m, "bool", GGUF_BOOL, &(uint8_t){1}, 1);
    put_key(&m, "u64", GGUF_U64, &(uint64_t){UINT64_MAX}, 8);
    put_key(&m, "i64", GGUF_I64, &(int64_t){-5}, 8);
    put_key(&m, "f64", GGUF_F64, &(double){0.1}, 8);
    put_key(&m, "string", GGUF_STRING, NULL, 0);
    put_string(&m, "hello");
    put_array(&m, "ints", GGUF_I16, 3, (int16_t[]){1, -2, 3}, 6);
    put_array(&m, "none", GGUF_U32, 0, NULL, 0);
    put_array(&m, "strings", GGUF_STRING, 2, NULL, 0);
    put_string(&m, "");
    put_string(&m, "two");
    m.keys_end = m.n;
    put_tensor(&m, &first);
    put_tensor(&m, &last);
    put_data(&m, 32, 96 + 32);
    return m;
}

static void check_uint(const struct gguf *g, const char *name, uint64_t want) {
    uint64_t value = 0;
    bool found = false;
    struct err err = {0};
    CHECK(gguf_get_uint(g, name, 0, UINT64_MAX, &value, &found, &err) && found);
    CHECK(value == want);
}

static void test_values(uint32_t version) {
    struct image m = good_image(version);
    struct err err;
    struct gguf *g = open_image(&m, &err);
    CHECK_STR(err.msg, "");
    if (!g)
        return;
    CHECK(gguf_version(g) == version && gguf_size_bytes(g) == m.n);
    CHECK_STR(gguf_path(g), scratch_path);
    CHECK(gguf_n_keys(g) == m.n_keys && gguf_n_tensors(g) == 2);
    check_uint(g, "u8", 200);
    check_uint(g, "u16", 60000);
    check_uint(g, "u32", 4000000000u);
    check_uint(g, "u64", UINT64_MAX);
    CHECK(gguf_array_int(gguf_find_key(g, "i8"), 0) == -3);
    CHECK(gguf_array_int(gguf_find_key(g, "i16"), 0) == -300);
    CHECK(gguf_array_int(gguf_find_key(g, "i32"), 0) == -70000);
    CHECK(gguf_array_int(gguf_find_key(g, "i64"), 0) == -5);
    CHECK(gguf_array_float(gguf_find_key(g, "u64"), 0) == 18446744073709551616.0);
    CHECK(gguf_array_float(gguf_find_key(g, "i32"), 0) == -70000);
    double f = 0;
    bool b = false, found = false;
    CHECK(gguf_get_float(g, "f32", &f, &found, &err) && found && f == 1.5);
    CHECK(gguf_get_float(g, "f64", &f, NULL, &err) && f == 0.1);
    CHECK(gguf_get_bool(g, "bool", &b, &found, &err) && found && b);
    struct gguf_string s = {0};
    CHECK(gguf_get_string(g, "string", &s, &found, &err) && found && s.len == 5 &&
          memcmp(s.data, "hello", 5) == 0);
    const struct gguf_key *key = gguf_find_key(g, "ints");
    CHECK(key->type == GGUF_ARRAY && key->item_type == GGUF_I16 && key->n == 3);
    CHECK(gguf_array_int(key, 1) == -2 && gguf_array_float(key, 2) == 3);
    CHECK(gguf_find_key(g, "none")->n == 0);
    key = gguf_find_key(g, "strings");
    CHECK(key->n == 2 && key->strings[0].len == 0 && memcmp(key->strings[1].data, "two", 3) == 0);
    const struct tensor *t = gguf_find_tensor(g, "a.weight");
    CHECK(t && t->n_dims == 2 && t->ne[0] == 32 && t->ne[1] == 2 && t->ne[2] == 1 && t->ne[3] == 1);
    CHECK(t->type == TENSOR_Q8_0 && t->size_bytes == 68 && memcmp(t->data, m.data + m.n - 128, 68) == 0);
    t = gguf_find_tensor(g, "b.weight");
    CHECK(t && t == gguf_tensor_at(g, 1) && memcmp(t->data, m.data + m.n - 32, 32) == 0);
    CHECK(!gguf_find_tensor(g, "b.weigh") && !gguf_find_key(g, "") && !gguf_find_key(g, "u"));
    gguf_close(g);
}

static void test_wrong_types(void) {
    struct image m = good_image(3);
    struct err err;
    struct gguf *g = open_image(&m, &err);
    uint64_t u = 7;
    double f = 7;
    bool b = true, found = true;
    struct gguf_string s = {"kept", 4};
    CHECK(gguf_get_uint(g, "missing", 0, 1, &u, &found, &err) && !found && u == 7);
    CHECK(gguf_get_float(g, "missing", &f, NULL, &err) && f == 7);
    CHECK(gguf_get_bool(g, "missing", &b, NULL, &err) && b);
    CHECK(gguf_get_string(g, "missing", &s, NULL, &err) && s.len == 4);
    CHECK(!gguf_get_uint(g, "f32", 0, 9, &u, NULL, &err));
    CHECK_ERR(&err, ERR_MODEL, "key f32: type f32, want an integer");
    err = (struct err){0};
    CHECK(!gguf_get_uint(g, "ints", 0, 9, &u, NULL, &err));
    CHECK_ERR(&err, ERR_MODEL, "key ints: type array, want an integer");
    err = (struct err){0};
    CHECK(!gguf_get_uint(g, "i64", 0, UINT64_MAX, &u, NULL, &err));
    CHECK_ERR(&err, ERR_MODEL, "key i64 is -5, want 0 to");
    err = (struct err){0};
    CHECK(!gguf_get_uint(g, "u8", 1, 199, &u, NULL, &err));
    CHECK_ERR(&err, ERR_MODEL, "key u8 is 200, want 1 to 199");
    err = (struct err){0};
    CHECK(!gguf_get_uint(g, "u8", 201, 300, &u, NULL, &err));
    CHECK_ERR(&err, ERR_MODEL, "key u8 is 200, want 201 to 300");
    err = (struct err){0};
    CHECK(!gguf_get_float(g, "u32", &f, NULL, &err));
    CHECK_ERR(&err, ERR_MODEL, "key u32: type u32, want f32 or f64");
    err = (struct err){0};
    CHECK(!gguf_get_bool(g, "u8", &b, NULL, &err));
    CHECK_ERR(&err, ERR_MODEL, "key u8: type u8, want bool");
    err = (struct err){0};
    CHECK(!gguf_get_string(g, "strings", &s, NULL, &err));
    CHECK_ERR(&err, ERR_MODEL, "key strings: type array, want string");
    CHECK(u == 7 && f == 7 && b && s.len == 4);
    gguf_close(g);
}

// Every prefix is refused: by tensor in the directory and the data, by key before.
static void test_truncation(void) {
    struct image m = good_image(3);
    size_t data_at = m.n - 128;
    for (size_t n = 0; n < m.n; n++) {
        struct err err;
        struct gguf *g = open_bytes(m.data, n, &err);
        CHECK(!g);
        gguf_close(g);
        CHECK(err.code == ERR_MODEL);
        if (n >= 24 && n < m.keys_end)
            CHECK(strstr(err.msg, "key "));
        if (n >= m.keys_end && n < data_at)
            CHECK(strstr(err.msg, "tensor 1") || strstr(err.msg, "tensor 2 ") || strstr(err.msg, ".weight"));
        if (n >= data_at && n < data_at + 68)
            CHECK_ERR(&err, ERR_MODEL, "a.weight: data ends at byte");
        if (n >= data_at + 68)
            CHECK_ERR(&err, ERR_MODEL, "b.weight: data ends at byte");
    }
    image_init(&m, 3); // nothing after the value would notice
    put_key(&m, "end", GGUF_U64, &(uint64_t){1}, 8);
    for (m.n--; m.n > m.keys_end - 9; m.n--)
        check_refused(&m, "key end: its value goes past the end");
}

static const uint64_t hostile[] = {
    0, 1, 1ull << 31, 1ull << 32, 1ull << 60, 1ull << 63, UINT64_MAX - 31, UINT64_MAX,
};

// Never a crash, nor memory for what is only announced: that would be ERR_NOMEM under main()'s limit.
static void test_hostile_fields(void) {
    const struct image good = good_image(3);
    for (size_t i = 0; i < good.n_fields; i++)
        for (size_t k = 0; k < sizeof hostile / sizeof *hostile; k++) {
            struct image m = good;
            memcpy(m.data + m.fields[i], &hostile[k], 8);
            struct err err;
            struct gguf *g = open_image(&m, &err);
            if (g)
                touch(g);
            CHECK(err.code == ERR_NONE || err.code == ERR_MODEL);
            if (hostile[k] > IMAGE_SIZE)
                CHECK(!g);
            if (hostile[k] > IMAGE_SIZE && i < 2) // the header's two
                CHECK_ERR(&err, ERR_MODEL, i == 0 ? "tensors in a file of" : "keys in a file of");
            gguf_close(g);
        }
}

// As many entries as the file has bytes pass the header's check, yet the tables are sized by what fits: at
// their full size they would be over main()'s limit.
static void test_announced_tables(void) {
    enum { FILE_BYTES = 1 << 20 };
    uint8_t *data = calloc(1, FILE_BYTES);
    CHECK(data);
    for (size_t field = 8; data && field <= 16; field += 8) {
        struct err err;
        memset(data, 0, 24);
        memcpy(data, "GGUF\3", 5);
        memcpy(data + field, &(uint64_t){FILE_BYTES}, 8);
        CHECK(!open_bytes(data, FILE_BYTES, &err));
        CHECK_ERR(&err, ERR_MODEL, field == 8 ? "a name of 0 bytes" : "its value goes past the end");
    }
    free(data);
}

static void test_hostile_bytes(void) {
    const struct image good = good_image(3);
    for (size_t i = 0; i < good.n; i++) {
        const uint8_t values[] = {0, 0xff, good.data[i] ^ 0x80, (uint8_t)(good.data[i] + 1)};
        for (size_t k = 0; k < sizeof values; k++) {
            struct image m = good;
            m.data[i] = values[k];
            struct err err;
            struct gguf *g = open_image(&m, &err);
            if (g)
                touch(g);
            CHECK(err.code == ERR_NONE || err.code == ERR_MODEL);
            gguf_close(g);
        }
    }
}

static void test_header(void) {
    struct err err;
    CHECK(!open_bytes("", 0, &err));
    CHECK_ERR(&err, ERR_MODEL, "empty");
    CHECK(!open_bytes("GG", 2, &err));
    CHECK_ERR(&err, ERR_MODEL, "begins with \"GG\" (4747), want \"GGUF\"");
    CHECK(!open_bytes("\x89PNG\r\n\x1a\n", 8, &err));
    CHECK_ERR(&err, ERR_MODEL, "begins with \"?PNG\" (89504e47), want \"GGUF\"");
    static const struct {
        uint32_t version;
        const char *part;
    } versions[] = {
        {0, "version 0, want 2 or 3"},   {1, "version 1, want 2 or 3"},
        {4, "version 4, want 2 or 3"},   {99, "version 99"},
        {0x03000000, "big-endian GGUF"}, {0x02000000, "big-endian GGUF"},
    };
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        struct image m = good_image(versions[i].version);
        check_refused(&m, versions[i].part);
    }
    struct image m;
    image_init(&m, 3);
    struct gguf *g = open_image(&m, &err);
    CHECK(g && gguf_n_keys(g) == 0 && gguf_n_tensors(g) == 0 && !gguf_find_key(g, "a"));
    gguf_close(g);
}

static void test_keys(void) {
    struct image m;
    image_init(&m, 3);
    put_key(&m, "twin", GGUF_U8, &(uint8_t){1}, 1);
    put_key(&m, "other", GGUF_U8, &(uint8_t){1}, 1);
    put_key(&m, "twin", GGUF_U8, &(uint8_t){1}, 1);
    check_refused(&m, "key twin is there twice");
    image_init(&m, 3);
    put_key(&m, "odd", 13, &(uint64_t){1}, 8);
    check_refused(&m, "key odd: type 13, want 0 to 12");
    image_init(&m, 3);
    put_array(&m, "nested", GGUF_ARRAY, 1, (uint8_t[32]){0}, 32);
    check_refused(&m, "key nested: an array of arrays is not supported");
    image_init(&m, 3);
    put_array(&m, "odd", 99, 1, (uint8_t[32]){0}, 32);
    check_refused(&m, "key odd: array item type 99");
    image_init(&m, 3);
    put_array(&m, "long", GGUF_U32, 9, (uint8_t[35]){0}, 35);
    check_refused(&m, "key long: an array of 9 items of type u32, 35 bytes left");
    image_init(&m, 3);
    put_key(&m, "split.count", GGUF_U16, &(uint16_t){3}, 2);
    check_refused(&m, "the first of 3 parts of a split model");
}

static void test_alignment(void) {
    static const uint32_t bad[] = {0, 1, 3, 4, 48, 1u << 21, 1u << 31, UINT32_MAX};
    struct image m;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        image_init(&m, 3);
        put_key(&m, "general.alignment", GGUF_U32, &bad[i], 4);
        check_refused(&m, "want a power of two of 8 to 1048576");
    }
    image_init(&m, 3);
    put_key(&m, "general.alignment", GGUF_U64, &(uint64_t){32}, 8);
    check_refused(&m, "key general.alignment: type u64, want u32");
    for (uint32_t alignment = 8; alignment <= 1024; alignment *= 2) {
        struct err err;
        image_init(&m, 3);
        put_key(&m, "general.alignment", GGUF_U32, &alignment, 4);
        put_tensor(&m, &(struct entry){"x", 1, {4}, TENSOR_F32, 0});
        put_tensor(&m, &(struct entry){"y", 1, {4}, TENSOR_F32, alignment * 2});
        put_data(&m, alignment, alignment * 2 + 16);
        struct gguf *g = open_image(&m, &err);
        CHECK(g && memcmp(gguf_find_tensor(g, "y")->data, m.data + m.n - 16, 16) == 0);
        gguf_close(g);
    }
}

static void test_tensors(void) {
    static const struct {
        struct entry e;
        const char *part;
    } cases[] = {
        {{"t", 0, {0}, 0, 0}, "t: 0 dimensions, want 1 to 4"},
        {{"t", 5, {1, 1, 1, 1, 1}, 0, 0}, "t: 5 dimensions, want 1 to 4"},
        {{"t", 2, {4, 0}, 0, 0}, "t: dimension 1 is 0"},
        {{"t", 1, {4}, 77, 0}, "t: type 77 (unknown), want one of f32, f16, q4_0, q4_1, "},
        {{"t", 1, {32}, 9, 0}, "t: type 9 (q8_1), want one of"},
        {{"t", 1, {48}, TENSOR_Q8_0, 0}, "t: rows of 48 values, want a multiple of 32 for type q8_0"},
        {{"t", 2, {128, 2}, TENSOR_Q4_K, 0}, "t: rows of 128 values, want a multiple of 256"},
        {{"t", 1, {4}, 0, 4}, "t: data offset 4, want a multiple of 32"},
        {{"t", 1, {4}, 0, 64}, "t: data ends at byte"},
        {{"t", 1, {17}, 0, 0}, "t: data ends at byte"},
        {{"t", 1, {4}, 0, UINT64_MAX - 31}, "overflow, file has"},
        {{"t", 1, {1ull << 62}, 0, 0}, "t: its shape [1, 1, 1, 4611686018427387904] overflows"},
        {{"t", 4, {1ull << 16, 1ull << 16, 1ull << 16, 1ull << 16}, 0, 0}, "overflows"},
        {{"t", 2, {1ull << 33, 1ull << 31}, TENSOR_F16, 0}, "overflows"},
        {{"t", 3, {4, 1ull << 32, 1ull << 32}, 0, 0}, "overflows"}, // the rows alone wrap to 0
        {{"t", 1, {1ull << 61}, TENSOR_F16, 0}, "t: data ends at byte"},
        {{"", 1, {4}, 0, 0}, "a name of 0 bytes, want 1 to 63"},
        {{"new\nline", 1, {4}, 0, 0}, "(new?line): a control character in its name"},
        {{"0123456789012345678901234567890123456789012345678901234567890123", 1, {4}, 0, 0},
         "a name of 64 bytes, want 1 to 63"},
    };
    struct image m;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        image_init(&m, 3);
        put_tensor(&m, &cases[i].e);
        put_data(&m, 32, 64);
        check_refused(&m, cases[i].part);
    }
    image_init(&m, 3);
    put_tensor(&m, &(struct entry){"twin", 1, {4}, 0, 0});
    put_tensor(&m, &(struct entry){"other", 1, {4}, 0, 0});
    put_tensor(&m, &(struct entry){"twin", 1, {4}, 0, 0});
    put_data(&m, 32, 16);
    check_refused(&m, "tensor twin is there twice");
    struct err err; // the longest name there may be
    image_init(&m, 3);
    put_tensor(&m, &(struct entry){cases[sizeof cases / sizeof *cases - 1].e.name + 1, 1, {4}, 0, 0});
    put_data(&m, 32, 16);
    struct gguf *g = open_image(&m, &err);
    CHECK(g && strlen(gguf_tensor_at(g, 0)->name) == 63);
    gguf_close(g);
}

static void test_paths(void) {
    struct err err = {0};
    CHECK(!gguf_open("tests/golden", &err));
    CHECK_ERR(&err, ERR_MODEL, "tests/golden: a directory, want a regular file");
    err = (struct err){0};
    CHECK(!gguf_open("tests/golden/missing.gguf", &err));
    CHECK_ERR(&err, ERR_IO, "tests/golden/missing.gguf: cannot be opened");
    const char *folder = getenv("TMPDIR");
    char dir[512], fifo[sizeof dir + 8];
    snprintf(dir, sizeof dir, "%s/test_gguf.XXXXXX", folder ? folder : P_tmpdir);
    CHECK(mkdtemp(dir));
    snprintf(fifo, sizeof fifo, "%s/fifo", dir);
    CHECK(mkfifo(fifo, 0600) == 0);
    err = (struct err){0};
    alarm(10); // a plain open would wait for a writer
    CHECK(!gguf_open(fifo, &err));
    alarm(0);
    CHECK_ERR(&err, ERR_MODEL, "not a regular file, want a regular file");
    unlink(fifo);
    rmdir(dir);
    if (geteuid() != 0) { // root reads everything
        CHECK(fchmod(fileno(scratch), 0) == 0);
        err = (struct err){0};
        CHECK(!gguf_open(scratch_path, &err));
        CHECK_ERR(&err, ERR_IO, "cannot be opened: Permission denied");
        CHECK(fchmod(fileno(scratch), 0600) == 0);
    }
    gguf_close(NULL);
}

static void test_golden(void) {
    static const char *const types[] = {"f32", "f16", "bf16", "q8_0", "q4_0", "q4_k", "q6_k"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char path[128];
        const char *root = check_text_cases(types[i]);
        if (!root)
            continue;
        snprintf(path, sizeof path, "%s/tiny-%s/model.gguf", root, types[i]);
        struct err err = {0};
        struct gguf *g = gguf_open(path, &err);
        CHECK_STR(err.msg, "");
        if (!g)
            continue;
        CHECK(gguf_version(g) == 3 && gguf_n_keys(g) > 10 && gguf_n_tensors(g) > 10);
        CHECK(touch(g) != 0);
        const struct tensor *t = gguf_find_tensor(g, "blk.0.ffn_down.weight");
        CHECK(t && t->n_dims == 2 && t->ne[0] == 512 && t->ne[1] == 256);
        const struct gguf_key *tokens = gguf_find_key(g, "tokenizer.ggml.tokens");
        CHECK(tokens && tokens->item_type == GGUF_STRING && tokens->n == 381);
        uint64_t n_embd = 0;
        CHECK(gguf_get_uint(g, "llama.embedding_length", 1, 1024, &n_embd, NULL, &err) && n_embd == 256);
        gguf_close(g);
    }
}

int main(void) {
    enum { MEMORY_MAX = 64 << 20 };
    scratch = tmpfile();
    if (!scratch) {
        perror("tmpfile");
        return 1;
    }
    snprintf(scratch_path, sizeof scratch_path, "/proc/self/fd/%d", fileno(scratch));
    if (!SANITIZED) // a sanitizer reserves address space of its own
        CHECK(setrlimit(RLIMIT_AS, &(struct rlimit){MEMORY_MAX, MEMORY_MAX}) == 0);
    test_values(2);
    test_values(3);
    test_wrong_types();
    test_truncation();
    test_hostile_fields();
    test_announced_tables();
    test_hostile_bytes();
    test_header();
    test_keys();
    test_alignment();
    test_tensors();
    test_paths();
    test_golden();
    fclose(scratch);
    return check_result();
}
