// One WebSocket: frames -> messages for its session, outbox -> frames; flow control, caps and timers.
//
// Service thread only.
#ifndef CONNECTION_H
#define CONNECTION_H

#include "session.h"

#include <libwebsockets.h>

enum { CONNECTIONS_BUCKETS = 256, CONNECTION_STALL_S = 30 };

struct connection;

struct connections { // all of a server
    struct session_env *env;
    struct connection *buckets[CONNECTIONS_BUCKETS]; // by id
    size_t n;
    uint64_t n_ever;
};

struct connection *connection_open(struct connections *all, struct lws *wsi);
void connection_close(struct connections *all, struct connection *c); // NULL is legal

// Take what the callbacks of libwebsockets bring; nonzero: close the socket.
int connection_receive(struct connection *c, const void *data, size_t len);
int connection_writeable(struct connection *c);

// Takes a letter to whichever connection it is for.
void connections_mail(struct connections *all, struct mail *mail);
// Once a second: lets go of clients that neither finish a message nor read.
void connections_tick(struct connections *all);
// Closes with 1001 what is idle; with `now` everything, its responses cancelled.
void connections_drain(struct connections *all, bool now);

#endif
