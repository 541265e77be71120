// Attention on the CPU.
//
// takes q [n_rows, n_head, head_dim] and k, v [n_keys, n_head_kv, head_dim] of each part, as rows or in pages
// gives out[r, h] = sum_j softmax_j(cap(scale q[r, h] . k[j, h / group])) v[j, h / group]
//
// Keys come in blocks of ATTN_KEYS that always start at key 0. Each query keeps a running maximum, a running
// sum and an unfinished output, which it scales down when the maximum rises (online softmax: Milakov and
// Gimelshein 2018; blocked as in FlashAttention, Dao et al. 2022). So no matrix of scores is ever stored,
// and a query's value depends on nothing but itself and its keys.
//
// The queries of all heads that share a kv head are worked together, so that a block of keys is read once for
// all of them: item i of a kv head is row i / group, head kv_head group + i % group. Of a block only those
// items are worked that see some of it, which are neighbours, since what an item sees ends (and with a window
// begins) no earlier than what the item before it sees.
//
// Each segment of ATTN_SEGMENT keys is summed by itself and the segments are added in order. So for a single row (a decoded token), different threads may take the segments of one head: the value is the same.
#include "base/sizes.h"
#include "compute/cpu_backend.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum {
    ATTN_ITEMS = 240,     // queries worked together at most
    ATTN_ROWS_DIRECT = 8, // up to so many take f16 and bytes as they lie, more of them as f32
    ATTN_SEGMENT = 512,   // keys, a multiple of ATTN_KEYS
    CHUNKS_A_THREAD = 4,  // with fewer, single rows are split
};

struct attn_job {
    const struct cpu_kernels *k;
    const struct cpu_scratch *scratch; // of each thread
    const struct attn *a;
    size_t group; // heads to a kv head
    struct kv_layout layout;
    bool split;    // parts of one row go segment by segment
    float *states; // of these: [n_head_kv, n_segments] states of `group` items, part after part
};

// The queries of one chunk.
struct attn_items {
    const struct attn_part *part;
    size_t kv_head;
    size_t first, n; // items first .. first + n - 1
    float *state;    // of a split part: where this segment's sums go, else NULL
    size_t first_segment, end_segment;
    size_t begin[ATTN_ITEMS], end[ATTN_ITEMS]; // keys that each sees
};

// Sums over some keys. pad: head_dim up to a multiple of ATTN_PAD.
struct attn_state {
    float *acc;       // [n, pad]
    float *max, *sum; // [n] see struct attn_softmax
};

// Scratch of one thread.
struct attn_memory {
    float *q;                         // [ATTN_ITEMS, head_dim], scaled
    struct attn_state segment, total; // of ATTN_ITEMS
    float *decay;                     // [ATTN_ITEMS]
    float *scores;                    // [ATTN_ROWS_MAX, ATTN_KEYS]
    float *k;                         // [head_dim, ATTN_KEYS]
    float *v;                         // [ATTN_KEYS, pad]
    float *k_scales, *v_scales;       // of q8_0, fewer than [ATTN_KEYS, pad / ATTN_PAD]
};

static size_t state_n(size_t n, size_t head_dim) {
    return n * (attn_pad(head_dim) + 2);
}

static struct attn_state state_at(float *p, size_t n, size_t head_dim) {
    float *max = p + n * attn_pad(head_dim);
    return (struct attn_state){p, max, max + n};
}

// Lays the scratch out from p on; returns its floats.
static size_t split_memory(struct attn_memory *m, float *p, size_t head_dim) {
    size_t pad = attn_pad(head_dim), n_state = state_n(ATTN_ITEMS, head_dim), at = 0;
    const struct {
        float **to;
        size_t n;
    } list[] = {
        {&m->scores, ATTN_ROWS_MAX * ATTN_KEYS},
        {&m->k, ATTN_KEYS * pad},
        {&m->v, ATTN_KEYS * pad},
        {&m->q, ATTN_ITEMS * pad},
        {&m->k_scales, ATTN_KEYS * pad / ATTN_PAD},
        {&m->v_scales, ATTN_KEYS * pad / ATTN_PAD},
        {&m->decay, ATTN_ITEMS},
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        *list[i].to = p + at;
        at += list[i].n;
    }
    m->segment = state_at(p + at, ATTN_ITEMS, head_dim);
    m->total = state_at(p + at + n_state, ATTN_ITEMS, head_dim);
    return at + 2 * n_state;
}

