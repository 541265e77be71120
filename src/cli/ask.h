// Requests through assistant and scheduler, the same way that the server takes, for a program that waits.
#ifndef CLI_ASK_H
#define CLI_ASK_H

#include "assistant.h"

struct scheduler;
struct ask; // one submitted request: the inference thread fills it, ask_wait reads it

// Takes request (resolved here). Returns new, or NULL: the request is freed then.
struct ask *ask_submit(struct assistant *a, struct scheduler *s, struct request *request, struct err *err);

struct ask_news {
    char *text; // new since the last call, may be empty; free it
    size_t len;
    char *notices;         // new since the last call, a line each; NULL: none; free it
    struct event progress; // the last one; .type is EVENT_PROGRESS when there was any
    bool done;
    struct event end; // EVENT_DONE
};

// Waits up to timeout_ms for news; the caller frees text and notices.
void ask_wait(struct ask *k, int timeout_ms, struct ask_news *news);
void ask_cancel(struct ask *k);
// After the end only: times of the text pieces by clock_us, [n], borrowed.
const int64_t *ask_times_us(const struct ask *k, size_t *n);
void ask_destroy(struct ask *k); // after the end only

#endif
