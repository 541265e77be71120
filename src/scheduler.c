// One step = a row of every running stream + a chunk of at most one prefill + a slice of at most one
// picture's encode. What is added beside the streams is bounded in time (step_ms), so a new picture never
// freezes other people's tokens. Workers decode pictures meanwhile. The first steps bring in the model's weights;
// what is asked meanwhile waits.
#include "scheduler.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/threads.h"
#include "compute/ops.h"
#include "config.h"
#include "job.h"

#include <pthread.h>
#include <stdlib.h>

enum {
    PREFILL_ROWS_MIN = 8,    // always progress, however slow the machine
    PREFILL_ROWS_FIRST = 32, // of a chunk, before the speed is known
    STEP_ALONE_MS = 160, // a step while nobody streams: what a new request or a cancel may have to wait for
};

struct slot { // a sequence and who has it
    struct llm_seq *seq;
    struct job *job; // NULL: free, its cache may still serve a follow-up
    uint64_t last_used;
};

struct scheduler {
    struct assistant *assistant;
    const struct config *config;
    struct workers *workers;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake; // something for the inference thread to look at
    struct job *jobs;    // {lock} in order of arrival; only the inference thread takes out
    size_t n_jobs;       // {lock}
    uint64_t last_id;    // {lock}
    bool stop;           // {lock}
    // inference thread
    struct slot *slots; // [config->n_parallel]
    struct job **run;   // [max jobs] the jobs of this step, in order of arrival
    size_t n_run;
    struct llm_rows *rows; // [config->n_parallel] of this step
    struct job **row_jobs; // [config->n_parallel] whose they are
    struct err *row_errs;  // [config->n_parallel] of choosing their tokens
    double ms_per_row;     // of a prefill, 0 = not known yet
    bool loading;          // weights are not all there yet
    uint64_t n_steps;
};

static size_t scheduler_max_jobs(const struct scheduler *s) {
    return s->config->n_parallel + s->config->max_queued;
}

// ---- any thread ----

struct preparation {
    struct scheduler *scheduler;
    struct job *job;
};

// worker thread
static void scheduler_prepare(void *arg) {
    struct preparation *p = arg;
    struct scheduler *s = p->scheduler;
    if (!atomic_load(&p->job->cancelled))
        job_prepare(p->job, &p->job->prepare_err);
    pthread_mutex_lock(&s->lock);
    atomic_store(&p->job->preparing, false);
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
    free(p);
}

uint64_t scheduler_submit(struct scheduler *s, struct request *r, event_fn emit, void *ud, struct err *err) {
    struct job *job = job_create(s->assistant, r, emit, ud);
    struct preparation *p = xcalloc(1, sizeof *p);
    *p = (struct preparation){s, job};
    atomic_store(&job->preparing, true);
    pthread_mutex_lock(&s->lock);
    uint64_t id = 0;
    if (!s->stop && s->n_jobs < scheduler_max_jobs(s) && workers_submit(s->workers, scheduler_prepare, p)) {
        id = job->id = ++s->last_id;
        struct job **at = &s->jobs;
        while (*at)
            at = &(*at)->next;
        *at = job;
        s->n_jobs++;
        pthread_cond_signal(&s->wake);
    }
    size_t n_jobs = s->n_jobs;
    pthread_mutex_unlock(&s->lock);
    if (id == 0) {
        free(p);
        job_destroy(job);
        err_set(err, ERR_BUSY, "%zu requests are running or queued, limit %zu: try again soon", n_jobs,
                scheduler_max_jobs(s));
    }
    return id;
}

// {s->lock}
static struct job *scheduler_find(struct scheduler *s, uint64_t id) {
    struct job *job = s->jobs;
    while (job && job->id != id)
        job = job->next;
    return job;
}

void scheduler_cancel(struct scheduler *s, uint64_t id) {
    pthread_mutex_lock(&s->lock);
    struct job *job = scheduler_find(s, id);
    if (job)
        atomic_store(&job->cancelled, true);
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
}

void scheduler_pause(struct scheduler *s, uint64_t id, bool paused) {
    pthread_mutex_lock(&s->lock);
    struct job *job = scheduler_find(s, id);
    if (job)
        atomic_store(&job->paused, paused);
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
}

size_t scheduler_n_jobs(struct scheduler *s) {
    pthread_mutex_lock(&s->lock);
    size_t n = s->n_jobs;
    pthread_mutex_unlock(&s->lock);
    return n;
}

