// Many streams: the same number of tokens for each through assistant and scheduler, stepped together.
#include "assistant.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/threads.h"
#include "cli/ask.h"
#include "cli/bench.h"
#include "scheduler.h"

#include <math.h>
#include <stdlib.h>

enum { WAIT_MS = 60000 };

struct streams {
    struct ask **asks; // [n]
    size_t *n_tokens;  // [n]
    size_t n;
};

// Ends are forbidden, so that every stream generates as many tokens as asked for.
static void forbid_ends(struct request *r, const struct llm *m) {
    size_t n_vocab = llm_n_vocab(m), n = 0;
    for (size_t id = 0; id < n_vocab; id++)
        n += llm_token_is_end(m, (int32_t)id);
    r->biases = xcalloc(n, sizeof *r->biases);
    for (size_t id = 0; id < n_vocab; id++)
        if (llm_token_is_end(m, (int32_t)id))
            r->biases[r->sampling.n_biases++] = (struct llm_logit_bias){(int32_t)id, -INFINITY};
    r->sampling.biases = r->biases;
}

static struct ask *submit(struct assistant *a, struct scheduler *s, const struct cli_options *o, size_t i,
                          struct err *err) {
    struct request *r = request_create();
    char text[64];
    snprintf(text, sizeof text, "Tell me story number %zu.", i + 1);
    request_add_part(request_add_turn(r, LLM_USER))->text = xstrdup(text);
    r->max_output_tokens = o->n_generate;
    r->sampling.seed = i;
    forbid_ends(r, assistant_llm(a));
    return ask_submit(a, s, r, err);
}

static bool wait_all(struct streams *st, struct err *err) {
    bool ok = true;
    for (size_t i = 0; i < st->n; i++) {
        struct ask_news news = {0};
        while (!news.done) {
            ask_wait(st->asks[i], WAIT_MS, &news);
            free(news.text);
            free(news.notices);
        }
        st->n_tokens[i] = news.end.usage.output_tokens;
        if (news.end.finish == FINISH_FAILED && ok)
            ok = err_set(err, news.end.err.code, "stream %zu: %s", i + 1, news.end.err.msg);
    }
    return ok;
}

// Tokens a second of all streams from begin_us to end_us. A piece may show several tokens: counted evenly.
static double speed(const struct streams *st, int64_t begin_us, int64_t end_us) {
    double n = 0;
    for (size_t i = 0; i < st->n; i++) {
        size_t n_times, n_inside = 0;
        const int64_t *times_us = ask_times_us(st->asks[i], &n_times);
        for (size_t k = 0; k < n_times; k++)
            n_inside += times_us[k] > begin_us && times_us[k] <= end_us;
        n += n_times ? (double)st->n_tokens[i] * (double)n_inside / (double)n_times : 0;
    }
    return end_us > begin_us ? n * 1e6 / (double)(end_us - begin_us) : 0;
}

static bool summarise(const struct streams *st, struct bench_streams *out, struct err *err) {
    size_t n_gaps = 0, n_pieces = 0, n_times;
    int64_t first_us = INT64_MAX, last_us = 0, all_begun_us = 0, one_ended_us = INT64_MAX;
    for (size_t i = 0; i < st->n; i++) {
        ask_times_us(st->asks[i], &n_times);
        n_pieces += n_times;
    }
    double *gaps = try_malloc_array(n_pieces + 1, sizeof *gaps, "gaps", err);
    if (!gaps)
        return false;
    for (size_t i = 0; i < st->n; i++) {
        const int64_t *times_us = ask_times_us(st->asks[i], &n_times);
        for (size_t k = 1; k < n_times; k++)
            gaps[n_gaps++] = (double)(times_us[k] - times_us[k - 1]) / 1000;
        int64_t begin_us = n_times ? times_us[0] : INT64_MAX, end_us = n_times ? times_us[n_times - 1] : 0;
        first_us = begin_us < first_us ? begin_us : first_us;
        last_us = end_us > last_us ? end_us : last_us;
        all_begun_us = begin_us > all_begun_us ? begin_us : all_begun_us;
        one_ended_us = end_us < one_ended_us ? end_us : one_ended_us;
    }
    out->aggregate_tps = speed(st, first_us, last_us);
    out->together_tps = speed(st, all_begun_us, one_ended_us);
    out->itl_p99_ms = n_gaps ? bench_quantile(gaps, n_gaps, 0.99) : 0;
    free(gaps);
    return true;
}

static bool run_one(const struct cli_options *o, struct assistant *a, struct bench_streams *out,
                    struct err *err) {
    struct config config = o->config;
    config.n_parallel = out->n_streams;
    struct workers *workers = workers_create(1, out->n_streams);
    struct scheduler *scheduler = scheduler_create(a, &config, workers, err);
    struct streams st = {.asks = xcalloc(out->n_streams, sizeof *st.asks),
                         .n_tokens = xcalloc(out->n_streams, sizeof *st.n_tokens)};
    bool ok = scheduler != NULL;
    for (; ok && st.n < out->n_streams; st.n++) {
        st.asks[st.n] = submit(a, scheduler, o, st.n, err);
        if (!st.asks[st.n]) {
            ok = false;
            break;
        }
    }
    ok = wait_all(&st, err) && ok && summarise(&st, out, err);
    for (size_t i = 0; i < st.n; i++)
        ask_destroy(st.asks[i]);
    free(st.asks);
    free(st.n_tokens);
    scheduler_destroy(scheduler);
    workers_destroy(workers);
    return ok;
}

bool bench_run_streams(const struct cli_options *o, struct bench_streams *out, size_t n, struct err *err) {
    struct config config = o->config;
    for (size_t i = 0; i < n; i++)
        if (out[i].n_streams > config.n_parallel)
            config.n_parallel = out[i].n_streams;
    struct assistant *a = assistant_open(&config, err);
    bool ok = a != NULL;
    for (size_t i = 0; ok && i < n; i++)
        ok = run_one(o, a, &out[i], err);
    assistant_close(a);
    return ok;
}
