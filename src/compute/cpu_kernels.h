// The CPU's inner loops: one table of functions, filled by plain C (cpu_ref.c, the definition of right) and
// overridden by the instruction sets the machine has (cpu_avx2.c, then cpu_avx512.c).
//
// Every result is computed by itself: its value never depends on which rows or outputs stand beside it in
// the call, so callers may cut work anywhere.
#ifndef COMPUTE_CPU_KERNELS_H
#define COMPUTE_CPU_KERNELS_H

#include "compute/cpu_int8.h"
#include "compute/cpu_panels.h"
#include "compute/ops.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ATTN_KEYS = KV_PAGE, // keys that attention takes at a time
    ATTN_ROWS = 6,       // queries of a tile
    ATTN_ROWS_MAX = 24,  // queries of one call
    ATTN_PAD = 16,       // its rows of values are filled up to a multiple of this many
    ATTN_INT8_DIM_MAX = 256,
};

static inline size_t attn_pad(size_t head_dim) {
    return (head_dim + ATTN_PAD - 1) / ATTN_PAD * ATTN_PAD;
}

// y[n_rows, n_out] = x[n_rows, n_in] w[n_out, n_in]^T + bias[n_out], or added to y.
struct dot {
    float *y;         // rows y_stride floats apart
    const uint8_t *w; // of the weight's type, rows w_stride bytes apart
    const uint8_t *x; // f32, for quantised weights the type's 8-bit activations; rows x_stride bytes apart
    size_t y_stride, w_stride, x_stride;
    size_t n_rows, n_out, n_in;
    const float *bias; // NULL = none
    bool add;
};

// The keys or values of a block, as a page of the KV cache holds them: f32, f16, or (TENSOR_Q8_0) bytes, of which
// each 32 values of a key share a factor.
struct attn_block {
    enum tensor_type type;
    const void *x;       // keys [head_dim, ATTN_KEYS], values [n_keys, n]
    const float *scales; // of bytes: of keys [head_dim / 32, ATTN_KEYS], of values [n_keys, n / 32]
};

// s[n_rows, ATTN_KEYS] = q[n_rows, head_dim] k[head_dim, ATTN_KEYS], at least the first n_keys of each row
struct attn_scores {
    float *s;
    const float *q;
    struct attn_block k;
    size_t n_rows, n_keys, head_dim;
};

// Turns the scores of a block of keys that begins with first_key into exp(score - max), those that a row does
// not see into 0. Each row sees at least one.
struct attn_softmax {
    float *s;                  // [n_rows, ATTN_KEYS]
    const size_t *begin, *end; // [n_rows]: of all keys, what each row sees
    size_t first_key;
    float *max;   // [n_rows] of a row's scores so far; -INFINITY before the first block
    float *sum;   // [n_rows] of exp(score - max) so far
    float *decay; // [n_rows] gets what a row's earlier values must be multiplied by
    size_t n_rows;
    float soft_cap; // 0 = off
};

// acc[n_rows, n] = acc * decay[row] + p[n_rows, n_keys] v[n_keys, n]
struct attn_values {
    float *acc;
    const float *decay;
    const float *p; // rows ATTN_KEYS floats apart
    struct attn_block v;
    size_t n_rows, n_keys;
    size_t n; // a multiple of ATTN_PAD
};

// out = softmax(scale q k^T) v for one head: q and out [n_rows, head_dim], k and v [n_keys, head_dim] f32
struct attn_int8 {
    const float *q, *k, *v;
    float *out;
    size_t q_stride, kv_stride, out_stride; // floats
    size_t n_rows, n_keys, head_dim;        // head_dim <= ATTN_INT8_DIM_MAX
    float scale;
    void *scratch; // 64-byte aligned
};

struct cpu_kernels {
    const char *name;
    const char *blas_core; // the OpenBLAS kernels that suit, NULL = its own choice

    void (*dot[TENSOR_TYPES])(const struct dot *d); // by the weight's type

    // The quantised types by panels, NULL in plain C, and up to 256 activations for them.
    void (*panels[TENSOR_TYPES])(const struct panel_product *p);
    void (*quantise_act)(struct act_block *a, const float *x, size_t n, const struct panel_kind *kind);

    // Float weights in 8 bits: quant_i8 of whole groups and the sum of the qs, and the product.
    float (*int8_quantise)(int8_t *qs, const float *x, size_t n, int *sum);
    void (*int8_product)(const struct int8_product *p);

    void (*f32_to_f16)(uint16_t *y, const float *x, size_t n); // to nearest, ties to even
    void (*f16_to_f32)(float *y, const uint16_t *x, size_t n);

    void (*rms_norm)(float *y, const float *x, const float *w, float eps, size_t n);
    void (*layer_norm)(float *y, const float *x, const float *w, const float *b, float eps, size_t n);
    void (*activate)(float *y, const float *x, enum act act, size_t n); // y may be x
    void (*activate_mul)(float *y, const float *gate, const float *up, enum act act,
                         size_t n); // y may be either

    // kt[head_dim, ATTN_KEYS] from k[n_keys, head_dim], rows `stride` floats apart; what is past n_keys up to a
    // whole vector becomes 0, the rest is left.
    void (*attn_turn)(float *kt, const float *k, size_t stride, size_t n_keys, size_t head_dim);
    // A block of n_keys as f32: y[head_dim, ATTN_KEYS] of keys, y[n_keys, n] of values.
    void (*attn_keys)(float *y, const struct attn_block *k, size_t n_keys, size_t head_dim);
    void (*attn_rows)(float *y, const struct attn_block *v, size_t n_keys, size_t n);
    void (*attn_scores)(const struct attn_scores *a);
    void (*attn_softmax)(const struct attn_softmax *a);
    void (*attn_values)(const struct attn_values *a);

    // Attention in 8 bits; NULL = done in floats.
    void (*attn_int8)(const struct attn_int8 *a);
    size_t (*attn_int8_scratch)(size_t n_keys, size_t head_dim); // bytes

    // Measuring (cpu_limits.c): multiply-adds on registers alone, returning how many; limit_f16 NULL = none such.
    // limit_read only reads; size_bytes is a multiple of 512.
    size_t (*limit_int8)(size_t n_steps);
    size_t (*limit_f32)(size_t n_steps);
    size_t (*limit_f16)(size_t n_steps);
    void (*limit_read)(const void *p, size_t size_bytes);
};

void cpu_kernels_ref(struct cpu_kernels *k);
#if defined(__x86_64__)
void cpu_kernels_avx2(struct cpu_kernels *k);   // over ref
void cpu_kernels_avx512(struct cpu_kernels *k); // over avx2
#endif

// The one place where a dot product's value meets bias and residual, so that all kernels round alike.
static inline void dot_store(const struct dot *d, size_t row, size_t out, float value) {
    float *y = d->y + row * d->y_stride + out;
    if (d->bias)
        value += d->bias[out];
    *y = d->add ? *y + value : value;
}

#endif
