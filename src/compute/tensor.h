// A tensor as a GGUF file describes it.
//
// Shape convention: GGUF lists ne[0] = the innermost (contiguous) dimension first. Comments in this
// project write shapes outermost first, as numpy does: a matmul weight with ne = {n_in, n_out} is [n_out,
// n_in].
#ifndef COMPUTE_TENSOR_H
#define COMPUTE_TENSOR_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

// Numbers are GGUF's own type ids.
enum tensor_type {
    TENSOR_F32 = 0,
    TENSOR_F16 = 1,
    TENSOR_Q4_0 = 2,
    TENSOR_Q4_1 = 3,
    TENSOR_Q5_0 = 6,
    TENSOR_Q5_1 = 7,
    TENSOR_Q8_0 = 8,
    TENSOR_Q2_K = 10,
    TENSOR_Q3_K = 11,
    TENSOR_Q4_K = 12,
    TENSOR_Q5_K = 13,
    TENSOR_Q6_K = 14,
    TENSOR_IQ2_XXS = 16,
    TENSOR_IQ2_XS = 17,
    TENSOR_IQ3_XXS = 18,
    TENSOR_IQ1_S = 19,
    TENSOR_IQ4_NL = 20,
    TENSOR_IQ3_S = 21,
    TENSOR_IQ2_S = 22,
    TENSOR_IQ4_XS = 23,
    TENSOR_IQ1_M = 29,
    TENSOR_BF16 = 30,
    TENSOR_MXFP4 = 39,
};

enum { TENSOR_TYPES = TENSOR_MXFP4 + 1 }; // ids are below this

enum { TENSOR_DIMS_MAX = 4, TENSOR_NAME_SIZE = 64 };

struct tensor {
    char name[TENSOR_NAME_SIZE];
    enum tensor_type type;
    size_t n_dims;
    size_t ne[TENSOR_DIMS_MAX]; // unused dimensions are 1
    const void *data;           // borrowed from the mapped file: [ne[3], ne[2], ne[1], ne[0]]
    size_t size_bytes;
};

#endif
