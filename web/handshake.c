// Takes an Upgrade request -> lets it pass or refuses it (RFC 6455 section 4.2.1, and more strictly than
// libwebsockets 4.1.6: that takes any version, key and Origin).
#include "handshake.h"

#include "origin.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

const char handshake_protocol[] = "ocellus.v1";

// 16 bytes in base64: 22 characters and two of padding.
static bool handshake_key_is_valid(const char *key) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    return strlen(key) == 24 && strspn(key, alphabet) == 22 && strcmp(key + 22, "==") == 0;
}

static bool handshake_choose_protocol(struct lws *wsi, char protocol[HANDSHAKE_PROTOCOL_SIZE]) {
    char offered[128]; // libwebsockets reads no more either
    protocol[0] = 0;
    if (!http_has_header(wsi, WSI_TOKEN_PROTOCOL))
        return true;
    if (!http_header(wsi, WSI_TOKEN_PROTOCOL, offered, sizeof offered))
        return false;
    char *rest = NULL;
    for (char *name = strtok_r(offered, ", \t", &rest); name; name = strtok_r(NULL, ", \t", &rest)) {
        if (strlen(name) >= HANDSHAKE_PROTOCOL_SIZE)
            return false;
        if (!protocol[0] || !strcmp(name, handshake_protocol))
            snprintf(protocol, HANDSHAKE_PROTOCOL_SIZE, "%s", name);
    }
    return protocol[0] != 0;
}

int handshake_check(const struct http_env *env, struct lws *wsi, char protocol[HANDSHAKE_PROTOCOL_SIZE]) {
    char value[256], host[256];
    // For an Upgrade that it does not know libwebsockets 4.1.6 has answered and freed the headers before it
    // asks; the callback's `in` then points to freed memory. So the header is looked up again, and nothing is
    // sent to whom it is not "websocket".
    if (!http_header(wsi, WSI_TOKEN_UPGRADE, value, sizeof value) || strcasecmp(value, "websocket") != 0)
        return -1;
    if (!http_header(wsi, WSI_TOKEN_HOST, host, sizeof host) ||
        !origin_host_allowed(env->config, env->port, host))
        return http_refuse(wsi, 403, "", "this server does not go by that name (--allow-host)\n");
    if (http_has_header(wsi, WSI_TOKEN_ORIGIN) && (!http_header(wsi, WSI_TOKEN_ORIGIN, value, sizeof value) ||
                                                   !origin_allowed(env->config, value, host)))
        return http_refuse(wsi, 403, "", "pages of that origin may not connect (--allow-origin)\n");
    if (http_has_header(wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING) ||
        http_has_header(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH))
        return http_refuse(wsi, 400, "", "no request body here\n");
    if (!http_header(wsi, WSI_TOKEN_GET_URI, value, sizeof value) ||
        (strcmp(value, "/ws") != 0 && strcmp(value, "/v1/responses") != 0))
        return http_refuse(wsi, 404, "", "WebSockets are at GET /ws and /v1/responses\n");
    if (!http_header(wsi, WSI_TOKEN_VERSION, value, sizeof value) || strcmp(value, "13") != 0)
        return http_refuse(wsi, 426, "Sec-WebSocket-Version: 13\r\n", "WebSocket version 13 only\n");
    if (!http_header(wsi, WSI_TOKEN_KEY, value, sizeof value) || !handshake_key_is_valid(value))
        return http_refuse(wsi, 400, "", "Sec-WebSocket-Key: expected 16 bytes in base64\n");
    if (!handshake_choose_protocol(wsi, protocol))
        return http_refuse(wsi, 400, "", "Sec-WebSocket-Protocol: too long\n");
    if (*env->draining)
        return http_refuse(wsi, 503, "Retry-After: 5\r\n", "the server is shutting down\n");
    return 0;
}
