#include "vision/vision_bind.h"

#include "base/mem.h"
#include "compute/file_weight.h"

#include <stdio.h>
#include <stdlib.h>

enum { N_OUT_MAX = 1 << 18, NAME_SIZE = TENSOR_NAME_SIZE + 16 };

const struct tensor *vision_find(const struct vision_model *m, const char *name, struct err *err) {
    const struct tensor *t = gguf_find_tensor(m->gguf, name);
    if (!t)
        err_set(err, ERR_MODEL, "%s: missing", name);
    return t;
}

static size_t n_values(const struct tensor *t) {
    return t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3]; // gguf.c has checked the product
}

// Any shape of n_rows * n values -> new f32 in the backend's memory.
static float *read_rows(struct vision_model *m, const struct tensor *t, size_t n_rows, size_t n,
                        struct err *err) {
    struct tensor matrix = *t;
    matrix.n_dims = 2;
    matrix.ne[0] = n;
    matrix.ne[1] = n_rows;
    matrix.ne[2] = matrix.ne[3] = 1;
    float *out = NULL;
    int32_t *ids = try_malloc_array(n_rows, sizeof *ids, t->name, err);
    struct weight *w = ids ? m->ops->weight_create(m->ops, &matrix, WEIGHT_ROWS_FIXED, err) : NULL;
    if (w)
        out = m->ops->alloc(m->ops, n_rows * n * sizeof *out, err); // fits: the file holds as many values
    if (out) {
        m->ops->weight_load(m->ops, w);
        for (size_t i = 0; i < n_rows; i++)
            ids[i] = (int32_t)i;
        m->ops->get_rows(m->ops, out, w, ids, n_rows);
    }
    m->ops->weight_release(m->ops, w);
    free(ids);
    return out;
}

float *vision_read_tensor(struct vision_model *m, const struct tensor *t, size_t n, struct err *err) {
    if (n_values(t) != n) {
        err_set(err, ERR_MODEL, "%s: %zu values, want %zu", t->name, n_values(t), n);
        return NULL;
    }
    size_t n_in = n / t->ne[t->n_dims - 1];
    float *host = try_malloc_array(n, sizeof *host, t->name, err);
    float *rows = host ? read_rows(m, t, n / n_in, n_in, err) : NULL;
    if (rows)
        m->ops->read(m->ops, host, rows, n * sizeof *host);
    m->ops->release(m->ops, rows);
    if (!rows) {
        free(host);
        return NULL;
    }
    return host;
}

bool vision_bind_vector(struct vision_model *m, float **out, const char *name, size_t n, bool required,
                        struct err *err) {
    const struct tensor *t = gguf_find_tensor(m->gguf, name);
    if (!t)
        return !required || vision_find(m, name, err);
    if (t->ne[0] != n || n_values(t) != n)
        return err_set(err, ERR_MODEL, "%s: shape [%zu, %zu], want [%zu]", name, t->ne[1], t->ne[0], n);
    *out = read_rows(m, t, 1, n, err);
    return *out;
}

bool vision_bind_table(struct vision_model *m, float **out, const char *name, size_t n_rows, size_t n,
                       struct err *err) {
    const struct tensor *t = vision_find(m, name, err);
    if (!t)
        return false;
    if (t->ne[0] != n || n_values(t) != n_rows * n)
        return err_set(err, ERR_MODEL, "%s: shape [%zu, %zu], want [%zu, %zu]", name, t->ne[1], t->ne[0],
                       n_rows, n);
    *out = read_rows(m, t, n_rows, n, err);
    return *out;
}

bool vision_bind_norm(struct vision_model *m, struct vision_norm *norm, const char *prefix, size_t n,
                      bool rms, struct err *err) {
    char name[NAME_SIZE];
    snprintf(name, sizeof name, "%s.weight", prefix);
    if (!vision_bind_vector(m, &norm->w, name, n, true, err))
        return false;
    snprintf(name, sizeof name, "%s.bias", prefix);
    return rms || vision_bind_vector(m, &norm->b, name, n, true, err);
}

