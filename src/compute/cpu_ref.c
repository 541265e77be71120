// The CPU's inner loops in plain C: the definition of right. Sums are in double, so that every faster
// kernel is measured against a value nearer to the truth than its own.
#include "compute/cpu_kernels.h"
#include "compute/quant_blocks.h"

#include <math.h>

static void ref_rms_norm(float *y, const float *x, const float *w, float eps, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * x[i];
    float scale = (float)(1.0 / sqrt(sum / (double)n + eps));
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * scale * w[i];
}

static void ref_layer_norm(float *y, const float *x, const float *w, const float *b, float eps, size_t n) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += (x[i] - mean) * (x[i] - mean);
    double scale = 1.0 / sqrt(squares / (double)n + eps);
    for (size_t i = 0; i < n; i++)
        y[i] = (float)((x[i] - mean) * scale) * w[i] + b[i];
}

static double sigmoid(double x) {
    return 1.0 / (1.0 + exp(-x));
}

static float ref_act(float value, enum act act) {
    double x = value;
    switch (act) {
    case ACT_GELU:
        return (float)(0.5 * x * (1.0 + erf(x * 0.70710678118654752440)));
    case ACT_GELU_TANH: // 0.5 (1 + tanh u) = sigmoid(2 u)
        return (float)(x * sigmoid(2 * 0.79788456080286535588 * (x + 0.044715 * x * x * x)));
    case ACT_GELU_QUICK:
        return (float)(x * sigmoid(1.702 * x));
    case ACT_SILU:
        return (float)(x * sigmoid(x));
    case ACT_RELU:
        return value > 0 ? value : 0;
    case ACT_HARD_SIGMOID:
        return (float)(fmin(fmax(x + 3, 0), 6) / 6);
    case ACT_HARD_SWISH:
        return (float)(x * fmin(fmax(x + 3, 0), 6) / 6);
    }
    return value;
}

static void ref_activate(float *y, const float *x, enum act act, size_t n) {
    for (size_t i = 0; i < n; i++)
        y[i] = ref_act(x[i], act);
}

static void ref_activate_mul(float *y, const float *gate, const float *up, enum act act, size_t n) {
    for (size_t i = 0; i < n; i++)
        y[i] = ref_act(gate[i], act) * up[i];
}

static void ref_attn_turn(float *kt, const float *k, size_t stride, size_t n_keys, size_t head_dim) {
    for (size_t key = 0; key < n_keys; key++)
        for (size_t d = 0; d < head_dim; d++)
            kt[d * ATTN_KEYS + key] = k[key * stride + d];
}

// Element `at` of a block; `scale` is that of its factor.
static float block_at(const struct attn_block *b, size_t at, size_t scale) {
    if (b->type == TENSOR_F32)
        return ((const float *)b->x)[at];
    if (b->type == TENSOR_F16)
        return f16_to_f32(((const uint16_t *)b->x)[at]);
    return (float)((const int8_t *)b->x)[at] * b->scales[scale];
}

static void ref_attn_keys(float *y, const struct attn_block *k, size_t n_keys, size_t head_dim) {
    for (size_t d = 0; d < head_dim; d++)
        for (size_t key = 0; key < n_keys; key++)
            y[d * ATTN_KEYS + key] = block_at(k, d * ATTN_KEYS + key, d / 32 * ATTN_KEYS + key);
}

static void ref_attn_rows(float *y, const struct attn_block *v, size_t n_keys, size_t n) {
    for (size_t i = 0; i < n_keys * n; i++)
        y[i] = block_at(v, i, i / 32);
}

static void ref_attn_scores(const struct attn_scores *a) {
    for (size_t r = 0; r < a->n_rows; r++)
        for (size_t key = 0; key < a->n_keys; key++) {
            double sum = 0;
            for (size_t d = 0; d < a->head_dim; d++)
                sum += (double)a->q[r * a->head_dim + d] *
                       block_at(&a->k, d * ATTN_KEYS + key, d / 32 * ATTN_KEYS + key);
            a->s[r * ATTN_KEYS + key] = (float)sum;
        }
}

static void ref_attn_softmax(const struct attn_softmax *a) {
    for (size_t r = 0; r < a->n_rows; r++) {
        float *s = a->s + r * ATTN_KEYS, max = a->max[r], sum = 0;
        for (size_t i = 0; i < ATTN_KEYS; i++) {
            if (a->first_key + i < a->begin[r] || a->first_key + i >= a->end[r])
                s[i] = -INFINITY;
            else if (a->soft_cap > 0)
                s[i] = (float)(a->soft_cap * tanh((double)s[i] / a->soft_cap));
            max = s[i] > max ? s[i] : max;
        }
        for (size_t i = 0; i < ATTN_KEYS; i++) {
            s[i] = expf(s[i] - max);
            sum += s[i];
        }
        a->decay[r] = expf(a->max[r] - max);
        a->sum[r] = a->sum[r] * a->decay[r] + sum;
        a->max[r] = max;
    }
}

static void ref_attn_values(const struct attn_values *a) {
    for (size_t r = 0; r < a->n_rows; r++)
        for (size_t i = 0; i < a->n; i++) {
            double sum = (double)a->acc[r * a->n + i] * a->decay[r];
            for (size_t key = 0; key < a->n_keys; key++)
                sum += (double)a->p[r * ATTN_KEYS + key] *
                       block_at(&a->v, key * a->n + i, (key * a->n + i) / 32);
            a->acc[r * a->n + i] = (float)sum;
        }
}

