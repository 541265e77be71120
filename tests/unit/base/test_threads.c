// The compute pool runs every chunk once; queues and workers keep order, limits and what they accepted.
#include "base/queue.h"
#include "base/threads.h"
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>

enum { CHUNKS = 1000 };

struct counted {
    _Atomic int runs[CHUNKS];
    size_t n_threads;
    _Atomic int n_bad_threads;
};

static void count_chunk(void *ctx, size_t chunk, size_t thread) {
    struct counted *c = ctx;
    atomic_fetch_add(&c->runs[chunk], 1);
    if (thread >= c->n_threads)
        atomic_fetch_add(&c->n_bad_threads, 1);
}

static void test_pool(size_t n_threads) {
    struct pool *p = pool_create(n_threads);
    CHECK(pool_n_threads(p) == n_threads);
    int n_wrong = 0;
    for (int round = 0; round < 300; round++) { // many short loops, one after the other
        struct counted c = {.n_threads = n_threads};
        size_t n = (size_t)(round * 7) % CHUNKS;
        pool_run(p, n, count_chunk, &c);
        for (size_t i = 0; i < CHUNKS; i++)
            n_wrong += c.runs[i] != (i < n);
        n_wrong += c.n_bad_threads;
    }
    CHECK(n_wrong == 0);
    pool_destroy(p);
}

static void test_queue(void) {
    struct queue *q = queue_create(3);
    int items[4] = {0};
    CHECK(!queue_pop(q, 0) && !queue_pop(q, 5));
    CHECK(queue_push(q, &items[0]) && queue_push(q, &items[1]) && queue_push(q, &items[2]));
    CHECK(!queue_push(q, &items[3]));
    CHECK(queue_pop(q, 0) == &items[0] && queue_push(q, &items[3]));
    queue_close(q);
    CHECK(queue_is_closed(q) && !queue_push(q, &items[0]));
    CHECK(queue_pop(q, -1) == &items[1] && queue_pop(q, -1) == &items[2] && queue_pop(q, -1) == &items[3]);
    CHECK(!queue_pop(q, -1));
    queue_destroy(q);
}

struct gate { // holds the worker until the test opens it
    pthread_mutex_t lock;
    _Atomic int n_done;
};

static void pass_gate(void *arg) {
    struct gate *g = arg;
    pthread_mutex_lock(&g->lock);
    atomic_fetch_add(&g->n_done, 1);
    pthread_mutex_unlock(&g->lock);
}

static void test_workers(void) {
    struct gate g = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct workers *w = workers_create(1, 2);
    pthread_mutex_lock(&g.lock);
    int n_accepted = 0;
    for (int i = 0; i < 10; i++)
        n_accepted += workers_submit(w, pass_gate, &g);
    CHECK(n_accepted == 2 || n_accepted == 3); // two wait, one may be in the worker's hands
    pthread_mutex_unlock(&g.lock);
    workers_destroy(w); // what was accepted has run
    CHECK(g.n_done == n_accepted);
}

int main(void) {
    for (size_t n = 1; n <= 4; n++)
        test_pool(n);
    test_queue();
    test_workers();
    return check_result();
}
