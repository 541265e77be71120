// A GGUF file -> its metadata keys and tensor directory, over a read-only memory map.
//
//   "GGUF", u32 version, u64 n_tensors, u64 n_keys,
//   n_keys    x (string name, u32 type, value)           array = u32 item type, u64 n, items
//   n_tensors x (string name, u32 n_dims, u64 ne[n_dims], u32 type, u64 offset)
//   padding to general.alignment, then the data that the offsets count from
//
// A string is a u64 length and its bytes; everything is little-endian and packed. Source: the GGUF
// specification (ggml docs/gguf.md); version 2 differs from 3 only in having no big-endian form.
//
// No length is used before it is compared with the bytes left, and a table is allocated for no more entries
// than the file is long enough to hold.
#define _DEFAULT_SOURCE // mlock
#include "compute/gguf.h"
#include "base/log.h"
#include "base/mem.h"
#include "compute/gguf_file.h"
#include "compute/quant.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "values are used as they lie in the file");
static_assert(sizeof(size_t) == 8, "sizes in the file are 64-bit");

enum {
    HEADER_BYTES = 24,
    KEY_BYTES_MIN = 8 + 4 + 1,            // an empty name and one byte
    TENSOR_BYTES_MIN = 8 + 4 + 8 + 4 + 8, // an empty name and one dimension
    ALIGNMENT_DEFAULT = 32,
    ALIGNMENT_MIN = 8, // the specification's; it also keeps every block's fields aligned
    ALIGNMENT_MAX = 1 << 20,
    PARTS_MAX = 4096,
    PATH_SHOWN = 100,
    NAME_SHOWN = 64,
};

struct gguf {
    char *path;
    const char *label; // the path, or its last part where it is long
    struct gguf_file file;
    const uint8_t *data; // of `file`
    size_t size_bytes;
    size_t at; // what gguf_open has read so far
    unsigned version;
    size_t alignment;
    size_t n_keys, n_tensors;
    struct gguf_key *keys;                 // [n_keys]
    struct gguf_string *key_strings;       // [n_keys], the values of keys that are one string
    const struct gguf_key **keys_by_name;  // [n_keys]
    struct tensor *tensors;                // [n_tensors]
    const struct tensor **tensors_by_name; // [n_tensors]
    struct gguf **parts;                   // [n_parts], the files behind the first of a split model
    size_t n_parts;
    bool locks; // what is in use, until that is refused
    size_t locked_bytes;
};

// A name from the file made fit for a message.
struct shown {
    char text[NAME_SHOWN + 1];
};

static struct shown show(struct gguf_string s) {
    struct shown out = {{0}};
    for (size_t i = 0; i < s.len && i < NAME_SHOWN; i++)
        out.text[i] = s.data[i] >= ' ' && s.data[i] <= '~' ? s.data[i] : '?';
    return out;
}

static const char *type_name(enum gguf_type type) {
    static const char *const names[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                        "bool", "string", "array", "u64", "i64", "f64"};
    return (size_t)type < sizeof names / sizeof *names ? names[type] : "unknown";
}

// Bytes of one value; 0 for strings, arrays and what is no type.
static size_t type_bytes(enum gguf_type type) {
    static const uint8_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return (size_t)type < sizeof sizes ? sizes[type] : 0;
}

static size_t bytes_left(const struct gguf *g) {
    return g->size_bytes - g->at;
}

static bool take(struct gguf *g, void *out, size_t n) {
    if (n > bytes_left(g))
        return false;
    memcpy(out, g->data + g->at, n);
    g->at += n;
    return true;
}

static bool take_string(struct gguf *g, struct gguf_string *out) {
    uint64_t len;
    if (!take(g, &len, sizeof len) || len > bytes_left(g))
        return false;
    *out = (struct gguf_string){(const char *)g->data + g->at, len};
    g->at += len;
    return true;
}

static bool take_strings(struct gguf *g, struct gguf_string *out, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!take_string(g, &out[i]))
            return false;
    return true;
}

static bool err_key_cut(const struct gguf *g, const struct gguf_key *key, struct err *err) {
    return err_set(err, ERR_MODEL, "%s: key %s: its value goes past the end of the file (%zu bytes)",
                   g->label, show(key->name).text, g->size_bytes);
}

