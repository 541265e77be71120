#include "base/queue.h"
#include "base/clock.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdlib.h>

struct queue {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    void **items;              // {lock} ring of capacity
    size_t capacity, first, n; // {lock}
    bool closed;               // {lock}
};

struct queue *queue_create(size_t capacity) {
    struct queue *q = xcalloc(1, sizeof *q);
    q->items = xcalloc(capacity, sizeof *q->items);
    q->capacity = capacity;
    pthread_mutex_init(&q->lock, NULL);
    clock_cond_init(&q->filled);
    return q;
}

void queue_destroy(struct queue *q) {
    if (!q)
        return;
    pthread_cond_destroy(&q->filled);
    pthread_mutex_destroy(&q->lock);
    free(q->items);
    free(q);
}

bool queue_push(struct queue *q, void *item) {
    pthread_mutex_lock(&q->lock);
    bool ok = !q->closed && q->n < q->capacity;
    if (ok) {
        q->items[(q->first + q->n) % q->capacity] = item;
        q->n++;
        pthread_cond_signal(&q->filled);
    }
    pthread_mutex_unlock(&q->lock);
    return ok;
}

void *queue_pop(struct queue *q, int timeout_ms) {
    struct timespec until = clock_deadline(timeout_ms);
    pthread_mutex_lock(&q->lock);
    int rc = 0;
    while (q->n == 0 && !q->closed && timeout_ms != 0 && rc == 0)
        rc = timeout_ms < 0 ? pthread_cond_wait(&q->filled, &q->lock)
                            : pthread_cond_timedwait(&q->filled, &q->lock, &until);
    void *item = NULL;
    if (q->n > 0) {
        item = q->items[q->first];
        q->first = (q->first + 1) % q->capacity;
        q->n--;
    }
    pthread_mutex_unlock(&q->lock);
    return item;
}

void queue_close(struct queue *q) {
    pthread_mutex_lock(&q->lock);
    q->closed = true;
    pthread_cond_broadcast(&q->filled);
    pthread_mutex_unlock(&q->lock);
}

bool queue_is_closed(struct queue *q) {
    pthread_mutex_lock(&q->lock);
    bool closed = q->closed;
    pthread_mutex_unlock(&q->lock);
    return closed;
}
