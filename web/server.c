// The libwebsockets context and its one thread, the service thread. Everything that other threads have to say
// comes through the mailbox; the only call of libwebsockets that they make is lws_cancel_service.
#include "server.h"

#include "assistant.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "config.h"
#include "connection.h"
#include "handshake.h"
#include "http.h"
#include "mailbox.h"
#include "peers.h"
#include "static_files.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    SERVER_DRAIN_S = 30,      // for running responses
    SERVER_GRACE_MS = 2000,   // for the closing handshakes after that
    SERVER_RX_BYTES = 4096,   // most of a frame in one callback; an idle socket costs this much
    SERVER_PING_AFTER_S = 25, // of silence
    SERVER_HANGUP_AFTER_S = 50
};

struct server {
    const struct config *config;
    struct session_env session_env;
    struct http_env http_env;
    struct mailbox mailbox;
    struct static_files *files;
    struct peers peers;
    struct connections connections;
    char address[INET6_ADDRSTRLEN]; // to bind to, numeric

    struct lws_context *context;
    struct lws_vhost *vhost;
    bool has_event_loop; // libev: lws_service returns only when the context goes
    struct lws_protocols protocols[3];
    char other_protocol[HANDSHAKE_PROTOCOL_SIZE]; // name of protocols[1], set for each handshake
    lws_retry_bo_t keepalive;
    lws_sorted_usec_list_t tick;

    // Wakes of other threads: `wakeable` is the context while they may happen, `n_waking` counts those under
    // way.
    struct lws_context *_Atomic wakeable;
    _Atomic unsigned n_waking;
    _Atomic unsigned n_stops;

    int64_t drain_until_us; // 0 = not draining
    bool closing;           // all are told to go
    bool over;
};

struct server_socket {             // what libwebsockets keeps for each socket
    struct connection *connection; // once it is a WebSocket
    struct http_reply reply;       // before
};

// Any thread, also a signal handler.
static void server_wake(void *ud) {
    struct server *s = ud;
    atomic_fetch_add(&s->n_waking, 1);
    struct lws_context *context = atomic_load(&s->wakeable);
    if (context)
        lws_cancel_service(context);
    atomic_fetch_sub(&s->n_waking, 1);
}

// Service thread. After it no wake touches the context.
static void server_end_wakes(struct server *s) {
    atomic_store(&s->wakeable, NULL);
    while (atomic_load(&s->n_waking))
        sched_yield();
}

void server_stop(struct server *s) { // any thread, also a signal handler
    atomic_fetch_add(&s->n_stops, 1);
    server_wake(s);
}

// ---- draining (service thread) ----

static void server_drain_begin(struct server *s) {
    log_event(LOG_LEVEL_INFO, "shutting down: %zu connections", s->connections.n);
    s->drain_until_us = clock_us() + (int64_t)SERVER_DRAIN_S * 1000000;
    s->session_env.draining = true;
}

static void server_end(struct server *s) {
    if (s->over)
        return;
    s->over = true;
    server_wake(s);
}

static void server_drain_step(struct server *s) {
    unsigned n_stops = atomic_load(&s->n_stops);
    if (n_stops == 0 || s->over)
        return;
    if (s->drain_until_us == 0)
        server_drain_begin(s);
    if (n_stops > 1) {
        connections_drain(&s->connections, true);
        server_end(s);
        return;
    }
    if (clock_us() > s->drain_until_us) {
        if (s->closing) {
            server_end(s);
            return;
        }
        s->closing = true;
        s->drain_until_us = clock_us() + (int64_t)SERVER_GRACE_MS * 1000;
        connections_drain(&s->connections, true);
    }
    connections_drain(&s->connections, false);
    if (s->connections.n == 0)
        server_end(s);
}

// ---- callbacks (service thread) ----

static void server_tick(lws_sorted_usec_list_t *sul) {
    struct server *s = lws_container_of(sul, struct server, tick);
    connections_tick(&s->connections);
    server_drain_step(s);
    lws_sul_schedule(s->context, 0, &s->tick, server_tick, LWS_US_PER_SEC);
}

static void server_woken(struct server *s) {
    struct mail *mail = mailbox_take_all(&s->mailbox);
    while (mail) {
        struct mail *next = mail->next;
        connections_mail(&s->connections, mail);
        mail = next;
    }
    server_drain_step(s);
    // An event loop of a library runs until the context is being destroyed.
    if (s->over && s->has_event_loop && atomic_load(&s->wakeable)) {
        server_end_wakes(s);
        lws_context_destroy(s->context);
    }
}

// A socket just accepted, before anything is read from it.
static int server_accept(struct server *s, lws_sockfd_type fd) {
    char address[64];
    lws_get_peer_simple_fd(fd, address, sizeof address);
    return peers_has_room(&s->peers, address) ? 0 : -1;
}

static void server_socket_opened(struct server *s, struct lws *wsi) {
    char address[64];
    lws_get_peer_simple(wsi, address, sizeof address);
    lws_set_opaque_user_data(wsi, peers_add(&s->peers, address));
}

