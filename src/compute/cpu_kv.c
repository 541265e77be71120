// Pages of the KV cache on the CPU: for each kv head the keys of its positions, turned, then their values.
//
//   keys [head_dim, KV_PAGE], values [KV_PAGE, head_dim up to a multiple of ATTN_PAD], both of the page's type
//   q8_0, behind them: keys' scales [head_dim / 32, KV_PAGE] f16, values' scales [KV_PAGE, head_dim / 32] f16
//
// So attention takes keys lane by lane as they lie, and a head's 64 positions are one run of memory. A q8_0
// block is 32 values of one position.
#include "compute/cpu_backend.h"
#include "compute/quant.h"
#include "compute/quantise.h"

#include <assert.h>
#include <string.h>

enum { SCALE_N = 32 }; // values of a q8_0 block

static size_t value_bytes(enum tensor_type type) {
    return type == TENSOR_F32 ? sizeof(float) : type == TENSOR_F16 ? sizeof(uint16_t) : sizeof(int8_t);
}

struct kv_layout kv_layout_of(const struct kv_shape *s) {
    size_t n_scales = s->type == TENSOR_Q8_0 ? KV_PAGE * s->head_dim / SCALE_N : 0;
    struct kv_layout l;
    l.v = KV_PAGE * s->head_dim * value_bytes(s->type);
    l.k_scales = l.v + KV_PAGE * attn_pad(s->head_dim) * value_bytes(s->type);
    l.v_scales = l.k_scales + n_scales * sizeof(uint16_t);
    l.head_bytes = l.v_scales + n_scales * sizeof(uint16_t);
    return l;
}

size_t cpu_kv_page_bytes(struct ops *o, const struct kv_shape *s) {
    (void)o;
    assert(s->type == TENSOR_F32 || s->type == TENSOR_F16 ||
           (s->type == TENSOR_Q8_0 && s->head_dim % SCALE_N == 0));
    return s->n_head_kv * kv_layout_of(s).head_bytes;
}

// Where one head's keys and values of a page go.
struct kv_head {
    void *k, *v;
    uint16_t *k_scales, *v_scales; // q8_0
};

struct kv_job {
    const struct cpu_kernels *k;
    const struct cpu_scratch *scratch; // of each thread: one head's values in the page's type
    const struct kv_shape *shape;
    struct kv_layout layout;
    uint8_t *pages;
    size_t page_stride, first, n_rows;
    const float *keys, *values; // [n_rows, n_head_kv, head_dim]
};

// One head's keys and values of one position.
static void put_f32(const struct kv_job *j, const struct kv_head *h, size_t at, const float *k,
                    const float *v) {
    size_t n = j->shape->head_dim;
    for (size_t d = 0; d < n; d++)
        ((float *)h->k)[d * KV_PAGE + at] = k[d];
    memcpy((float *)h->v + at * attn_pad(n), v, n * sizeof *v);
}

static void put_f16(const struct kv_job *j, const struct kv_head *h, size_t at, const float *k,
                    const float *v, uint16_t *row) {
    size_t n = j->shape->head_dim;
    j->k->f32_to_f16(row, k, n);
    for (size_t d = 0; d < n; d++)
        ((uint16_t *)h->k)[d * KV_PAGE + at] = row[d];
    j->k->f32_to_f16((uint16_t *)h->v + at * attn_pad(n), v, n);
}

static void put_q8_0(const struct kv_job *j, const struct kv_head *h, size_t at, const float *k,
                     const float *v, struct q8_0 *row) {
    size_t n = j->shape->head_dim, n_blocks = n / SCALE_N;
    quantise_fn quantise = quantise_find(TENSOR_Q8_0);
    quantise(row, k, n);
    for (size_t b = 0; b < n_blocks; b++) {
        h->k_scales[b * KV_PAGE + at] = row[b].d;
        for (size_t i = 0; i < SCALE_N; i++)
            ((int8_t *)h->k)[(b * SCALE_N + i) * KV_PAGE + at] = row[b].qs[i];
    }
    quantise(row, v, n);
    for (size_t b = 0; b < n_blocks; b++) {
        h->v_scales[at * n_blocks + b] = row[b].d;
        memcpy((int8_t *)h->v + at * n + b * SCALE_N, row[b].qs, SCALE_N);
    }
}

// What of a page is written of one head.
static void write_chunk(void *ctx, size_t chunk, size_t thread) {
    const struct kv_job *j = ctx;
    const struct kv_shape *s = j->shape;
    size_t head = chunk % s->n_head_kv, page = j->first / KV_PAGE + chunk / s->n_head_kv;
    uint8_t *p = j->pages + page * j->page_stride + head * j->layout.head_bytes;
    struct kv_head h = {p, p + j->layout.v, (uint16_t *)(void *)(p + j->layout.k_scales),
                        (uint16_t *)(void *)(p + j->layout.v_scales)};
    for (size_t at = 0; at < KV_PAGE; at++) {
        size_t position = page * KV_PAGE + at;
        if (position < j->first || position >= j->first + j->n_rows)
            continue;
        size_t from = ((position - j->first) * s->n_head_kv + head) * s->head_dim;
        const float *k = j->keys + from, *v = j->values + from;
        if (s->type == TENSOR_F32)
            put_f32(j, &h, at, k, v);
        else if (s->type == TENSOR_F16)
            put_f16(j, &h, at, k, v, j->scratch[thread].data);
        else
            put_q8_0(j, &h, at, k, v, j->scratch[thread].data);
    }
}

void cpu_kv_write(struct ops *o, const struct kv_shape *shape, void *pages, size_t page_stride, size_t first,
                  const float *k, const float *v, size_t n_rows) {
    struct cpu *c = (struct cpu *)o;
    if (n_rows == 0)
        return;
    cpu_scratch_get_all(c, shape->head_dim * sizeof(float));
    struct kv_job j = {
        &c->k, c->thread_scratch, shape, kv_layout_of(shape), pages, page_stride, first, n_rows, k, v};
    size_t n_pages = (first + n_rows - 1) / KV_PAGE - first / KV_PAGE + 1;
    cpu_run(c, n_pages * shape->n_head_kv, 2 * n_rows * shape->n_head_kv * shape->head_dim, write_chunk, &j);
}
