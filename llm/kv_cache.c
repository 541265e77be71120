// Takes the shape of a model, gives the memory of one sequence's keys and values: pages of KV_PAGE positions, each with
// one page of every layer. So memory fills from its beginning as a sequence grows, and what a sequence never
// reaches is never touched.
#include "llm/kv_cache.h"

#include "base/mem.h"

bool kv_cache_size(struct ops *ops, const struct kv_shape *shape, size_t n_layer, size_t n_ctx,
                   size_t *size_bytes) {
    size_t n_pages = n_ctx / KV_PAGE + (n_ctx % KV_PAGE != 0);
    return size_mul(ops->kv_page_bytes(ops, shape), n_layer, size_bytes) &&
           size_mul(*size_bytes, n_pages, size_bytes);
}

bool kv_cache_init(struct kv_cache *c, struct ops *ops, const struct kv_shape *shape, size_t n_layer,
                   size_t n_ctx, struct err *err) {
    *c = (struct kv_cache){.ops = ops, .shape = *shape, .page_bytes = ops->kv_page_bytes(ops, shape)};
    size_t size_bytes;
    if (!kv_cache_size(ops, shape, n_layer, n_ctx, &size_bytes))
        return err_set(err, ERR_NOMEM, "KV cache of %zu positions in %zu layers: its size overflows", n_ctx,
                       n_layer);
    c->page_stride = n_layer * c->page_bytes;
    c->pages = ops->alloc(ops, size_bytes, err);
    return c->pages != NULL;
}

void kv_cache_clear(struct kv_cache *c) {
    if (c->pages)
        c->ops->release(c->ops, c->pages);
    c->pages = NULL;
}

void kv_cache_write(const struct kv_cache *c, size_t layer, size_t first, const float *k, const float *v,
                    size_t n_rows) {
    c->ops->kv_write(c->ops, &c->shape, kv_cache_pages(c, layer), c->page_stride, first, k, v, n_rows);
}

void *kv_cache_pages(const struct kv_cache *c, size_t layer) {
    return c->pages + layer * c->page_bytes;
}
