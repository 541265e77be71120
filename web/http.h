// Plain HTTP: the browser UI and the health endpoints; and the short answers that refuse a request.
//
// Service thread only.
#ifndef HTTP_H
#define HTTP_H

#include <libwebsockets.h>
#include <stdbool.h>
#include <stddef.h>

struct config;
struct static_files;

struct http_env { // shared by all requests of a server; borrowed
    const struct config *config;
    int port;
    const struct static_files *files;
    const bool *draining;
};

struct http_reply { // the body still to be sent on one socket
    const char *body;
    size_t len;
};

// A header's value; false when it is absent, empty or longer than size_bytes - 1.
bool http_header(struct lws *wsi, enum lws_token_indexes token, char *value, size_t size_bytes);
bool http_has_header(struct lws *wsi, enum lws_token_indexes token);

// Sends a short text at once and closes: always returns -1, for the callback to return.
// extra: a further header line with its CRLF, or "".
int http_refuse(struct lws *wsi, int status, const char *extra, const char *text);

// Answers a request; nonzero: close the socket.
int http_handle(const struct http_env *env, struct lws *wsi, struct http_reply *reply, const char *path);
int http_writeable(struct lws *wsi, struct http_reply *reply);

#endif
