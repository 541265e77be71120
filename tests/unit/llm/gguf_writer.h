// Writes small GGUF v3 files (keys only) for tests; each lives in an unnamed file until writer_clear.
#ifndef TESTS_GGUF_WRITER_H
#define TESTS_GGUF_WRITER_H

#include "compute/gguf.h"

#include <stdio.h>
#include <string.h>

struct gguf_writer {
    FILE *file;
    uint64_t n_keys;
};

static inline void writer_bytes(struct gguf_writer *w, const void *data, size_t n) {
    if (n > 0 && fwrite(data, 1, n, w->file) != n)
        perror("gguf_writer");
}

static inline void writer_u64(struct gguf_writer *w, uint64_t v) {
    writer_bytes(w, &v, sizeof v);
}

static inline void writer_text(struct gguf_writer *w, const char *s) {
    writer_u64(w, strlen(s));
    writer_bytes(w, s, strlen(s));
}

static inline void writer_key(struct gguf_writer *w, const char *name, enum gguf_type type) {
    writer_text(w, name);
    writer_bytes(w, &(uint32_t){type}, 4);
    w->n_keys++;
}

static inline void writer_init(struct gguf_writer *w) {
    *w = (struct gguf_writer){.file = tmpfile()};
    writer_bytes(w, "GGUF\3\0\0\0", 8);
    writer_u64(w, 0); // tensors
    writer_u64(w, 0); // keys: set by writer_save
}

static inline void writer_string(struct gguf_writer *w, const char *name, const char *value) {
    writer_key(w, name, GGUF_STRING);
    writer_text(w, value);
}

static inline void writer_u32(struct gguf_writer *w, const char *name, uint32_t value) {
    writer_key(w, name, GGUF_U32);
    writer_bytes(w, &value, sizeof value);
}

static inline void writer_bool(struct gguf_writer *w, const char *name, bool value) {
    writer_key(w, name, GGUF_BOOL);
    writer_bytes(w, &(uint8_t){value}, 1);
}

static inline void writer_array(struct gguf_writer *w, const char *name, enum gguf_type item_type,
                                const void *items, size_t n, size_t item_bytes) {
    writer_key(w, name, GGUF_ARRAY);
    writer_bytes(w, &(uint32_t){item_type}, 4);
    writer_u64(w, n);
    writer_bytes(w, items, n * item_bytes);
}

static inline void writer_strings(struct gguf_writer *w, const char *name, const char *const *strings,
                                  size_t n) {
    writer_array(w, name, GGUF_STRING, NULL, 0, 0);
    fseek(w->file, -8, SEEK_CUR);
    writer_u64(w, n);
    for (size_t i = 0; i < n; i++)
        writer_text(w, strings[i]);
}

// Completes the file and names it.
static inline void writer_save(struct gguf_writer *w, char *path, size_t path_size) {
    fseek(w->file, 16, SEEK_SET);
    writer_u64(w, w->n_keys);
    fseek(w->file, 0, SEEK_END);
    static const char padding[64];
    writer_bytes(w, padding, sizeof padding);
    fflush(w->file);
    snprintf(path, path_size, "/proc/self/fd/%d", fileno(w->file));
}

static inline void writer_clear(struct gguf_writer *w) {
    fclose(w->file);
}

#endif
