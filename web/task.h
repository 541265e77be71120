// What a message needs done away from the service thread: parsing a long text, hashing and decoding pictures,
// finding what a request refers to. A task runs on a worker and comes back as a letter.
#ifndef TASK_H
#define TASK_H

#include "assistant.h"
#include "mailbox.h"
#include "message_in.h"

#include <stdbool.h>
#include <stddef.h>

struct workers;

enum task_kind {
    TASK_TEXT,    // text -> message, and then as TASK_MESSAGE
    TASK_MESSAGE, // response.create: resolved request; image.put: stored picture
    TASK_UPLOAD,  // bytes of a finished upload: stored picture
    TASK_KNOWN,   // a picture that was here before: found sound
};

struct task {
    struct mail mail; // first
    enum task_kind kind;
    struct mailbox *mailbox;
    struct assistant *assistant;
    const struct message_limits *limits;
    char *text; // TASK_TEXT
    size_t len;
    // TASK_MESSAGE, in or made of text. For TASK_UPLOAD: bytes, size_bytes, sha256, upload_id, event_id.
    struct message message;
    struct image *image; // out: a reference; of TASK_KNOWN in
    bool known;          // out: the picture was here before
    bool not_utf8;       // out: the text is no UTF-8, the framing is broken
    struct err err;      // out
};

// Service thread. Returns new, for one connection.
struct task *task_create(enum task_kind kind, uint64_t connection, struct mailbox *mailbox,
                         struct assistant *assistant, const struct message_limits *limits);
void task_destroy(struct task *t);

// Service thread. Takes the task, which is posted when it is done; false with ERR_BUSY: it is still the
// caller's.
bool task_submit(struct task *t, struct workers *workers, struct err *err);

// Service thread. Parses in place a text that is short enough for that.
void task_parse(struct task *t);

#endif
