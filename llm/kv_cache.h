// Keys and values of one sequence, for all layers.
#ifndef LLM_KV_CACHE_H
#define LLM_KV_CACHE_H

#include "base/err.h"
#include "compute/ops.h"

#include <stdbool.h>
#include <stddef.h>

struct kv_cache {
    struct ops *ops;       // borrowed
    struct kv_shape shape; // of a layer
    size_t page_bytes;     // of a page of one layer
    size_t page_stride;    // of a page of all layers
    char *pages;           // [n_ctx / KV_PAGE rounded up, n_layer] pages, keys after RoPE
};

// Bytes that keys and values of one sequence take together; false where the product overflows.
bool kv_cache_size(struct ops *ops, const struct kv_shape *shape, size_t n_layer, size_t n_ctx,
                   size_t *size_bytes);

// ERR_NOMEM leaves *c empty, which kv_cache_clear may be given.
bool kv_cache_init(struct kv_cache *c, struct ops *ops, const struct kv_shape *shape, size_t n_layer,
                   size_t n_ctx, struct err *err);
void kv_cache_clear(struct kv_cache *c);

// Stores k, v [n_rows, n_head_kv, head_dim] f32 as positions `first` and following of a layer.
void kv_cache_write(const struct kv_cache *c, size_t layer, size_t first, const float *k, const float *v,
                    size_t n_rows);
// The pages of a layer, page_stride bytes apart.
void *kv_cache_pages(const struct kv_cache *c, size_t layer);

#endif