static void server_socket_gone(struct server *s, struct lws *wsi) {
    struct peer *peer = lws_get_opaque_user_data(wsi);
    if (peer)
        peers_remove(&s->peers, peer);
    lws_set_opaque_user_data(wsi, NULL);
}

static int server_confirm_upgrade(struct server *s, struct lws *wsi) {
    char protocol[HANDSHAKE_PROTOCOL_SIZE];
    if (handshake_check(&s->http_env, wsi, protocol) != 0)
        return -1;
    // libwebsockets takes the first offered name that is in its table, and refuses a client whose names are
    // not: the second place of the table is lent to this client, whose handshake is finished before the next
    // begins.
    bool ours = protocol[0] == 0 || strcmp(protocol, handshake_protocol) == 0;
    snprintf(s->other_protocol, sizeof s->other_protocol, "%s", ours ? "" : protocol);
    return 0;
}

static int server_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                           size_t len) {
    struct lws_context *context = lws_get_context(wsi);
    struct server *s = context ? lws_context_user(context) : NULL;
    struct server_socket *socket = user;
    switch (reason) {
    case LWS_CALLBACK_EVENT_WAIT_CANCELLED:
        server_woken(s);
        return 0;
    case LWS_CALLBACK_FILTER_NETWORK_CONNECTION:
        return server_accept(s, (lws_sockfd_type)(intptr_t)in);
    case LWS_CALLBACK_SERVER_NEW_CLIENT_INSTANTIATED:
        server_socket_opened(s, wsi);
        return 0;
    case LWS_CALLBACK_WSI_DESTROY:
        server_socket_gone(s, wsi);
        return 0;
    case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
        return server_confirm_upgrade(s, wsi);
    case LWS_CALLBACK_HTTP:
        return http_handle(&s->http_env, wsi, &socket->reply, in);
    case LWS_CALLBACK_HTTP_WRITEABLE:
        return http_writeable(wsi, &socket->reply);
    case LWS_CALLBACK_ESTABLISHED:
        socket->connection = connection_open(&s->connections, wsi);
        return 0;
    case LWS_CALLBACK_RECEIVE:
        return connection_receive(socket->connection, in, len);
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return connection_writeable(socket->connection);
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        return len == 1 ? -1 : 0; // a close frame of one byte breaks RFC 6455 section 5.5.1
    case LWS_CALLBACK_CLOSED:
        connection_close(&s->connections, socket->connection);
        socket->connection = NULL;
        return 0;
    case LWS_CALLBACK_HTTP_BODY: // of a request that was refused
    case LWS_CALLBACK_HTTP_BODY_COMPLETION:
    case LWS_CALLBACK_RAW_ADOPT: // what CONNECT would turn a socket into
    case LWS_CALLBACK_RAW_CONNECTED:
    case LWS_CALLBACK_RAW_RX:
        return -1;
    default:
        return 0;
    }
}

// ---- start ----

static void server_log(int level, const char *line) { // any thread
    size_t len = strcspn(line, "\n");
    log_event(level == LLL_ERR ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG, "libwebsockets: %.*s", (int)len, line);
}

// The host as a numeric address; also tries to bind, since libwebsockets does not tell why it could not.
static bool server_resolve(struct server *s, struct err *err) {
    const char *host = s->config->host;
    char port[16];
    snprintf(port, sizeof port, "%d", s->config->port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found;
    int rc = getaddrinfo(host, port, &hints, &found);
    if (rc != 0)
        return err_set(err, ERR_IO, "cannot listen on %s:%d: %s", host, s->config->port, gai_strerror(rc));
    int fd = socket(found->ai_family, SOCK_STREAM, 0), on = 1;
    bool ok = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
              bind(fd, found->ai_addr, found->ai_addrlen) == 0 && listen(fd, 1) == 0;
    if (!ok)
        err_set(err, ERR_IO, "cannot listen on %s:%d: %s", host, s->config->port, strerror(errno));
    if (fd >= 0)
        close(fd);
    ok = ok && getnameinfo(found->ai_addr, found->ai_addrlen, s->address, sizeof s->address, NULL, 0,
                           NI_NUMERICHOST) == 0;
    freeaddrinfo(found);
    return ok || err_set(err, ERR_IO, "cannot listen on %s:%d", host, s->config->port);
}

static void server_fill_protocols(struct server *s) {
    for (size_t i = 0; i < 2; i++)
        s->protocols[i] = (struct lws_protocols){
            .name = i == 0 ? handshake_protocol : s->other_protocol,
            .callback = server_callback,
            .per_session_data_size = sizeof(struct server_socket),
            .rx_buffer_size = SERVER_RX_BYTES,
        };
}

static bool server_listen(struct server *s, struct err *err) {
    bool ipv6 = strchr(s->address, ':') != NULL;
    s->keepalive = (lws_retry_bo_t){
        .secs_since_valid_ping = SERVER_PING_AFTER_S,
        .secs_since_valid_hangup = SERVER_HANGUP_AFTER_S,
    };
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN,
        .options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_VALIDATE_UTF8 |
                   LWS_SERVER_OPTION_LIBEV | (ipv6 ? 0 : LWS_SERVER_OPTION_DISABLE_IPV6),
        .alpn = "http/1.1",
        .gid = -1,
        .uid = -1,
        .user = s,
        .retry_and_idle_policy = &s->keepalive,
        .timeout_secs = 30,
    };
    s->context = lws_create_context(&info);
    s->has_event_loop = s->context != NULL;
    if (!s->context) {
        log_event(LOG_LEVEL_WARN,
                  "no libev for libwebsockets (package libwebsockets-evlib-ev): poll is used, "
                  "which is slow with thousands of connections");
        info.options &= ~(uint64_t)LWS_SERVER_OPTION_LIBEV;
        s->context = lws_create_context(&info);
    }
    if (!s->context)
        return err_set(err, ERR_IO, "libwebsockets cannot start");
    bool any = !strcmp(s->address, "0.0.0.0") || !strcmp(s->address, "::");
    info.port = s->config->port;
    info.iface = any ? NULL : s->address;
    info.protocols = s->protocols;
    info.vhost_name = "ocellus";
    info.options |= LWS_SERVER_OPTION_FAIL_UPON_UNABLE_TO_BIND;
    s->vhost = lws_create_vhost(s->context, &info);
    if (!s->vhost || lws_get_vhost_listen_port(s->vhost) <= 0)
        return err_set(err, ERR_IO, "cannot listen on %s:%d", s->config->host, s->config->port);
    return true;
}