static void ref_f32_to_f16(uint16_t *y, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        y[i] = f32_to_f16(x[i]);
}

static void ref_f16_to_f32(float *y, const uint16_t *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        y[i] = f16_to_f32(x[i]);
}

static void ref_dot(const struct dot *d, enum tensor_type type) {
    const struct quant_traits *traits = quant_traits(type);
    for (size_t r = 0; r < d->n_rows; r++)
        for (size_t out = 0; out < d->n_out; out++)
            dot_store(d, r, out,
                      quant_dot(traits, d->w + out * d->w_stride, d->x + r * d->x_stride, d->n_in));
}

static void ref_int8_product(const struct int8_product *p) {
    for (size_t i = 0; i < p->n_rows * p->n_out; i++) {
        size_t row = i / p->n_out, out = i % p->n_out, lane = out % PANEL_OUTS;
        const uint8_t *w = p->w + out / PANEL_OUTS * p->panel_bytes;
        double sum = 0;
        for (size_t at = 0, n; at < p->n_in; at += n, w += n * PANEL_OUTS + PANEL_OUTS * sizeof(float)) {
            const struct int8_row *x = p->x + at / INT8_N * p->x_stride + row;
            n = p->n_in - at < INT8_N ? p->n_in - at : INT8_N;
            const float *scales = (const float *)(const void *)(w + n * PANEL_OUTS);
            for (size_t k = 0; k < n; k++)
                sum += (double)scales[lane] * x->d[k / INT8_GROUP] * x->qs[k] *
                       (w[(k / 4 * PANEL_OUTS + lane) * 4 + k % 4] - INT8_OFFSET);
        }
        float *y = p->y + row * p->y_stride + out, value = (float)sum + (p->bias ? p->bias[out] : 0);
        *y = p->add ? *y + value : value;
    }
}

// Sums in an array that the compiler may hold in registers; w changes as far as it knows.
static size_t ref_limit_int8(size_t n_steps) {
    enum { N = 16 };
    int16_t w = 3;
    int32_t sums[N] = {0};
    for (size_t step = 0; step < n_steps; step++) {
        __asm__ volatile("" : "+r"(w));
        for (int i = 0; i < N; i++)
            sums[i] += w * (i - 5);
    }
    for (int i = 0; i < N; i++)
        __asm__ volatile("" : "+r"(sums[i]));
    return n_steps * N;
}

static size_t ref_limit_f32(size_t n_steps) {
    enum { N = 16 };
    float sums[N] = {0};
    for (size_t step = 0; step < n_steps; step++)
        for (int i = 0; i < N; i++)
            sums[i] = sums[i] * 0.5f + 1;
    for (int i = 0; i < N; i++)
        __asm__ volatile("" : : "r"(&sums[i]) : "memory");
    return n_steps * N;
}

static void ref_limit_read(const void *p, size_t size_bytes) {
    const uint64_t *words = p;
    uint64_t sum = 0;
    for (size_t i = 0; i < size_bytes / sizeof *words; i++)
        sum ^= words[i];
    __asm__ volatile("" : "+r"(sum));
}

// The table's functions have no argument for the type.
#define REF_DOT(type, name, ...)                                                                             \
    static void ref_dot_##name(const struct dot *d) {                                                        \
        ref_dot(d, TENSOR_##type);                                                                           \
    }
#define REF_ROW(type, name, ...) [TENSOR_##type] = ref_dot_##name,
REF_DOT(F32, f32)
REF_DOT(F16, f16)
REF_DOT(BF16, bf16)
QUANT_BLOCK_TYPES(REF_DOT)

static float ref_int8_quantise(int8_t *qs, const float *x, size_t n, int *sum) {
    float d = quant_i8(qs, x, n);
    *sum = 0;
    for (size_t i = 0; i < n; i++)
        *sum += qs[i];
    return d;
}

void cpu_kernels_ref(struct cpu_kernels *k) {
    *k = (struct cpu_kernels){
        .name = "ref",
        .dot = {[TENSOR_F32] = ref_dot_f32,
                [TENSOR_F16] = ref_dot_f16,
                [TENSOR_BF16] = ref_dot_bf16,
                QUANT_BLOCK_TYPES(REF_ROW)},
        .int8_quantise = ref_int8_quantise,
        .int8_product = ref_int8_product,
        .f32_to_f16 = ref_f32_to_f16,
        .f16_to_f32 = ref_f16_to_f32,
        .rms_norm = ref_rms_norm,
        .layer_norm = ref_layer_norm,
        .activate = ref_activate,
        .activate_mul = ref_activate_mul,
        .attn_turn = ref_attn_turn,
        .attn_keys = ref_attn_keys,
        .attn_rows = ref_attn_rows,
        .attn_scores = ref_attn_scores,
        .attn_softmax = ref_attn_softmax,
        .attn_values = ref_attn_values,
        .limit_int8 = ref_limit_int8,
        .limit_f32 = ref_limit_f32,
        .limit_read = ref_limit_read,
    };
}
