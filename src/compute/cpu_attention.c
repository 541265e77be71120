// Attention on the CPU.
//
// takes q [n_rows, n_head, head_dim] and k, v [n_keys, n_head_kv, head_dim] of each part
// gives out[r, h] = sum_j softmax_j(cap(scale q[r, h] . k[j, h / group])) v[j, h / group]
//
// Keys come in blocks of ATTN_KEYS that always start at key 0. Each query keeps a running maximum, a running
// sum and an unfinished output, which it scales down when the maximum rises (online softmax: Milakov and
// Gimelshein 2018; blocked as in FlashAttention, Dao et al. 2022). So no matrix of scores is ever stored,
// and a query's value depends on nothing but itself and its keys.
//
// The queries of all heads that share a kv head are worked together, so that a block of keys is read (and
// converted from f16) once for all of them: item i of a kv head is row i / group, head kv_head group + i %
// group.
#include "compute/cpu_backend.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum { ATTN_ITEMS = 32 }; // queries worked together

struct attn_job {
    const struct cpu_kernels *k;
    const struct cpu_scratch *scratch; // of each thread
    const struct attn *a;
    size_t group; // heads to a kv head
};

// The queries of one chunk.
struct attn_items {
    const struct attn_part *part;
    size_t kv_head;
    size_t first, n; // items first .. first + n - 1
};

// Scratch of one thread.
struct attn_memory {
    float *q;      // [ATTN_ITEMS, head_dim], scaled
    float *acc;    // [ATTN_ITEMS, head_dim]
    float *scores; // [ATTN_ITEMS, ATTN_KEYS]
    float *k, *v;  // [ATTN_KEYS, head_dim], where they must be converted
};

static size_t size_min(size_t a, size_t b) {
    return a < b ? a : b;
}

static size_t attn_memory_size(size_t head_dim) {
    return ((2 * ATTN_ITEMS + 2 * ATTN_KEYS) * head_dim + ATTN_ITEMS * ATTN_KEYS) * sizeof(float);
}

static struct attn_memory attn_memory_split(float *p, size_t head_dim) {
    struct attn_memory m;
    m.scores = p;
    m.q = m.scores + ATTN_ITEMS * ATTN_KEYS;
    m.acc = m.q + ATTN_ITEMS * head_dim;
    m.k = m.acc + ATTN_ITEMS * head_dim;
    m.v = m.k + ATTN_KEYS * head_dim;
    return m;
}

static size_t part_n_chunks(const struct attn_job *j, const struct attn_part *part) {
    size_t per_head = (part->n_rows * j->group + ATTN_ITEMS - 1) / ATTN_ITEMS;
    return per_head * j->a->n_head_kv;
}

static struct attn_items attn_items_of(const struct attn_job *j, size_t chunk) {
    const struct attn_part *part = j->a->parts;
    for (; chunk >= part_n_chunks(j, part); part++)
        chunk -= part_n_chunks(j, part);
    size_t n_items = part->n_rows * j->group;
    size_t per_head = part_n_chunks(j, part) / j->a->n_head_kv;
    struct attn_items it = {
        .part = part, .kv_head = chunk / per_head, .first = chunk % per_head * ATTN_ITEMS};
    it.n = size_min(ATTN_ITEMS, n_items - it.first);
    return it;
}

static size_t item_offset(const struct attn_job *j, const struct attn_items *it, size_t i, size_t stride) {
    size_t item = it->first + i;
    return item / j->group * stride + (it->kv_head * j->group + item % j->group) * j->a->head_dim;
}

// Keys that item i sees.
static size_t item_n_keys(const struct attn_job *j, const struct attn_items *it, size_t i) {
    const struct attn_part *p = it->part;
    return p->causal ? p->n_keys - p->n_rows + (it->first + i) / j->group + 1 : p->n_keys;
}

// The first key that item i sees. Rows that see each other both ways do so beyond the window.
static size_t item_first_key(const struct attn_job *j, const struct attn_items *it, size_t i) {
    const struct attn_part *p = it->part;
    size_t n_before = p->n_keys - p->n_rows, own = n_before + (it->first + i) / j->group,
           window = j->a->window;
    if (!window)
        return 0;
    size_t first = own + 1 > window ? own + 1 - window : 0;
    return p->causal ? first : size_min(first, n_before);
}

// Rows first .. first + n - 1 of k or v of one head as f32; *stride tells how far apart.
static const float *kv_rows(const struct attn_job *j, const struct attn_items *it, const void *kv,
                            size_t first, size_t n, float *memory, size_t *stride) {
    size_t head_dim = j->a->head_dim, kv_stride = it->part->kv_stride;
    size_t at = first * kv_stride + it->kv_head * head_dim;
    if (j->a->kv_type == TENSOR_F32) {
        *stride = kv_stride;
        return (const float *)kv + at;
    }
    for (size_t i = 0; i < n; i++)
        j->k->f16_to_f32(memory + i * head_dim, (const uint16_t *)kv + at + i * kv_stride, head_dim);
    *stride = head_dim;
    return memory;
}

