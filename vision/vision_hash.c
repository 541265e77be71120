// An open mmproj file -> SHA-256 hex of a serialisation of all that names it:
//
//   u64 size of the file, u64 version
//   each key:    u64 length + name, u64 type, u64 item type, u64 n, the values (strings: u64 length + bytes)
//   each tensor: u64 length + name, u64 type, u64 ne[4], u64 size, 256 bytes from its start, middle and end
#include "vision/vision_hash.h"

#include "base/buf.h"

#include <string.h>

enum { SAMPLE_SIZE = 256 };

static bool add_u64(struct buf *b, uint64_t value, struct err *err) {
    return buf_append(b, &value, sizeof value, err);
}

static bool add_bytes(struct buf *b, const void *data, size_t n, struct err *err) {
    return add_u64(b, n, err) && buf_append(b, data, n, err);
}

static size_t value_size(enum gguf_type type) {
    switch (type) {
    case GGUF_U8:
    case GGUF_I8:
    case GGUF_BOOL:
        return 1;
    case GGUF_U16:
    case GGUF_I16:
        return 2;
    case GGUF_U32:
    case GGUF_I32:
    case GGUF_F32:
        return 4;
    case GGUF_U64:
    case GGUF_I64:
    case GGUF_F64:
        return 8;
    case GGUF_STRING:
    case GGUF_ARRAY:
        break;
    }
    return 0;
}

static bool add_key(struct buf *b, const struct gguf_key *key, struct err *err) {
    enum gguf_type item = key->type == GGUF_ARRAY ? key->item_type : key->type;
    if (!add_bytes(b, key->name.data, key->name.len, err) || !add_u64(b, key->type, err) ||
        !add_u64(b, item, err) || !add_u64(b, key->n, err))
        return false;
    if (item != GGUF_STRING)
        return value_size(item) == 0 || add_bytes(b, key->data, key->n * value_size(item), err);
    for (size_t i = 0; i < key->n; i++)
        if (!add_bytes(b, key->strings[i].data, key->strings[i].len, err))
            return false;
    return true;
}

static bool add_tensor(struct buf *b, const struct tensor *t, struct err *err) {
    size_t n = t->size_bytes < SAMPLE_SIZE ? t->size_bytes : SAMPLE_SIZE;
    const size_t starts[] = {0, (t->size_bytes - n) / 2, t->size_bytes - n};
    if (!add_bytes(b, t->name, strlen(t->name), err) || !add_u64(b, t->type, err))
        return false;
    for (size_t i = 0; i < TENSOR_DIMS_MAX; i++)
        if (!add_u64(b, t->ne[i], err))
            return false;
    if (!add_u64(b, t->size_bytes, err))
        return false;
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        if (!buf_append(b, (const uint8_t *)t->data + starts[i], n, err))
            return false;
    return true;
}

bool vision_hash_file(const struct gguf *g, bool int8, char out[SHA256_HEX_SIZE], struct err *err) {
    struct buf b;
    buf_init(&b, 0);
    bool ok = add_u64(&b, gguf_size_bytes(g), err) && add_u64(&b, gguf_version(g), err);
    for (size_t i = 0; ok && i < gguf_n_keys(g); i++)
        ok = add_key(&b, gguf_key_at(g, i), err);
    for (size_t i = 0; ok && i < gguf_n_tensors(g); i++)
        ok = add_tensor(&b, gguf_tensor_at(g, i), err);
    if (int8)
        ok = ok && add_u64(&b, 8, err);
    if (ok)
        sha256_hex(b.data, b.len, out);
    buf_clear(&b);
    return ok;
}
