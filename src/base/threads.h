// Two kinds of threads beside the service thread: the compute pool (one parallel loop at a time, spinning
// briefly between loops) and the workers (independent background tasks).
#ifndef BASE_THREADS_H
#define BASE_THREADS_H

#include <stdbool.h>
#include <stddef.h>

struct pool;

// One chunk of a parallel loop. thread is 0 .. n_threads - 1: the index of the thread's own scratch.
typedef void (*pool_fn)(void *ctx, size_t chunk, size_t thread);

// n_threads counts the caller of pool_run; 0 = one for each online processor.
struct pool *pool_create(size_t n_threads);
void pool_destroy(struct pool *p);
size_t pool_n_threads(const struct pool *p);

// Runs fn for chunks 0 .. n_chunks - 1, each once, in no promised order or thread, and returns when all
// are done. One caller at a time; fn must not call pool_run on the same pool.
void pool_run(struct pool *p, size_t n_chunks, pool_fn fn, void *ctx);

struct workers;

typedef void (*worker_fn)(void *arg);

struct workers *workers_create(size_t n_threads, size_t max_tasks);

// Any thread. False when max_tasks already wait or the workers are stopping: fn will not run.
bool workers_submit(struct workers *w, worker_fn fn, void *arg);

// Runs what was accepted, then joins the threads.
void workers_destroy(struct workers *w);

#endif
