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
// The queries of all heads that share a kv head are worked together, so that a block of keys is read,
// converted from f16 and turned once for all of them: item i of a kv head is row i / group, head
// kv_head group + i % group. Of a block only those items are worked that see some of it, which are neighbours,
// since what an item sees ends (and with a window begins) no earlier than what the item before it sees.
#include "compute/cpu_backend.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum {
    ATTN_ITEMS = 240, // queries worked together at most
};

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
    size_t first, n;                           // items first .. first + n - 1
    size_t begin[ATTN_ITEMS], end[ATTN_ITEMS]; // keys that each sees
};

// Scratch of one thread. pad: head_dim up to a multiple of ATTN_PAD.
struct attn_memory {
    float *q;                 // [ATTN_ITEMS, head_dim], scaled
    float *acc;               // [ATTN_ITEMS, pad]
    float *max, *sum, *decay; // [ATTN_ITEMS] see struct attn_softmax
    float *scores;            // [ATTN_ROWS_MAX, ATTN_KEYS]
    float *kt;                // [head_dim, ATTN_KEYS]
    float *v;                 // [ATTN_KEYS, pad]
};

static size_t size_min(size_t a, size_t b) {
    return a < b ? a : b;
}

static size_t pad_up(size_t head_dim) {
    return (head_dim + ATTN_PAD - 1) / ATTN_PAD * ATTN_PAD;
}

static size_t attn_memory_size(size_t head_dim) {
    size_t pad = pad_up(head_dim);
    return ((ATTN_ITEMS + ATTN_KEYS) * 2 * pad + ATTN_ROWS_MAX * ATTN_KEYS + 3 * ATTN_ITEMS) * sizeof(float);
}

static struct attn_memory attn_memory_split(float *p, size_t head_dim) {
    size_t pad = pad_up(head_dim);
    struct attn_memory m;
    m.scores = p;
    m.q = m.scores + ATTN_ROWS_MAX * ATTN_KEYS;
    m.acc = m.q + ATTN_ITEMS * pad;
    m.kt = m.acc + ATTN_ITEMS * pad;
    m.v = m.kt + ATTN_KEYS * pad;
    m.max = m.v + ATTN_KEYS * pad;
    m.sum = m.max + ATTN_ITEMS;
    m.decay = m.sum + ATTN_ITEMS;
    return m;
}

static size_t part_chunks_a_head(const struct attn_job *j, const struct attn_part *part) {
    return (part->n_rows * j->group + ATTN_ITEMS - 1) / ATTN_ITEMS;
}

static size_t part_n_chunks(const struct attn_job *j, const struct attn_part *part) {
    return part_chunks_a_head(j, part) * j->a->n_head_kv;
}

// Rows that see each other both ways do so beyond the window.
static void set_item_keys(const struct attn_job *j, struct attn_items *it) {
    const struct attn_part *p = it->part;
    size_t n_before = p->n_keys - p->n_rows, window = j->a->window;
    for (size_t i = 0; i < it->n; i++) {
        size_t end = n_before + (it->first + i) / j->group + 1;
        it->begin[i] = window && end > window ? end - window : 0;
        it->end[i] = end;
        if (!p->causal) {
            it->begin[i] = window ? size_min(it->begin[i], n_before) : 0;
            it->end[i] = p->n_keys;
        }
    }
}

static void find_items(const struct attn_job *j, struct attn_items *it, size_t chunk) {
    const struct attn_part *part = j->a->parts;
    for (; chunk >= part_n_chunks(j, part); part++)
        chunk -= part_n_chunks(j, part);
    size_t n_items = part->n_rows * j->group, per_head = part_chunks_a_head(j, part);
    size_t share = (n_items + per_head * ATTN_ROWS_MAX - 1) / (per_head * ATTN_ROWS_MAX) * ATTN_ROWS_MAX;
    it->part = part;
    it->kv_head = chunk / per_head;
    it->first = size_min(chunk % per_head * share, n_items);
    it->n = size_min(share, n_items - it->first);
    set_item_keys(j, it);
}

static size_t item_offset(const struct attn_job *j, const struct attn_items *it, size_t i, size_t stride) {
    size_t item = it->first + i;
    return item / j->group * stride + (it->kv_head * j->group + item % j->group) * j->a->head_dim;
}

