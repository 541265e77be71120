// The conversation with one client: messages in their order, uploads, running responses, what goes out.
// It knows nothing of sockets. Whoever owns it looks, after each call, at outbox, close_code and
// session_wants_input.
//
// Service thread only.
#ifndef SESSION_H
#define SESSION_H

#include "mailbox.h"
#include "message_out.h"
#include "outbox.h"
#include "upload.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SESSION_RESPONSES_MAX = 8, SESSION_PARSE_MAX = 64 << 10 };

enum session_close { // RFC 6455 section 7.4.1
    CLOSE_NONE = 0,
    CLOSE_GOING_AWAY = 1001,
    CLOSE_INVALID_PAYLOAD = 1007,
    CLOSE_POLICY = 1008,
    CLOSE_TOO_BIG = 1009,
    CLOSE_INTERNAL = 1011,
};

struct session_env { // what all sessions of a server share; borrowed
    struct assistant *assistant;
    struct scheduler *scheduler;
    struct workers *workers;
    struct mailbox *mailbox;
    struct message_limits limits;
    bool draining;        // no new responses
    uint64_t n_responses; // given out so far
};

struct session_message { // owned bytes
    char *data;
    size_t len;
    bool binary;
};

struct session {
    uint64_t id;
    struct session_env *env;
    struct outbox outbox;
    struct uploads uploads;
    struct response *responses[SESSION_RESPONSES_MAX];
    size_t n_responses;
    uint64_t sequence; // of connection events
    bool working;      // a task is out: later messages wait for it
    bool paused;       // the client reads too slowly: its jobs rest
    bool waiting;      // next is filled
    struct session_message next;
    enum session_close close_code; // CLOSE_NONE, or: send what is in the outbox, then close
    const char *close_reason;
};

// Returns new, with session.created in its outbox. id must be unique among all sessions of the server.
struct session *session_create(struct session_env *env, uint64_t id);
// Cancels its responses; their last events are later ignored. NULL is legal.
void session_destroy(struct session *s);

// Takes one whole message. Only while session_wants_input.
void session_receive(struct session *s, struct session_message message);
bool session_wants_input(const struct session *s);
// A message, or its announced size, passes max_message_bytes.
void session_refuse_too_big(struct session *s);

// A letter from another thread; takes it.
void session_mail(struct session *s, struct mail *mail);
void session_mail_drop(struct mail *mail); // of a session that is gone

// After the outbox has shrunk.
void session_sent(struct session *s);

// No response runs, nothing is worked on and nothing waits to be sent.
bool session_is_idle(const struct session *s);
void session_cancel_all(struct session *s);
// Closes after what waits has been sent; the first call counts.
void session_close(struct session *s, enum session_close code, const char *reason);

#endif
