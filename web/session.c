// Takes messages of a client, finished tasks and scheduler events -> gives messages for the client.
//
//   text -> task_parse -> response.create -> worker: assistant_resolve -> scheduler_submit -> events ->
//   outbox
//                      -> image.put        -> worker: images_put, image_prepare -> image.stored
//                      -> image.begin, response.cancel: at once
//   binary -> uploads -> worker, as image.put
#include "session.h"

#include "base/mem.h"
#include "images.h"
#include "response.h"
#include "scheduler.h"
#include "task.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct session_event { // one scheduler event on its way to the service thread
    struct mail mail;  // first
    uint64_t response;
    struct event event; // .tokens and .text point behind this struct
};

struct session_emitter { // what a job knows of whom it works for; gone with its last event
    struct mailbox *mailbox;
    uint64_t connection, response;
};

// ---- out ----

// Without memory for a message the client's view of things is broken: it is let go.
static void session_out_of_memory(struct session *s) {
    session_close(s, CLOSE_INTERNAL, "out of memory");
    session_cancel_all(s);
}

static void session_send(struct session *s, struct buf *message, bool built) {
    if (!built || !outbox_push(&s->outbox, message->data, message->len, NULL))
        session_out_of_memory(s);
    buf_clear(message);
}

static void session_error(struct session *s, const struct message_error *error) {
    struct buf m = {0};
    session_send(s, &m, message_out_error(&m, s->sequence++, error, NULL));
}

// The error of a message, naming what the client gave it.
static void session_message_error(struct session *s, const struct message *m, const struct err *err) {
    session_error(
        s, &(struct message_error){
               .err = err,
               .event_id = m->event_id,
               .stream_id = m->stream_id,
               .upload_id = m->type == MESSAGE_IMAGE_BEGIN && m->size_bytes ? (int64_t)m->upload_id : -1,
           });
}

static void session_image_stored(struct session *s, const struct message *m, const struct image *image,
                                 bool known) {
    const struct image_info *info = image_info(image);
    struct message_image told = {
        .upload_id = m->type == MESSAGE_IMAGE_BEGIN ? (int64_t)m->upload_id : -1,
        .event_id = m->event_id,
        .image_id = info->id,
        .width_px = info->width_px,
        .height_px = info->height_px,
        .n_tokens = info->n_tokens,
        .known = known,
    };
    struct buf out = {0};
    session_send(s, &out, message_out_image_stored(&out, s->sequence++, &told, NULL));
}

struct session *session_create(struct session_env *env, uint64_t id) {
    struct session *s = xcalloc(1, sizeof *s);
    s->env = env;
    s->id = id;
    outbox_init(&s->outbox);
    char name[32];
    snprintf(name, sizeof name, "sess_%016" PRIx64, id);
    struct buf m = {0};
    session_send(s, &m, message_out_session(&m, s->sequence++, name, &env->limits, NULL));
    return s;
}

void session_destroy(struct session *s) {
    if (!s)
        return;
    session_cancel_all(s);
    for (size_t i = 0; i < s->n_responses; i++)
        response_destroy(s->responses[i]);
    uploads_clear(&s->uploads);
    outbox_clear(&s->outbox);
    free(s->next.data);
    free(s);
}

void session_close(struct session *s, enum session_close code, const char *reason) {
    if (s->close_code != CLOSE_NONE)
        return;
    s->close_code = code;
    s->close_reason = reason;
}

void session_cancel_all(struct session *s) {
    for (size_t i = 0; i < s->n_responses; i++)
        scheduler_cancel(s->env->scheduler, s->responses[i]->job);
}

bool session_is_idle(const struct session *s) {
    return s->n_responses == 0 && !s->working && !s->waiting && !s->outbox.head;
}

bool session_wants_input(const struct session *s) {
    return !s->waiting && s->close_code == CLOSE_NONE && !s->paused;
}

// ---- slow readers ----

static void session_set_paused(struct session *s, bool paused) {
    if (s->paused == paused)
        return;
    s->paused = paused;
    for (size_t i = 0; i < s->n_responses; i++)
        scheduler_pause(s->env->scheduler, s->responses[i]->job, paused);
}

static void session_check_outbox(struct session *s) {
    if (s->outbox.n_bytes > OUTBOX_HIGH_BYTES)
        session_set_paused(s, true);
    else if (s->outbox.n_bytes < OUTBOX_LOW_BYTES)
        session_set_paused(s, false);
}

