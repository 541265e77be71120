// Takes fragments of frames -> gives whole messages; takes messages -> gives one frame a WRITEABLE callback.
#include "connection.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdlib.h>

_Static_assert(OUTBOX_HEADROOM >= LWS_PRE, "an outbox message has the room that lws_write wants");

enum { CONNECTION_FRAGMENTS_MIN = 1024, CONNECTION_FRAGMENT_BYTES = 1024, CONNECTION_DISCARD_S = 10 };

struct connection {
    struct connection *next; // in its bucket
    struct lws *wsi;
    struct session *session;
    struct buf message; // so far
    bool in_message, binary;
    size_t n_fragments;
    bool input_stopped;
    // Of a message too big: its rest is read and dropped. A socket closed with bytes unread is reset, and the
    // client would lose the error that tells it why.
    bool discarding;
    int64_t discard_until_us;
    int64_t received_us; // when the message at hand last grew
    int64_t sent_us;     // when the outbox last shrank, or was last empty
};

static struct connection **connections_bucket(struct connections *all, uint64_t id) {
    return &all->buckets[id % CONNECTIONS_BUCKETS];
}

// Asks libwebsockets for what the session now needs.
static void connection_follow(struct connection *c) {
    struct session *s = c->session;
    bool stop = s->close_code == CLOSE_NONE && !session_wants_input(s);
    if (stop != c->input_stopped) {
        c->input_stopped = stop;
        c->received_us = clock_us();
        lws_rx_flow_control(c->wsi, !stop);
    }
    if (s->outbox.head || (s->close_code != CLOSE_NONE && !c->discarding))
        lws_callback_on_writable(c->wsi);
    else
        c->sent_us = clock_us();
}

struct connection *connection_open(struct connections *all, struct lws *wsi) {
    struct connection *c = xcalloc(1, sizeof *c);
    uint64_t id = ++all->n_ever;
    c->wsi = wsi;
    c->session = session_create(all->env, id);
    c->sent_us = clock_us();
    buf_init(&c->message, all->env->limits.max_message_bytes);
    struct connection **bucket = connections_bucket(all, id);
    c->next = *bucket;
    *bucket = c;
    all->n++;
    connection_follow(c);
    return c;
}

void connection_close(struct connections *all, struct connection *c) {
    if (!c)
        return;
    struct connection **at = connections_bucket(all, c->session->id);
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    all->n--;
    session_destroy(c->session);
    buf_clear(&c->message);
    free(c);
}

// Whether one more piece keeps the message within its caps: bytes, those still announced by the frame
// included, and fragments, so that a message of single bytes costs its sender more than us.
static bool connection_fits(const struct connection *c, size_t len) {
    size_t total, limit = c->message.limit;
    if (!size_add(c->message.len, len, &total) ||
        !size_add(total, lws_remaining_packet_payload(c->wsi), &total) || total > limit)
        return false;
    return c->n_fragments <= CONNECTION_FRAGMENTS_MIN + total / CONNECTION_FRAGMENT_BYTES;
}

static void connection_reset_message(struct connection *c) {
    buf_clear(&c->message);
    c->in_message = false;
    c->n_fragments = 0;
}

int connection_receive(struct connection *c, const void *data, size_t len) {
    struct session *s = c->session;
    bool frame_ends = lws_remaining_packet_payload(c->wsi) == 0;
    bool message_ends = frame_ends && lws_is_final_fragment(c->wsi);
    if (s->close_code != CLOSE_NONE) {
        c->discarding = c->discarding && !message_ends;
        connection_follow(c);
        return 0;
    }
    if (!c->in_message) {
        c->in_message = true;
        c->binary = lws_frame_is_binary(c->wsi);
    }
    c->received_us = clock_us();
    c->n_fragments += frame_ends;
    if (!connection_fits(c, len)) {
        connection_reset_message(c);
        session_refuse_too_big(s);
        c->discarding = !message_ends;
        c->discard_until_us = c->received_us + (int64_t)CONNECTION_DISCARD_S * 1000000;
    } else if (!buf_append(&c->message, data, len, NULL)) {
        connection_reset_message(c);
        session_close(s, CLOSE_INTERNAL, "out of memory");
    } else if (message_ends) {
        struct session_message message = {.binary = c->binary};
        message.data = buf_take(&c->message, &message.len);
        connection_reset_message(c);
        session_receive(s, message);
    }
    connection_follow(c);
    return 0;
}

static int connection_say_close(struct connection *c) {
    const char *reason = c->session->close_reason;
    unsigned char text[LWS_PRE + 123];
    size_t len = strlen(reason);
    memcpy(text + LWS_PRE, reason, len);
    lws_close_reason(c->wsi, (enum lws_close_status)c->session->close_code, text + LWS_PRE, len);
    return -1;
}

int connection_writeable(struct connection *c) {
    unsigned char *data;
    size_t len;
    struct session *s = c->session;
    if (s->outbox.head) {
        if (!outbox_front(&s->outbox, &data, &len) || lws_write(c->wsi, data, len, LWS_WRITE_TEXT) < (int)len)
            return -1;
        outbox_pop(&s->outbox);
        c->sent_us = clock_us();
        session_sent(s);
    } else if (s->close_code != CLOSE_NONE && !c->discarding) {
        return connection_say_close(c);
    }
    connection_follow(c);
    return 0;
}

void connections_mail(struct connections *all, struct mail *mail) {
    struct connection *c = *connections_bucket(all, mail->connection);
    while (c && c->session->id != mail->connection)
        c = c->next;
    if (!c) {
        session_mail_drop(mail);
        return;
    }
    session_mail(c->session, mail);
    connection_follow(c);
}

static void connection_tick(struct connection *c, int64_t now_us) {
    const int64_t stall_us = (int64_t)CONNECTION_STALL_S * 1000000;
    struct session *s = c->session;
    bool has_output = s->outbox.head || s->close_code != CLOSE_NONE;
    if (c->discarding && now_us > c->discard_until_us) {
        c->discarding = false;
        connection_follow(c);
    }
    if (has_output && now_us - c->sent_us > stall_us) {
        // A socket that takes nothing takes no close frame either.
        session_cancel_all(s);
        session_close(s, CLOSE_POLICY, "reads too slowly");
        lws_set_timeout(c->wsi, PENDING_TIMEOUT_KILLED_BY_PARENT, LWS_TO_KILL_ASYNC);
    } else if (c->in_message && !c->input_stopped && now_us - c->received_us > stall_us) {
        connection_reset_message(c);
        session_close(s, CLOSE_POLICY, "message not finished in time");
        connection_follow(c);
    }
}

void connections_tick(struct connections *all) {
    int64_t now_us = clock_us();
    for (size_t i = 0; i < CONNECTIONS_BUCKETS; i++)
        for (struct connection *c = all->buckets[i]; c; c = c->next)
            connection_tick(c, now_us);
}

void connections_drain(struct connections *all, bool now) {
    for (size_t i = 0; i < CONNECTIONS_BUCKETS; i++)
        for (struct connection *c = all->buckets[i]; c; c = c->next) {
            if (!now && !session_is_idle(c->session))
                continue;
            if (now)
                session_cancel_all(c->session);
            session_close(c->session, CLOSE_GOING_AWAY, "the server is shutting down");
            connection_follow(c);
        }
}
