#include "store.h"

#include "base/mem.h"
#include "images.h"
#include "request.h"

#include <pthread.h>
#include <stdlib.h>

struct store {
    pthread_mutex_t lock;
    size_t max_responses;
    size_t n;                        // {lock}
    struct history *newest, *oldest; // {lock} the store holds one reference to each
};

struct store *store_create(size_t max_responses) {
    struct store *s = xcalloc(1, sizeof *s);
    s->max_responses = max_responses;
    pthread_mutex_init(&s->lock, NULL);
    return s;
}

// Drops one reference; the last one frees, and drops its hold on what came before. {s->lock}
static void history_unref(struct history *h) {
    while (h && --h->n_refs == 0) {
        struct history *previous = h->previous;
        request_turns_destroy(h->turns, h->n_turns);
        free(h->answer);
        free(h->answer_ids);
        free(h);
        h = previous;
    }
}

// {s->lock}
static void store_unlink(struct store *s, struct history *h) {
    if (h->newer)
        h->newer->older = h->older;
    else
        s->newest = h->older;
    if (h->older)
        h->older->newer = h->newer;
    else
        s->oldest = h->newer;
    h->newer = h->older = NULL;
    s->n--;
}

// {s->lock}
static void store_link_newest(struct store *s, struct history *h) {
    h->older = s->newest;
    if (s->newest)
        s->newest->newer = h;
    else
        s->oldest = h;
    s->newest = h;
    s->n++;
}

void store_destroy(struct store *s) {
    if (!s)
        return;
    while (s->oldest) {
        struct history *h = s->oldest;
        store_unlink(s, h);
        history_unref(h);
    }
    pthread_mutex_destroy(&s->lock);
    free(s);
}

void store_put(struct store *s, struct request *r, char *answer, size_t answer_len, int32_t *answer_ids,
               size_t n_answer_ids) {
    struct history *h = xcalloc(1, sizeof *h);
    h->owner = s;
    h->n_refs = 1;
    memcpy(h->response_id, r->response_id, sizeof h->response_id);
    h->previous = r->previous;
    r->previous = NULL;
    h->turns = r->turns;
    h->n_turns = r->n_turns;
    r->turns = NULL;
    r->n_turns = 0;
    for (size_t i = 0; i < h->n_turns; i++)
        for (size_t j = 0; j < h->turns[i].n_parts; j++) {
            struct request_part *part = &h->turns[i].parts[j];
            image_release(part->image);
            part->image = NULL;
        }
    h->answer = answer;
    h->answer_len = answer_len;
    h->answer_ids = answer_ids;
    h->n_answer_ids = n_answer_ids;
    pthread_mutex_lock(&s->lock);
    store_link_newest(s, h);
    while (s->n > s->max_responses) {
        struct history *old = s->oldest;
        store_unlink(s, old);
        history_unref(old);
    }
    pthread_mutex_unlock(&s->lock);
}

struct history *store_find(struct store *s, const char *response_id, struct err *err) {
    pthread_mutex_lock(&s->lock);
    struct history *h = s->newest;
    while (h && strcmp(h->response_id, response_id) != 0)
        h = h->older;
    if (h) {
        h->n_refs++;
        store_unlink(s, h);
        store_link_newest(s, h);
    }
    pthread_mutex_unlock(&s->lock);
    if (!h) {
        err_set(err, ERR_INVALID_VALUE, "no response %.47s is known here", response_id);
        err_set_param(err, "previous_response_id");
    }
    return h;
}

void history_release(struct history *h) {
    if (!h)
        return;
    struct store *s = h->owner;
    pthread_mutex_lock(&s->lock);
    history_unref(h);
    pthread_mutex_unlock(&s->lock);
}
