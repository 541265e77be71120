// Writing quantised weights: f32 rows -> blocks of a type. The scales are searched for the smallest squared
// error of the block.
#ifndef COMPUTE_QUANTISE_H
#define COMPUTE_QUANTISE_H

#include "compute/tensor.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// n values as a row of blocks; n is a multiple of the type's block, every |x| at most QUANTISE_MAX.
typedef void (*quantise_fn)(void *blocks, const float *x, size_t n);
#define QUANTISE_MAX 65504.0f // the largest f16, which every type's scale can carry

// For f32, f16, bf16, q8_0, q4_0, q5_0, q5_1, q4_K, q5_K, q6_K; NULL for the types that cannot be written.
quantise_fn quantise_find(enum tensor_type type);

void quantise_q4_k(void *blocks, const float *x, size_t n);
void quantise_q5_k(void *blocks, const float *x, size_t n);
void quantise_q6_k(void *blocks, const float *x, size_t n);

// ---- the searches ----

// Least squares x ~ scale q, q whole in [-n_half, n_half - 1]. Returns scale (of either sign), fills q.
float quantise_symmetric(int8_t *q, const float *x, size_t n, int n_half);

// Least squares x ~ scale q - min, q whole in [0, q_max], scale >= 0, and min >= 0 unless any_min. Returns
// scale, fills q.
float quantise_affine(uint8_t *q, float *min, const float *x, size_t n, int q_max, bool any_min);

#endif
