// Takes the shape of a model, gives the memory of one sequence's keys and values: two blocks
// [n_layer, n_ctx, n_head_kv, head_dim], so that the positions of a layer are one run of rows for attention.
#include "llm/kv_cache.h"

#include "base/mem.h"

static size_t type_bytes(enum tensor_type type) {
    return type == TENSOR_F32 ? 4 : 2;
}

bool kv_cache_size(enum tensor_type type, size_t n_layer, size_t n_ctx, size_t n_row, size_t *size_bytes) {
    return size_mul(n_ctx, n_row, size_bytes) && size_mul(*size_bytes, 2 * type_bytes(type), size_bytes) &&
           size_mul(*size_bytes, n_layer, size_bytes);
}

bool kv_cache_init(struct kv_cache *c, struct ops *ops, enum tensor_type type, size_t n_layer, size_t n_ctx,
                   size_t n_row, struct err *err) {
    *c = (struct kv_cache){.ops = ops, .type = type, .n_ctx = n_ctx, .n_row = n_row};
    size_t size_bytes;
    if (!kv_cache_size(type, n_layer, n_ctx, n_row, &size_bytes))
        return err_set(err, ERR_NOMEM, "KV cache of %zu positions in %zu layers: its size overflows", n_ctx,
                       n_layer);
    c->layer_bytes = n_ctx * n_row * type_bytes(type);
    c->k = ops->alloc(ops, size_bytes / 2, err);
    if (c->k)
        c->v = ops->alloc(ops, size_bytes / 2, err);
    if (c->v)
        return true;
    kv_cache_clear(c);
    return false;
}

void kv_cache_clear(struct kv_cache *c) {
    if (c->k)
        c->ops->release(c->ops, c->k);
    if (c->v)
        c->ops->release(c->ops, c->v);
    c->k = c->v = NULL;
}

void *kv_cache_k(const struct kv_cache *c, size_t layer, size_t position) {
    return c->k + layer * c->layer_bytes + position * c->n_row * type_bytes(c->type);
}

void *kv_cache_v(const struct kv_cache *c, size_t layer, size_t position) {
    return c->v + layer * c->layer_bytes + position * c->n_row * type_bytes(c->type);
}
