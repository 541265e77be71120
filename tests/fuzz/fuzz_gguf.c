// GGUF files. Input: a file, or up to three parts of a split model with a line "--part--" between them.
#include "fuzz/fuzz.h"

#include "compute/gguf.h"

static volatile uint8_t sink; // what is read must not be optimised away

static void touch(const void *data, size_t size) {
    const uint8_t *bytes = data;
    if (size > 0)
        sink = (uint8_t)(bytes[0] ^ bytes[size - 1]);
}

static void read_key(const struct gguf *g, const struct gguf_key *key) {
    enum gguf_type type = key->type == GGUF_ARRAY ? key->item_type : key->type;
    if (type == GGUF_STRING) {
        for (size_t i = 0; i < key->n; i++)
            touch(key->strings[i].data, key->strings[i].len);
    } else if (key->n > 0) {
        double sum = gguf_array_float(key, 0) + gguf_array_float(key, key->n - 1);
        touch(&sum, sizeof sum);
    }
    char name[64];
    if (key->name.len >= sizeof name)
        return;
    for (size_t i = 0; i < key->name.len; i++)
        name[i] = key->name.data[i];
    name[key->name.len] = 0;
    uint64_t integer = 0;
    double number = 0;
    bool truth = false, found;
    struct gguf_string string = {0};
    struct err err[4] = {0};
    if (gguf_get_uint(g, name, 3, 1000, &integer, &found, &err[0]) && found)
        FUZZ_CHECK(integer >= 3 && integer <= 1000);
    gguf_get_float(g, name, &number, &found, &err[1]);
    gguf_get_bool(g, name, &truth, &found, &err[2]);
    gguf_get_string(g, name, &string, &found, &err[3]);
    touch(string.data, string.len);
}

static void read_all(const struct gguf *g) {
    for (size_t i = 0; i < gguf_n_keys(g); i++)
        read_key(g, gguf_key_at(g, i));
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct tensor *t = gguf_tensor_at(g, i);
        FUZZ_CHECK(gguf_find_tensor(g, t->name) == t);
        FUZZ_CHECK(t->n_dims >= 1 && t->n_dims <= TENSOR_DIMS_MAX && (uintptr_t)t->data % 8 == 0);
        FUZZ_CHECK(t->size_bytes > 0 && t->size_bytes <= gguf_size_bytes(g));
        touch(t->data, t->size_bytes);
    }
    for (size_t i = 0; i < gguf_n_parts(g); i++)
        FUZZ_CHECK(gguf_part_path(g, i) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct { // the parts of the input
        const uint8_t *data;
        size_t size;
    } parts[FUZZ_PARTS];
    size_t n = 0;
    const uint8_t *rest = data;
    size_t left = size;
    do {
        parts[n].data = rest;
        parts[n].size = fuzz_split(rest, left, "\n--part--\n", &rest, &left);
    } while (++n < FUZZ_PARTS && left > 0);
    for (size_t i = n; i-- > 1;)
        fuzz_file(i, n, parts[i].data, parts[i].size);
    const char *path = fuzz_file(0, n, parts[0].data, parts[0].size);
    struct err err = {0};
    fuzz_begin(fuzz_largest(size), FUZZ_MIB + 16 * size);
    struct gguf *g = gguf_open_with(path, &(struct load_options){.no_mmap = size % 2 == 0}, &err);
    FUZZ_CHECK((g != NULL) == (err.code == ERR_NONE));
    if (g)
        read_all(g);
    gguf_close(g);
    FUZZ_CHECK(fuzz_bytes_live() == 0);
    fuzz_end();
    return 0;
}
