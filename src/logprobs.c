// Takes each chosen token and its logits -> gives it, with what the model says of it, to the delta that shows the end of
// its text.
//
// Text is held back while a character is incomplete or a stop string may yet come; its tokens wait with it. What a
// stop string drops takes its tokens along; a token of which some text was shown stays.
#include "base/mem.h"
#include "job.h"

#include <stdlib.h>

static struct token_logprob describe(const struct job *j, int32_t id, float logprob, bool first) {
    struct token_logprob t = {.id = id, .logprob = logprob};
    t.bytes = llm_token_bytes(j->assistant->llm, id, first, &t.n_bytes);
    return t;
}

bool job_note_token(struct job *j, int32_t id, const float *logits, struct err *err) {
    const struct request *r = j->request;
    const struct llm *m = j->assistant->llm;
    if (!r->logprobs || llm_token_is_end(m, id))
        return true;
    if (j->n_tokens == j->tokens_cap) {
        size_t cap = j->tokens_cap ? 2 * j->tokens_cap : 8;
        struct event_token *grown = realloc(j->tokens, cap * sizeof *grown);
        if (!grown)
            return err_set(err, ERR_NOMEM, "log probabilities: no memory for %zu tokens", cap);
        j->tokens = grown;
        j->tokens_cap = cap;
    }
    struct event_token *t = &j->tokens[j->n_tokens++];
    struct llm_logprob top[LOGPROBS_TOP_MAX];
    bool first = llm_detok_is_first(j->detok);
    t->n_top = r->n_top_logprobs < llm_n_vocab(m) ? r->n_top_logprobs : llm_n_vocab(m);
    t->chosen = describe(j, id, llm_logprobs(logits, llm_n_vocab(m), id, top, t->n_top), first);
    for (size_t i = 0; i < t->n_top; i++)
        t->top[i] = describe(j, top[i].id, top[i].logprob, first);
    return true;
}

void job_place_token(struct job *j, size_t n_text) {
    j->n_text += n_text;
    if (j->n_tokens == 0)
        return;
    struct event_token *t = &j->tokens[j->n_tokens - 1];
    t->text_begin = j->n_text - n_text;
    t->text_end = j->n_text;
    t->is_part = llm_detok_holds_some(j->detok);
}

size_t job_due_tokens(const struct job *j) {
    size_t n = 0;
    while (n < j->n_tokens && j->tokens[n].text_end + j->tokens[n].is_part <= j->answer_len)
        n++;
    return n;
}

size_t job_shown_tokens(const struct job *j) {
    size_t n = 0;
    while (n < j->n_tokens && j->tokens[n].text_begin < j->answer_len)
        n++;
    return n;
}

void job_emit_delta(struct job *j, const char *text, size_t len, size_t n_tokens) {
    size_t begin = j->answer_len - len;
    for (size_t i = 0; i < n_tokens; i++) { // from here on within this delta
        struct event_token *t = &j->tokens[i];
        t->text_end = t->text_end < begin ? 0 : t->text_end - begin < len ? t->text_end - begin : len;
    }
    j->emit(j->ud,
            &(struct event){
                .type = EVENT_DELTA, .text = text, .len = len, .tokens = j->tokens, .n_tokens = n_tokens});
    if (n_tokens == 0)
        return;
    j->n_tokens -= n_tokens;
    memmove(j->tokens, j->tokens + n_tokens, j->n_tokens * sizeof *j->tokens);
}