// The keys that an item of a part sees. Rows that see each other both ways do so beyond the window.
static void find_keys(const struct attn_job *j, const struct attn_part *p, size_t item, size_t *begin,
                      size_t *end) {
    size_t n_before = p->n_keys - p->n_rows, window = j->a->window;
    *end = n_before + item / j->group + 1;
    *begin = window && *end > window ? *end - window : 0;
    if (!p->causal) {
        *begin = window ? size_min(*begin, n_before) : 0;
        *end = p->n_keys;
    }
}

static size_t part_first_segment(const struct attn_job *j, const struct attn_part *part) {
    size_t begin, end;
    find_keys(j, part, 0, &begin, &end);
    return begin / ATTN_SEGMENT;
}

static size_t part_n_segments(const struct attn_job *j, const struct attn_part *part) {
    return (part->n_keys - 1) / ATTN_SEGMENT + 1 - part_first_segment(j, part);
}

static bool part_is_split(const struct attn_job *j, const struct attn_part *part) {
    return j->split && part->n_rows == 1 && part_n_segments(j, part) > 1;
}

static size_t part_chunks_a_head(const struct attn_job *j, const struct attn_part *part) {
    if (part_is_split(j, part))
        return part_n_segments(j, part);
    return (part->n_rows * j->group + ATTN_ITEMS - 1) / ATTN_ITEMS;
}

static size_t part_n_chunks(const struct attn_job *j, const struct attn_part *part) {
    return part_chunks_a_head(j, part) * j->a->n_head_kv;
}

static void find_items(const struct attn_job *j, struct attn_items *it, size_t chunk) {
    const struct attn_part *part = j->a->parts;
    size_t n_state = state_n(j->group, j->a->head_dim);
    float *states = j->states;
    for (; chunk >= part_n_chunks(j, part); part++) {
        chunk -= part_n_chunks(j, part);
        states += part_is_split(j, part) ? part_n_chunks(j, part) * n_state : 0;
    }
    size_t n_items = part->n_rows * j->group, per_head = part_chunks_a_head(j, part), share = n_items;
    bool split = part_is_split(j, part);
    if (!split)
        share = (n_items + per_head * ATTN_ROWS_MAX - 1) / (per_head * ATTN_ROWS_MAX) * ATTN_ROWS_MAX;
    it->part = part;
    it->kv_head = chunk / per_head;
    it->first = split ? 0 : size_min(chunk % per_head * share, n_items);
    it->n = size_min(share, n_items - it->first);
    it->first_segment = it->end_segment = part_first_segment(j, part) + chunk % per_head;
    it->state = split ? states + chunk * n_state : NULL;
    for (size_t i = 0; i < it->n; i++)
        find_keys(j, part, it->first + i, &it->begin[i], &it->end[i]);
    if (!split && it->n > 0) { // the first item sees furthest back, the last one most
        it->first_segment = it->begin[0] / ATTN_SEGMENT;
        it->end_segment = (it->end[it->n - 1] - 1) / ATTN_SEGMENT + 1;
    }
}

static size_t item_offset(const struct attn_job *j, const struct attn_items *it, size_t i, size_t stride) {
    size_t item = it->first + i;
    return item / j->group * stride + (it->kv_head * j->group + item % j->group) * j->a->head_dim;
}

static const uint8_t *page_at(const struct attn_job *j, const struct attn_items *it, size_t key) {
    return (const uint8_t *)it->part->pages + key / KV_PAGE * it->part->page_stride +
           it->kv_head * j->layout.head_bytes;
}

// One head's block of keys and values. From rows it is copied; from pages it is converted to f32 first only where
// many queries share it.
static void read_block(const struct attn_job *j, const struct attn_items *it, const struct attn_memory *m,
                       size_t first, size_t n, bool convert, struct attn_block *k, struct attn_block *v) {
    const struct attn_part *part = it->part;
    size_t head_dim = j->a->head_dim, pad = attn_pad(head_dim);
    *k = (struct attn_block){TENSOR_F32, m->k, NULL};
    *v = (struct attn_block){TENSOR_F32, m->v, NULL};
    if (part->k) {
        size_t at = first * part->kv_stride + it->kv_head * head_dim;
        j->k->attn_turn(m->k, part->k + at, part->kv_stride, n, head_dim);
        for (size_t i = 0; i < n; i++)
            memcpy(m->v + i * pad, part->v + at + i * part->kv_stride, head_dim * sizeof *m->v);
        return;
    }
    const uint8_t *p = page_at(j, it, first);
    struct attn_block pk = {j->a->kv_type, p, m->k_scales},
                      pv = {j->a->kv_type, p + j->layout.v, m->v_scales};
    if (pk.type == TENSOR_Q8_0) {
        size_t n_scales = ATTN_KEYS * head_dim / 32;
        j->k->f16_to_f32(m->k_scales, (const uint16_t *)(const void *)(p + j->layout.k_scales), n_scales);
        j->k->f16_to_f32(m->v_scales, (const uint16_t *)(const void *)(p + j->layout.v_scales), n_scales);
    }
    if (pk.type == TENSOR_F32 || !convert) {
        *k = pk;
        *v = pv;
        return;
    }
    j->k->attn_keys(m->k, &pk, n, head_dim);
    j->k->attn_rows(m->v, &pv, n, pad);
}

