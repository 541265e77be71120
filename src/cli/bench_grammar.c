// What a grammar costs: the same logits are sampled with it and without it, token by token. The model writes what
// the grammar allows; where its text is over, the next one begins.
#include "base/clock.h"
#include "base/mem.h"
#include "cli/bench.h"
#include "cli/cli.h"
#include "compute/ops.h"

#include <stdlib.h>

struct run {
    const struct cli_options *o;
    struct ops *ops;
    struct llm *llm;
    struct llm_seq *seq;
    struct llm_grammar *grammar;
    struct llm_sampler *plain, *bound; // without the grammar and with it
    struct llm_sampling sampling;
    double *mask_ms, *decode_ms; // [n_generate]
};

static bool begin_text(struct run *b, double *setup_ms, struct err *err) {
    llm_sampler_destroy(b->bound);
    b->sampling.grammar = b->grammar;
    double start = clock_ms();
    b->bound = llm_sampler_create(b->llm, &b->sampling, err);
    *setup_ms = clock_ms() - start;
    return b->bound != NULL;
}

static bool open_all(struct run *b, struct err *err) {
    const struct config *c = &b->o->config;
    struct llm_options options = {.n_ctx = c->n_ctx, .kv_type = c->kv_type, .load = c->load};
    b->ops = cpu_open(&(struct cpu_options){.n_threads = c->n_threads}, err);
    b->llm = b->ops ? llm_open(c->model_path, b->ops, &options, err) : NULL;
    b->seq = b->llm ? llm_seq_create(b->llm, err) : NULL;
    if (!b->seq)
        return false;
    while (llm_load(b->llm)) {
    }
    b->sampling = llm_sampling_default();
    b->plain = llm_sampler_create(b->llm, &b->sampling, err);
    return b->plain != NULL;
}

static void close_all(struct run *b) {
    llm_sampler_destroy(b->plain);
    llm_sampler_destroy(b->bound);
    llm_grammar_destroy(b->grammar);
    llm_seq_destroy(b->seq);
    llm_close(b->llm);
    if (b->ops)
        b->ops->close(b->ops);
    free(b->mask_ms);
    free(b->decode_ms);
}

static bool decode(struct run *b, struct bench_grammar *out, struct err *err) {
    int32_t id = 0, free_id;
    double setup_ms;
    if (!begin_text(b, &out->setup_ms, err))
        return false;
    for (size_t i = 0; i < b->o->n_generate; i++) {
        struct llm_rows row = {.seq = b->seq, .id = id, .n_rows = 1, .want_logits = true};
        double t0 = clock_ms();
        if (!llm_forward(b->llm, &row, 1, NULL, NULL, err) ||
            !llm_sampler_next(b->plain, row.logits, &free_id, err))
            return false;
        double t1 = clock_ms();
        if (!llm_sampler_next(b->plain, row.logits, &free_id, err))
            return false;
        double t2 = clock_ms();
        if (!llm_sampler_next(b->bound, row.logits, &id, err))
            return false;
        double t3 = clock_ms();
        b->decode_ms[i] = t1 - t0;
        b->mask_ms[i] = t3 - t2 > t2 - t1 ? t3 - t2 - (t2 - t1) : 0;
        if (llm_token_is_end(b->llm, id) && !begin_text(b, &setup_ms, err))
            return false;
    }
    return true;
}

static double mean(const double *values, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += values[i];
    return sum / (double)n;
}

bool bench_run_grammar(const struct cli_options *o, struct bench_grammar *out, struct err *err) {
    struct run b = {.o = o};
    size_t n = o->n_generate;
    b.mask_ms = xcalloc(n, sizeof *b.mask_ms);
    b.decode_ms = xcalloc(n, sizeof *b.decode_ms);
    bool ok = cli_read_grammar(o, &b.grammar, err) && open_all(&b, err) && decode(&b, out, err);
    if (ok) {
        out->decode_ms = mean(b.decode_ms, n);
        out->mask_ms = mean(b.mask_ms, n);
        out->mask_p99_ms = bench_quantile(b.mask_ms, n, 0.99);
        out->mask_worst_ms = b.mask_ms[n - 1]; // sorted by now
        out->share = out->mask_ms / out->decode_ms;
    }
    close_all(&b);
    return ok;
}
