// The types of weights: their blocks as GGUF stores them, plain C conversions and dot products, and the
// 8-bit activations that quantised weights are multiplied with.
#ifndef COMPUTE_QUANT_H
#define COMPUTE_QUANT_H

#include "compute/tensor.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Blocks of weights; d, dmin are f16 bits.
struct q8_0 { // 8.5 bits a weight: w = d qs
    uint16_t d;
    int8_t qs[32];
};
struct q4_0 { // 4.5 bits: w = d (q - 8); the first 16 in the low halves, the other 16 in the high halves
    uint16_t d;
    uint8_t qs[16];
};
struct q4_k { // 4.5 bits, 8 groups of 32: w = d scale q - dmin min; each 32 bytes hold a group low, the next
              // one high
    uint16_t d, dmin;
    uint8_t scales[12]; // 8 scales and 8 mins of 6 bits
    uint8_t qs[128];
};
struct q6_k {        // 6.5625 bits, 16 groups of 16: w = d scale (q - 32)
    uint8_t ql[128]; // low 4 bits
    uint8_t qh[64];  // high 2 bits
    int8_t scales[16];
    uint16_t d;
};

// Blocks of activations, x = d qs.
struct a32 { // for q8_0 and q4_0
    float d;
    int8_t qs[32];
};
struct a256 { // for q4_K and q6_K
    float d;
    int8_t qs[256];
    int16_t sums[16]; // of each 16 of qs
};

struct quant_traits {
    const char *name;
    size_t block_n, block_bytes; // values and bytes of a block
    void (*dequantise)(float *y, const void *w, size_t n);
    // Dot product of n weights with f32 activations (f32, f16, bf16), struct a32 or struct a256, in double.
    float (*dot)(const void *w, const void *x, size_t n);
};

// NULL for a type that is not supported.
const struct quant_traits *quant_traits(enum tensor_type type);

// Bytes of a row of n values. False for a type that is not supported, an n that is no multiple of its block,
// or a size that overflows.
bool quant_row_bytes(enum tensor_type type, size_t n, size_t *out);

// The name of any type id of GGUF, "unknown" past them.
const char *quant_type_name(enum tensor_type type);

// n values as activation blocks: d = largest magnitude / 127, to nearest, ties to even.
void quant_a32(void *y, const float *x, size_t n);
void quant_a256(void *y, const float *x, size_t n);

float f16_to_f32(uint16_t bits);
uint16_t f32_to_f16(float value); // to nearest, ties to even

#endif
