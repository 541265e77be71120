// ocellus quantize: a model of f32, f16 or bf16 -> the same with smaller weights.
#include "base/threads.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "compute/quantise_model.h"

#include <signal.h>

struct quantising {
    struct cli_progress progress;
    const char *path;
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number) {
    (void)signal_number;
    interrupted = 1;
}

static bool show(void *ctx, size_t done, size_t total) {
    struct quantising *q = ctx;
    cli_progress_show(&q->progress, q->path, done, total);
    return !interrupted;
}

bool cmd_quantize(struct cli_options *o, struct err *err) {
    const char *in = o->arguments[0], *out = o->arguments[1];
    struct quantising q = {.path = out};
    const struct quantise_mix *mix = quantise_mix_find(o->arguments[2]);
    if (!mix)
        return err_set(err, ERR_INVALID_VALUE, "%.60s: want q8_0, q6_k, q5_k_m, q5_0, q4_k_m or q4_0",
                       o->arguments[2]);
    struct gguf *g = cli_check_model(in, err) ? gguf_open(in, err) : NULL;
    if (!g)
        return false;
    // What is half written is removed; the second Ctrl-C kills at once.
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    signal(SIGXFSZ, SIG_IGN); // a file past the limit is an error of write
    struct pool *pool = pool_create(o->config.n_threads);
    cli_progress_init(&q.progress);
    bool ok = quantise_model(g, out, mix, pool, show, &q, err);
    cli_progress_clear(&q.progress);
    pool_destroy(pool);
    gguf_close(g);
    return ok;
}
