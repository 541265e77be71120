#include "cli/ask.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "scheduler.h"

#include <pthread.h>
#include <stdlib.h>

struct ask {
    struct scheduler *scheduler;
    uint64_t job;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    // {lock}
    struct buf text, notices;
    struct event progress, end;
    bool has_news, done;
    struct err err; // of storing what came
    int64_t *times_us;
    size_t n_times, times_cap;
};

static void note_time(struct ask *k) {
    if (k->n_times == k->times_cap) {
        size_t cap = k->times_cap ? k->times_cap * 2 : 256;
        int64_t *grown = realloc(k->times_us, cap * sizeof *grown);
        if (!grown) {
            err_set(&k->err, ERR_NOMEM, "times of %zu pieces: no memory", cap);
            return;
        }
        k->times_us = grown;
        k->times_cap = cap;
    }
    k->times_us[k->n_times++] = clock_us();
}

// Inference thread.
static void ask_on_event(void *ud, const struct event *event) {
    struct ask *k = ud;
    pthread_mutex_lock(&k->lock);
    if (event->type == EVENT_DELTA) {
        buf_append(&k->text, event->text, event->len, &k->err);
        note_time(k);
    } else if (event->type == EVENT_PROGRESS) {
        k->progress = *event;
    } else if (event->type == EVENT_NOTICE) {
        char text[NOTICE_TEXT_SIZE];
        if (buf_append_str(&k->notices, notice_text(&event->notice, text), &k->err))
            buf_append_str(&k->notices, "\n", &k->err);
    } else {
        k->end = *event;
        k->done = true;
    }
    k->has_news = true;
    pthread_cond_signal(&k->changed);
    pthread_mutex_unlock(&k->lock);
}

struct ask *ask_submit(struct assistant *a, struct scheduler *s, struct request *request, struct err *err) {
    if (!assistant_resolve(a, request, err)) {
        request_destroy(request);
        return NULL;
    }
    struct ask *k = xcalloc(1, sizeof *k);
    k->scheduler = s;
    k->progress.type = EVENT_DONE; // none yet
    buf_init(&k->text, 0);
    buf_init(&k->notices, 0);
    pthread_mutex_init(&k->lock, NULL);
    clock_cond_init(&k->changed);
    k->job = scheduler_submit(s, request, ask_on_event, k, err);
    if (!k->job) {
        ask_destroy(k);
        return NULL;
    }
    return k;
}

void ask_wait(struct ask *k, int timeout_ms, struct ask_news *news) {
    struct timespec until = clock_deadline(timeout_ms);
    pthread_mutex_lock(&k->lock);
    while (!k->has_news && pthread_cond_timedwait(&k->changed, &k->lock, &until) == 0)
        ;
    k->has_news = false;
    size_t n_notices;
    news->text = buf_take(&k->text, &news->len);
    news->notices = buf_take(&k->notices, &n_notices);
    news->progress = k->progress;
    news->done = k->done;
    news->end = k->end;
    if (k->done && k->err.code && news->end.finish != FINISH_FAILED) {
        news->end.finish = FINISH_FAILED;
        news->end.err = k->err;
    }
    pthread_mutex_unlock(&k->lock);
}

void ask_cancel(struct ask *k) {
    scheduler_cancel(k->scheduler, k->job);
}

const int64_t *ask_times_us(const struct ask *k, size_t *n) {
    *n = k->n_times;
    return k->times_us;
}

void ask_destroy(struct ask *k) {
    pthread_mutex_destroy(&k->lock);
    pthread_cond_destroy(&k->changed);
    buf_clear(&k->text);
    buf_clear(&k->notices);
    free(k->times_us);
    free(k);
}