// Asks for keys and values of the next block while this one is worked.
static void prefetch_block(const struct attn_job *j, const struct attn_items *it, size_t first) {
    enum { LINE = 64 };
    const struct attn_part *part = it->part;
    if (first >= part->n_keys)
        return;
    if (!part->k) {
        const uint8_t *p = page_at(j, it, first);
        for (size_t at = 0; at < j->layout.head_bytes; at += LINE)
            __builtin_prefetch(p + at);
        return;
    }
    size_t n = size_min(ATTN_KEYS, part->n_keys - first), size = j->a->head_dim * sizeof(float);
    size_t at = first * part->kv_stride + it->kv_head * j->a->head_dim;
    for (size_t i = 0; i < n; i++, at += part->kv_stride)
        for (size_t line = 0; line < size; line += LINE) {
            __builtin_prefetch((const char *)(part->k + at) + line);
            __builtin_prefetch((const char *)(part->v + at) + line);
        }
}

static void attn_block(const struct attn_job *j, const struct attn_items *it, const struct attn_memory *m,
                       const struct attn_state *state, size_t first_key, size_t n_keys) {
    size_t begin = 0, end = it->n, head_dim = j->a->head_dim, pad = attn_pad(head_dim);
    while (begin < end && it->end[begin] <= first_key)
        begin++;
    while (begin < end && it->begin[end - 1] >= first_key + n_keys)
        end--;
    if (begin == end)
        return;
    struct attn_block k, v;
    prefetch_block(j, it, first_key + ATTN_KEYS);
    read_block(j, it, m, first_key, n_keys, end - begin > ATTN_ROWS_DIRECT, &k, &v);
    for (size_t item = begin, n; item < end; item += n) {
        n = size_min(ATTN_ROWS_MAX, end - item);
        struct attn_scores scores = {m->scores, m->q + item * head_dim, k, n, n_keys, head_dim};
        struct attn_softmax softmax = {
            .s = m->scores,
            .begin = it->begin + item,
            .end = it->end + item,
            .first_key = first_key,
            .max = state->max + item,
            .sum = state->sum + item,
            .decay = m->decay,
            .n_rows = n,
            .soft_cap = j->a->soft_cap,
        };
        struct attn_values values = {state->acc + item * pad, m->decay, m->scores, v, n, n_keys, pad};
        j->k->attn_scores(&scores);
        j->k->attn_softmax(&softmax);
        j->k->attn_values(&values);
    }
}

static void clear_state(const struct attn_state *s, size_t n, size_t pad) {
    for (size_t i = 0; i < n; i++) {
        s->max[i] = -INFINITY;
        s->sum[i] = 0;
    }
    memset(s->acc, 0, n * pad * sizeof *s->acc);
}

static void run_segment(const struct attn_job *j, const struct attn_items *it, const struct attn_memory *m,
                        const struct attn_state *state, size_t segment) {
    size_t end = size_min((segment + 1) * ATTN_SEGMENT, it->end[it->n - 1]);
    clear_state(state, it->n, attn_pad(j->a->head_dim));
    for (size_t key = segment * ATTN_SEGMENT; key < end; key += ATTN_KEYS)
        attn_block(j, it, m, state, key, size_min(ATTN_KEYS, end - key));
}

// Adds a segment to the sum of those before it.
static void add_segment(const struct attn_state *total, const struct attn_state *s, size_t n, size_t pad) {
    for (size_t i = 0; i < n; i++) {
        if (s->sum[i] == 0) // the item sees nothing of it
            continue;
        float max = s->max[i] > total->max[i] ? s->max[i] : total->max[i];
        float keep = expf(total->max[i] - max), add = expf(s->max[i] - max);
        total->max[i] = max;
        total->sum[i] = total->sum[i] * keep + s->sum[i] * add;
        for (size_t d = 0; d < pad; d++)
            total->acc[i * pad + d] = total->acc[i * pad + d] * keep + s->acc[i * pad + d] * add;
    }
}

