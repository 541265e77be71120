// ocellus serve: opens the models, starts the threads and runs the server until SIGINT or SIGTERM.
#include "assistant.h"
#include "base/log.h"
#include "base/threads.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "scheduler.h"
#include "web/server.h"

#include <signal.h>
#include <string.h>

enum { N_WORKERS = 2, PARSER_TASKS_MAX = 256 };

static bool host_is_loopback(const char *host) {
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0;
}

static void print_url(const struct config *config, int port) {
    bool ipv6 = strchr(config->host, ':') != NULL;
    printf("{\"url\": \"http://%s%s%s:%d\"}\n", ipv6 ? "[" : "", config->host, ipv6 ? "]" : "", port);
    fflush(stdout);
}

// The server's tasks submit to the scheduler and the scheduler's tasks are pictures to decode: with a pool
// each, both can be stopped in the order in which they need each other.
static bool serve(const struct config *config, struct assistant *a, struct err *err) {
    struct workers *decoders = workers_create(N_WORKERS, config->n_parallel + config->max_queued);
    struct workers *parsers = workers_create(N_WORKERS, PARSER_TASKS_MAX);
    struct scheduler *scheduler = scheduler_create(a, config, decoders, err);
    struct server_options options = {
        .config = config, .scheduler = scheduler, .assistant = a, .workers = parsers};
    struct server *server = scheduler ? server_create(&options, err) : NULL;
    bool ok = server != NULL;
    if (ok) {
        print_url(config, server_port(server));
        ok = server_run(server, err);
    }
    workers_destroy(parsers);
    scheduler_destroy(scheduler); // its last events still go to the server
    workers_destroy(decoders);
    server_destroy(server);
    return ok;
}

bool cmd_serve(struct cli_options *o, struct err *err) {
    struct config *config = &o->config;
    config->sampling = &o->sampling;
    if (!cli_sampling(o, err))
        return false;
    if (!cli_find_models(config, err) || !cli_find_static(config, err))
        return false;
    signal(SIGPIPE, SIG_IGN); // a client that goes away is no reason to die
    if (!host_is_loopback(config->host))
        log_event(LOG_LEVEL_WARN,
                  "listening on %s: there is NO AUTHENTICATION yet; everybody who reaches this port can use "
                  "the model",
                  config->host);
    cli_show_loading(config);
    struct assistant *a = assistant_open(config, err);
    if (!a)
        return false;
    const struct llm *llm = assistant_llm(a);
    log_event(LOG_LEVEL_INFO, "model: %s, chat template: %s", llm_name(llm), llm_template_name(llm));
    bool ok = serve(config, a, err);
    assistant_close(a);
    return ok;
}
