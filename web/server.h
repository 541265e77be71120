// The libwebsockets server: sockets, HTTP and the protocol of PROTOCOL.md around one scheduler.
//
// Order of a shutdown: server_run returns, then workers and scheduler go (in either order: their last letters
// still find the server's mailbox), then server_destroy.
#ifndef SERVER_H
#define SERVER_H

#include "base/err.h"

#include <stdbool.h>

struct assistant;
struct config;
struct scheduler;
struct server;
struct workers;

struct server_options { // all borrowed, and needed until server_run has returned
    const struct config *config;
    struct scheduler *scheduler;
    struct assistant *assistant;
    struct workers *workers;
};

// Returns new and listening, or NULL: ERR_IO names host, port and reason, or the static file at fault.
struct server *server_create(const struct server_options *options, struct err *err);

int server_port(const struct server *s); // the port in use, also where the config said 0

// Serves on the calling thread, the service thread, until server_stop, SIGTERM or SIGINT; then drains: new
// responses are refused, idle sockets closed, running responses may end for 30 s. A second signal ends at
// once. False with ERR_IO when the event loop itself fails.
bool server_run(struct server *s, struct err *err);

// Any thread, also a signal handler. The first call drains, the second ends at once.
void server_stop(struct server *s);

// Service thread, after scheduler and workers are gone. NULL is legal.
void server_destroy(struct server *s);

#endif
