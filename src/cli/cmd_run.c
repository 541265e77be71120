// ocellus run: one question, with pictures or without, its answer streamed to stdout.
#include "assistant.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/threads.h"
#include "cli/ask.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "scheduler.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WAIT_MS = 50 }; // how soon Ctrl-C is noticed

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number) {
    (void)signal_number;
    interrupted = 1;
}

static enum request_detail detail_of(const char *name) {
    if (name && strcmp(name, "low") == 0)
        return DETAIL_LOW;
    return name && strcmp(name, "high") == 0 ? DETAIL_HIGH : DETAIL_AUTO;
}

// Returns new request: the pictures, then the question.
static struct request *build_request(const struct cli_options *o, struct err *err) {
    struct request *r = request_create();
    struct request_turn *turn = request_add_turn(r, LLM_USER);
    for (size_t i = 0; i < o->images.n; i++) {
        struct request_part *part = request_add_part(turn);
        part->image_bytes =
            cli_read_file(o->images.items[i], o->config.max_image_bytes, &part->image_size_bytes, err);
        snprintf(part->param, sizeof part->param, "--image %zu", i + 1);
        part->detail = detail_of(o->detail);
        if (!part->image_bytes) {
            request_destroy(r);
            return NULL;
        }
    }
    request_add_part(turn)->text = xstrdup(o->arguments[0]);
    r->instructions = o->system ? xstrdup(o->system) : NULL;
    r->max_output_tokens = o->max_tokens;
    r->max_image_tokens = o->max_image_tokens;
    r->sampling = o->sampling;
    r->stops = xcalloc(o->stops.n + 1, sizeof *r->stops);
    for (size_t i = 0; i < o->stops.n; i++)
        r->stops[r->n_stops++] = xstrdup(o->stops.items[i]);
    if (!cli_read_grammar(o, &r->grammar, err)) {
        request_destroy(r);
        return NULL;
    }
    r->sampling.grammar = r->grammar;
    return r;
}

// On a terminal, one line that the first text replaces.
static void show_progress(const struct event *e, bool *shown) {
    if (e->type != EVENT_PROGRESS || !isatty(STDERR_FILENO))
        return;
    fprintf(stderr, "\r\033[K%s %zu of %zu", stage_name(e->stage), e->done, e->total);
    *shown = true;
}

static void clear_progress(bool *shown) {
    if (*shown)
        fprintf(stderr, "\r\033[K");
    *shown = false;
}

// Streams until the end; the whole answer is kept for --json.
static void follow(struct ask *k, const struct cli_options *o, struct buf *answer, struct event *end,
                   struct err *err) {
    bool cancelled = false, shown = false, begun = false;
    for (;;) {
        struct ask_news news;
        ask_wait(k, WAIT_MS, &news);
        if (news.notices) {
            clear_progress(&shown);
            fprintf(stderr, "%s", news.notices);
        }
        if (news.len) {
            clear_progress(&shown);
            begun = true;
            buf_append(answer, news.text, news.len, err);
            if (!o->json) {
                fwrite(news.text, 1, news.len, stdout);
                fflush(stdout);
            }
        } else if (!begun && !news.done) {
            show_progress(&news.progress, &shown);
        }
        free(news.text);
        free(news.notices);
        if (news.done) {
            clear_progress(&shown);
            *end = news.end;
            return;
        }
        if (interrupted && !cancelled) {
            cancelled = true;
            ask_cancel(k);
        }
    }
}

static bool print_json(const struct buf *answer, const struct event *end, struct err *err) {
    const struct usage *u = &end->usage;
    const struct stats *s = &end->stats;
    json_t *root =
        json_pack("{s:s%, s:s, s:{s:I, s:I, s:I, s:I}, s:{s:f, s:f, s:f, s:I, s:I, s:I}}", "answer",
                  answer->len ? answer->data : "", answer->len, "finish",
                  end->finish == FINISH_COMPLETED ? "completed" : "incomplete", "usage", "input_tokens",
                  (json_int_t)u->input_tokens, "output_tokens", (json_int_t)u->output_tokens, "cached_tokens",
                  (json_int_t)u->cached_tokens, "image_tokens", (json_int_t)u->image_tokens, "stats",
                  "ttft_ms", s->ttft_ms, "prompt_tps", s->prompt_tps, "decode_tps", s->decode_tps,
                  "images_encoded", (json_int_t)s->images_encoded, "images_cached",
                  (json_int_t)s->images_cached, "prefix_tokens", (json_int_t)s->prefix_tokens);
    if (!root)
        return err_set(err, ERR_INTERNAL, "the answer cannot be printed as JSON");
    json_dumpf(root, stdout, JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(root);
    return true;
}

static void print_stats(const struct event *end) {
    fprintf(stderr,
            "%zu tokens in (%zu of pictures), %zu out; first token after %.0f ms, prompt %.1f tokens/s, "
            "answer %.1f tokens/s\n",
            end->usage.input_tokens, end->usage.image_tokens, end->usage.output_tokens, end->stats.ttft_ms,
            end->stats.prompt_tps, end->stats.decode_tps);
}

static bool finish(const struct cli_options *o, const struct buf *answer, const struct event *end,
                   struct err *err) {
    if (!o->json && answer->len)
        putchar('\n');
    if (end->finish == FINISH_CANCELLED)
        return err_set(err, ERR_CANCELLED, "interrupted");
    if (end->finish == FINISH_FAILED)
        return err_set(err, end->err.code, "%s", end->err.msg);
    if (o->stats)
        print_stats(end);
    return !o->json || print_json(answer, end, err);
}

static bool ask_and_print(const struct cli_options *o, struct assistant *a, struct err *err) {
    struct request *request = build_request(o, err);
    if (!request)
        return false;
    struct workers *workers = workers_create(1, o->images.n + 1);
    struct scheduler *scheduler = scheduler_create(a, &o->config, workers, err);
    struct ask *k = scheduler ? ask_submit(a, scheduler, request, err) : NULL;
    bool ok = k != NULL;
    if (!scheduler)
        request_destroy(request);
    if (ok) {
        struct buf answer;
        struct event end;
        buf_init(&answer, 0);
        follow(k, o, &answer, &end, err);
        ok = !err->code && finish(o, &answer, &end, err);
        buf_clear(&answer);
        ask_destroy(k);
    }
    scheduler_destroy(scheduler);
    workers_destroy(workers);
    return ok;
}

bool cmd_run(struct cli_options *o, struct err *err) {
    if (!cli_sampling(o, err) || !cli_find_models(&o->config, err))
        return false;
    log_set_level(LOG_LEVEL_WARN);
    o->config.n_parallel = 1;
    cli_show_loading(&o->config);
    struct assistant *a = assistant_open(&o->config, err);
    if (!a)
        return false;
    // The second Ctrl-C kills at once.
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    bool ok = ask_and_print(o, a, err);
    assistant_close(a);
    return ok;
}