static void write_out(const struct attn_job *j, const struct attn_items *it, const struct attn_state *total) {
    size_t head_dim = j->a->head_dim, pad = attn_pad(head_dim);
    for (size_t i = 0; i < it->n; i++) {
        float *out = it->part->out + item_offset(j, it, i, it->part->out_stride);
        for (size_t d = 0; d < head_dim; d++)
            out[d] = total->acc[i * pad + d] / total->sum[i];
    }
}

static void attn_chunk(void *ctx, size_t chunk, size_t thread) {
    const struct attn_job *j = ctx;
    struct attn_items it;
    find_items(j, &it, chunk);
    if (it.n == 0)
        return;
    size_t head_dim = j->a->head_dim, pad = attn_pad(head_dim);
    struct attn_memory m;
    split_memory(&m, j->scratch[thread].data, head_dim);
    for (size_t i = 0; i < it.n; i++) {
        const float *q = it.part->q + item_offset(j, &it, i, it.part->q_stride);
        for (size_t d = 0; d < head_dim; d++)
            m.q[i * head_dim + d] = q[d] * j->a->scale;
    }
    if (it.part->k)
        memset(m.v, 0, ATTN_KEYS * pad * sizeof *m.v); // what is past head_dim stays so
    if (it.state) {
        struct attn_state state = state_at(it.state, it.n, head_dim);
        run_segment(j, &it, &m, &state, it.first_segment);
        return;
    }
    clear_state(&m.total, it.n, pad);
    for (size_t segment = it.first_segment; segment < it.end_segment; segment++) {
        run_segment(j, &it, &m, &m.segment, segment);
        add_segment(&m.total, &m.segment, it.n, pad);
    }
    write_out(j, &it, &m.total);
}

// The segments of one head of a split part together.
static void join_chunk(void *ctx, size_t chunk, size_t thread) {
    const struct attn_job *j = ctx;
    struct attn_items it;
    find_items(j, &it, chunk);
    if (!it.state || it.first_segment != part_first_segment(j, it.part))
        return;
    size_t head_dim = j->a->head_dim, n_segments = part_n_segments(j, it.part);
    struct attn_memory m;
    split_memory(&m, j->scratch[thread].data, head_dim);
    clear_state(&m.total, it.n, attn_pad(head_dim));
    for (size_t i = 0; i < n_segments; i++) {
        struct attn_state state = state_at(it.state + i * state_n(it.n, head_dim), it.n, head_dim);
        add_segment(&m.total, &state, it.n, attn_pad(head_dim));
    }
    write_out(j, &it, &m.total);
}

static size_t count_chunks(const struct attn_job *j) {
    size_t n = 0;
    for (size_t i = 0; i < j->a->n_parts; i++)
        n += part_n_chunks(j, &j->a->parts[i]);
    return n;
}

void cpu_attention(struct ops *o, const struct attn *a) {
    struct cpu *c = (struct cpu *)o;
    assert(a->n_head_kv > 0 && a->n_head % a->n_head_kv == 0);
    if (a->int8 && c->k.attn_int8 && a->head_dim <= ATTN_INT8_DIM_MAX) {
        cpu_attention_int8(c, a);
        return;
    }
    struct attn_memory m;
    struct attn_job j = {.k = &c->k, .scratch = c->thread_scratch, .a = a, .group = a->n_head / a->n_head_kv};
    j.layout = kv_layout_of(&(struct kv_shape){a->kv_type, a->n_head_kv, a->head_dim});
    cpu_scratch_get_all(c, split_memory(&m, NULL, a->head_dim) * sizeof(float));
    size_t n_macs = 0, n_unsplit = CHUNKS_A_THREAD * pool_n_threads(c->pool), n_chunks = count_chunks(&j);
    for (size_t i = 0; i < a->n_parts; i++) {
        const struct attn_part *p = &a->parts[i];
        assert(p->n_keys > 0 && ((!p->causal && !a->window) || p->n_keys >= p->n_rows));
        assert(a->n_ctx == 0 || p->n_keys <= a->n_ctx);
        n_macs += 2 * p->n_rows * p->n_keys * a->n_head * a->head_dim;
    }
    if (a->n_ctx > ATTN_SEGMENT) { // every split part has n_head_kv of fewer than n_unsplit chunks
        size_t n_segments = (a->n_ctx - 1) / ATTN_SEGMENT + 1;
        j.states =
            cpu_scratch_get(&c->attn, n_unsplit * n_segments * state_n(j.group, a->head_dim) * sizeof(float));
        j.split = n_chunks < n_unsplit;
        n_chunks = count_chunks(&j);
    }
    cpu_run(c, n_chunks, n_macs, attn_chunk, &j);
    if (j.split)
        cpu_run(c, n_chunks, n_chunks * j.group * a->head_dim, join_chunk, &j);
}
