// Attention in 8 bits on the CPU, cut into chunks: a head of a part, or some of its rows. Each chunk makes its own
// 8-bit keys and values, which costs little beside many rows.
#include "base/sizes.h"
#include "compute/cpu_backend.h"

enum { CHUNKS_A_THREAD = 4, ROWS_LEAST = 240 };

struct job {
    const struct cpu *c;
    const struct attn *a;
};

// Rows of a chunk do not change results, so they may follow the number of threads.
static size_t rows_a_chunk(const struct job *j, const struct attn_part *part) {
    size_t chunks = CHUNKS_A_THREAD * pool_n_threads(j->c->pool);
    size_t share = div_up(part->n_rows * j->a->n_head * j->a->n_parts, chunks);
    return size_min(part->n_rows, share > ROWS_LEAST ? share : ROWS_LEAST);
}

static size_t part_chunks(const struct job *j, const struct attn_part *part) {
    return div_up(part->n_rows, rows_a_chunk(j, part)) * j->a->n_head;
}

static void chunk(void *ctx, size_t i, size_t thread) {
    const struct job *j = ctx;
    const struct attn_part *part = j->a->parts;
    for (; i >= part_chunks(j, part); part++)
        i -= part_chunks(j, part);
    size_t head = i % j->a->n_head * j->a->head_dim, rows = rows_a_chunk(j, part),
           row = i / j->a->n_head * rows;
    struct attn_int8 a = {.q = part->q + row * part->q_stride + head,
                          .k = part->k + head,
                          .v = part->v + head,
                          .out = part->out + row * part->out_stride + head,
                          .q_stride = part->q_stride,
                          .kv_stride = part->kv_stride,
                          .out_stride = part->out_stride,
                          .n_rows = size_min(rows, part->n_rows - row),
                          .n_keys = part->n_keys,
                          .head_dim = j->a->head_dim,
                          .scale = j->a->scale,
                          .scratch = j->c->thread_scratch[thread].data};
    j->c->k.attn_int8(&a);
}

void cpu_attention_int8(struct cpu *c, const struct attn *a) {
    struct job j = {c, a};
    size_t n_chunks = 0, n_macs = 0, most_keys = 0;
    for (size_t i = 0; i < a->n_parts; i++) {
        const struct attn_part *part = &a->parts[i];
        n_chunks += part->n_rows ? part_chunks(&j, part) : 0;
        n_macs += 2 * part->n_rows * part->n_keys * a->n_head * a->head_dim;
        most_keys = part->n_keys > most_keys ? part->n_keys : most_keys;
    }
    cpu_scratch_get_all(c, c->k.attn_int8_scratch(most_keys, a->head_dim));
    cpu_run(c, n_chunks, n_macs, chunk, &j);
}
