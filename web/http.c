// Takes a request -> gives status, headers and a body out of memory.
#include "http.h"

#include "base/mem.h"
#include "origin.h"
#include "static_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { HTTP_HEAD_MAX = 2048, HTTP_CHUNK = 16 << 10 };

// On every answer. Nothing may be loaded, run or framed but what this server itself serves.
static const char http_security[] =
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "Cross-Origin-Opener-Policy: same-origin\r\n"
    "Cross-Origin-Resource-Policy: same-origin\r\n"
    "Permissions-Policy: camera=(self)\r\n";

static const char *http_status_text(int status) {
    switch (status) {
    case 200:
        return "OK";
    case 304:
        return "Not Modified";
    case 400:
        return "Bad Request";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 426:
        return "Upgrade Required";
    case 501:
        return "Not Implemented";
    case 503:
        return "Service Unavailable";
    }
    return "Error";
}

bool http_header(struct lws *wsi, enum lws_token_indexes token, char *value, size_t size_bytes) {
    return lws_hdr_copy(wsi, value, (int)size_bytes, token) > 0;
}

bool http_has_header(struct lws *wsi, enum lws_token_indexes token) {
    return lws_hdr_total_length(wsi, token) > 0;
}

// Writes status line, headers and, where given, a short body in one go. False when it does not fit or the
// socket is gone.
static bool http_write_head(struct lws *wsi, int status, const char *type, size_t body_size,
                            const char *extra, const char *body) {
    char out[LWS_PRE + HTTP_HEAD_MAX];
    int n = snprintf(out + LWS_PRE, HTTP_HEAD_MAX,
                     "HTTP/1.1 %d %s\r\n%s%s%s%s%s"
                     "Content-Length: %zu\r\n\r\n%s",
                     status, http_status_text(status), http_security, extra, type ? "Content-Type: " : "",
                     type ? type : "", type ? "\r\n" : "", body_size, body ? body : "");
    if (n <= 0 || n >= HTTP_HEAD_MAX)
        return false;
    return lws_write(wsi, (unsigned char *)out + LWS_PRE, (size_t)n, LWS_WRITE_HTTP_HEADERS) == n;
}

int http_refuse(struct lws *wsi, int status, const char *extra, const char *text) {
    char headers[256];
    snprintf(headers, sizeof headers, "Connection: close\r\nCache-Control: no-store\r\n%s", extra);
    http_write_head(wsi, status, "text/plain; charset=utf-8", strlen(text), headers, text);
    return -1;
}

static int http_done(struct lws *wsi) {
    return lws_http_transaction_completed(wsi) ? -1 : 0;
}

// Headers now; the body, unless this answers a HEAD, when the socket is writable.
static int http_answer(struct lws *wsi, struct http_reply *reply, int status, const char *type,
                       const char *extra, const char *body, size_t len, bool head_only) {
    if (!http_write_head(wsi, status, type, len, extra, NULL))
        return -1;
    *reply = (struct http_reply){0};
    if (head_only || len == 0)
        return http_done(wsi);
    reply->body = body;
    reply->len = len;
    lws_callback_on_writable(wsi);
    return 0;
}

int http_writeable(struct lws *wsi, struct http_reply *reply) {
    if (!reply->body)
        return 0;
    unsigned char out[LWS_PRE + HTTP_CHUNK];
    size_t n = reply->len < HTTP_CHUNK ? reply->len : HTTP_CHUNK;
    bool last = n == reply->len;
    memcpy(out + LWS_PRE, reply->body, n);
    lws_set_timeout(wsi, PENDING_TIMEOUT_HTTP_CONTENT, 30);
    if (lws_write(wsi, out + LWS_PRE, n, last ? LWS_WRITE_HTTP_FINAL : LWS_WRITE_HTTP) != (int)n)
        return -1;
    reply->body += n;
    reply->len -= n;
    if (last) {
        *reply = (struct http_reply){0};
        return http_done(wsi);
    }
    lws_callback_on_writable(wsi);
    return 0;
}

static int http_health(const struct http_env *env, struct lws *wsi, struct http_reply *reply,
                       const char *path, bool head_only) {
    static const char ok[] = "{\"status\":\"ok\"}", draining[] = "{\"status\":\"draining\"}";
    bool refuse = *env->draining && strcmp(path, "/livez") != 0;
    const char *body = refuse ? draining : ok;
    return http_answer(wsi, reply, refuse ? 503 : 200, "application/json",
                       refuse ? "Cache-Control: no-store\r\nRetry-After: 5\r\n"
                              : "Cache-Control: no-store\r\n",
                       body, strlen(body), head_only);
}

static int http_static(const struct http_env *env, struct lws *wsi, struct http_reply *reply,
                       const char *path, bool head_only) {
    static const char missing[] = "no such page\n";
    const struct static_file *file = static_files_find(env->files, path);
    if (!file)
        return http_answer(wsi, reply, 404, "text/plain; charset=utf-8", "Cache-Control: no-store\r\n",
                           missing, strlen(missing), head_only);
    char accepted[256], known[512], headers[256];
    bool gzip = file->gzip.data &&
                http_header(wsi, WSI_TOKEN_HTTP_ACCEPT_ENCODING, accepted, sizeof accepted) &&
                static_accepts_gzip(accepted);
    const struct static_bytes *bytes = gzip ? &file->gzip : &file->plain;
    snprintf(headers, sizeof headers, "ETag: %s\r\nCache-Control: no-cache\r\n%s%s", bytes->etag,
             file->gzip.data ? "Vary: Accept-Encoding\r\n" : "", gzip ? "Content-Encoding: gzip\r\n" : "");
    if (http_header(wsi, WSI_TOKEN_HTTP_IF_NONE_MATCH, known, sizeof known) &&
        static_etag_matches(known, bytes->etag))
        return http_answer(wsi, reply, 304, NULL, headers, NULL, 0, true);
    return http_answer(wsi, reply, 200, file->type, headers, bytes->data, bytes->len, head_only);
}

int http_handle(const struct http_env *env, struct lws *wsi, struct http_reply *reply, const char *path) {
    char host[256], length[32];
    if (!http_header(wsi, WSI_TOKEN_HOST, host, sizeof host) ||
        !origin_host_allowed(env->config, env->port, host))
        return http_refuse(wsi, 403, "", "this server does not go by that name (--allow-host)\n");
    // A body that is announced in two ways, or at all where none belongs, is how requests are smuggled.
    if (http_has_header(wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING))
        return http_refuse(wsi, 501, "", "no Transfer-Encoding here\n");
    char *uri;
    int uri_len, method = lws_http_get_uri_and_method(wsi, &uri, &uri_len);
    if (method != LWSHUMETH_GET && method != LWSHUMETH_HEAD)
        return http_refuse(wsi, 405, "Allow: GET, HEAD\r\n", "only GET and HEAD\n");
    if (http_has_header(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH) &&
        (!http_header(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH, length, sizeof length) || strcmp(length, "0") != 0))
        return http_refuse(wsi, 400, "", "no request body here\n");
    bool head_only = method == LWSHUMETH_HEAD;
    if (!strcmp(path, "/livez") || !strcmp(path, "/readyz") || !strcmp(path, "/health"))
        return http_health(env, wsi, reply, path, head_only);
    if (!strcmp(path, "/ws") || !strcmp(path, "/v1/responses"))
        return http_refuse(wsi, 426, "Upgrade: websocket\r\n", "this is a WebSocket\n");
    return http_static(env, wsi, reply, path, head_only);
}
