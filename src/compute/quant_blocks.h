// Blocks of quantised weights as integers: one unpacker for each type, all that is particular to it. What is
// done with the integers (values, dot products, vectors) is written once.
#ifndef COMPUTE_QUANT_BLOCKS_H
#define COMPUTE_QUANT_BLOCKS_H

#include "compute/quant.h"

#include <string.h>

// The values that the 4 bits of iq4_nl and iq4_xs stand for.
extern const int8_t quant_iq4_values[16];

// Twice the values that the 4 bits of mxfp4 (e2m1) stand for.
extern const int8_t quant_e2m1_values[16];

// Half the value of an e8m0 scale, 2^(e - 127); 255 is NaN.
static inline float quant_e8m0_half(uint8_t e) {
    uint32_t bits = e < 2 ? 0x200000u << e : e == 255 ? 0x7fc00000u : (e - 1u) << 23;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// The quantised types: X(type, struct, values of a block, name in messages). A further type of 256 needs
// its id in tensor.h, its struct in quant.h, a row here and an unpacker; vector code of its own goes into
// cpu_unpack.h.
// clang-format off
#define QUANT_BLOCK_TYPES(X)                                \
    X(Q8_0, q8_0, 32, "q8_0")                               \
    X(Q4_0, q4_0, 32, "q4_0")                               \
    X(Q4_1, q4_1, 32, "q4_1")                               \
    X(Q5_0, q5_0, 32, "q5_0")                               \
    X(Q5_1, q5_1, 32, "q5_1")                               \
    X(IQ4_NL, iq4_nl, 32, "iq4_nl")                         \
    X(MXFP4, mxfp4, 32, "mxfp4")                            \
    X(Q2_K, q2_k, 256, "q2_K")                              \
    X(Q3_K, q3_k, 256, "q3_K")                              \
    X(Q4_K, q4_k, 256, "q4_K")                              \
    X(Q5_K, q5_k, 256, "q5_K")                              \
    X(Q6_K, q6_k, 256, "q6_K")                              \
    X(IQ4_XS, iq4_xs, 256, "iq4_xs")                        \
    X(IQ2_XXS, iq2_xxs, 256, "iq2_xxs")                     \
    X(IQ2_XS, iq2_xs, 256, "iq2_xs")                        \
    X(IQ2_S, iq2_s, 256, "iq2_s")                           \
    X(IQ3_XXS, iq3_xxs, 256, "iq3_xxs")                     \
    X(IQ3_S, iq3_s, 256, "iq3_s")                           \
    X(IQ1_S, iq1_s, 256, "iq1_s")                           \
    X(IQ1_M, iq1_m, 256, "iq1_m")
// clang-format on

// Constants after inlining, where quant_traits is not.
#define QUANT_BLOCK_N(id, name, n, label)     type == TENSOR_##id ? n:
#define QUANT_BLOCK_BYTES(id, name, n, label) type == TENSOR_##id ? sizeof(struct name):
static inline size_t quant_block_n(enum tensor_type type) {
    return QUANT_BLOCK_TYPES(QUANT_BLOCK_N) 1;
}
static inline size_t quant_block_bytes(enum tensor_type type) {
    return QUANT_BLOCK_TYPES(QUANT_BLOCK_BYTES) 1;
}

// Hidden, so that position-independent code may inline them.
#define QUANT_DECLARE(type, name, block_n, label)                                                            \
    __attribute__((visibility("hidden"))) void quant_##name##_unpack(struct quant_block *b, const void *w);  \
    void quant_##name##_dequantise(float *y, const void *w, size_t n);
QUANT_BLOCK_TYPES(QUANT_DECLARE)
#undef QUANT_DECLARE

#endif