// ---- inference thread ----

static bool job_has_work(const struct job *j) {
    if (j->state == JOB_FINISHED)
        return !atomic_load(&j->preparing); // to be freed
    if (atomic_load(&j->cancelled))
        return true;
    switch (j->state) {
    case JOB_PREPARING:
        return !atomic_load(&j->preparing) || !j->told_decoding;
    case JOB_WAITING:
        return false; // starts when a slot gets free, and that is noticed when it happens
    case JOB_ENCODING:
    case JOB_PREFILL:
    case JOB_DECODING:
    case JOB_FINISHED:
        break;
    }
    return !atomic_load(&j->paused);
}

static struct slot *scheduler_slot_of(struct scheduler *s, const struct job *j) {
    for (size_t i = 0; i < s->config->n_parallel; i++)
        if (s->slots[i].job == j)
            return &s->slots[i];
    return NULL;
}

static void scheduler_release_slot(struct scheduler *s, const struct job *j) {
    struct slot *slot = scheduler_slot_of(s, j);
    if (!slot)
        return;
    slot->job = NULL;
    slot->last_used = s->n_steps;
}

static void scheduler_finish(struct scheduler *s, struct job *j, enum finish finish, const struct err *err) {
    if (j->state != JOB_FINISHED)
        job_finish(j, finish, err);
    scheduler_release_slot(s, j);
}

static void scheduler_fail(struct scheduler *s, struct job *j, const struct err *err) {
    if (err->code == ERR_CANCELLED) {
        scheduler_finish(s, j, FINISH_CANCELLED, NULL);
        return;
    }
    log_event(LOG_LEVEL_WARN, "%s failed: %s", j->request->response_id, err->msg);
    scheduler_finish(s, j, FINISH_FAILED, err);
}

// Waits until a job has work, frees finished ones and lists the others in s->run. False: time to stop.
static bool scheduler_collect(struct scheduler *s) {
    pthread_mutex_lock(&s->lock);
    for (;;) {
        bool any = s->stop || s->loading;
        for (struct job *j = s->jobs; j && !any; j = j->next)
            any = job_has_work(j);
        if (any)
            break;
        pthread_cond_wait(&s->wake, &s->lock);
    }
    s->n_run = 0;
    for (struct job **at = &s->jobs; *at;) {
        struct job *j = *at;
        if (j->state == JOB_FINISHED && !atomic_load(&j->preparing)) {
            *at = j->next;
            s->n_jobs--;
            job_destroy(j);
        } else {
            s->run[s->n_run++] = j;
            at = &j->next;
        }
    }
    bool stop = s->stop;
    pthread_mutex_unlock(&s->lock);
    return !stop;
}

// The free slot for a prompt: the one that holds most of it already, unless taking it would throw away more
// of somebody's conversation than it saves; else the one unused for longest.
static struct slot *scheduler_choose_slot(struct scheduler *s, const struct job *j) {
    struct slot *best = NULL, *oldest = NULL;
    size_t best_match = 0;
    for (size_t i = 0; i < s->config->n_parallel; i++) {
        struct slot *slot = &s->slots[i];
        if (slot->job)
            continue;
        size_t match = llm_seq_match(slot->seq, j->prompt);
        size_t lost = llm_seq_n_past(slot->seq) - match;
        if (match > best_match && lost <= match) {
            best = slot;
            best_match = match;
        }
        if (!oldest || slot->last_used < oldest->last_used)
            oldest = slot;
    }
    return best ? best : oldest;
}

static void scheduler_take_prepared(struct scheduler *s, struct job *j) {
    if (!j->told_decoding)
        job_tell_decoding(j, false);
    if (atomic_load(&j->preparing))
        return;
    if (j->prepare_err.code) {
        scheduler_fail(s, j, &j->prepare_err);
        return;
    }
    job_tell_decoding(j, true);
    job_tell_notices(j);
    j->state = JOB_WAITING;
}

// False when no slot is free.
static bool scheduler_start(struct scheduler *s, struct job *j) {
    struct slot *slot = scheduler_choose_slot(s, j);
    if (!slot)
        return false;
    slot->job = j;
    slot->last_used = s->n_steps;
    job_start(j, slot->seq);
    return true;
}