static void attn_block(const struct attn_job *j, const struct attn_items *it, const struct attn_memory *m,
                       struct softmax_row *rows, size_t first_key, size_t n_keys) {
    size_t head_dim = j->a->head_dim, k_stride, v_stride;
    const float *k = kv_rows(j, it, it->part->k, first_key, n_keys, m->k, &k_stride);
    struct dot d = {.y = m->scores,
                    .w = (const uint8_t *)k,
                    .x = (const uint8_t *)m->q,
                    .y_stride = ATTN_KEYS,
                    .w_stride = k_stride * sizeof(float),
                    .x_stride = head_dim * sizeof(float),
                    .n_rows = it->n,
                    .n_out = n_keys,
                    .n_in = head_dim};
    j->k->dot[TENSOR_F32](&d);

    float decay[ATTN_ITEMS], cap = j->a->soft_cap;
    for (size_t i = 0; i < it->n; i++) {
        float *s = m->scores + i * ATTN_KEYS;
        size_t limit = item_n_keys(j, it, i), first = item_first_key(j, it, i);
        if (limit > first_key && first < first_key + n_keys) {
            for (size_t key = 0; cap > 0 && key < n_keys; key++)
                s[key] = cap * tanhf(s[key] / cap);
            for (size_t key = 0; key + first_key < first; key++)
                s[key] = -INFINITY; // in front of the window
            decay[i] = j->k->softmax_block(s, size_min(limit - first_key, n_keys), &rows[i]);
        } else { // another row of this chunk sees this block, this one does not
            memset(s, 0, ATTN_KEYS * sizeof *s);
            decay[i] = 1;
        }
    }
    const float *v = kv_rows(j, it, it->part->v, first_key, n_keys, m->v, &v_stride);
    struct attn_values values = {m->acc, decay, m->scores, v, ATTN_KEYS, v_stride, it->n, n_keys, head_dim};
    j->k->attn_values(&values);
}

static void attn_chunk(void *ctx, size_t chunk, size_t thread) {
    const struct attn_job *j = ctx;
    size_t head_dim = j->a->head_dim;
    struct attn_items it = attn_items_of(j, chunk);
    struct attn_memory m = attn_memory_split(j->scratch[thread].data, head_dim);
    struct softmax_row rows[ATTN_ITEMS];
    for (size_t i = 0; i < it.n; i++) {
        const float *q = it.part->q + item_offset(j, &it, i, it.part->q_stride);
        for (size_t d = 0; d < head_dim; d++)
            m.q[i * head_dim + d] = q[d] * j->a->scale;
        rows[i] = (struct softmax_row){-INFINITY, 0};
    }
    memset(m.acc, 0, it.n * head_dim * sizeof(float));

    size_t n_keys = item_n_keys(j, &it, it.n - 1);                        // the last item sees most
    size_t first_key = item_first_key(j, &it, 0) / ATTN_KEYS * ATTN_KEYS; // the first item sees furthest back
    for (size_t key = first_key; key < n_keys; key += ATTN_KEYS)
        attn_block(j, &it, &m, rows, key, size_min(ATTN_KEYS, n_keys - key));

    for (size_t i = 0; i < it.n; i++) {
        float *out = it.part->out + item_offset(j, &it, i, it.part->out_stride);
        for (size_t d = 0; d < head_dim; d++)
            out[d] = m.acc[i * head_dim + d] / rows[i].sum;
    }
}

void cpu_attention(struct ops *o, const struct attn *a) {
    struct cpu *c = (struct cpu *)o;
    assert(a->n_head_kv > 0 && a->n_head % a->n_head_kv == 0);
    assert(a->kv_type == TENSOR_F32 || a->kv_type == TENSOR_F16);
    cpu_scratch_get_all(c, attn_memory_size(a->head_dim));
    struct attn_job j = {&c->k, c->thread_scratch, a, a->n_head / a->n_head_kv};
    size_t n_chunks = 0, n_macs = 0;
    for (size_t i = 0; i < a->n_parts; i++) {
        const struct attn_part *p = &a->parts[i];
        assert(p->n_keys > 0 && ((!p->causal && !a->window) || p->n_keys >= p->n_rows));
        n_chunks += part_n_chunks(&j, p);
        n_macs += 2 * p->n_rows * p->n_keys * a->n_head * a->head_dim;
    }
    cpu_run(c, n_chunks, n_macs, attn_chunk, &j);
}