static bool read_array(struct gguf *g, struct gguf_key *key, struct err *err) {
    uint32_t item_type;
    uint64_t n;
    if (!take(g, &item_type, sizeof item_type) || !take(g, &n, sizeof n))
        return err_key_cut(g, key, err);
    size_t item_bytes = type_bytes((enum gguf_type)item_type);
    if (item_type == GGUF_STRING)
        item_bytes = sizeof(uint64_t); // at least: an empty string's length
    if (item_type == GGUF_ARRAY)
        return err_set(err, ERR_MODEL, "%s: key %s: an array of arrays is not supported", g->label,
                       show(key->name).text);
    if (item_bytes == 0)
        return err_set(err, ERR_MODEL, "%s: key %s: array item type %" PRIu32 ", want 0 to 12", g->label,
                       show(key->name).text, item_type);
    if (n > bytes_left(g) / item_bytes)
        return err_set(err, ERR_MODEL, "%s: key %s: an array of %" PRIu64 " items of type %s, %zu bytes left",
                       g->label, show(key->name).text, n, type_name((enum gguf_type)item_type),
                       bytes_left(g));
    key->item_type = (enum gguf_type)item_type;
    key->n = n;
    if (item_type != GGUF_STRING) {
        key->data = g->data + g->at;
        g->at += n * item_bytes;
        return true;
    }
    key->strings = try_malloc_array(n, sizeof *key->strings, g->label, err);
    if (!key->strings)
        return false;
    return take_strings(g, key->strings, n) || err_key_cut(g, key, err);
}

static bool read_key(struct gguf *g, size_t i, struct err *err) {
    struct gguf_key *key = &g->keys[i];
    *key = (struct gguf_key){.n = 1};
    uint32_t type;
    if (!take_string(g, &key->name))
        return err_set(err, ERR_MODEL, "%s: key %zu: its name goes past the end of the file (%zu bytes)",
                       g->label, i + 1, g->size_bytes);
    if (!take(g, &type, sizeof type))
        return err_key_cut(g, key, err);
    if (type > GGUF_F64)
        return err_set(err, ERR_MODEL, "%s: key %s: type %" PRIu32 ", want 0 to 12", g->label,
                       show(key->name).text, type);
    key->type = (enum gguf_type)type;
    if (key->type == GGUF_ARRAY)
        return read_array(g, key, err);
    if (key->type == GGUF_STRING) {
        key->strings = &g->key_strings[i];
        return take_string(g, key->strings) || err_key_cut(g, key, err);
    }
    key->data = g->data + g->at;
    if (type_bytes(key->type) > bytes_left(g))
        return err_key_cut(g, key, err);
    g->at += type_bytes(key->type);
    return true;
}

