// ocellus inspect gguf | tensor: what a model file says and holds.
#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "cli/cli.h"
#include "compute/gguf.h"
#include "compute/quant.h"

#include <stdlib.h>

enum { ARRAY_SHOWN = 8 }; // items of a long array that are printed without --full

// Bytes of a file that are no UTF-8 become U+FFFD, one each.
static json_t *json_text(const char *s, size_t len) {
    if (utf8_is_valid(s, len))
        return json_stringn(s, len);
    char *clean = xcalloc(len * 3 + 1, 1);
    size_t n = 0;
    for (size_t i = 0; i < len;) {
        uint32_t code_point;
        size_t k = utf8_decode(s + i, len - i, &code_point);
        n += utf8_encode(k ? code_point : 0xFFFD, clean + n);
        i += k ? k : 1;
    }
    json_t *text = json_stringn(clean, n);
    free(clean);
    return text;
}

static json_t *json_item(const struct gguf_key *key, enum gguf_type type, size_t i) {
    switch (type) {
    case GGUF_STRING:
        return json_text(key->strings[i].data, key->strings[i].len);
    case GGUF_F32:
    case GGUF_F64:
        return json_real(gguf_array_float(key, i));
    case GGUF_BOOL:
        return json_boolean(gguf_array_int(key, i) != 0);
    default:
        return json_integer(gguf_array_int(key, i));
    }
}

// A scalar, an array, or of a long array {"n": N, "first": [...]}.
static json_t *json_key(const struct gguf_key *key, bool full) {
    if (key->type != GGUF_ARRAY)
        return json_item(key, key->type, 0);
    bool cut = !full && key->n > ARRAY_SHOWN;
    json_t *items = json_array();
    for (size_t i = 0; i < (cut ? ARRAY_SHOWN : key->n); i++)
        json_array_append_new(items, json_item(key, key->item_type, i));
    if (!cut)
        return items;
    return json_pack("{s:I, s:o}", "n", (json_int_t)key->n, "first", items);
}

static json_t *json_tensor(const struct tensor *t) {
    json_t *shape = json_array();
    for (size_t i = t->n_dims; i > 0; i--)
        json_array_append_new(shape, json_integer((json_int_t)t->ne[i - 1]));
    return json_pack("{s:s, s:s, s:o, s:I}", "name", t->name, "type", quant_type_name(t->type), "shape",
                     shape, "size_bytes", (json_int_t)t->size_bytes);
}

bool cmd_inspect_gguf(struct cli_options *o, struct err *err) {
    struct gguf *g = cli_check_model(o->arguments[0], err) ? gguf_open(o->arguments[0], err) : NULL;
    if (!g)
        return false;
    json_t *metadata = json_object(), *tensors = json_array();
    for (size_t i = 0; i < gguf_n_keys(g); i++) {
        const struct gguf_key *key = gguf_key_at(g, i);
        json_object_setn_new(metadata, key->name.data, key->name.len, json_key(key, o->full));
    }
    for (size_t i = 0; i < gguf_n_tensors(g); i++)
        json_array_append_new(tensors, json_tensor(gguf_tensor_at(g, i)));
    json_t *root = json_pack("{s:I, s:I, s:o, s:o}", "version", (json_int_t)gguf_version(g), "size_bytes",
                             (json_int_t)gguf_size_bytes(g), "metadata", metadata, "tensors", tensors);
    bool ok = json_dumpf(root, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) == 0;
    putchar('\n');
    json_decref(root);
    gguf_close(g);
    return ok || err_set(err, ERR_INTERNAL, "%s: its metadata cannot be printed as JSON", o->arguments[0]);
}

bool cmd_inspect_tensor(struct cli_options *o, struct err *err) {
    bool ok = false;
    float *values = NULL;
    struct gguf *g = cli_check_model(o->arguments[0], err) ? gguf_open(o->arguments[0], err) : NULL;
    if (!g)
        return false;
    const struct tensor *t = gguf_find_tensor(g, o->arguments[1]);
    if (!t) {
        err_set(err, ERR_INVALID_VALUE, "%s: no tensor named %.80s", o->arguments[0], o->arguments[1]);
        goto fail;
    }
    const struct quant_traits *traits = quant_traits(t->type);
    if (!traits) {
        err_set(err, ERR_MODEL, "%s: type %s is not supported", t->name, quant_type_name(t->type));
        goto fail;
    }
    struct cli_array array = {.n_dims = t->n_dims};
    size_t n = 1;
    for (size_t i = 0; i < t->n_dims; i++) {
        array.shape[i] = t->ne[t->n_dims - 1 - i];
        n *= t->ne[i]; // gguf_open has checked the product against the file's size
    }
    values = try_malloc_array(n, sizeof *values, t->name, err);
    if (!values)
        goto fail;
    traits->dequantise(values, t->data, n);
    array.floats = values;
    ok = cli_write_array(&array, o->out, err);

fail:
    free(values);
    gguf_close(g);
    return ok;
}
