// struct ops on the CPU: memory, the choice of kernels, and the operations that work row by row.
// Products with weights are in cpu_matmul.c, attention is in cpu_attention.c.
#include "base/mem.h"
#include "base/sizes.h"
#include "compute/cpu_backend.h"

#include <assert.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    ALIGNMENT = 64,
    MAP_FROM = 1 << 20, // bytes
    ROW_WORK = 8192,    // values of row-wise operations that make one chunk
    ACT_MACS = 8,       // an activation's value costs about as much as this many multiply-adds
    ROPE_MACS = 4,      // the same of a value that RoPE turns
};

static struct cpu *cpu_of(struct ops *o) {
    return (struct cpu *)o;
}

void *cpu_scratch_get(struct cpu_scratch *s, size_t size_bytes) {
    if (s->size_bytes < size_bytes) {
        free(s->data);
        s->size_bytes = (size_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        s->data = aligned_alloc(ALIGNMENT, s->size_bytes);
        if (!s->data) {
            fprintf(stderr, "out of memory: %zu bytes of scratch\n", s->size_bytes);
            abort();
        }
    }
    return s->data;
}

void cpu_scratch_get_all(struct cpu *c, size_t size_bytes) {
    for (size_t i = 0; i < pool_n_threads(c->pool); i++)
        cpu_scratch_get(&c->thread_scratch[i], size_bytes);
}

void cpu_run(struct cpu *c, size_t n_chunks, size_t n_macs, pool_fn fn, void *ctx) {
    if (n_macs > CPU_SERIAL_MACS) {
        pool_run(c->pool, n_chunks, fn, ctx);
        return;
    }
    for (size_t i = 0; i < n_chunks; i++)
        fn(ctx, i, 0);
}

// What stands before a block.
struct alloc_head {
    void *base;
    size_t mapped_bytes; // 0 = of the heap
};

// From MAP_FROM on in a mapping of huge pages, which cost a fault for each two megabytes, not for each four kilobytes:
// a picture's encode takes and gives back such a block every time. Both ways give zeroed memory whose pages are not
// touched, so a cache that is never filled costs none.
static void *cpu_alloc(struct ops *o, size_t size_bytes, struct err *err) {
    (void)o;
    struct alloc_head head = {0};
    size_t total;
    if (size_add(size_bytes, ALIGNMENT + sizeof head, &total)) {
        head.mapped_bytes = total < MAP_FROM ? 0 : total;
        head.base = head.mapped_bytes ? pages_map(total) : calloc(1, total);
    }
    if (!head.base) {
        err_set(err, ERR_NOMEM, "cpu: no memory for %zu bytes", size_bytes);
        return NULL;
    }
    char *p = (char *)head.base + sizeof head;
    p += (ALIGNMENT - (uintptr_t)p % ALIGNMENT) % ALIGNMENT;
    memcpy(p - sizeof head, &head, sizeof head);
    return p;
}

static void cpu_release(struct ops *o, void *p) {
    (void)o;
    if (!p)
        return;
    struct alloc_head head;
    memcpy(&head, (char *)p - sizeof head, sizeof head);
    if (head.mapped_bytes)
        pages_unmap(head.base, head.mapped_bytes);
    else
        free(head.base);
}

static void cpu_write(struct ops *o, void *dst, const void *host, size_t size_bytes) {
    (void)o;
    memcpy(dst, host, size_bytes);
}

static void cpu_read(struct ops *o, void *host, const void *src, size_t size_bytes) {
    (void)o;
    memcpy(host, src, size_bytes);
}

// One row-wise operation, cut into chunks of rows.
struct rows_job {
    const struct cpu_kernels *k;
    float *y;
    const float *x, *w, *b;
    float eps;
    size_t n_rows, n, rows_per_chunk;
    size_t group;              // mean_rows
    size_t y_stride, x_stride; // copy_rows
};

static size_t rows_per_chunk(size_t n) {
    return n < ROW_WORK ? ROW_WORK / (n ? n : 1) : 1;
}

static size_t n_chunks_of(size_t n, size_t per_chunk) {
    return n / per_chunk + (n % per_chunk != 0);
}

static void rms_norm_chunk(void *ctx, size_t chunk, size_t thread) {
    (void)thread;
    const struct rows_job *j = ctx;
    size_t end = size_min((chunk + 1) * j->rows_per_chunk, j->n_rows);
    for (size_t r = chunk * j->rows_per_chunk; r < end; r++)
        j->k->rms_norm(j->y + r * j->n, j->x + r * j->n, j->w, j->eps, j->n);
}

static void cpu_rms_norm(struct ops *o, float *y, const float *x, const float *w, float eps, size_t n_rows,
                         size_t n) {
    struct cpu *c = cpu_of(o);
    struct rows_job j = {.k = &c->k, .y = y, .x = x, .w = w, .eps = eps, .n_rows = n_rows, .n = n};
    j.rows_per_chunk = rows_per_chunk(n);
    cpu_run(c, n_chunks_of(n_rows, j.rows_per_chunk), n_rows * n, rms_norm_chunk, &j);
}

static void layer_norm_chunk(void *ctx, size_t chunk, size_t thread) {
    (void)thread;
    const struct rows_job *j = ctx;
    size_t end = size_min((chunk + 1) * j->rows_per_chunk, j->n_rows);
    for (size_t r = chunk * j->rows_per_chunk; r < end; r++)
        j->k->layer_norm(j->y + r * j->n, j->x + r * j->n, j->w, j->b, j->eps, j->n);
}

static void cpu_layer_norm(struct ops *o, float *y, const float *x, const float *w, const float *b, float eps,
                           size_t n_rows, size_t n) {
    struct cpu *c = cpu_of(o);
    struct rows_job j = {.k = &c->k, .y = y, .x = x, .w = w, .b = b, .eps = eps, .n_rows = n_rows, .n = n};
    j.rows_per_chunk = rows_per_chunk(n);
    cpu_run(c, n_chunks_of(n_rows, j.rows_per_chunk), n_rows * n, layer_norm_chunk, &j);
}

struct heads_job {
    const struct cpu_kernels *k;
    float *x;
    const float *w, *b;
    float eps;
    size_t n_head, head_dim;
};

static void layer_norm_heads_row(void *ctx, size_t row, size_t thread) {
    (void)thread;
    const struct heads_job *j = ctx;
    for (size_t h = 0; h < j->n_head; h++) {
        float *x = j->x + (row * j->n_head + h) * j->head_dim;
        j->k->layer_norm(x, x, j->w + h * j->head_dim, j->b + h * j->head_dim, j->eps, j->head_dim);
    }
}

static void cpu_layer_norm_heads(struct ops *o, float *x, const float *w, const float *b, float eps,
                                 size_t n_rows, size_t n_head, size_t head_dim) {
    struct cpu *c = cpu_of(o);
    struct heads_job j = {&c->k, x, w, b, eps, n_head, head_dim};
    cpu_run(c, n_rows, n_rows * n_head * head_dim, layer_norm_heads_row, &j);
}

static void copy_chunk(void *ctx, size_t chunk, size_t thread) {
    (void)thread;
    const struct rows_job *j = ctx;
    size_t end = size_min((chunk + 1) * j->rows_per_chunk, j->n_rows);
    for (size_t r = chunk * j->rows_per_chunk; r < end; r++)
        memcpy(j->y + r * j->y_stride, j->x + r * j->x_stride, j->n * sizeof(float));
}

static void cpu_copy_rows(struct ops *o, float *dst, size_t dst_stride, const float *src, size_t src_stride,
                          size_t n_rows, size_t n) {
    struct rows_job j = {
        .y = dst, .x = src, .y_stride = dst_stride, .x_stride = src_stride, .n_rows = n_rows};
    j.n = n;
    j.rows_per_chunk = rows_per_chunk(n);
    cpu_run(cpu_of(o), n_chunks_of(n_rows, j.rows_per_chunk), n_rows * n, copy_chunk, &j);
}

// Element-wise operations over n values.
struct values_job {
    const struct cpu_kernels *k;
    float *y;
    const float *x, *up; // up NULL: no second factor
    enum act act;
    size_t n;
};

static void activate_chunk(void *ctx, size_t chunk, size_t thread) {
    (void)thread;
    const struct values_job *j = ctx;
    size_t at = chunk * ROW_WORK, n = size_min(ROW_WORK, j->n - at);
    if (j->up)
        j->k->activate_mul(j->y + at, j->x + at, j->up + at, j->act, n);
    else
        j->k->activate(j->y + at, j->x + at, j->act, n);
}

static void cpu_activate(struct ops *o, float *x, enum act act, size_t n) {
    struct cpu *c = cpu_of(o);
    struct values_job j = {.k = &c->k, .y = x, .x = x, .act = act, .n = n};
    cpu_run(c, n_chunks_of(n, ROW_WORK), n * ACT_MACS, activate_chunk, &j);
}

static void cpu_activate_mul(struct ops *o, float *y, const float *gate, const float *up, enum act act,
                             size_t n) {
    struct cpu *c = cpu_of(o);
    struct values_job j = {.k = &c->k, .y = y, .x = gate, .up = up, .act = act, .n = n};
    cpu_run(c, n_chunks_of(n, ROW_WORK), n * ACT_MACS, activate_chunk, &j);
}

static void add_chunk(void *ctx, size_t chunk, size_t thread) {
    (void)thread;
    const struct values_job *j = ctx;
    size_t end = size_min((chunk + 1) * ROW_WORK, j->n);
    for (size_t i = chunk * ROW_WORK; i < end; i++)
        j->y[i] += j->x[i];
}

static void cpu_add(struct ops *o, float *y, const float *x, size_t n) {
    struct values_job j = {.y = y, .x = x, .n = n};
    cpu_run(cpu_of(o), n_chunks_of(n, ROW_WORK), n, add_chunk, &j);
}

struct scale_job {
    float *x;
    float factor;
    size_t n;
};

static void scale_chunk(void *ctx, size_t chunk, size_t thread) {
    (void)thread;
    const struct scale_job *j = ctx;
    size_t end = size_min((chunk + 1) * ROW_WORK, j->n);
    for (size_t i = chunk * ROW_WORK; i < end; i++)
        j->x[i] *= j->factor;
}

static void cpu_scale(struct ops *o, float *x, float factor, size_t n) {
    struct scale_job j = {x, factor, n};
    cpu_run(cpu_of(o), n_chunks_of(n, ROW_WORK), n, scale_chunk, &j);
}

static void soft_cap_chunk(void *ctx, size_t chunk, size_t thread) {
    (void)thread;
    const struct scale_job *j = ctx;
    size_t end = size_min((chunk + 1) * ROW_WORK, j->n);
    for (size_t i = chunk * ROW_WORK; i < end; i++)
        j->x[i] = j->factor * tanhf(j->x[i] / j->factor);
}

static void cpu_soft_cap(struct ops *o, float *x, float cap, size_t n) {
    struct scale_job j = {x, cap, n};
    cpu_run(cpu_of(o), n_chunks_of(n, ROW_WORK), n * ACT_MACS, soft_cap_chunk, &j);
}

static void mul_rows_chunk(void *ctx, size_t chunk, size_t thread) {
    (void)thread;
    const struct rows_job *j = ctx;
    size_t end = size_min((chunk + 1) * j->rows_per_chunk, j->n_rows);
    for (size_t r = chunk * j->rows_per_chunk; r < end; r++)
        for (size_t i = 0; i < j->n; i++)
            j->y[r * j->n + i] *= j->w[i];
}

static void cpu_mul_rows(struct ops *o, float *x, const float *w, size_t n_rows, size_t n) {
    struct rows_job j = {.y = x, .w = w, .n_rows = n_rows, .n = n, .rows_per_chunk = rows_per_chunk(n)};
    cpu_run(cpu_of(o), n_chunks_of(n_rows, j.rows_per_chunk), n_rows * n, mul_rows_chunk, &j);
}

static void mean_rows_chunk(void *ctx, size_t chunk, size_t thread) {
    (void)thread;
    const struct rows_job *j = ctx;
    size_t end = size_min((chunk + 1) * j->rows_per_chunk, j->n_rows);
    for (size_t r = chunk * j->rows_per_chunk; r < end; r++) {
        float *y = j->y + r * j->n;
        memcpy(y, j->x + r * j->group * j->n, j->n * sizeof *y);
        for (size_t g = 1; g < j->group; g++)
            for (size_t i = 0; i < j->n; i++)
                y[i] += j->x[(r * j->group + g) * j->n + i];
        for (size_t i = 0; i < j->n; i++)
            y[i] /= (float)j->group;
    }
}

static void cpu_mean_rows(struct ops *o, float *y, const float *x, size_t group, size_t n_rows, size_t n) {
    struct rows_job j = {.y = y, .x = x, .group = group, .n_rows = n_rows, .n = n};
    j.rows_per_chunk = rows_per_chunk(n * group);
    cpu_run(cpu_of(o), n_chunks_of(n_rows, j.rows_per_chunk), n_rows * group * n, mean_rows_chunk, &j);
}

// [n_rows, n_pairs] (cos, sin), computed in double: the angle of a late position has few bits left in f32.
// Every layer rotates queries and keys by the same angles, so the last table is kept with its inputs.
static const float *rope_table(struct cpu *c, const int32_t *positions, const struct rope *rope,
                               size_t n_rows) {
    const float *freqs = rope->freqs;
    size_t n_pairs = rope->n_rot / 2, n_axes = rope->n_axes ? rope->n_axes : 1;
    size_t table_size = n_rows * n_pairs * 2 * sizeof(float);
    size_t positions_size = n_rows * n_axes * sizeof *positions, freqs_size = n_pairs * sizeof *freqs;
    bool same_shape = c->rope_rows == n_rows && c->rope_pairs == n_pairs &&
                      c->rope_magnitude == rope->magnitude && c->rope_axes == rope->axes;
    float *table = cpu_scratch_get(&c->rope, table_size + positions_size + freqs_size);
    char *kept_positions = (char *)table + table_size, *kept_freqs = kept_positions + positions_size;
    if (same_shape && memcmp(kept_positions, positions, positions_size) == 0 &&
        memcmp(kept_freqs, freqs, freqs_size) == 0)
        return table;
    for (size_t r = 0; r < n_rows; r++)
        for (size_t i = 0; i < n_pairs; i++) {
            size_t axis = rope->axes ? rope->axes[i] : 0;
            double angle = (double)positions[r * n_axes + axis] * (double)freqs[i];
            table[(r * n_pairs + i) * 2] = (float)(cos(angle) * (double)rope->magnitude);
            table[(r * n_pairs + i) * 2 + 1] = (float)(sin(angle) * (double)rope->magnitude);
        }
    memcpy(kept_positions, positions, positions_size);
    memcpy(kept_freqs, freqs, freqs_size);
    c->rope_rows = n_rows;
    c->rope_pairs = n_pairs;
    c->rope_magnitude = rope->magnitude;
    c->rope_axes = rope->axes;
    return table;
}

struct rope_job {
    float *x;
    const float *table;
    size_t stride, n_rows, n_head, head_dim, n_pairs, rows_per_chunk;
    size_t pair_stride, partner; // pair i is x[i * pair_stride], x[i * pair_stride + partner]
};

static void rope_chunk(void *ctx, size_t chunk, size_t thread) {
    (void)thread;
    const struct rope_job *j = ctx;
    size_t end = size_min((chunk + 1) * j->rows_per_chunk, j->n_rows);
    for (size_t r = chunk * j->rows_per_chunk; r < end; r++) {
        const float *table = j->table + r * j->n_pairs * 2;
        for (size_t h = 0; h < j->n_head; h++) {
            float *x = j->x + r * j->stride + h * j->head_dim;
            for (size_t i = 0; i < j->n_pairs; i++) {
                float cos_ = table[2 * i], sin_ = table[2 * i + 1];
                float *first = x + i * j->pair_stride, *second = first + j->partner;
                float a = *first, b = *second;
                *first = a * cos_ - b * sin_;
                *second = a * sin_ + b * cos_;
            }
        }
    }
}

static void cpu_rope(struct ops *o, float *x, size_t stride, const int32_t *positions,
                     const struct rope *rope, size_t n_rows, size_t n_head, size_t head_dim) {
    size_t n_rot = rope->n_rot;
    assert(n_rot % 2 == 0 && n_rot <= head_dim);
    if (n_rows == 0 || n_rot == 0)
        return;
    struct cpu *c = cpu_of(o);
    struct rope_job j = {.x = x,
                         .table = rope_table(c, positions, rope, n_rows),
                         .stride = stride,
                         .n_rows = n_rows,
                         .n_head = n_head,
                         .head_dim = head_dim,
                         .n_pairs = n_rot / 2,
                         .rows_per_chunk = rows_per_chunk(n_head * head_dim),
                         .pair_stride = rope->halves ? 1 : 2,
                         .partner = rope->halves ? n_rot / 2 : 1};
    cpu_run(c, n_chunks_of(n_rows, j.rows_per_chunk), n_rows * n_head * n_rot * ROPE_MACS, rope_chunk, &j);
}

static void cpu_close(struct ops *o) {
    if (!o)
        return;
    struct cpu *c = cpu_of(o);
    for (size_t i = 0; i < pool_n_threads(c->pool); i++)
        free(c->thread_scratch[i].data);
    free(c->thread_scratch);
    free(c->activations.data);
    free(c->rope.data);
    free(c->experts.data);
    free(c->attn.data);
    panels_give(c->arena);
    pool_destroy(c->pool);
    blas_close(c->blas);
    free(c);
}

#if defined(__x86_64__)
static bool machine_has_avx2(void) {
    unsigned eax, ebx, ecx, edx; // F16C from CPUID itself: clang's builtin does not know it
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_F16C);
}

