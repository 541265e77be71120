// A bounded first-in first-out queue of pointers between threads. Pushing moves ownership.
#ifndef BASE_QUEUE_H
#define BASE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

struct queue;

struct queue *queue_create(size_t capacity);
void queue_destroy(struct queue *q); // must be empty: it does not know how to free what it holds

// Any thread. False when full or closed: the item stays the caller's.
bool queue_push(struct queue *q, void *item);

// Any thread. Waits up to timeout_ms (0 = do not wait, -1 = for ever); NULL when nothing came or the
// queue is closed and empty.
void *queue_pop(struct queue *q, int timeout_ms);

// Wakes all waiters; later pushes fail, what is inside can still be popped.
void queue_close(struct queue *q);
bool queue_is_closed(struct queue *q);

#endif
