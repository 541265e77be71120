// Quantised weights as the vector kernels want them, and the 8-bit rows that they are multiplied with.
//
// A panel is 16 outputs, interleaved: what the file has as fields of a block of one output lies here field by
// field for 16 outputs, unit by unit (a scale of 1 or 2 bytes, 4 bytes of quants), so that one vector load
// takes the same unit of 16 outputs. A panel's block has the bytes of 16 blocks of the file: interleaving
// changes the place of bits, never a value.
#ifndef COMPUTE_CPU_PANELS_H
#define COMPUTE_CPU_PANELS_H

#include "compute/tensor.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PANEL_OUTS = 16,
    PANEL_N = 256, // inputs that are unpacked at a time
    PANEL_FIELDS_MAX = 8,
    TILE_PANELS_MAX = 2, // of a kernel's tile
};

// Up to 256 activations of a row, x = d qs.
struct act_block {
    float d[8]; // of each 32; all the same for types with blocks of 256
    int8_t qs[PANEL_N];
    union {
        int32_t start[16]; // of each group: -offset times its sum of qs
        float sums[8];     // of each 32: d times its sum of qs (PANEL_MINS_F32)
    };
    int16_t group_sums[16]; // of qs, in groups of the type's size (PANEL_MINS_I16)
};

enum panel_mins {
    PANEL_MINS_NONE,
    PANEL_MINS_F32, // w = d q + m, a float m for each 32
    PANEL_MINS_I16, // w = d scale q - dmin min, an integer min for each group
};

// What kernels must know of a type at compile time.
struct panel_kind {
    bool fine_rows; // activations have a d for each 32, else for each 256
    size_t group;   // inputs that share a scale: 16 or 32
    enum panel_mins mins;
    int offset; // of unpacked quants: u8 = q + offset, up to 128
    int most;   // that an unpacked quant can be
};

// Constant after inlining, so that kernels have no branches for it.
static inline struct panel_kind panel_kind(enum tensor_type type) {
    switch (type) {
    case TENSOR_Q8_0:
    case TENSOR_IQ4_NL:
    case TENSOR_MXFP4:
        return (struct panel_kind){true, 32, PANEL_MINS_NONE, 128, 255};
    case TENSOR_Q4_0:
        return (struct panel_kind){true, 32, PANEL_MINS_NONE, 8, 15};
    case TENSOR_Q5_0:
        return (struct panel_kind){true, 32, PANEL_MINS_NONE, 16, 31};
    case TENSOR_Q4_1:
        return (struct panel_kind){true, 32, PANEL_MINS_F32, 0, 15};
    case TENSOR_Q5_1:
        return (struct panel_kind){true, 32, PANEL_MINS_F32, 0, 31};
    case TENSOR_Q4_K:
        return (struct panel_kind){false, 32, PANEL_MINS_I16, 0, 15};
    case TENSOR_Q5_K:
        return (struct panel_kind){false, 32, PANEL_MINS_I16, 0, 31};
    case TENSOR_Q2_K:
        return (struct panel_kind){false, 16, PANEL_MINS_I16, 0, 3};
    case TENSOR_Q3_K:
        return (struct panel_kind){false, 16, PANEL_MINS_NONE, 4, 7};
    case TENSOR_Q6_K:
        return (struct panel_kind){false, 16, PANEL_MINS_NONE, 32, 63};
    case TENSOR_IQ4_XS:
        return (struct panel_kind){false, 32, PANEL_MINS_NONE, 128, 255};
    default: // the codebook types
        return (struct panel_kind){false, 16, PANEL_MINS_NONE, 128, 255};
    }
}

// A type's layout: the pieces of its block, in the order in which kernels come to need them, so that memory is read
// forwards. Together they are the whole block.
struct panel_type {
    size_t n_fields;
    struct {
        uint8_t from, size_bytes, unit_bytes; // of one output: first byte in the file's block, ..
    } fields[PANEL_FIELDS_MAX];
    uint8_t bits_at; // byte of 32 single bits that are sorted by input % 4, 0 = none
};

// NULL for types that are not interleaved: their panels are 16 rows of the file.
const struct panel_type *panel_type(enum tensor_type type);

// One panel from n_outs <= 16 rows of a file; the outputs past them are zero bytes.
void panel_pack(uint8_t *panel, const struct panel_type *p, enum tensor_type type, const uint8_t *rows,
                size_t row_bytes, size_t n_outs);

// The row of the file that output `out` of a panel was.
void panel_unpack_row(uint8_t *row, const struct panel_type *p, enum tensor_type type, const uint8_t *panel,
                      size_t row_bytes, size_t out);

// The scales and mins of 256 inputs of a panel.
struct panel_scales {
    float scales[16][PANEL_OUTS]; // of each group
    union {
        float m[8][PANEL_OUTS];
        int16_t mins[8][PANEL_OUTS][2]; // of each pair of groups
    };
    float d_min[PANEL_OUTS];
};

// y[n_rows, n_out] = x w^T + bias[n_out], or added to y, for the outputs of some panels.
struct panel_product {
    float *y;                  // rows y_stride floats apart
    const uint8_t *w;          // panels, panel_bytes apart
    const struct act_block *x; // [blocks of a row, x_stride]: block i of row r at i * x_stride + r
    size_t y_stride, panel_bytes, x_stride;
    size_t n_rows, n_out, n_in;
    const float *bias; // NULL = none
    bool add;
    void *scratch; // panel_scratch_bytes(n_rows), 64-byte aligned
};

struct panel_scratch {
    struct panel_scales scales[TILE_PANELS_MAX];
    uint8_t quants[TILE_PANELS_MAX][PANEL_N / 4][PANEL_OUTS][4]; // plus their offset
    float totals[];                                              // [n_rows, TILE_PANELS_MAX, PANEL_OUTS]
};

size_t panel_scratch_bytes(size_t n_rows);

// Blocks of a row of n values.
static inline size_t act_n_blocks(size_t n) {
    return n / PANEL_N + (n % PANEL_N != 0);
}

// Zeroed memory, in whole huge pages where the system gives them; NULL when there is none.
void *pages_map(size_t size_bytes);
void pages_unmap(void *p, size_t size_bytes);

// A mapping that the panels of several weights share: those of a small model are each less than a huge page.
struct panel_arena {
    uint8_t *data;
    size_t size_bytes, used_bytes;
    size_t n_users; // weights, and the backend while this is its newest
};

// Returns 64-byte aligned memory of *newest, which holds it until panels_give; where there is no room (or no arena yet)
// *newest becomes another. NULL when there is no memory.
void *panels_take(struct panel_arena **newest, size_t size_bytes);
void panels_give(struct panel_arena *a); // NULL is legal

#endif