void session_sent(struct session *s) {
    session_check_outbox(s);
}

// ---- scheduler events ----

// inference thread
static void session_emit(void *ud, const struct event *event) {
    struct session_emitter *emitter = ud;
    size_t len = event->type == EVENT_DELTA ? event->len : 0;
    size_t n_tokens = event->type == EVENT_DELTA ? event->n_tokens : 0;
    struct session_event *e = xcalloc(1, sizeof *e + n_tokens * sizeof *event->tokens + len);
    struct event_token *tokens = (struct event_token *)(e + 1);
    e->mail = (struct mail){.kind = MAIL_EVENT, .connection = emitter->connection};
    e->response = emitter->response;
    e->event = *event;
    if (n_tokens)
        memcpy(tokens, event->tokens, n_tokens * sizeof *tokens);
    e->event.tokens = tokens;
    if (len)
        memcpy(tokens + n_tokens, event->text, len);
    e->event.text = (const char *)(tokens + n_tokens);
    struct mailbox *mailbox = emitter->mailbox;
    if (event->type == EVENT_DONE)
        free(emitter);
    mailbox_post(mailbox, &e->mail);
}

static void session_event(struct session *s, const struct session_event *e) {
    size_t i = 0;
    while (i < s->n_responses && s->responses[i]->number != e->response)
        i++;
    if (i == s->n_responses)
        return;
    if (!response_event(s->responses[i], &e->event, &s->outbox, NULL))
        session_out_of_memory(s);
    if (e->event.type == EVENT_DONE) {
        response_destroy(s->responses[i]);
        s->responses[i] = s->responses[--s->n_responses];
    }
}

// ---- messages ----

static bool session_submit(struct session *s, struct message *m, struct err *err) {
    struct session_env *env = s->env;
    if (env->draining)
        return err_set(err, ERR_BUSY, "the server is shutting down");
    if (s->n_responses == SESSION_RESPONSES_MAX)
        return err_set(err, ERR_BUSY, "%d responses run on this connection, limit %d", SESSION_RESPONSES_MAX,
                       SESSION_RESPONSES_MAX);
    struct session_emitter *emitter = xcalloc(1, sizeof *emitter);
    uint64_t number = ++env->n_responses;
    *emitter = (struct session_emitter){env->mailbox, s->id, number};
    struct response *r =
        response_create(number, m->request, env->limits.model, m->stream_id, m->metadata, m->format);
    m->stream_id = m->metadata = m->format = NULL;
    struct request *request = m->request;
    m->request = NULL;
    r->job = scheduler_submit(env->scheduler, request, session_emit, emitter, err);
    if (!r->job) {
        free(emitter);
        m->stream_id = r->stream_id; // the error names it
        r->stream_id = NULL;
        response_destroy(r);
        return false;
    }
    s->responses[s->n_responses++] = r;
    if (s->paused)
        scheduler_pause(env->scheduler, r->job, true);
    if (!response_start(r, &s->outbox, NULL))
        session_out_of_memory(s);
    return true;
}

static bool session_cancel(struct session *s, const struct message *m, struct err *err) {
    if (!m->response_id) {
        session_cancel_all(s);
        return true;
    }
    for (size_t i = 0; i < s->n_responses; i++)
        if (!strcmp(s->responses[i]->id, m->response_id)) {
            scheduler_cancel(s->env->scheduler, s->responses[i]->job);
            return true;
        }
    err_set(err, ERR_INVALID_VALUE, "response_id: no such response runs on this connection");
    return err_set_param(err, "response_id");
}

// Hands a task to the workers; the next message waits until it is back.
static void session_work(struct session *s, struct task *t) {
    struct err err = {0};
    if (task_submit(t, s->env->workers, &err)) {
        s->working = true;
        return;
    }
    session_message_error(s, &t->message, &err);
    task_destroy(t);
}

// An announced upload: known already, or room is made for it.
static bool session_begin(struct session *s, struct task *t, struct err *err) {
    struct message *m = &t->message;
    struct image *image =
        m->sha256[0] ? images_find(assistant_images(s->env->assistant), m->sha256, NULL, NULL) : NULL;
    if (image) {
        struct task *known =
            task_create(TASK_KNOWN, s->id, s->env->mailbox, s->env->assistant, &s->env->limits);
        known->image = image;
        known->known = true;
        known->message = *m;
        *m = (struct message){0};
        session_work(s, known);
        return true;
    }
    if (!uploads_begin(&s->uploads, m, err))
        return false;
    struct buf out = {0};
    session_send(s, &out, message_out_image_ready(&out, s->sequence++, m->upload_id, m->event_id, NULL));
    return true;
}

