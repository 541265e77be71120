// Keys and values of one sequence, for all layers.
#ifndef LLM_KV_CACHE_H
#define LLM_KV_CACHE_H

#include "base/err.h"
#include "compute/ops.h"

#include <stdbool.h>
#include <stddef.h>

struct kv_cache {
    struct ops *ops;       // borrowed
    enum tensor_type type; // TENSOR_F16 or TENSOR_F32
    size_t n_ctx;
    size_t n_row;       // values of a position in a layer: n_head_kv * head_dim
    size_t layer_bytes; // n_ctx * n_row values
    char *k, *v;        // [n_layer, n_ctx, n_head_kv, head_dim] of type, keys after RoPE
};

// Bytes that keys and values of one sequence take together; false where the product overflows.
bool kv_cache_size(enum tensor_type type, size_t n_layer, size_t n_ctx, size_t n_row, size_t *size_bytes);

// ERR_NOMEM leaves *c empty, which kv_cache_clear may be given.
bool kv_cache_init(struct kv_cache *c, struct ops *ops, enum tensor_type type, size_t n_layer, size_t n_ctx,
                   size_t n_row, struct err *err);
void kv_cache_clear(struct kv_cache *c);

void *kv_cache_k(const struct kv_cache *c, size_t layer, size_t position); // [.., n_row] from position on
void *kv_cache_v(const struct kv_cache *c, size_t layer, size_t position);

#endif
