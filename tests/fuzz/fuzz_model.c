// Models: a GGUF file is refused, or opened and asked.
#include "fuzz/fuzz.h"

#include "base/log.h"
#include "compute/ops.h"
#include "llm/llm.h"

#include <string.h>

enum { N_CTX = 256, N_ROWS = 16, N_TOKENS = 3 };

// The end of the prompt through the model, then a few tokens of an answer.
static void answer(struct llm *m, const struct llm_prompt *prompt, struct err *err) {
    struct llm_sampling sampling = llm_sampling_default();
    struct llm_sampler *sampler = llm_sampler_create(m, &sampling, err);
    struct llm_seq *seq = llm_seq_create(m, err);
    size_t n = llm_prompt_n_rows(prompt), n_rows = n < N_ROWS ? n : N_ROWS;
    struct llm_rows rows = {
        .seq = seq, .prompt = prompt, .first = n - n_rows, .n_rows = n_rows, .want_logits = true};
    for (size_t i = 0; seq && sampler && i < N_TOKENS; i++) {
        if (!llm_forward(m, &rows, 1, NULL, NULL, err))
            break;
        rows = (struct llm_rows){.seq = seq, .n_rows = 1, .want_logits = true, .logits = rows.logits};
        if (!llm_sampler_next(sampler, rows.logits, &rows.id, err))
            break;
        FUZZ_CHECK(rows.id >= 0 && (size_t)rows.id < llm_n_vocab(m));
    }
    llm_sampler_destroy(sampler);
    llm_seq_destroy(seq);
}

static void ask(struct llm *m) {
    static const struct llm_part parts[] = {{.text = "ab", .len = 2}, {.text = "b a", .len = 3}};
    static const struct llm_message messages[] = {
        {LLM_SYSTEM, parts, 1}, {LLM_USER, parts, 2}, {LLM_ASSISTANT, parts, 1}, {LLM_USER, parts + 1, 1}};
    struct err err = {0};
    struct llm_prompt *prompt = llm_prompt_chat(m, messages, sizeof messages / sizeof *messages, &err);
    FUZZ_CHECK((prompt != NULL) == (err.code == ERR_NONE));
    if (prompt && llm_prompt_n_rows(prompt) > 0)
        answer(m, prompt, &err);
    llm_prompt_destroy(prompt);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct ops *ops;
    struct err err = {0};
    if (!ops) {
        ops = cpu_open(&(struct cpu_options){.n_threads = 1}, &err);
        log_set_level(LOG_LEVEL_ERROR);
    }
    FUZZ_CHECK(ops);
    const char *path = fuzz_file(0, 1, data, size);
    fuzz_begin(fuzz_largest(size), 16 * FUZZ_MIB + 64 * size);
    struct llm *m = llm_open(path, ops, &(struct llm_options){.n_ctx = N_CTX, .n_rows_max = N_ROWS}, &err);
    FUZZ_CHECK((m != NULL) == (err.code == ERR_NONE));
    if (m)
        ask(m);
    llm_close(m);
    fuzz_end();
    return 0;
}