static struct message_limits server_limits(const struct server_options *o) {
    const struct config *config = o->config;
    return (struct message_limits){
        .model = llm_name(assistant_llm(o->assistant)),
        .vision = assistant_images(o->assistant) != NULL,
        .image_tokens = assistant_image_tokens(o->assistant),
        .max_message_bytes = config->max_message_bytes,
        .max_image_bytes = config->max_image_bytes,
        .max_pixels = config->max_pixels,
        .max_images = config->max_images,
        .n_ctx = llm_n_ctx(assistant_llm(o->assistant)),
        .sampling = config->sampling,
        .seed = config->seed,
    };
}

struct server *server_create(const struct server_options *options, struct err *err) {
    struct server *s = xcalloc(1, sizeof *s);
    s->config = options->config;
    mailbox_init(&s->mailbox, server_wake, s);
    s->session_env = (struct session_env){
        .assistant = options->assistant,
        .scheduler = options->scheduler,
        .workers = options->workers,
        .mailbox = &s->mailbox,
        .limits = server_limits(options),
    };
    s->connections.env = &s->session_env;
    lws_set_log_level(LLL_ERR, server_log);
    server_fill_protocols(s);
    s->files = static_files_open(s->config->static_dir, err);
    if (!s->files || !server_resolve(s, err) || !server_listen(s, err)) {
        server_destroy(s);
        return NULL;
    }
    s->http_env = (struct http_env){s->config, server_port(s), s->files, &s->session_env.draining};
    atomic_store(&s->wakeable, s->context);
    return s;
}

int server_port(const struct server *s) {
    return lws_get_vhost_listen_port(s->vhost);
}

// ---- run ----

static struct server *_Atomic server_signalled; // set while its handlers are installed

static void server_signal(int number) { // signal handler
    (void)number;
    struct server *s = atomic_load(&server_signalled);
    if (s)
        server_stop(s);
}

bool server_run(struct server *s, struct err *err) {
    const int numbers[] = {SIGTERM, SIGINT};
    struct sigaction action = {.sa_handler = server_signal}, before[2];
    sigemptyset(&action.sa_mask);
    atomic_store(&server_signalled, s);
    for (size_t i = 0; i < 2; i++)
        sigaction(numbers[i], &action, &before[i]);
    lws_sul_schedule(s->context, 0, &s->tick, server_tick, LWS_US_PER_SEC);
    server_wake(s); // the loop looks at its timers only after some event
    int rc = 0;
    while (!s->over && rc >= 0)
        rc = lws_service(s->context, 0);
    for (size_t i = 0; i < 2; i++)
        sigaction(numbers[i], &before[i], NULL);
    atomic_store(&server_signalled, NULL);
    server_end_wakes(s);
    lws_sul_cancel(&s->tick);
    lws_context_destroy(s->context);
    s->context = NULL;
    return s->over || err_set(err, ERR_IO, "the event loop failed");
}

void server_destroy(struct server *s) {
    if (!s)
        return;
    server_end_wakes(s);
    if (s->context)
        lws_context_destroy(s->context);
    struct mail *mail = mailbox_take_all(&s->mailbox);
    while (mail) {
        struct mail *next = mail->next;
        session_mail_drop(mail);
        mail = next;
    }
    mailbox_clear(&s->mailbox);
    static_files_close(s->files);
    peers_clear(&s->peers);
    free(s);
}
