// Takes a message or the bytes of a picture -> gives it parsed, resolved, stored; or an error.
#include "task.h"

#include "base/mem.h"
#include "base/threads.h"
#include "base/utf8.h"
#include "images.h"

#include <stdlib.h>

struct task *task_create(enum task_kind kind, uint64_t connection, struct mailbox *mailbox,
                         struct assistant *assistant, const struct message_limits *limits) {
    struct task *t = xcalloc(1, sizeof *t);
    t->mail = (struct mail){.kind = MAIL_TASK, .connection = connection};
    t->kind = kind;
    t->mailbox = mailbox;
    t->assistant = assistant;
    t->limits = limits;
    return t;
}

void task_destroy(struct task *t) { // any thread
    if (!t)
        return;
    free(t->text);
    message_clear(&t->message);
    image_release(t->image);
    free(t);
}

void task_parse(struct task *t) { // service or worker thread
    // The socket library checks each fragment; a sequence cut short at the end of the last passes it.
    t->not_utf8 = !utf8_is_valid(t->text, t->len);
    if (!t->not_utf8)
        message_parse(t->text, t->len, t->limits, &t->message, &t->err);
    free(t->text);
    t->text = NULL;
}

// worker thread
static void task_store(struct task *t) {
    struct message *m = &t->message;
    if (m->sha256[0]) {
        char found[SHA256_HEX_SIZE];
        sha256_hex(m->bytes, m->size_bytes, found);
        if (strcmp(found, m->sha256) != 0) {
            err_set(&t->err, ERR_INVALID_VALUE, "sha256: announced %.16s..., the bytes have %.16s...",
                    m->sha256, found);
            err_set_param(&t->err, "sha256");
            return;
        }
    }
    uint8_t *bytes = m->bytes;
    m->bytes = NULL;
    t->image = images_put(assistant_images(t->assistant), bytes, m->size_bytes, NULL, &t->known, &t->err);
}

// worker thread
static void task_work(struct task *t) {
    struct message *m = &t->message;
    if (t->kind == TASK_TEXT)
        task_parse(t);
    if (t->not_utf8 || t->err.code != ERR_NONE)
        return;
    bool put = t->kind == TASK_UPLOAD || (t->kind != TASK_KNOWN && m->type == MESSAGE_IMAGE_PUT);
    if (put)
        task_store(t);
    // A picture is decoded before it is called stored: one cut short is refused now, not in some later turn.
    if ((put || t->kind == TASK_KNOWN) && t->image)
        image_prepare(t->image, &t->err);
    if (m->type == MESSAGE_RESPONSE_CREATE && m->request)
        assistant_resolve(t->assistant, m->request, &t->err);
}

// worker thread
static void task_run(void *arg) {
    struct task *t = arg;
    task_work(t);
    mailbox_post(t->mailbox, &t->mail);
}

bool task_submit(struct task *t, struct workers *workers, struct err *err) {
    if (workers_submit(workers, task_run, t))
        return true;
    return err_set(err, ERR_BUSY, "too many messages are being worked on; try again");
}
