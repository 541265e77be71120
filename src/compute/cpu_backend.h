// What the files of the CPU backend share: its state, its weights and its scratch memory.
#ifndef COMPUTE_CPU_BACKEND_H
#define COMPUTE_CPU_BACKEND_H

#include "base/threads.h"
#include "compute/cpu_kernels.h"

// Below this many multiply-adds, waking the other threads costs more than they bring.
enum { CPU_SERIAL_MACS = 32 * 1024 };

// Making a value a byte costs about as much as this many multiply-adds.
enum { CPU_QUANTISE_MACS = 4 };

// Memory that grows to the largest size seen, so that a steady state allocates nothing.
struct cpu_scratch {
    void *data; // 64-byte aligned
    size_t size_bytes;
};

struct blas;

struct cpu {
    struct ops ops; // first: a struct ops * of this backend is a struct cpu *
    char name[16];
    struct cpu_kernels k;
    struct blas *blas; // NULL = none
    struct pool *pool;
    struct panel_arena *arena;          // the newest, NULL before the first
    struct cpu_scratch *thread_scratch; // [pool_n_threads]
    struct cpu_scratch activations;     // of one matmul, quantised
    struct cpu_scratch rope;            // see rope_table
    struct cpu_scratch experts;         // rows of one expert
    struct cpu_scratch attn;            // see struct attn_job
    size_t rope_rows, rope_pairs;       // what `rope` holds
    float rope_magnitude;
    const uint8_t *rope_axes;
};

struct weight {
    enum tensor_type type;
    enum weight_rows rows;
    size_t n_in, n_out;
    size_t n_stored; // n_in, with is_int8 up to a whole group: the rest is 0
    size_t row_bytes;
    const uint8_t *data;       // [n_out, n_in], borrowed; NULL once they are in panels
    bool is_int8;              // panels of cpu_int8.h, made of floats of `type`
    bool by_panels;            // products go through the panel kernels
    uint8_t *panels;           // the same interleaved (cpu_panels.h), NULL = the type is not
    struct panel_arena *arena; // that holds them
};

// Returns memory of at least size_bytes; what it held is lost when it grows.
void *cpu_scratch_get(struct cpu_scratch *s, size_t size_bytes);

// As above, for each thread of the pool.
void cpu_scratch_get_all(struct cpu *c, size_t size_bytes);

// Runs fn over the chunks: in the pool, or on the caller when the whole work is small.
void cpu_run(struct cpu *c, size_t n_chunks, size_t n_macs, pool_fn fn, void *ctx);

// cpu_matmul.c
struct weight *cpu_weight_create(struct ops *o, const struct tensor *t, enum weight_rows rows,
                                 struct err *err);
void cpu_weight_load(struct ops *o, struct weight *w);
void cpu_weight_release(struct ops *o, struct weight *w);
void cpu_matmul(struct ops *o, float *y, const struct weight *w, const float *bias, const float *x,
                size_t n_rows, bool add);
void cpu_matmul_many(struct ops *o, const struct product *products, size_t n, const float *x, size_t n_rows);
void cpu_get_rows(struct ops *o, float *y, const struct weight *w, const int32_t *ids, size_t n_rows);
// Memory for w's panels.
bool cpu_take_panels(struct cpu *c, struct weight *w, const struct tensor *t, struct err *err);
// y[n_in] = one row of a weight as f32.
void cpu_weight_row(const struct cpu *c, const struct weight *w, size_t row, float *y);

// cpu_int8.c
// Makes w, which describes floats, one of 8 bits. ERR_MODEL for values that cannot be.
bool cpu_int8_create(struct cpu *c, struct weight *w, const struct tensor *t, struct err *err);
// Of products with such weights of one n_in; n_rows > 0.
void cpu_int8_matmul(struct cpu *c, const struct product *products, size_t n, const float *x, size_t n_rows,
                     bool add);

// cpu_experts.c
void cpu_route(struct ops *o, const struct experts *e, const float *logits, size_t n_rows);
void cpu_matmul_experts(struct ops *o, float *y, struct weight *const *w, const struct experts *e,
                        const float *x, size_t n_rows, bool each);
void cpu_mix(struct ops *o, float *y, const struct experts *e, const float *x, size_t n_rows, size_t n);

// cpu_conv.c
void cpu_conv_rows(struct ops *o, float *y, const float *x, const float *w, const float *b,
                   const struct grid *grid, size_t n);

// cpu_attention.c
void cpu_attention(struct ops *o, const struct attn *a);

// cpu_attention_int8.c
// For kernels that have attn_int8, and heads of at most ATTN_INT8_DIM_MAX values.
void cpu_attention_int8(struct cpu *c, const struct attn *a);

// cpu_kv.c
struct kv_layout { // of a page: where in a kv head's bytes what lies
    size_t head_bytes;
    size_t v, k_scales, v_scales; // keys are at 0
};
struct kv_layout kv_layout_of(const struct kv_shape *shape);
size_t cpu_kv_page_bytes(struct ops *o, const struct kv_shape *shape);
void cpu_kv_write(struct ops *o, const struct kv_shape *shape, void *pages, size_t page_stride, size_t first,
                  const float *k, const float *v, size_t n_rows);

// cpu_blas.c
// Loads OpenBLAS with the kernels named (NULL = its own choice) and one thread; NULL when the machine has
// none. Changes the environment, so it must run before other threads read that.
struct blas *blas_open(const char *core);
void blas_close(struct blas *b);

// y[n_rows, n_out] = x[n_rows, n_in] w[n_out, n_in]^T, or added to y; y's rows are y_stride floats apart.
void blas_matmul(const struct blas *b, float *y, size_t y_stride, const float *w, const float *x,
                 size_t n_rows, size_t n_out, size_t n_in, bool add);

#endif
