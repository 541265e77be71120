// What a request must look like before it becomes a WebSocket.
#ifndef HANDSHAKE_H
#define HANDSHAKE_H

#include "http.h"

#include <libwebsockets.h>

enum { HANDSHAKE_PROTOCOL_SIZE = 64 };

// For LWS_CALLBACK_HTTP_CONFIRM_UPGRADE: 0 lets it pass, -1 closes the socket (answered, where that is safe).
// protocol receives the subprotocol to agree on: ours where it is offered, else the client's first, since a
// client that offers one (openai's "realtime", a key as a token) gives up when none is taken. Empty: none.
int handshake_check(const struct http_env *env, struct lws *wsi, char protocol[HANDSHAKE_PROTOCOL_SIZE]);

extern const char handshake_protocol[]; // "ocellus.v1"

#endif