// Cancels, takes over what workers have prepared, starts what finds a slot and tells the others their place.
static void scheduler_admit(struct scheduler *s) {
    size_t position = 0;
    for (size_t i = 0; i < s->n_run; i++) {
        struct job *j = s->run[i];
        if (j->state == JOB_FINISHED)
            continue;
        if (atomic_load(&j->cancelled)) {
            scheduler_finish(s, j, FINISH_CANCELLED, NULL);
            continue;
        }
        if (j->state == JOB_PREPARING)
            scheduler_take_prepared(s, j);
        if (j->state == JOB_WAITING && s->loading)
            job_tell_loading(j);
        else if (j->state == JOB_WAITING && !scheduler_start(s, j))
            job_tell_position(j, ++position);
    }
}

static bool job_is_running(const struct job *j, enum job_state state) {
    return j->state == state && !atomic_load(&j->paused) && !atomic_load(&j->cancelled);
}

// Encodes for at most budget_ms, at least one layer, of the oldest picture under way; stops early on a cancel.
// One picture at a time, the one begun first of all: who needs the same one comes later and finds it done.
static struct job *scheduler_encoding(const struct scheduler *s) {
    struct job *first = NULL;
    for (size_t i = 0; i < s->n_run; i++) {
        struct job *j = s->run[i];
        if (!job_is_running(j, JOB_ENCODING))
            continue;
        if (j->encode)
            return j;
        first = first ? first : j;
    }
    return first;
}

static void scheduler_encode(struct scheduler *s, double budget_ms) {
    struct job *j = scheduler_encoding(s);
    if (!j)
        return;
    double start = clock_ms(), last = start, longest_ms = 0; // of a layer
    do {
        struct err err = {0};
        if (!job_encode_layer(j, &err)) {
            scheduler_fail(s, j, &err);
            return;
        }
        double now = clock_ms();
        if (now - last > longest_ms)
            longest_ms = now - last;
        last = now;
    } while (job_is_running(j, JOB_ENCODING) && last - start + longest_ms <= budget_ms);
}

struct step_watch { // what a forward asks between layers
    const struct job *prefill;
};

// A cancelled prefill ends the step; streams are too short to be worth it.
static bool step_cancelled(void *ctx) {
    const struct step_watch *w = ctx;
    return w->prefill && atomic_load(&w->prefill->cancelled);
}

static size_t scheduler_prefill_rows(const struct scheduler *s, double budget_ms, size_t n_streams) {
    size_t most = llm_n_rows_max(s->assistant->llm) - n_streams;
    size_t n = PREFILL_ROWS_FIRST;
    if (s->ms_per_row > 0)
        n = budget_ms / s->ms_per_row < (double)most ? (size_t)(budget_ms / s->ms_per_row) : most;
    if (n < PREFILL_ROWS_MIN)
        n = PREFILL_ROWS_MIN;
    return n < most ? n : most;
}

// Books the time of a step on those who took part; the prefill's share is what the streams alone do not
// explain.
static void scheduler_account(struct scheduler *s, size_t n_parts, const struct job *prefill,
                              double step_ms) {
    for (size_t i = 0; i < n_parts; i++) {
        struct job *j = s->row_jobs[i];
        if (j == prefill)
            j->prefill_ms += step_ms;
        else
            j->decode_ms += step_ms;
    }
    if (!prefill || n_parts == 0)
        return;
    size_t n_rows = 0;
    for (size_t i = 0; i < n_parts; i++)
        n_rows += s->rows[i].n_rows;
    double now = step_ms / (double)n_rows;
    s->ms_per_row = s->ms_per_row > 0 ? 0.5 * s->ms_per_row + 0.5 * now : now;
}

// Inference thread and the pool's helpers.
static void scheduler_choose(void *ctx, size_t row, size_t thread) {
    (void)thread;
    const struct scheduler *s = ctx;
    s->row_errs[row] = (struct err){0};
    job_choose(s->row_jobs[row], &s->rows[row], &s->row_errs[row]);
}