static int compare_strings(struct gguf_string a, struct gguf_string b) {
    int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_keys(const void *a, const void *b) {
    const struct gguf_key *const *key_a = a, *const *key_b = b;
    return compare_strings((*key_a)->name, (*key_b)->name);
}

static int compare_tensors(const void *a, const void *b) {
    const struct tensor *const *tensor_a = a, *const *tensor_b = b;
    return strcmp((*tensor_a)->name, (*tensor_b)->name);
}

// Entries to allocate for n announced ones: the bytes left hold no more than this, and reading the one after
// them fails by name.
static size_t table_entries(const struct gguf *g, uint64_t n, size_t entry_bytes_min) {
    size_t max = bytes_left(g) / entry_bytes_min + 1;
    return n < max ? n : max;
}

static bool read_keys(struct gguf *g, uint64_t n, struct err *err) {
    if (n > g->size_bytes)
        return err_set(err, ERR_MODEL, "%s: %" PRIu64 " keys in a file of %zu bytes", g->label, n,
                       g->size_bytes);
    size_t table = table_entries(g, n, KEY_BYTES_MIN);
    g->keys = try_malloc_array(table, sizeof *g->keys, g->label, err);
    g->key_strings = try_malloc_array(table, sizeof *g->key_strings, g->label, err);
    g->keys_by_name = try_malloc_array(table, sizeof *g->keys_by_name, g->label, err);
    if (!g->keys || !g->key_strings || !g->keys_by_name)
        return false;
    for (size_t i = 0; i < n; i++) {
        g->n_keys = i + 1; // gguf_close looks at no more than has been begun
        if (!read_key(g, i, err))
            return false;
        g->keys_by_name[i] = &g->keys[i];
    }
    qsort(g->keys_by_name, n, sizeof *g->keys_by_name, compare_keys);
    for (size_t i = 1; i < n; i++)
        if (compare_keys(&g->keys_by_name[i - 1], &g->keys_by_name[i]) == 0)
            return err_set(err, ERR_MODEL, "%s: key %s is there twice", g->label,
                           show(g->keys_by_name[i]->name).text);
    return true;
}

static bool read_alignment(struct gguf *g, struct err *err) {
    g->alignment = ALIGNMENT_DEFAULT;
    const struct gguf_key *key = gguf_find_key(g, "general.alignment");
    if (!key)
        return true;
    if (key->type != GGUF_U32)
        return err_set(err, ERR_MODEL, "%s: key general.alignment: type %s, want u32", g->label,
                       type_name(key->type));
    uint32_t alignment;
    memcpy(&alignment, key->data, sizeof alignment);
    if (alignment < ALIGNMENT_MIN || alignment > ALIGNMENT_MAX || (alignment & (alignment - 1)) != 0)
        return err_set(err, ERR_MODEL,
                       "%s: key general.alignment is %" PRIu32 ", want a power of two of %d to %d", g->label,
                       alignment, ALIGNMENT_MIN, ALIGNMENT_MAX);
    g->alignment = alignment;
    return true;
}

static bool err_tensor_cut(const struct gguf *g, const struct tensor *t, struct err *err) {
    return err_set(err, ERR_MODEL, "%s: %s: its directory entry goes past the end of the file (%zu bytes)",
                   g->label, t->name, g->size_bytes);
}

static bool read_tensor_name(struct gguf *g, size_t i, struct err *err) {
    struct gguf_string name;
    if (!take_string(g, &name))
        return err_set(err, ERR_MODEL,
                       "%s: tensor %zu of %zu (after %s): its name goes past the end of the file (%zu bytes)",
                       g->label, i + 1, g->n_tensors, i > 0 ? g->tensors[i - 1].name : "the keys",
                       g->size_bytes);
    if (name.len == 0 || name.len >= TENSOR_NAME_SIZE)
        return err_set(err, ERR_MODEL, "%s: tensor %zu (%s): a name of %zu bytes, want 1 to %d", g->label,
                       i + 1, show(name).text, name.len, TENSOR_NAME_SIZE - 1);
    for (size_t k = 0; k < name.len; k++)
        if ((unsigned char)name.data[k] < ' ' || name.data[k] == 0x7f)
            return err_set(err, ERR_MODEL, "%s: tensor %zu (%s): a control character in its name", g->label,
                           i + 1, show(name).text);
    memcpy(g->tensors[i].name, name.data, name.len);
    return true;
}

static bool read_shape(struct gguf *g, struct tensor *t, struct err *err) {
    uint32_t n_dims;
    if (!take(g, &n_dims, sizeof n_dims))
        return err_tensor_cut(g, t, err);
    if (n_dims < 1 || n_dims > TENSOR_DIMS_MAX)
        return err_set(err, ERR_MODEL, "%s: %s: %" PRIu32 " dimensions, want 1 to %d", g->label, t->name,
                       n_dims, TENSOR_DIMS_MAX);
    t->n_dims = n_dims;
    for (size_t d = 0; d < TENSOR_DIMS_MAX; d++) {
        t->ne[d] = 1;
        if (d < n_dims && !take(g, &t->ne[d], sizeof t->ne[d]))
            return err_tensor_cut(g, t, err);
        if (t->ne[d] == 0)
            return err_set(err, ERR_MODEL, "%s: %s: dimension %zu is 0", g->label, t->name, d);
    }
    return true;
}

static bool read_tensor_type(struct gguf *g, struct tensor *t, struct err *err) {
    uint32_t type;
    if (!take(g, &type, sizeof type))
        return err_tensor_cut(g, t, err);
    t->type = (enum tensor_type)type;
    if (quant_traits(t->type))
        return true;
    char list[QUANT_TYPE_LIST_SIZE];
    return err_set(err, ERR_MODEL, "%s: %s: type %" PRIu32 " (%s), want one of %s", g->label, t->name, type,
                   quant_type_name(t->type), quant_type_list(list));
}

// Where t's data lies is known once the directory's end is: until then t->data is NULL and *offset waits.
static bool read_tensor(struct gguf *g, size_t i, uint64_t *offset, struct err *err) {
    struct tensor *t = &g->tensors[i];
    if (!read_tensor_name(g, i, err) || !read_shape(g, t, err) || !read_tensor_type(g, t, err))
        return false;
    if (!take(g, offset, sizeof *offset))
        return err_tensor_cut(g, t, err);
    const struct quant_traits *traits = quant_traits(t->type);
    if (t->ne[0] % traits->block_n != 0)
        return err_set(err, ERR_MODEL, "%s: %s: rows of %zu values, want a multiple of %zu for type %s",
                       g->label, t->name, t->ne[0], traits->block_n, traits->name);
    size_t n_rows = 1;
    bool fits = quant_row_bytes(t->type, t->ne[0], &t->size_bytes);
    for (size_t d = 1; d < TENSOR_DIMS_MAX; d++)
        fits = fits && size_mul(n_rows, t->ne[d], &n_rows);
    if (!fits || !size_mul(t->size_bytes, n_rows, &t->size_bytes))
        return err_set(err, ERR_MODEL, "%s: %s: its shape [%zu, %zu, %zu, %zu] overflows", g->label, t->name,
                       t->ne[3], t->ne[2], t->ne[1], t->ne[0]);
    if (*offset % g->alignment != 0)
        return err_set(err, ERR_MODEL, "%s: %s: data offset %" PRIu64 ", want a multiple of %zu", g->label,
                       t->name, *offset, g->alignment);
    return true;
}

static bool place_tensor(const struct gguf *g, struct tensor *t, size_t data_at, uint64_t offset,
                         struct err *err) {
    size_t begin, end;
    if (!size_add(data_at, offset, &begin) || !size_add(begin, t->size_bytes, &end))
        return err_set(err, ERR_MODEL,
                       "%s: %s: %zu bytes of data at offset %" PRIu64 " overflow, file has %zu", g->label,
                       t->name, t->size_bytes, offset, g->size_bytes);
    if (end > g->size_bytes)
        return err_set(err, ERR_MODEL, "%s: %s: data ends at byte %zu, file has %zu", g->label, t->name, end,
                       g->size_bytes);
    t->data = g->data + begin;
    return true;
}

static int compare_places(const void *a, const void *b) {
    const struct tensor *x = *(const struct tensor *const *)a, *y = *(const struct tensor *const *)b;
    return x->data < y->data ? -1 : x->data > y->data;
}

// No byte belongs to two tensors: what one of them no longer needs, no other does.
static bool check_apart(const struct gguf *g, struct err *err) {
    const struct tensor **by_place = try_malloc_array(g->n_tensors, sizeof *by_place, g->label, err);
    bool ok = by_place;
    for (size_t i = 0; ok && i < g->n_tensors; i++)
        by_place[i] = &g->tensors[i];
    if (ok)
        qsort(by_place, g->n_tensors, sizeof *by_place, compare_places);
    for (size_t i = 1; ok && i < g->n_tensors; i++) {
        const struct tensor *a = by_place[i - 1], *b = by_place[i];
        ok = (const uint8_t *)a->data + a->size_bytes <= (const uint8_t *)b->data ||
             err_set(err, ERR_MODEL, "%s: tensors %s and %s share bytes", g->label, a->name, b->name);
    }
    free(by_place);
    return ok;
}

static bool sort_tensors(struct gguf *g, struct err *err) {
    for (size_t i = 0; i < g->n_tensors; i++)
        g->tensors_by_name[i] = &g->tensors[i];
    qsort(g->tensors_by_name, g->n_tensors, sizeof *g->tensors_by_name, compare_tensors);
    for (size_t i = 1; i < g->n_tensors; i++)
        if (compare_tensors(&g->tensors_by_name[i - 1], &g->tensors_by_name[i]) == 0)
            return err_set(err, ERR_MODEL, "%s: tensor %s is there twice", g->label,
                           g->tensors_by_name[i]->name);
    return true;
}

static bool read_tensors(struct gguf *g, uint64_t n, struct err *err) {
    bool ok = false;
    uint64_t *offsets = NULL;
    if (n > g->size_bytes)
        return err_set(err, ERR_MODEL, "%s: %" PRIu64 " tensors in a file of %zu bytes", g->label, n,
                       g->size_bytes);
    size_t table = table_entries(g, n, TENSOR_BYTES_MIN);
    g->tensors = try_malloc_array(table, sizeof *g->tensors, g->label, err);
    g->tensors_by_name = try_malloc_array(table, sizeof *g->tensors_by_name, g->label, err);
    offsets = try_malloc_array(table, sizeof *offsets, g->label, err);
    if (!g->tensors || !g->tensors_by_name || !offsets)
        goto fail;
    g->n_tensors = n;
    for (size_t i = 0; i < n; i++) {
        g->tensors[i] = (struct tensor){0};
        if (!read_tensor(g, i, &offsets[i], err))
            goto fail;
    }
    size_t data_at = (g->at + g->alignment - 1) / g->alignment * g->alignment;
    for (size_t i = 0; i < n; i++)
        if (!place_tensor(g, &g->tensors[i], data_at, offsets[i], err))
            goto fail;
    ok = sort_tensors(g, err) && check_apart(g, err);

fail:
    free(offsets);
    return ok;
}

static bool read_header(struct gguf *g, uint64_t *n_tensors, uint64_t *n_keys, struct err *err) {
    size_t n = g->size_bytes < 4 ? g->size_bytes : 4;
    if (n < 4 || memcmp(g->data, "GGUF", 4) != 0) {
        char hex[9] = "";
        for (size_t i = 0; i < n; i++) {
            hex[2 * i] = "0123456789abcdef"[g->data[i] >> 4];
            hex[2 * i + 1] = "0123456789abcdef"[g->data[i] & 15];
        }
        struct shown magic = show((struct gguf_string){(const char *)g->data, n});
        return err_set(err, ERR_MODEL, "%s: no GGUF file: begins with \"%s\" (%s), want \"GGUF\"", g->label,
                       magic.text, hex);
    }
    uint32_t version;
    g->at = n;
    if (g->size_bytes < HEADER_BYTES || !take(g, &version, sizeof version) ||
        !take(g, n_tensors, sizeof *n_tensors) || !take(g, n_keys, sizeof *n_keys))
        return err_set(err, ERR_MODEL, "%s: a GGUF file of %zu bytes, its header has %d", g->label,
                       g->size_bytes, HEADER_BYTES);
    if (version != 0 && (version & 0xffff) == 0)
        return err_set(err, ERR_MODEL, "%s: a big-endian GGUF file, want a little-endian one", g->label);
    if (version != 2 && version != 3)
        return err_set(err, ERR_MODEL, "%s: GGUF version %" PRIu32 ", want 2 or 3", g->label, version);
    g->version = version;
    return true;
}

// The path, or its last part where it is long.
static const char *path_shown(const char *path) {
    const char *last = strrchr(path, '/');
    const char *shown = strlen(path) > PATH_SHOWN && last && last[1] ? last + 1 : path;
    size_t len = strlen(shown);
    return len > PATH_SHOWN ? shown + len - PATH_SHOWN : shown;
}

static struct gguf *open_file(const char *path, const struct load_options *options, struct err *err) {
    struct gguf *g = xcalloc(1, sizeof *g);
    g->path = xstrdup(path);
    g->label = path_shown(g->path);
    uint64_t n_tensors = 0, n_keys = 0;
    bool ok = gguf_file_open(&g->file, g->path, g->label, options, err);
    g->data = g->file.data;
    g->size_bytes = g->file.size_bytes;
    g->locks = options->mlock;
    if (ok && read_header(g, &n_tensors, &n_keys, err) && read_keys(g, n_keys, err) &&
        read_alignment(g, err) && read_tensors(g, n_tensors, err)) {
        gguf_lock(g, g->data, g->at); // the texts of the vocabulary
        return g;
    }
    gguf_close(g);
    return NULL;
}

// Returns the path of part `no` (from 0) of n, new, given that of part 0; NULL where that is not called as
// the first of n.
static char *part_path(const char *first, size_t no, size_t n) {
    char tail[64], wanted[64];
    int len = snprintf(tail, sizeof tail, "-%05zu-of-%05zu.gguf", (size_t)1, n);
    snprintf(wanted, sizeof wanted, "-%05zu-of-%05zu.gguf", no + 1, n);
    size_t first_len = strlen(first);
    if (first_len < (size_t)len || strcmp(first + first_len - len, tail) != 0)
        return NULL;
    char *path = xstrdup(first);
    memcpy(path + first_len - len, wanted, (size_t)len);
    return path;
}

static bool open_part(struct gguf *g, size_t no, size_t n_parts, const struct load_options *options,
                      struct err *err) {
    char *path = part_path(g->path, no, n_parts);
    if (!path)
        return err_set(err, ERR_MODEL,
                       "%s: the first of %zu parts of a split model, want a name ending in "
                       "-00001-of-%05zu.gguf",
                       g->label, n_parts, n_parts);
    bool there = access(path, F_OK) == 0;
    if (!there)
        err_set(err, ERR_MODEL, "%s: part %zu of %zu is missing", path_shown(path), no + 1, n_parts);
    struct gguf *part = there ? open_file(path, options, err) : NULL;
    free(path);
    if (!part)
        return false;
    g->parts[g->n_parts++] = part;
    g->size_bytes += part->size_bytes;
    uint64_t found_no = UINT64_MAX, found_n = 0;
    if (!gguf_get_uint(part, "split.no", 0, UINT64_MAX, &found_no, NULL, err) ||
        !gguf_get_uint(part, "split.count", 0, UINT64_MAX, &found_n, NULL, err))
        return false;
    return (found_no == no && found_n == n_parts) ||
           err_set(err, ERR_MODEL,
                   "%s: keys split.no %" PRId64 " and split.count %" PRIu64 ", want %zu and %zu", part->label,
                   (int64_t)found_no, found_n, no, n_parts);
}

// The tensors of all parts in one directory; their data stays where it is.
static bool join_tensors(struct gguf *g, struct err *err) {
    size_t n = g->n_tensors, at = g->n_tensors;
    for (size_t i = 0; i < g->n_parts; i++)
        n += g->parts[i]->n_tensors;
    uint64_t wanted = n;
    if (!gguf_get_uint(g, "split.tensors.count", 0, UINT64_MAX, &wanted, NULL, err))
        return false;
    if (wanted != n)
        return err_set(err, ERR_MODEL,
                       "%s: %zu tensors in its %zu parts, want %" PRIu64 " (split.tensors.count)", g->label,
                       n, g->n_parts + 1, wanted);
    struct tensor *tensors = try_malloc_array(n + 1, sizeof *tensors, g->label, err);
    const struct tensor **by_name = try_malloc_array(n + 1, sizeof *by_name, g->label, err);
    if (!tensors || !by_name) {
        free(tensors);
        free(by_name);
        return false;
    }
    memcpy(tensors, g->tensors, g->n_tensors * sizeof *tensors);
    for (size_t i = 0; i < g->n_parts; i++) {
        memcpy(tensors + at, g->parts[i]->tensors, g->parts[i]->n_tensors * sizeof *tensors);
        at += g->parts[i]->n_tensors;
    }
    free(g->tensors);
    free(g->tensors_by_name);
    g->tensors = tensors;
    g->tensors_by_name = by_name;
    g->n_tensors = n;
    return sort_tensors(g, err);
}

static bool open_parts(struct gguf *g, const struct load_options *options, struct err *err) {
    uint64_t n = 1, no = 0;
    if (!gguf_get_uint(g, "split.count", 0, PARTS_MAX, &n, NULL, err))
        return false;
    if (n <= 1)
        return true;
    if (!gguf_get_uint(g, "split.no", 0, n - 1, &no, NULL, err))
        return false;
    if (no != 0)
        return err_set(err, ERR_MODEL,
                       "%s: part %" PRIu64 " of %" PRIu64 " of a split model, want the first "
                       "(-00001-of-%05" PRIu64 ".gguf)",
                       g->label, no + 1, n, n);
    g->parts = xcalloc(n - 1, sizeof(struct gguf *));
    for (size_t i = 1; i < n; i++)
        if (!open_part(g, i, n, options, err))
            return false;
    return join_tensors(g, err);
}

struct gguf *gguf_open_with(const char *path, const struct load_options *options, struct err *err) {
    struct gguf *g = open_file(path, options, err);
    if (!g || open_parts(g, options, err))
        return g;
    gguf_close(g);
    return NULL;
}

struct gguf *gguf_open(const char *path, struct err *err) {
    return gguf_open_with(path, &(struct load_options){0}, err);
}

void gguf_close(struct gguf *g) {
    if (!g)
        return;
    for (size_t i = 0; i < g->n_keys; i++)
        if (g->keys[i].type == GGUF_ARRAY)
            free(g->keys[i].strings);
    free(g->keys);
    free(g->key_strings);
    free(g->keys_by_name);
    free(g->tensors);
    free(g->tensors_by_name);
    for (size_t i = 0; i < g->n_parts; i++)
        gguf_close(g->parts[i]);
    free(g->parts);
    gguf_file_close(&g->file);
    free(g->path);
    free(g);
}

void gguf_forget(const struct gguf *g, const void *p, size_t size_bytes) {
    gguf_file_forget(&g->file, p, size_bytes);
}

void gguf_lock(struct gguf *g, const void *p, size_t size_bytes) {
    if (!g->locks)
        return;
    if (mlock(p, size_bytes) == 0) {
        g->locked_bytes += size_bytes;
        return;
    }
    int reason = errno;
    struct rlimit limit = {0};
    getrlimit(RLIMIT_MEMLOCK, &limit);
    g->locks = false;
    log_event(LOG_LEVEL_WARN,
              "%s: only %zu of %zu MiB are locked in memory: %s; the limit (ulimit -l) is %llu MiB", g->label,
              g->locked_bytes >> 20, g->size_bytes >> 20, strerror(reason),
              (unsigned long long)limit.rlim_cur >> 20);
}

const char *gguf_path(const struct gguf *g) {
    return g->path;
}

size_t gguf_size_bytes(const struct gguf *g) {
    return g->size_bytes;
}

size_t gguf_n_parts(const struct gguf *g) {
    return g->n_parts + 1;
}

const char *gguf_part_path(const struct gguf *g, size_t i) {
    assert(i <= g->n_parts);
    return i == 0 ? g->path : g->parts[i - 1]->path;
}

unsigned gguf_version(const struct gguf *g) {
    return g->version;
}

size_t gguf_n_keys(const struct gguf *g) {
    return g->n_keys;
}

const struct gguf_key *gguf_key_at(const struct gguf *g, size_t i) {
    assert(i < g->n_keys);
    return &g->keys[i];
}

const struct gguf_key *gguf_find_key(const struct gguf *g, const char *name) {
    struct gguf_key wanted = {.name = {name, strlen(name)}};
    const struct gguf_key *p = &wanted;
    const struct gguf_key *const *found =
        bsearch(&p, g->keys_by_name, g->n_keys, sizeof *g->keys_by_name, compare_keys);
    return found ? *found : NULL;
}

size_t gguf_n_tensors(const struct gguf *g) {
    return g->n_tensors;
}

const struct tensor *gguf_tensor_at(const struct gguf *g, size_t i) {
    assert(i < g->n_tensors);
    return &g->tensors[i];
}

static int compare_name(const void *name, const void *entry) {
    const struct tensor *const *t = entry;
    return strcmp(name, (*t)->name);
}

const struct tensor *gguf_find_tensor(const struct gguf *g, const char *name) {
    const struct tensor *const *found =
        bsearch(name, g->tensors_by_name, g->n_tensors, sizeof *g->tensors_by_name, compare_name);
    return found ? *found : NULL;
}

static const struct gguf_key *find(const struct gguf *g, const char *name, bool *found) {
    const struct gguf_key *key = gguf_find_key(g, name);
    if (found)
        *found = key != NULL;
    return key;
}

static bool err_key_type(const struct gguf *g, const struct gguf_key *key, const char *want,
                         struct err *err) {
    return err_set(err, ERR_MODEL, "%s: key %s: type %s, want %s", g->label, show(key->name).text,
                   type_name(key->type), want);
}

static bool is_integer(enum gguf_type type) {
    return type <= GGUF_I32 || type == GGUF_U64 || type == GGUF_I64;
}

bool gguf_get_uint(const struct gguf *g, const char *name, uint64_t min, uint64_t max, uint64_t *out,
                   bool *found, struct err *err) {
    const struct gguf_key *key = find(g, name, found);
    if (!key)
        return true;
    if (!is_integer(key->type))
        return err_key_type(g, key, "an integer", err);
    int64_t value = gguf_array_int(key, 0);
    if (value < 0 && key->type != GGUF_U64)
        return err_set(err, ERR_MODEL, "%s: key %s is %" PRId64 ", want %" PRIu64 " to %" PRIu64, g->label,
                       name, value, min, max);
    if ((uint64_t)value < min || (uint64_t)value > max)
        return err_set(err, ERR_MODEL, "%s: key %s is %" PRIu64 ", want %" PRIu64 " to %" PRIu64, g->label,
                       name, (uint64_t)value, min, max);
    *out = (uint64_t)value;
    return true;
}

bool gguf_get_float(const struct gguf *g, const char *name, double *out, bool *found, struct err *err) {
    const struct gguf_key *key = find(g, name, found);
    if (!key)
        return true;
    if (key->type != GGUF_F32 && key->type != GGUF_F64)
        return err_key_type(g, key, "f32 or f64", err);
    *out = gguf_array_float(key, 0);
    return true;
}

bool gguf_get_bool(const struct gguf *g, const char *name, bool *out, bool *found, struct err *err) {
    const struct gguf_key *key = find(g, name, found);
    if (!key)
        return true;
    if (key->type != GGUF_BOOL)
        return err_key_type(g, key, "bool", err);
    *out = key->data[0] != 0;
    return true;
}

bool gguf_get_string(const struct gguf *g, const char *name, struct gguf_string *out, bool *found,
                     struct err *err) {
    const struct gguf_key *key = find(g, name, found);
    if (!key)
        return true;
    if (key->type != GGUF_STRING)
        return err_key_type(g, key, "string", err);
    *out = key->strings[0];
    return true;
}

static enum gguf_type value_type(const struct gguf_key *key) {
    return key->type == GGUF_ARRAY ? key->item_type : key->type;
}

// Values are loaded by memcpy: nothing in the file is aligned.
int64_t gguf_array_int(const struct gguf_key *key, size_t i) {
    enum gguf_type type = value_type(key);
    size_t n = type_bytes(type);
    assert(i < key->n && (is_integer(type) || type == GGUF_BOOL));
    uint64_t raw = 0;
    memcpy(&raw, key->data + i * n, n);
    if (type != GGUF_I8 && type != GGUF_I16 && type != GGUF_I32)
        return (int64_t)raw;
    unsigned shift = 64 - 8 * (unsigned)n; // the sign goes to the top and comes back
    return (int64_t)(raw << shift) >> shift;
}

double gguf_array_float(const struct gguf_key *key, size_t i) {
    enum gguf_type type = value_type(key);
    const uint8_t *p = key->data + i * type_bytes(type);
    assert(i < key->n && type_bytes(type) > 0);
    if (type == GGUF_F32) {
        float value;
        memcpy(&value, p, sizeof value);
        return value;
    }
    if (type == GGUF_F64) {
        double value;
        memcpy(&value, p, sizeof value);
        return value;
    }
    int64_t value = gguf_array_int(key, i);
    return type == GGUF_U64 ? (double)(uint64_t)value : (double)value;
}
