// What the machine can do at most, in all threads together: what the speed of a model is compared with.
#include "base/clock.h"
#include "compute/cpu_backend.h"

#include <string.h>
#include <unistd.h>

enum {
    MEASURE_MS = 200, // of each figure; the best round counts, for other work only ever slows it down
    ROUNDS_MIN = 3,
    CHUNKS = 16,            // of a thread and round: rounds of a millisecond or two, some of them undisturbed
    STEPS = 20000,          // of a chunk on registers
    READ_CHUNK = 1 << 20,   // bytes
    READ_ROUND = 256,       // chunks: a token of a small model reads as much, and bursts may be faster
    READ_LEAST = 512 << 20, // bytes
    READ_MOST = 1 << 30,
};

struct limit_job {
    const struct cpu *c;
    size_t (*loop)(size_t n_steps);
    char *data;
    size_t first, n_chunks; // of data: where this round begins, and all
    size_t macs;            // of a chunk: every one has as many
};

static void loop_chunk(void *ctx, size_t chunk, size_t thread) {
    struct limit_job *j = ctx;
    (void)thread;
    size_t macs = j->loop(STEPS);
    if (chunk == 0)
        j->macs = macs;
}

static void read_chunk(void *ctx, size_t chunk, size_t thread) {
    const struct limit_job *j = ctx;
    (void)thread;
    j->c->k.limit_read(j->data + (j->first + chunk) % j->n_chunks * READ_CHUNK, READ_CHUNK);
}

// Pages that were never written would all be the same one.
static void fill_chunk(void *ctx, size_t chunk, size_t thread) {
    const struct limit_job *j = ctx;
    (void)thread;
    memset(j->data + chunk * READ_CHUNK, 1, READ_CHUNK);
}

// Milliseconds of the best round.
static double best_round_ms(struct cpu *c, size_t n_chunks, pool_fn fn, struct limit_job *j) {
    double start = clock_ms(), best = 0;
    for (int round = 0; round < ROUNDS_MIN || clock_ms() - start < MEASURE_MS; round++) {
        double before = clock_ms();
        pool_run(c->pool, n_chunks, fn, j);
        double ms = clock_ms() - before;
        best = round == 0 || ms < best ? ms : best;
        j->first += n_chunks;
    }
    return best;
}

// Thousand million multiply-adds a second; 0 where there is no such loop.
static double measure_macs(struct cpu *c, size_t (*loop)(size_t n_steps)) {
    if (!loop)
        return 0;
    struct limit_job j = {.c = c, .loop = loop};
    size_t n_chunks = CHUNKS * pool_n_threads(c->pool);
    double ms = best_round_ms(c, n_chunks, loop_chunk, &j);
    return (double)(j.macs * n_chunks) / ms / 1e6;
}

// A buffer of twice the last cache, read round by round: what a round reads is no longer in a cache.
static bool measure_read(struct cpu *c, double *gbps, struct err *err) {
    long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
    size_t size = cache > READ_LEAST / 2 ? (size_t)cache * 2 : READ_LEAST;
    size = size < READ_MOST ? size / READ_CHUNK * READ_CHUNK : READ_MOST;
    char *data = pages_map(size);
    if (!data)
        return err_set(err, ERR_NOMEM, "cpu: no memory for the %zu bytes that measuring it reads", size);
    struct limit_job j = {.c = c, .data = data, .n_chunks = size / READ_CHUNK};
    pool_run(c->pool, j.n_chunks, fill_chunk, &j);
    *gbps = (double)READ_ROUND * READ_CHUNK / best_round_ms(c, READ_ROUND, read_chunk, &j) / 1e6;
    pages_unmap(data, size);
    return true;
}

bool cpu_measure_limits(struct ops *o, struct cpu_limits *out, struct err *err) {
    struct cpu *c = (struct cpu *)o;
    *out = (struct cpu_limits){.n_threads = pool_n_threads(c->pool)};
    out->int8_gmacs = measure_macs(c, c->k.limit_int8);
    out->f32_gflops = 2 * measure_macs(c, c->k.limit_f32);
    out->f16_gflops = 2 * measure_macs(c, c->k.limit_f16);
    return measure_read(c, &out->read_gbps, err);
}
