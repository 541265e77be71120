// The whole vocabulary that models speak. vision/ and llm/ are written once against struct ops; the CPU
// fills it now, Vulkan later.
//
// Pointers to tensors are addresses in the backend's memory: models may add offsets to them but never read
// or write through them; `read` and `write` copy between host and backend. All calls come from one thread
// (the inference thread) and have happened, or are ordered before the next call, when they return.
//
// Determinism: for a weight opened with WEIGHT_ROWS_ANY or _INT8, and for every other operation, a row's result does
// not depend on n_rows, on the other rows, on the number of threads or on how work was split.
#ifndef COMPUTE_OPS_H
#define COMPUTE_OPS_H

#include "compute/tensor.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ops;
struct weight; // a matrix [n_out, n_in] in a layout of the backend's own

enum weight_rows {
    WEIGHT_ROWS_ANY,   // language model: rows come in any number and must not see each other
    WEIGHT_ROWS_NONE,  // only looked up by get_rows
    WEIGHT_ROWS_FIXED, // vision: the shape is always the same, so a BLAS may round as it likes
    WEIGHT_ROWS_INT8,  // as ANY, with the weights in 8 bits whatever their type: faster, a little less exact
};

enum act {
    ACT_GELU,         // 0.5 x (1 + erf(x / sqrt 2))
    ACT_GELU_TANH,    // 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
    ACT_GELU_QUICK,   // x sigmoid(1.702 x)
    ACT_SILU,         // x sigmoid(x)
    ACT_RELU,         // max(x, 0)
    ACT_HARD_SIGMOID, // min(max(x + 3, 0), 6) / 6
    ACT_HARD_SWISH,   // x times that
};

// One run of queries that share keys and values: a sequence of the language model, or a whole image.
struct attn_part {
    const float *q;     // [n_rows, n_head, head_dim] f32, rows q_stride floats apart
    float *out;         // [n_rows, n_head, head_dim] f32, rows out_stride floats apart
    const float *k, *v; // [n_keys, n_head_kv, head_dim] f32, rows kv_stride floats apart, or NULL:
    const void *pages;  // keys and values in pages of kv_type, page_stride bytes apart
    size_t q_stride, out_stride, kv_stride, page_stride;
    size_t n_rows;
    size_t n_keys; // causal: keys before the first row + n_rows
    bool causal;   // row i sees keys 0 .. n_keys - n_rows + i, else all keys
                   // (with a window: those of the part's own rows, and before them what the window holds)
};

struct attn {
    size_t n_head, n_head_kv, head_dim; // n_head is a multiple of n_head_kv
    enum tensor_type kv_type;           // of pages
    float scale;                        // applied to q . k before the softmax
    const struct attn_part *parts;      // host memory
    size_t n_parts;
    float soft_cap; // 0 = off: scores s become soft_cap tanh(s / soft_cap)
    size_t window;  // 0 = off: of the keys up to its own a row sees the last `window` ones
    size_t n_ctx;   // the most keys that a part will ever have: memory to split the keys of one row between
                    // threads is taken for these at once; 0 = no row is split
    bool int8;      // products may be in 8 bits: of f32 keys that all rows see, no groups of heads, no cap
};

// Keys and values of KV_PAGE positions of one layer, in a layout of the backend's own.
enum { KV_PAGE = 64 };

struct kv_shape {
    enum tensor_type type; // TENSOR_F32, TENSOR_F16, or TENSOR_Q8_0: head_dim is a multiple of 32 then
    size_t n_head_kv, head_dim;
};

// How the heads of queries and keys are rotated.
struct rope {
    const float *freqs;  // [n_rot / 2] host memory: angle of a pair for each position
    size_t n_rot;        // values of a head that are rotated, from its first on; even
    bool halves;         // pairs are (i, i + n_rot / 2), else (2i, 2i + 1)
    float magnitude;     // of the rotated pairs, 1 but for YaRN and LongRoPE
    size_t n_axes;       // positions of a row; 0 and 1: one
    const uint8_t *axes; // [n_rot / 2] host memory: which of them turns each pair; NULL with one axis
};

// Grids of rows: row y n_cols + x of a grid is what stands in line y and column x.
struct grid {
    size_t n_grids, n_lines, n_cols;
    size_t stride; // 1, or 2: every second line and column is computed, from the first on
};