static bool machine_has_avx512(void) {
    return machine_has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni");
}
#endif

// isa NULL = the best of this machine.
static bool choose_kernels(struct cpu_kernels *k, const char *isa, struct err *err) {
    bool known = !isa || strcmp(isa, "ref") == 0 || strcmp(isa, "avx2") == 0 || strcmp(isa, "avx512") == 0;
    if (!known)
        return err_set(err, ERR_INVALID_VALUE, "cpu: instruction set \"%s\", want ref, avx2 or avx512", isa);
    cpu_kernels_ref(k);
#if defined(__x86_64__)
    if (machine_has_avx2() && (!isa || strcmp(isa, "ref") != 0))
        cpu_kernels_avx2(k);
    if (machine_has_avx512() && (!isa || strcmp(isa, "avx512") == 0))
        cpu_kernels_avx512(k);
#endif
    if (isa && strcmp(k->name, isa) != 0)
        return err_set(err, ERR_INVALID_VALUE, "cpu: instruction set %s is not in this machine", isa);
    return true;
}

struct ops *cpu_open(const struct cpu_options *options, struct err *err) {
    const char *isa = options->isa ? options->isa : getenv("OCELLUS_CPU");
    if (isa && !*isa)
        isa = NULL;
    struct cpu_kernels kernels;
    if (!choose_kernels(&kernels, isa, err))
        return NULL;
    struct cpu *c = xcalloc(1, sizeof *c);
    c->k = kernels;
    snprintf(c->name, sizeof c->name, "cpu %s", kernels.name);
    // Who asks for the reference wants plain C everywhere.
    if (!isa || strcmp(isa, "ref") != 0)
        c->blas = blas_open(kernels.blas_core);
    c->pool = pool_create(options->n_threads);
    c->thread_scratch = xcalloc(pool_n_threads(c->pool), sizeof *c->thread_scratch);
    c->ops = (struct ops){
        .name = c->name,
        .alloc = cpu_alloc,
        .release = cpu_release,
        .write = cpu_write,
        .read = cpu_read,
        .weight_create = cpu_weight_create,
        .weight_load = cpu_weight_load,
        .weight_release = cpu_weight_release,
        .matmul = cpu_matmul,
        .matmul_many = cpu_matmul_many,
        .get_rows = cpu_get_rows,
        .rms_norm = cpu_rms_norm,
        .layer_norm = cpu_layer_norm,
        .layer_norm_heads = cpu_layer_norm_heads,
        .rope = cpu_rope,
        .copy_rows = cpu_copy_rows,
        .kv_page_bytes = cpu_kv_page_bytes,
        .kv_write = cpu_kv_write,
        .attention = cpu_attention,
        .route = cpu_route,
        .matmul_experts = cpu_matmul_experts,
        .mix = cpu_mix,
        .activate = cpu_activate,
        .activate_mul = cpu_activate_mul,
        .add = cpu_add,
        .scale = cpu_scale,
        .soft_cap = cpu_soft_cap,
        .mul_rows = cpu_mul_rows,
        .mean_rows = cpu_mean_rows,
        .conv_rows = cpu_conv_rows,
        .close = cpu_close,
    };
    return &c->ops;
}

struct pool *cpu_pool(struct ops *o) {
    return cpu_of(o)->pool;
}
