// The types of weights: their blocks as GGUF stores them, plain C conversions and dot products, and the
// 8-bit activations that quantised weights are multiplied with.
#ifndef COMPUTE_QUANT_H
#define COMPUTE_QUANT_H

#include "compute/tensor.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Blocks of weights; d, m, dmin are f16 bits.
struct q8_0 { // 8.5 bits a weight: w = d qs
    uint16_t d;
    int8_t qs[32];
};
struct q4_0 { // 4.5 bits: w = d (q - 8); the first 16 in the low halves, the other 16 in the high halves
    uint16_t d;
    uint8_t qs[16];
};
struct q4_1 { // 5 bits: w = d q + m
    uint16_t d, m;
    uint8_t qs[16];
};
struct q5_0 { // 5.5 bits: w = d (q - 16); the low 4 bits as in q4_0
    uint16_t d;
    uint8_t qh[4]; // the fifth bit of weight i in bit i % 8 of byte i / 8
    uint8_t qs[16];
};
struct q5_1 { // 6 bits: w = d q + m
    uint16_t d, m;
    uint8_t qh[4], qs[16];
};
struct iq4_nl { // 4.5 bits: w = d quant_iq4_values[q]
    uint16_t d;
    uint8_t qs[16];
};
struct mxfp4 { // 4.25 bits: w = 2^(e - 127) times the e2m1 value of q
    uint8_t e;
    uint8_t qs[16];
};
struct q2_k { // 2.625 bits, 16 groups of 16: w = d scale q - dmin min; four runs of 32 to each 32 bytes
    uint8_t scales[16]; // scale low, min high
    uint8_t qs[64];
    uint16_t d, dmin;
};
struct q3_k {          // 3.4375 bits, 16 groups of 16: w = d (scale - 32) (q - 4)
    uint8_t hmask[32]; // the third bit of weight i in bit i / 32 of byte i % 32
    uint8_t qs[64];    // low 2 bits, as in q2_K
    uint8_t scales[12];
    uint16_t d;
};
struct q4_k { // 4.5 bits, 8 groups of 32: w = d scale q - dmin min; each 32 bytes hold a group low, the next
              // one high
    uint16_t d, dmin;
    uint8_t scales[12]; // 8 scales and 8 mins of 6 bits
    uint8_t qs[128];
};
struct q5_k { // 5.5 bits: as q4_K
    uint16_t d, dmin;
    uint8_t scales[12];
    uint8_t qh[32]; // the fifth bit of weight i in bit i / 32 of byte i % 32
    uint8_t qs[128];
};
struct q6_k {        // 6.5625 bits, 16 groups of 16: w = d scale (q - 32)
    uint8_t ql[128]; // low 4 bits
    uint8_t qh[64];  // high 2 bits
    int8_t scales[16];
    uint16_t d;
};
struct iq4_xs { // 4.25 bits, 8 groups of 32: w = d (scale - 32) quant_iq4_values[q]
    uint16_t d, scales_h;
    uint8_t scales_l[4];
    uint8_t qs[128];
};

// The codebook types: w = d scale (row of a grid), signs and scales as quant_iq.c reads them.
struct iq2_xxs { // 2.0625 bits, 8 groups of 32: 4 indices of 8 bits, 4 signs of 7, a scale of 4
    uint16_t d;
    uint16_t qs[32];
};
struct iq2_xs { // 2.3125 bits: each of qs an index of 9 bits and signs of 7
    uint16_t d;
    uint16_t qs[32];
    uint8_t scales[8]; // of each 16, 4 bits
};
struct iq2_s { // 2.5625 bits
    uint16_t d;
    uint8_t qs[32];    // low 8 bits of the indices
    uint8_t signs[32]; // of each 8
    uint8_t qh[8];     // high 2 bits
    uint8_t scales[8]; // of each 16, 4 bits
};
struct iq3_xxs { // 3.0625 bits, 8 groups of 32: 8 indices, then 4 signs of 7 bits and a scale of 4
    uint16_t d;
    uint8_t qs[64];
    uint8_t scales_signs[32];
};
struct iq3_s { // 3.4375 bits
    uint16_t d;
    uint8_t qs[64];    // low 8 bits of the indices
    uint8_t qh[8];     // high bit
    uint8_t signs[32]; // of each 8
    uint8_t scales[4]; // of each 32, 4 bits
};
struct iq1_s { // 1.5625 bits, 8 groups of 32
    uint16_t d;
    uint8_t qs[32]; // low 8 bits of the indices
    uint16_t qh[8]; // 4 times 3 high bits, a scale of 3, the sign of the shift
};
struct iq1_m {         // 1.75 bits, 16 groups of 16
    uint8_t qs[32];    // low 8 bits of the indices
    uint8_t qh[16];    // 3 high bits and the sign of the shift, for each 8
    uint8_t scales[8]; // four u16 of 4 scales of 3 bits; their top 4 bits together are d
};

// A block of any of these as integers: w[i] = d scales[i / 16] q[i] - dmin mins[i / 16].
struct quant_block {
    float d, dmin;
    int8_t q[256]; // a block of 32 fills the first 32, and two scales and mins
    int16_t scales[16], mins[16];
};

// Blocks of activations, x = d qs.
struct a32 { // for types with blocks of 32
    float d;
    int8_t qs[32];
};
struct a256 { // for types with blocks of 256
    float d;
    int8_t qs[256];
};

struct quant_traits {
    const char *name;
    size_t block_n, block_bytes; // values and bytes of a block
    void (*dequantise)(float *y, const void *w, size_t n);
    void (*unpack)(struct quant_block *b, const void *w); // one block; NULL where a block is one value
};

// NULL for a type that is not supported.
const struct quant_traits *quant_traits(enum tensor_type type);

// Bytes of a row of n values. False for a type that is not supported, an n that is no multiple of its block,
// or a size that overflows.
bool quant_row_bytes(enum tensor_type type, size_t n, size_t *out);

// The name of any type id of GGUF, "unknown" past them.
const char *quant_type_name(enum tensor_type type);

// The names of all supported types, "f32, f16, ...", for messages.
enum { QUANT_TYPE_LIST_SIZE = 256 };
const char *quant_type_list(char list[QUANT_TYPE_LIST_SIZE]);

// Dot product of n weights with activations: f32 where a block is one value, struct a32 for blocks of 32,
// struct a256 for blocks of 256. In double.
float quant_dot(const struct quant_traits *traits, const void *w, const void *x, size_t n);

// qs[n] = x / d, to nearest, ties to even; returns d = largest magnitude / 127.
float quant_i8(int8_t *qs, const float *x, size_t n);
// n values as activation blocks: d = largest magnitude / 127, to nearest, ties to even.
void quant_a32(void *y, const float *x, size_t n);
void quant_a256(void *y, const float *x, size_t n);

float f16_to_f32(uint16_t bits);
uint16_t f32_to_f16(float value); // to nearest, ties to even

#endif