// Which experts of a mixture each row takes. Memory of the backend.
struct experts {
    int32_t *ids;   // [n_rows, n_used], each < n_expert, none twice in a row
    float *weights; // [n_rows, n_used] f32, what each counts
    size_t n_expert, n_used;
};

// One of several products with the same rows.
struct product {
    float *y; // [n_rows, n_out]
    const struct weight *w;
    const float *bias; // [n_out], NULL = none
};

enum { PRODUCTS_MAX = 3 };

struct ops {
    const char *name; // "cpu avx512", ...

    // Memory of the backend, 64-byte aligned, zeroed; NULL with ERR_NOMEM.
    void *(*alloc)(struct ops *o, size_t size_bytes, struct err *err);
    void (*release)(struct ops *o, void *p); // NULL is legal
    void (*write)(struct ops *o, void *dst, const void *host, size_t size_bytes);
    void (*read)(struct ops *o, void *host, const void *src, size_t size_bytes);

    // Returns new weight for a tensor [n_out, n_in] (further dimensions are folded into n_in when they are
    // inner, as in a patch embedding: n_in = product of all ne but the last). Borrows t->data until released.
    // A weight belongs to the backend that made it. Its values are read by weight_load; those of
    // WEIGHT_ROWS_INT8 at once.
    struct weight *(*weight_create)(struct ops *o, const struct tensor *t, enum weight_rows rows,
                                    struct err *err);
    // Once for each weight, before its first use and not in the token loop: values may be copied, and then
    // nothing is borrowed any more (weight_memory).
    void (*weight_load)(struct ops *o, struct weight *w);
    void (*weight_release)(struct ops *o, struct weight *w); // NULL is legal

    // y[n_rows, n_out] = x[n_rows, n_in] w^T + bias[n_out]; bias may be NULL. y and x must not overlap.
    // With `add`, the product is added to what y holds (a residual connection).
    void (*matmul)(struct ops *o, float *y, const struct weight *w, const float *bias, const float *x,
                   size_t n_rows, bool add);
    // The same for n <= PRODUCTS_MAX weights of one n_in, none added: as n calls of matmul, bit by bit, but x is
    // prepared once and all are worked together.
    void (*matmul_many)(struct ops *o, const struct product *products, size_t n, const float *x,
                        size_t n_rows);

    // y[n_rows, n_in] = rows ids[i] of w as f32. ids: host memory, each < n_out.
    void (*get_rows)(struct ops *o, float *y, const struct weight *w, const int32_t *ids, size_t n_rows);

    // y = x / sqrt(mean(x^2) + eps) * w, per row of n. y may be x.
    void (*rms_norm)(struct ops *o, float *y, const float *x, const float *w, float eps, size_t n_rows,
                     size_t n);
    // y = (x - mean) / sqrt(var + eps) * w + b, per row of n. y may be x.
    void (*layer_norm)(struct ops *o, float *y, const float *x, const float *w, const float *b, float eps,
                       size_t n_rows, size_t n);

    // The same for each head of x[n_rows, n_head, head_dim] in place, w and b [n_head, head_dim].
    void (*layer_norm_heads)(struct ops *o, float *x, const float *w, const float *b, float eps,
                             size_t n_rows, size_t n_head, size_t head_dim);

    // Rotates in place the heads of x[n_rows, n_head, head_dim] (rows `stride` floats apart): pair i by the
    // angle positions[row, axes[i]] * freqs[i]. positions: [n_rows, n_axes], host memory.
    void (*rope)(struct ops *o, float *x, size_t stride, const int32_t *positions, const struct rope *rope,
                 size_t n_rows, size_t n_head, size_t head_dim);

    // dst rows = src rows [n_rows, n]; strides in floats.
    void (*copy_rows)(struct ops *o, float *dst, size_t dst_stride, const float *src, size_t src_stride,
                      size_t n_rows, size_t n);

