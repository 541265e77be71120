// A whole model file with its weights quantised.
#ifndef COMPUTE_QUANTISE_MODEL_H
#define COMPUTE_QUANTISE_MODEL_H

#include "base/threads.h"
#include "compute/gguf.h"

struct quantise_mix; // which tensor gets which type

// By name: "q8_0", "q4_0", "q5_0", "q4_k_m", "q5_k_m", "q6_k" (or in capitals); NULL for others.
const struct quantise_mix *quantise_mix_find(const char *name);

// The type that tensor t of a model of n_layer blocks and n_expert experts gets; `tied`: it has no output
// matrix but token_embd. f32 for what has one dimension, its own where it stays as it is.
struct quantise_context {
    size_t n_layer, n_expert;
    bool tied;
};
enum tensor_type quantise_type(const struct quantise_mix *mix, const struct tensor *t,
                               const struct quantise_context *c);

// Writes `in`, whose weights are f32, f16 or bf16, to `path`. progress (may be NULL) is asked now and then and
// may end it by false: ERR_CANCELLED. Nothing is left behind by a failure. ERR_INVALID_VALUE where path is one
// of in's own files.
bool quantise_model(const struct gguf *in, const char *path, const struct quantise_mix *mix,
                    struct pool *pool, bool (*progress)(void *ctx, size_t done, size_t total), void *ctx,
                    struct err *err);

#endif