static bool bind_bias(struct vision_model *m, struct vision_linear *linear, const char *prefix, size_t n_out,
                      struct err *err) {
    char name[NAME_SIZE];
    snprintf(name, sizeof name, "%s.bias", prefix);
    return vision_bind_vector(m, &linear->bias, name, n_out, false, err);
}

bool vision_bind_linear(struct vision_model *m, struct vision_linear *linear, const char *prefix,
                        size_t n_out, size_t n_in, struct err *err) {
    char name[NAME_SIZE];
    snprintf(name, sizeof name, "%s.weight", prefix);
    const struct tensor *t = vision_find(m, name, err);
    if (!t)
        return false;
    size_t wanted = n_out == BIND_ANY ? t->ne[1] : n_out;
    if (t->ne[0] != n_in || t->ne[1] != wanted || t->ne[2] * t->ne[3] != 1)
        return err_set(err, ERR_MODEL, "%s: shape [%zu, %zu], want [%zu, %zu]", name, t->ne[1], t->ne[0],
                       wanted, n_in);
    if (wanted > N_OUT_MAX)
        return err_set(err, ERR_MODEL, "%s: shape [%zu, %zu], want at most %d outputs", name, wanted, n_in,
                       N_OUT_MAX);
    linear->w = file_weight_create(m->ops, m->gguf, t, m->precision, err);
    return linear->w && bind_bias(m, linear, prefix, wanted, err);
}

bool vision_bind_biased(struct vision_model *m, struct vision_linear *linear, const char *prefix,
                        size_t n_out, size_t n_in, struct err *err) {
    return vision_bind_linear(m, linear, prefix, n_out, n_in, err) &&
           (linear->bias || err_set(err, ERR_MODEL, "%s.bias: missing", prefix));
}

bool vision_bind_derived(struct vision_model *m, struct vision_linear *linear, const char *prefix,
                         float *values, size_t n_out, size_t n_in, struct err *err) {
    void **longer = xcalloc(m->n_derived + 1, sizeof *longer);
    if (m->n_derived)
        memcpy(longer, m->derived, m->n_derived * sizeof *longer);
    free(m->derived);
    m->derived = longer;
    m->derived[m->n_derived++] = values;
    struct tensor t = {.type = TENSOR_F32,
                       .n_dims = 2,
                       .ne = {n_in, n_out, 1, 1},
                       .data = values,
                       .size_bytes = n_in * n_out * sizeof *values};
    snprintf(t.name, sizeof t.name, "%s", prefix);
    linear->w = m->ops->weight_create(m->ops, &t, m->precision, err);
    if (!linear->w)
        return false;
    m->ops->weight_load(m->ops, linear->w);
    return bind_bias(m, linear, prefix, n_out, err);
}

bool vision_bind_transposed(struct vision_model *m, struct vision_linear *linear, const char *prefix,
                            size_t n_out, size_t n_in, struct err *err) {
    char name[NAME_SIZE];
    snprintf(name, sizeof name, "%s.weight", prefix);
    const struct tensor *t = vision_find(m, name, err);
    if (!t)
        return false;
    if (n_out == BIND_ANY)
        n_out = t->ne[0];
    if (t->ne[0] != n_out || t->ne[1] != n_in || n_out == 0 || n_out > N_OUT_MAX)
        return err_set(err, ERR_MODEL, "%s: shape [%zu, %zu], want [%zu, %zu]", name, t->ne[1], t->ne[0],
                       n_in, n_out);
    float *stored = vision_read_tensor(m, t, n_in * n_out, err);
    float *values = stored ? try_malloc_array(n_in * n_out, sizeof *values, name, err) : NULL;
    for (size_t o = 0; values && o < n_out; o++)
        for (size_t i = 0; i < n_in; i++)
            values[o * n_in + i] = stored[i * n_out + o];
    free(stored);
    return values && vision_bind_derived(m, linear, prefix, values, n_out, n_in, err);
}
