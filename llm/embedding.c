// Takes the hidden rows [n_rows, n_embd] of a prompt as they come, gives one row [n_embd]: their mean, the first
// or the last. Sums are f64, so that it does not matter how the rows were cut into steps.
#include "base/mem.h"
#include "llm/model.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { POOLING_TYPE_NONE, POOLING_TYPE_MEAN, POOLING_TYPE_CLS, POOLING_TYPE_LAST }; // as files number them

struct llm_embedding {
    enum llm_pooling pooling;
    size_t n_rows, n_embd;
    size_t n_seen; // rows
    double *sum;   // [n_embd]
};

bool llm_pooling(const struct llm *m, enum llm_pooling *pooling, struct err *err) {
    char key[80];
    uint64_t type = POOLING_TYPE_NONE;
    bool found;
    snprintf(key, sizeof key, "%s.pooling_type", m->arch->name);
    if (!gguf_get_uint(m->gguf, key, 0, UINT32_MAX, &type, &found, err))
        return false;
    switch (type) {
    case POOLING_TYPE_NONE:
    case POOLING_TYPE_MEAN:
        *pooling = LLM_POOLING_MEAN;
        return true;
    case POOLING_TYPE_CLS:
        *pooling = LLM_POOLING_CLS;
        return true;
    case POOLING_TYPE_LAST:
        *pooling = LLM_POOLING_LAST;
        return true;
    default:
        return err_set(err, ERR_MODEL, "%s: key %s is %llu, want 0 to %d for an embedding", m->name, key,
                       (unsigned long long)type, POOLING_TYPE_LAST);
    }
}

struct llm_embedding *llm_embedding_create(const struct llm *m, enum llm_pooling pooling, size_t n_rows,
                                           struct err *err) {
    assert(n_rows > 0);
    struct llm_embedding *e = xcalloc(1, sizeof *e);
    *e = (struct llm_embedding){.pooling = pooling, .n_rows = n_rows, .n_embd = m->n_embd};
    e->sum = try_malloc_array(e->n_embd, sizeof *e->sum, "an embedding", err);
    if (!e->sum) {
        llm_embedding_destroy(e);
        return NULL;
    }
    for (size_t i = 0; i < e->n_embd; i++)
        e->sum[i] = 0;
    return e;
}

void llm_embedding_destroy(struct llm_embedding *e) {
    if (!e)
        return;
    free(e->sum);
    free(e);
}

static bool embedding_wants(const struct llm_embedding *e, size_t row) {
    switch (e->pooling) {
    case LLM_POOLING_MEAN:
        return true;
    case LLM_POOLING_CLS:
        return row == 0;
    case LLM_POOLING_LAST:
        return row + 1 == e->n_rows;
    }
    return false;
}

void llm_embedding_add(struct llm_embedding *e, const struct llm_rows *rows) {
    assert(rows->hidden && rows->first == e->n_seen && rows->n_rows <= e->n_rows - e->n_seen);
    for (size_t i = 0; i < rows->n_rows; i++) {
        if (!embedding_wants(e, e->n_seen + i))
            continue;
        const float *row = rows->hidden + i * e->n_embd;
        for (size_t k = 0; k < e->n_embd; k++)
            e->sum[k] += (double)row[k];
    }
    e->n_seen += rows->n_rows;
}

bool llm_embedding_finish(const struct llm_embedding *e, bool normalise, float *out, struct err *err) {
    assert(e->n_seen == e->n_rows);
    double scale = e->pooling == LLM_POOLING_MEAN ? 1 / (double)e->n_rows : 1, squares = 0;
    for (size_t k = 0; k < e->n_embd; k++)
        squares += e->sum[k] * e->sum[k];
    if (!isfinite(squares))
        return err_set(err, ERR_INTERNAL, "the embedding is not finite");
    if (normalise && squares > 0) // zeros have no direction, and stay
        scale = 1 / sqrt(squares);
    for (size_t k = 0; k < e->n_embd; k++)
        out[k] = (float)(e->sum[k] * scale);
    return true;
}