// A task with nothing left to do elsewhere: its message takes effect.
static void session_finish(struct session *s, struct task *t) {
    struct message *m = &t->message;
    struct err err = t->err;
    if (t->not_utf8) {
        session_close(s, CLOSE_INVALID_PAYLOAD, "text is not UTF-8");
        session_cancel_all(s);
    } else if (err.code == ERR_NONE) {
        if (t->image)
            session_image_stored(s, m, t->image, t->known);
        else if (m->type == MESSAGE_RESPONSE_CREATE)
            session_submit(s, m, &err);
        else if (m->type == MESSAGE_RESPONSE_CANCEL)
            session_cancel(s, m, &err);
        else if (m->type == MESSAGE_IMAGE_BEGIN)
            session_begin(s, t, &err);
    }
    if (err.code != ERR_NONE)
        session_message_error(s, m, &err);
    task_destroy(t);
}

static void session_text(struct session *s, struct session_message message) {
    struct session_env *env = s->env;
    struct task *t = task_create(TASK_TEXT, s->id, env->mailbox, env->assistant, &env->limits);
    t->text = message.data;
    t->len = message.len;
    if (t->len > SESSION_PARSE_MAX) {
        session_work(s, t);
        return;
    }
    task_parse(t);
    t->kind = TASK_MESSAGE;
    bool elsewhere = t->message.type == MESSAGE_RESPONSE_CREATE || t->message.type == MESSAGE_IMAGE_PUT;
    if (t->err.code == ERR_NONE && !t->not_utf8 && elsewhere)
        session_work(s, t);
    else
        session_finish(s, t);
}

static void session_binary(struct session *s, struct session_message message) {
    struct upload *upload;
    int64_t id;
    struct err err = {0};
    if (!uploads_receive(&s->uploads, (const uint8_t *)message.data, message.len, &upload, &id, &err)) {
        session_error(s, &(struct message_error){.err = &err, .upload_id = id});
    } else if (upload) {
        struct task *t = task_create(TASK_UPLOAD, s->id, s->env->mailbox, s->env->assistant, &s->env->limits);
        t->message = (struct message){
            .type = MESSAGE_IMAGE_BEGIN,
            .event_id = upload->event_id,
            .upload_id = upload->id,
            .size_bytes = upload->size_bytes,
        };
        upload->event_id = NULL;
        memcpy(t->message.sha256, upload->sha256, sizeof upload->sha256);
        t->message.bytes = upload_take(upload);
        session_work(s, t);
    }
    free(message.data);
}

static void session_process(struct session *s, struct session_message message) {
    if (message.binary)
        session_binary(s, message);
    else
        session_text(s, message);
    session_check_outbox(s);
}

void session_receive(struct session *s, struct session_message message) {
    if (s->close_code != CLOSE_NONE) {
        free(message.data);
    } else if (s->working) {
        s->next = message;
        s->waiting = true;
    } else {
        session_process(s, message);
    }
}

void session_refuse_too_big(struct session *s) {
    struct err err = {0};
    err_set(&err, ERR_MESSAGE_TOO_BIG, "a message passes max_message_bytes = %zu",
            s->env->limits.max_message_bytes);
    session_error(s, &(struct message_error){.err = &err, .upload_id = -1});
    session_close(s, CLOSE_TOO_BIG, "message too big");
    session_cancel_all(s);
}

void session_mail(struct session *s, struct mail *mail) {
    if (mail->kind == MAIL_EVENT) {
        session_event(s, (struct session_event *)mail);
        free(mail);
    } else {
        s->working = false;
        session_finish(s, (struct task *)mail);
    }
    if (s->waiting && !s->working) {
        struct session_message message = s->next;
        s->waiting = false;
        s->next = (struct session_message){0};
        session_receive(s, message);
    }
    session_check_outbox(s);
}

void session_mail_drop(struct mail *mail) {
    if (mail->kind == MAIL_EVENT)
        free(mail);
    else
        task_destroy((struct task *)mail);
}
