#define _GNU_SOURCE
#include "base/threads.h"
#include "base/mem.h"
#include "base/queue.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <immintrin.h>
#define CPU_RELAX() _mm_pause()
#else
#define CPU_RELAX() __asm__ volatile("" ::: "memory")
#endif

enum { POOL_SPINS = 2000 }; // some 20-60 us: longer than the gap between two operations of a layer

// The chunks of a loop that a thread begins with: neighbours, and a counter that mostly it alone touches. Who is
// done with its own goes on with those of others.
struct share {
    alignas(64) _Atomic size_t next;
    size_t end;
};

struct pool {
    size_t n_threads;
    pthread_t *threads; // [n_threads - 1]
    // The loop at hand: written before `open` is set, read only between n_inside++ and n_inside--.
    pool_fn fn;
    void *ctx;
    struct share *shares;        // [n_threads]
    _Atomic uint32_t generation; // futex: counts loops; helpers wait for it to change
    _Atomic uint32_t open;       // generation of the loop that may be entered, 0 = none
    _Atomic uint32_t n_inside;   // helpers that are, or are about to find out whether they may be, inside
    _Atomic uint32_t n_asleep;   // helpers inside futex_wait
    _Atomic bool stop;
    _Atomic size_t next_index; // hands out thread indices at start
};

static void futex_wait(_Atomic uint32_t *word, uint32_t seen) {
    syscall(SYS_futex, (uint32_t *)word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void futex_wake_all(_Atomic uint32_t *word) {
    syscall(SYS_futex, (uint32_t *)word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

static void pool_claim_chunks(struct pool *p, size_t thread) {
    for (size_t i = 0; i < p->n_threads; i++) {
        struct share *s = &p->shares[(thread + i) % p->n_threads];
        while (atomic_load_explicit(&s->next, memory_order_relaxed) < s->end) {
            size_t chunk = atomic_fetch_add_explicit(&s->next, 1, memory_order_relaxed);
            if (chunk < s->end)
                p->fn(p->ctx, chunk, thread);
        }
    }
}

static void *pool_main(void *arg) {
    struct pool *p = arg;
    size_t thread = atomic_fetch_add(&p->next_index, 1);
    uint32_t seen = 0;
    for (;;) {
        for (int i = 0; i < POOL_SPINS && atomic_load(&p->generation) == seen; i++)
            CPU_RELAX();
        while (atomic_load(&p->generation) == seen) {
            atomic_fetch_add(&p->n_asleep, 1);
            futex_wait(&p->generation, seen);
            atomic_fetch_sub(&p->n_asleep, 1);
        }
        seen = atomic_load(&p->generation);
        if (atomic_load(&p->stop))
            return NULL;
        // A helper that comes late finds the loop closed and is not waited for: a preempted thread
        // costs nothing but its own work.
        atomic_fetch_add(&p->n_inside, 1);
        if (atomic_load(&p->open) == seen)
            pool_claim_chunks(p, thread);
        atomic_fetch_sub(&p->n_inside, 1);
    }
}

struct pool *pool_create(size_t n_threads) {
    if (n_threads == 0) {
        long n = sysconf(_SC_NPROCESSORS_ONLN);
        n_threads = n > 0 ? (size_t)n : 1;
    }
    struct pool *p = xcalloc(1, sizeof *p);
    p->n_threads = n_threads;
    p->threads = xcalloc(n_threads, sizeof *p->threads);
    p->shares = aligned_alloc(alignof(struct share), n_threads * sizeof *p->shares);
    if (!p->shares)
        abort();
    atomic_store(&p->next_index, 1);
    for (size_t i = 0; i + 1 < n_threads; i++)
        if (pthread_create(&p->threads[i], NULL, pool_main, p) != 0) {
            p->n_threads = i + 1; // fewer threads than asked for still compute the same values
            break;
        }
    return p;
}

static void pool_wake(struct pool *p, uint32_t generation) {
    atomic_store(&p->generation, generation);
    if (atomic_load(&p->n_asleep))
        futex_wake_all(&p->generation);
}

void pool_destroy(struct pool *p) {
    if (!p)
        return;
    atomic_store(&p->stop, true);
    pool_wake(p, atomic_load(&p->generation) + 1);
    for (size_t i = 0; i + 1 < p->n_threads; i++)
        pthread_join(p->threads[i], NULL);
    free(p->threads);
    free(p->shares);
    free(p);
}

size_t pool_n_threads(const struct pool *p) {
    return p->n_threads;
}

void pool_run(struct pool *p, size_t n_chunks, pool_fn fn, void *ctx) {
    if (n_chunks <= 1 || p->n_threads == 1) {
        for (size_t i = 0; i < n_chunks; i++)
            fn(ctx, i, 0);
        return;
    }
    p->fn = fn;
    p->ctx = ctx;
    for (size_t i = 0; i < p->n_threads; i++) {
        atomic_store_explicit(&p->shares[i].next, n_chunks * i / p->n_threads, memory_order_relaxed);
        p->shares[i].end = n_chunks * (i + 1) / p->n_threads;
    }
    uint32_t generation = atomic_load(&p->generation) + 1;
    generation += generation == 0; // 0 means "none" in `open`
    atomic_store(&p->open, generation);
    pool_wake(p, generation);
    pool_claim_chunks(p, 0);
    atomic_store(&p->open, 0);
    for (int spins = 0; atomic_load(&p->n_inside) != 0; spins++) {
        CPU_RELAX();
        if (spins > POOL_SPINS) // a helper was preempted inside its chunk: give it the processor
            sched_yield();
    }
}

struct worker_task {
    worker_fn fn;
    void *arg;
};

struct workers {
    struct queue *tasks; // of struct worker_task
    size_t n_threads;
    pthread_t *threads;
};

static void *worker_main(void *arg) {
    struct workers *w = arg;
    for (;;) {
        struct worker_task *task = queue_pop(w->tasks, -1);
        if (!task)
            return NULL; // closed and empty
        task->fn(task->arg);
        free(task);
    }
}

struct workers *workers_create(size_t n_threads, size_t max_tasks) {
    struct workers *w = xcalloc(1, sizeof *w);
    w->tasks = queue_create(max_tasks);
    w->threads = xcalloc(n_threads, sizeof *w->threads);
    for (size_t i = 0; i < n_threads; i++)
        if (pthread_create(&w->threads[w->n_threads], NULL, worker_main, w) == 0)
            w->n_threads++;
    if (w->n_threads == 0)
        abort();
    return w;
}

bool workers_submit(struct workers *w, worker_fn fn, void *arg) {
    struct worker_task *task = xcalloc(1, sizeof *task);
    *task = (struct worker_task){fn, arg};
    if (queue_push(w->tasks, task))
        return true;
    free(task);
    return false;
}

void workers_destroy(struct workers *w) {
    if (!w)
        return;
    queue_close(w->tasks);
    for (size_t i = 0; i < w->n_threads; i++)
        pthread_join(w->threads[i], NULL);
    queue_destroy(w->tasks);
    free(w->threads);
    free(w);
}