// The forward of this step: a row of every stream, and a chunk of the oldest prefill.
static void scheduler_forward(struct scheduler *s, double budget_ms) {
    size_t n = 0;
    for (size_t i = 0; i < s->n_run; i++)
        if (job_is_running(s->run[i], JOB_DECODING)) {
            s->row_jobs[n] = s->run[i];
            s->rows[n++] = job_rows(s->run[i], 1);
        }
    struct job *prefill = NULL;
    for (size_t i = 0; i < s->n_run && !prefill; i++)
        if (job_is_running(s->run[i], JOB_PREFILL))
            prefill = s->run[i];
    if (prefill) {
        s->row_jobs[n] = prefill;
        s->rows[n] = job_rows(prefill, scheduler_prefill_rows(s, budget_ms, n));
        n++;
    }
    if (n == 0)
        return;
    struct err err = {0};
    struct step_watch watch = {prefill};
    double start = clock_ms();
    bool ok = llm_forward(s->assistant->llm, s->rows, n, step_cancelled, &watch, &err);
    scheduler_account(s, n, prefill, clock_ms() - start);
    if (!ok && err.code == ERR_CANCELLED)
        return; // no sequence has changed: the cancelled job leaves, the others repeat their row
    if (ok)
        pool_run(cpu_pool(s->assistant->ops), n, scheduler_choose, s);
    for (size_t i = 0; i < n; i++) {
        struct job *j = s->row_jobs[i];
        struct err own = ok ? s->row_errs[i] : err;
        if (own.code || !job_accept(j, &s->rows[i], &own))
            scheduler_fail(s, j, &own);
        else if (j->state == JOB_FINISHED)
            scheduler_release_slot(s, j);
    }
}

static void scheduler_step(struct scheduler *s) {
    bool streaming = false, encoding = false, prefilling = false;
    for (size_t i = 0; i < s->n_run; i++) {
        streaming |= job_is_running(s->run[i], JOB_DECODING);
        encoding |= job_is_running(s->run[i], JOB_ENCODING);
        prefilling |= job_is_running(s->run[i], JOB_PREFILL);
    }
    double budget_ms = streaming && s->config->step_ms < STEP_ALONE_MS ? s->config->step_ms : STEP_ALONE_MS;
    if (encoding && prefilling)
        budget_ms /= 2;
    scheduler_encode(s, budget_ms);
    scheduler_forward(s, budget_ms);
    s->n_steps++;
}

static void *scheduler_main(void *arg) {
    struct scheduler *s = arg;
    while (scheduler_collect(s)) {
        if (s->loading)
            s->loading = llm_load(s->assistant->llm);
        scheduler_admit(s);
        if (!s->loading)
            scheduler_step(s);
    }
    for (size_t i = 0; i < s->n_run; i++)
        scheduler_finish(s, s->run[i], FINISH_CANCELLED, NULL);
    return NULL;
}

// ---- life ----

static void scheduler_free(struct scheduler *s) {
    for (size_t i = 0; i < s->config->n_parallel; i++)
        llm_seq_destroy(s->slots[i].seq);
    free(s->slots);
    free(s->rows);
    free(s->row_jobs);
    free(s->row_errs);
    free(s->run);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

struct scheduler *scheduler_create(struct assistant *a, const struct config *config, struct workers *workers,
                                   struct err *err) {
    struct scheduler *s = xcalloc(1, sizeof *s);
    s->assistant = a;
    s->config = config;
    s->workers = workers;
    s->loading = true;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->wake, NULL);
    s->slots = xcalloc(config->n_parallel, sizeof *s->slots);
    s->rows = xcalloc(config->n_parallel, sizeof *s->rows);
    s->row_jobs = xcalloc(config->n_parallel, sizeof(struct job *));
    s->row_errs = xcalloc(config->n_parallel, sizeof *s->row_errs);
    s->run = xcalloc(scheduler_max_jobs(s), sizeof(struct job *));
    for (size_t i = 0; i < config->n_parallel; i++)
        if (!(s->slots[i].seq = llm_seq_create(a->llm, err)))
            goto fail;
    if (pthread_create(&s->thread, NULL, scheduler_main, s) != 0) {
        err_set(err, ERR_INTERNAL, "cannot start the inference thread");
        goto fail;
    }
    return s;
fail:
    scheduler_free(s);
    return NULL;
}

void scheduler_destroy(struct scheduler *s) {
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    pthread_mutex_lock(&s->lock);
    while (s->jobs) {
        struct job *j = s->jobs;
        while (atomic_load(&j->preparing)) // the worker still holds it
            pthread_cond_wait(&s->wake, &s->lock);
        s->jobs = j->next;
        job_destroy(j);
    }
    pthread_mutex_unlock(&s->lock);
    scheduler_free(s);
}