    // Bytes of a page, a multiple of 64. It lies at such an address.
    size_t (*kv_page_bytes)(struct ops *o, const struct kv_shape *shape);
    // Stores k, v [n_rows, n_head_kv, head_dim] f32 as positions `first` and following of pages that lie
    // page_stride bytes apart: position p is in page p / KV_PAGE.
    void (*kv_write)(struct ops *o, const struct kv_shape *shape, void *pages, size_t page_stride,
                     size_t first, const float *k, const float *v, size_t n_rows);

    // out = softmax(scale q k^T, masked) v for each part; head h uses kv head h / (n_head / n_head_kv).
    void (*attention)(struct ops *o, const struct attn *a);

    // Fills e->ids with the n_used largest of each row of logits[n_rows, n_expert], the larger first, of equal
    // ones the first; e->weights with the softmax over those.
    void (*route)(struct ops *o, const struct experts *e, const float *logits, size_t n_rows);
    // y[n_rows, n_used, n_out] = x w[id]^T for the experts of each row; w: [n_expert] of one shape, host memory.
    // x[n_rows, n_in], with `each` [n_rows, n_used, n_in].
    void (*matmul_experts)(struct ops *o, float *y, struct weight *const *w, const struct experts *e,
                           const float *x, size_t n_rows, bool each);
    // y[n_rows, n] = sum over a row's experts of their weight times x[n_rows, n_used, n].
    void (*mix)(struct ops *o, float *y, const struct experts *e, const float *x, size_t n_rows, size_t n);

    // In place; y = act(gate) up; y += x; x *= factor; x = cap tanh(x / cap).
    void (*activate)(struct ops *o, float *x, enum act act, size_t n);
    void (*activate_mul)(struct ops *o, float *y, const float *gate, const float *up, enum act act, size_t n);
    void (*add)(struct ops *o, float *y, const float *x, size_t n);
    void (*scale)(struct ops *o, float *x, float factor, size_t n);
    void (*soft_cap)(struct ops *o, float *x, float cap, size_t n);
    // In place: each row of x[n_rows, n] times w[n], value by value.
    void (*mul_rows)(struct ops *o, float *x, const float *w, size_t n_rows, size_t n);
    // y[n_rows, n] = means of group rows each of x[n_rows * group, n].
    void (*mean_rows)(struct ops *o, float *y, const float *x, size_t group, size_t n_rows, size_t n);
    // A depthwise convolution of 3 x 3: each row of y is the sum of its neighbours in x[n_grids, n_lines,
    // n_cols, n] and its own, each times w[3, 3, n] value by value, plus b[n] (may be NULL); beyond the edges
    // is 0. y[n_grids, ceil(n_lines / stride), ceil(n_cols / stride), n] must not overlap x.
    void (*conv_rows)(struct ops *o, float *y, const float *x, const float *w, const float *b,
                      const struct grid *grid, size_t n);

    void (*close)(struct ops *o);
};

// Element counts of a weight.
size_t weight_n_in(const struct weight *w);
size_t weight_n_out(const struct weight *w);
// The host memory that it is read from: its tensor's data, or what it made of them; NULL with 0 bytes: none.
const void *weight_memory(const struct weight *w, size_t *size_bytes);
// What one product reads of it, and whether its multiply-adds are of bytes (or of floats).
size_t weight_read_bytes(const struct weight *w);
bool weight_is_int8(const struct weight *w);

struct cpu_options {
    size_t n_threads; // 0 = one a processor
    const char *isa; // "ref", "avx2", "avx512"; NULL = OCELLUS_CPU of the environment, else the best there is
};

// Returns new backend; ERR_INVALID_VALUE when the machine lacks the instruction set asked for.
struct ops *cpu_open(const struct cpu_options *options, struct err *err);
struct pool *cpu_pool(struct ops *o); // its threads, for work between operations; borrowed

// What all threads together can do at most with the instruction set in use.
struct cpu_limits {
    size_t n_threads;
    double read_gbps;  // of memory
    double int8_gmacs; // multiply-adds of bytes to 32 bits, on registers
    double f32_gflops; // two for each fused multiply-add, on registers
    double f16_gflops; // the same in f16 arithmetic (AVX512-FP16); 0 = the machine or the set has none
};

// Measures them, in about a second. ERR_NOMEM without room for a buffer larger than the caches.
bool cpu_measure_limits(struct ops *o, struct cpu_limits *out, struct err *err);

#endif