// The keys of a block turned, and its values as f32, both of one head.
static void read_block(const struct attn_job *j, const struct attn_items *it, const struct attn_memory *m,
                       size_t first, size_t n) {
    size_t head_dim = j->a->head_dim, stride = it->part->kv_stride, pad = pad_up(head_dim);
    size_t at = first * stride + it->kv_head * head_dim;
    if (j->a->kv_type == TENSOR_F32) {
        j->k->attn_keys(m->kt, (const float *)it->part->k + at, TENSOR_F32, stride, n, head_dim);
        for (size_t i = 0; i < n; i++)
            memcpy(m->v + i * pad, (const float *)it->part->v + at + i * stride, head_dim * sizeof *m->v);
        return;
    }
    j->k->attn_keys(m->kt, (const uint16_t *)it->part->k + at, TENSOR_F16, stride, n, head_dim);
    for (size_t i = 0; i < n; i++)
        j->k->f16_to_f32(m->v + i * pad, (const uint16_t *)it->part->v + at + i * stride, head_dim);
}

// Asks for keys and values of the next block while this one is worked.
static void prefetch_keys(const struct attn_job *j, const struct attn_items *it, size_t first, size_t end) {
    enum { LINE = 64 };
    size_t value = j->a->kv_type == TENSOR_F32 ? sizeof(float) : sizeof(uint16_t);
    size_t stride = it->part->kv_stride * value, size = j->a->head_dim * value;
    size_t at = first * stride + it->kv_head * size;
    for (size_t key = first; key < size_min(end, it->part->n_keys); key++, at += stride)
        for (size_t line = 0; line < size; line += LINE) {
            __builtin_prefetch((const char *)it->part->k + at + line);
            __builtin_prefetch((const char *)it->part->v + at + line);
        }
}

static void attn_block(const struct attn_job *j, const struct attn_items *it, const struct attn_memory *m,
                       size_t first_key, size_t n_keys) {
    size_t begin = 0, end = it->n, head_dim = j->a->head_dim, pad = pad_up(head_dim);
    while (begin < end && it->end[begin] <= first_key)
        begin++;
    while (begin < end && it->begin[end - 1] >= first_key + n_keys)
        end--;
    if (begin == end)
        return;
    read_block(j, it, m, first_key, n_keys);
    size_t next = first_key + n_keys, n_next = ATTN_KEYS * ATTN_ROWS_MAX / (end - begin) + 1;
    for (size_t item = begin, n; item < end; item += n, next += n_next) {
        n = size_min(ATTN_ROWS_MAX, end - item);
        prefetch_keys(j, it, next, size_min(next + n_next, first_key + n_keys + ATTN_KEYS));
        struct attn_scores scores = {m->scores, m->q + item * head_dim, m->kt, n, n_keys, head_dim};
        struct attn_softmax softmax = {
            .s = m->scores,
            .begin = it->begin + item,
            .end = it->end + item,
            .first_key = first_key,
            .max = m->max + item,
            .sum = m->sum + item,
            .decay = m->decay,
            .n_rows = n,
            .soft_cap = j->a->soft_cap,
        };
        struct attn_values values = {m->acc + item * pad, m->decay, m->scores, m->v, n, n_keys, pad};
        j->k->attn_scores(&scores);
        j->k->attn_softmax(&softmax);
        j->k->attn_values(&values);
    }
}

static void attn_chunk(void *ctx, size_t chunk, size_t thread) {
    const struct attn_job *j = ctx;
    struct attn_items it;
    find_items(j, &it, chunk);
    if (it.n == 0)
        return;
    size_t head_dim = j->a->head_dim, pad = pad_up(head_dim);
    struct attn_memory m = attn_memory_split(j->scratch[thread].data, head_dim);
    for (size_t i = 0; i < it.n; i++) {
        const float *q = it.part->q + item_offset(j, &it, i, it.part->q_stride);
        for (size_t d = 0; d < head_dim; d++)
            m.q[i * head_dim + d] = q[d] * j->a->scale;
        m.max[i] = -INFINITY;
        m.sum[i] = 0;
    }
    memset(m.acc, 0, it.n * pad * sizeof *m.acc);
    memset(m.v, 0, ATTN_KEYS * pad * sizeof *m.v); // what is past head_dim stays so

    size_t n_keys = it.end[it.n - 1];                       // the last item sees most
    size_t first_key = it.begin[0] / ATTN_KEYS * ATTN_KEYS; // the first item sees furthest back
    for (size_t key = first_key; key < n_keys; key += ATTN_KEYS)
        attn_block(j, &it, &m, key, size_min(ATTN_KEYS, n_keys - key));

    for (size_t i = 0; i < it.n; i++) {
        float *out = it.part->out + item_offset(j, &it, i, it.part->out_stride);
        for (size_t d = 0; d < head_dim; d++)
            out[d] = m.acc[i * pad + d] / m.sum[i];
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
