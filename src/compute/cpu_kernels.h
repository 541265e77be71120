// The CPU's inner loops: one table of functions, filled by plain C (cpu_ref.c, the definition of right) and
// overridden by the instruction sets the machine has (cpu_avx2.c, then cpu_avx512.c).
//
// Every result is computed by itself: its value never depends on which rows or outputs stand beside it in
// the call, so callers may cut work anywhere.
#ifndef COMPUTE_CPU_KERNELS_H
#define COMPUTE_CPU_KERNELS_H

#include "compute/cpu_panels.h"
#include "compute/ops.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ATTN_KEYS = 64 }; // keys that attention takes at a time

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

// What a row of attention carries from one block of keys to the next.
struct softmax_row {
    float max; // of the scores so far; -INFINITY before the first block
    float sum; // of exp(score - max) so far
};

// acc[n_rows, n] = acc * decay[row] + p[n_rows, n_keys] v[n_keys, n]
struct attn_values {
    float *acc; // rows n floats apart
    const float *decay;
    const float *p; // rows p_stride floats apart
    const float *v; // rows v_stride floats apart
    size_t p_stride, v_stride;
    size_t n_rows, n_keys, n;
};

struct cpu_kernels {
    const char *name;
    const char *blas_core; // the OpenBLAS kernels that suit, NULL = its own choice

    void (*dot[TENSOR_TYPES])(const struct dot *d); // by the weight's type

    // The quantised types by panels, NULL in plain C, and up to 256 activations for them.
    void (*panels[TENSOR_TYPES])(const struct panel_product *p);
    void (*quantise_act)(struct act_block *a, const float *x, size_t n, const struct panel_kind *kind);

    void (*f32_to_f16)(uint16_t *y, const float *x, size_t n); // to nearest, ties to even
    void (*f16_to_f32)(float *y, const uint16_t *x, size_t n);

    void (*rms_norm)(float *y, const float *x, const float *w, float eps, size_t n);
    void (*layer_norm)(float *y, const float *x, const float *w, const float *b, float eps, size_t n);
    void (*activate)(float *y, const float *x, enum act act, size_t n); // y may be x
    void (*activate_mul)(float *y, const float *gate, const float *up, enum act act,
                         size_t n); // y may be either

    // Turns scores s[n_valid] into exp(s - new max) and the rest of s[ATTN_KEYS] into 0, updates r and
    // returns what the row's earlier sums must be multiplied by. n_valid >= 1.
    float (*softmax_block)(float *s, size_t n_valid, struct softmax_row *r);
    void (*attn_values)(const struct attn_values *a);
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
