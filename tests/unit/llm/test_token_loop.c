// The token loop does not allocate: forward, samplers of all kinds, grammar, log probabilities, detokeniser and stop
// strings inside a guard that
// tests/mem_guard.c enforces.
#include "base/mem.h"
#include "check.h"
#include "compute/ops.h"
#include "llm/llm.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N_TOKENS = 20, N_TOP = 20 };

// The guard itself must work, or the test below could not fail.
static void test_guard_aborts(void) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        close(STDERR_FILENO);
        mem_guard_begin();
        void *volatile p = malloc(1);
        free(p);
        _exit(0);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(!WIFEXITED(status) || WEXITSTATUS(status) != 0);
}

static struct llm_prompt *question(const struct llm *m, struct err *err) {
    static const char text[] = "What is 2+3?";
    struct llm_part part = {.text = text, .len = sizeof text - 1};
    struct llm_message message = {LLM_USER, &part, 1};
    return llm_prompt_chat(m, &message, 1, err);
}

static void decode(struct llm *m, struct llm_seq *seq, struct llm_sampler *sampler, int32_t id) {
    static const char *const stop_strings[] = {"never said"};
    struct err err = {0};
    struct llm_detok *detok = llm_detok_create(m, false);
    struct llm_stops *stops = llm_stops_create(stop_strings, 1);
    bool ok = true, stopped = false;
    size_t len, shown;
    struct llm_logprob top[N_TOP];
    mem_guard_begin();
    for (size_t i = 0; ok && i < N_TOKENS; i++) {
        struct llm_rows row = {.seq = seq, .id = id, .n_rows = 1, .want_logits = true};
        const char *text = llm_detok_put(detok, id, &len);
        llm_stops_put(stops, text, len, &shown, &stopped);
        ok = llm_forward(m, &row, 1, NULL, NULL, &err) && llm_sampler_next(sampler, row.logits, &id, &err);
        if (ok)
            llm_logprobs(row.logits, llm_n_vocab(m), id, top, N_TOP);
    }
    mem_guard_end();
    CHECK(ok);
    CHECK_STR(err.msg, "");
    llm_stops_destroy(stops);
    llm_detok_destroy(detok);
}

static void sample(struct llm *m, const struct llm_sampling *sampling) {
    struct err err = {0};
    struct llm_prompt *prompt = question(m, &err);
    struct llm_seq *seq = llm_seq_create(m, &err);
    struct llm_sampler *sampler = llm_sampler_create(m, sampling, &err);
    CHECK_STR(err.msg, "");
    struct llm_rows rows = {
        .seq = seq, .prompt = prompt, .n_rows = llm_prompt_n_rows(prompt), .want_logits = true};
    int32_t id = 0;
    llm_sampler_see(sampler, prompt);
    CHECK(llm_forward(m, &rows, 1, NULL, NULL, &err));
    CHECK(llm_sampler_next(sampler, rows.logits, &id, &err));
    decode(m, seq, sampler, id);
    llm_sampler_destroy(sampler);
    llm_seq_destroy(seq);
    llm_prompt_destroy(prompt);
}

static void test_token_loop(void) {
    struct err err = {0};
    struct ops *ops = cpu_open(&(struct cpu_options){.n_threads = 2}, &err);
    struct llm *m = llm_open("samples/demo/demo-llm-f16.gguf", ops, &(struct llm_options){0}, &err);
    CHECK_STR(err.msg, "");
    if (!m)
        return;
    static const char text[] = "root ::= \"{\" word+\nword ::= [a-z]{2,300} \"\xc3\xa9\"? [^x]";
    struct llm_grammar *grammar = llm_grammar_parse(text, sizeof text - 1, &err);
    struct llm_sampling sampling = llm_sampling_default();
    sampling.repeat_penalty = 1.1f;
    sampling.presence_penalty = 0.1f;
    sample(m, &sampling);
    sampling.dry_multiplier = 0.8f;
    sampling.xtc_probability = 0.5f;
    sampling.typical_p = 0.9f;
    sampling.top_n_sigma = 2;
    sampling.dynatemp_range = 0.5f;
    sample(m, &sampling);
    sampling.grammar = grammar;
    sample(m, &sampling);
    for (sampling.mirostat = 1; sampling.mirostat <= 2; sampling.mirostat++)
        sample(m, &sampling);
    llm_grammar_destroy(grammar);
    llm_close(m);
    ops->close(ops);
}

// A step may send more rows to one expert than any before: the memory for them must be there.
static void test_experts(void) {
    enum { N_SEQS = 8 };
    static const int32_t different[N_SEQS] = {3, 50, 120, 180, 220, 240, 250, 258};
    struct err err = {0};
    struct ops *ops = cpu_open(&(struct cpu_options){.n_threads = 2}, &err);
    struct llm *m =
        llm_open("tests/golden/text/tiny-mixtral-mxfp4/model.gguf", ops, &(struct llm_options){0}, &err);
    CHECK_STR(err.msg, "");
    if (!m)
        return;
    struct llm_prompt *prompt = llm_prompt_raw(m, different, N_SEQS, NULL, 0, &err);
    struct llm_seq *first = llm_seq_create(m, &err), *seqs[N_SEQS];
    struct llm_rows rows = {.seq = first, .prompt = prompt, .n_rows = N_SEQS, .all_logits = true};
    CHECK(llm_forward(m, &rows, 1, NULL, NULL, &err));
    struct llm_rows equal[N_SEQS];
    for (size_t i = 0; i < N_SEQS; i++) {
        seqs[i] = llm_seq_create(m, &err);
        equal[i] = (struct llm_rows){.seq = seqs[i], .id = 20, .n_rows = 1, .want_logits = true};
    }
    mem_guard_begin();
    CHECK(llm_forward(m, equal, N_SEQS, NULL, NULL, &err));
    mem_guard_end();
    CHECK_STR(err.msg, "");
    for (size_t i = 0; i < N_SEQS; i++)
        llm_seq_destroy(seqs[i]);
    llm_seq_destroy(first);
    llm_prompt_destroy(prompt);
    llm_close(m);
    ops->close(ops);
}

int main(void) {
    test_guard_aborts();
    test_token_loop();
    test_experts();
    return check_result();
}
