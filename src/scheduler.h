// The inference thread: the only owner of models and sequences. It steps all running jobs together.
#ifndef SCHEDULER_H
#define SCHEDULER_H

#include "assistant.h"

struct scheduler;
struct workers;

// Starts the thread. Borrows assistant and config. `workers` (borrowed) decode pictures. ERR_NOMEM for the
// sequences' KV caches.
struct scheduler *scheduler_create(struct assistant *a, const struct config *config, struct workers *workers,
                                   struct err *err);
// Cancels what runs, delivers the last events and joins the thread.
void scheduler_destroy(struct scheduler *s);

// All below: any thread, at once.

// Takes a resolved request. Later `emit(ud, ...)` is called with events until EVENT_DONE, always exactly one.
// Returns the job's id, or 0 with ERR_BUSY (the request is freed, emit is never called) when max_queued wait.
uint64_t scheduler_submit(struct scheduler *s, struct request *r, event_fn emit, void *ud, struct err *err);
// An unknown or finished job is ignored.
void scheduler_cancel(struct scheduler *s, uint64_t job);
// A paused job keeps its place but is given no steps: how a slow reader holds back its own stream only.
void scheduler_pause(struct scheduler *s, uint64_t job, bool paused);
size_t scheduler_n_jobs(struct scheduler *s); // queued and running

#endif
