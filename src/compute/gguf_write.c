// Writes a GGUF v3 file; the layout is that of gguf.c.
#include "compute/gguf_write.h"
#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { ALIGNMENT_DEFAULT = 32, ALIGNMENT_MAX = 1 << 20 };

struct gguf_write {
    char *path, *part; // the name it will have, and has
    FILE *file;
    const struct tensor *tensors;
    size_t n_tensors, index; // the tensor that data goes to
    size_t done_bytes;       // of it
    size_t at;               // bytes of the file
    size_t alignment;
    bool finished;
};

static bool err_write(const struct gguf_write *w, struct err *err) {
    return err_set(err, ERR_IO, "%s: cannot be written: %s", w->part, strerror(errno));
}

static bool put(struct gguf_write *w, const void *data, size_t n, struct err *err) {
    w->at += n;
    return n == 0 || fwrite(data, 1, n, w->file) == n || err_write(w, err);
}

static bool put_u32(struct gguf_write *w, uint32_t v, struct err *err) {
    return put(w, &v, sizeof v, err);
}

static bool put_u64(struct gguf_write *w, uint64_t v, struct err *err) {
    return put(w, &v, sizeof v, err);
}

static bool put_string(struct gguf_write *w, const char *s, size_t len, struct err *err) {
    return put_u64(w, len, err) && put(w, s, len, err);
}

static bool put_padding(struct gguf_write *w, struct err *err) {
    static const uint8_t zeros[64];
    while (w->at % w->alignment) {
        size_t n = w->alignment - w->at % w->alignment;
        if (!put(w, zeros, n < sizeof zeros ? n : sizeof zeros, err))
            return false;
    }
    return true;
}

static size_t item_bytes(enum gguf_type type) {
    static const uint8_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return sizes[type];
}

static bool put_key(struct gguf_write *w, const struct gguf_key *key, struct err *err) {
    enum gguf_type type = key->type == GGUF_ARRAY ? key->item_type : key->type;
    if (!put_string(w, key->name.data, key->name.len, err) || !put_u32(w, key->type, err))
        return false;
    if (key->type == GGUF_ARRAY && (!put_u32(w, type, err) || !put_u64(w, key->n, err)))
        return false;
    if (type != GGUF_STRING)
        return put(w, key->data, key->n * item_bytes(type), err);
    for (size_t i = 0; i < key->n; i++)
        if (!put_string(w, key->strings[i].data, key->strings[i].len, err))
            return false;
    return true;
}

static bool name_is(struct gguf_string name, const char *want) {
    return name.len == strlen(want) && memcmp(name.data, want, name.len) == 0;
}

static bool key_is_kept(const struct gguf_key *key, const struct gguf_write_key *set, size_t n_set) {
    if (key->name.len >= 6 && memcmp(key->name.data, "split.", 6) == 0)
        return false;
    for (size_t i = 0; i < n_set; i++)
        if (name_is(key->name, set[i].name))
            return false;
    return true;
}

static bool put_keys(struct gguf_write *w, const struct gguf *from, const struct gguf_write_key *set,
                     size_t n_set, struct err *err) {
    size_t n = n_set;
    for (size_t i = 0; i < gguf_n_keys(from); i++)
        n += key_is_kept(gguf_key_at(from, i), set, n_set);
    if (!put(w, "GGUF", 4, err) || !put_u32(w, 3, err) || !put_u64(w, w->n_tensors, err) ||
        !put_u64(w, n, err))
        return false;
    for (size_t i = 0; i < gguf_n_keys(from); i++)
        if (key_is_kept(gguf_key_at(from, i), set, n_set) && !put_key(w, gguf_key_at(from, i), err))
            return false;
    for (size_t i = 0; i < n_set; i++)
        if (!put_string(w, set[i].name, strlen(set[i].name), err) || !put_u32(w, GGUF_U32, err) ||
            !put_u32(w, set[i].value, err))
            return false;
    return true;
}

static bool put_directory(struct gguf_write *w, struct err *err) {
    size_t offset = 0;
    for (size_t i = 0; i < w->n_tensors; i++) {
        const struct tensor *t = &w->tensors[i];
        if (!put_string(w, t->name, strlen(t->name), err) || !put_u32(w, (uint32_t)t->n_dims, err) ||
            !put(w, t->ne, t->n_dims * sizeof *t->ne, err) || !put_u32(w, t->type, err) ||
            !put_u64(w, offset, err))
            return false;
        offset += (t->size_bytes + w->alignment - 1) / w->alignment * w->alignment;
    }
    return put_padding(w, err);
}

struct gguf_write *gguf_write_create(const char *path, const struct gguf *from,
                                     const struct gguf_write_key *set, size_t n_set,
                                     const struct tensor *tensors, size_t n_tensors, struct err *err) {
    struct gguf_write *w = xcalloc(1, sizeof *w);
    size_t len = strlen(path);
    uint64_t alignment = ALIGNMENT_DEFAULT;
    w->path = xstrdup(path);
    w->part = xcalloc(len + sizeof ".part", 1);
    memcpy(w->part, path, len);
    memcpy(w->part + len, ".part", 5);
    w->tensors = tensors;
    w->n_tensors = n_tensors;
    bool ok = gguf_get_uint(from, "general.alignment", 1, ALIGNMENT_MAX, &alignment, NULL, err);
    w->alignment = alignment;
    if (ok && !(w->file = fopen(w->part, "wb")))
        ok = err_write(w, err);
    if (ok && put_keys(w, from, set, n_set, err) && put_directory(w, err))
        return w;
    gguf_write_destroy(w);
    return NULL;
}

bool gguf_write_data(struct gguf_write *w, const void *data, size_t n, struct err *err) {
    assert(w->index < w->n_tensors && n <= w->tensors[w->index].size_bytes - w->done_bytes);
    if (!put(w, data, n, err))
        return false;
    w->done_bytes += n;
    if (w->done_bytes < w->tensors[w->index].size_bytes)
        return true;
    w->done_bytes = 0;
    w->index++;
    return put_padding(w, err);
}

bool gguf_write_finish(struct gguf_write *w, struct err *err) {
    assert(w->index == w->n_tensors);
    bool ok = fflush(w->file) == 0 && fsync(fileno(w->file)) == 0;
    if (!ok)
        return err_write(w, err);
    ok = fclose(w->file) == 0;
    w->file = NULL;
    if (!ok)
        return err_write(w, err);
    if (rename(w->part, w->path) != 0)
        return err_set(err, ERR_IO, "%s: cannot be given that name: %s", w->path, strerror(errno));
    w->finished = true;
    return true;
}

void gguf_write_destroy(struct gguf_write *w) {
    if (!w)
        return;
    if (w->file)
        fclose(w->file);
    if (!w->finished)
        unlink(w->part);
    free(w->path);
    free(w->part);
    free(w);
}
