// Float weights in 8 bits (WEIGHT_ROWS_INT8): how they and their rows lie in memory.
//
// Weights have a scale for each 256 inputs of an output, rows one for each 64 values: weights are alike in size,
// activations are not, and the sums between two scales are whole numbers that cost no float.
#ifndef COMPUTE_CPU_INT8_H
#define COMPUTE_CPU_INT8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    INT8_N = 256,    // inputs of a block, which share an output's scale
    INT8_GROUP = 64, // inputs that share a row's scale; rows and weights are filled up to whole groups
    INT8_OFFSET = 128,
};

// One block of a row: x = d qs.
struct int8_row {
    float d[INT8_N / INT8_GROUP];
    int8_t qs[INT8_N];
    float offset; // what INT8_OFFSET added to each weight takes away: -INT8_OFFSET times the sum of d qs
};

// y[n_rows, n_out] = x w^T + bias[n_out], or added to y.
struct int8_product {
    float *y; // rows y_stride floats apart
    // Panels of 16 outputs, panel_bytes apart: for each block of n inputs (256, the last may have fewer)
    // [n / 4, 16, 4] u8, the quants + INT8_OFFSET, then the scales [16] f32.
    const uint8_t *w;
    const struct int8_row *x; // [blocks of a row, x_stride]: block i of row r at i * x_stride + r
    size_t y_stride, panel_bytes, x_stride;
    size_t n_rows, n_out, n_in; // n_in is a multiple of INT8_GROUP
    const float *bias;          // NULL = none
    bool add;
    float *totals; // [n_rows, INT8_OUTS] scratch
};

enum { INT8_OUTS = 48 }; // outputs that rows pass together

#endif
