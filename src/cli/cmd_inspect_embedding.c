// ocellus inspect embedding: a text to one row [n_embd], pooled over the rows behind the output norm.
#include "base/mem.h"
#include "cli/cli.h"
#include "compute/ops.h"

#include <stdlib.h>
#include <string.h>

struct work {
    const struct cli_options *o;
    struct ops *ops;
    struct llm *llm;
    struct llm_seq *seq;
    struct llm_prompt *prompt;
    struct llm_embedding *embedding;
    float *out; // [n_embd]
};

static const char *const pooling_names[] = {
    [LLM_POOLING_MEAN] = "mean", [LLM_POOLING_CLS] = "cls", [LLM_POOLING_LAST] = "last"};

static bool choose_pooling(const struct work *w, enum llm_pooling *pooling, struct err *err) {
    if (!w->o->pooling)
        return llm_pooling(w->llm, pooling, err);
    for (size_t i = 0; i < sizeof pooling_names / sizeof *pooling_names; i++)
        if (strcmp(w->o->pooling, pooling_names[i]) == 0)
            *pooling = (enum llm_pooling)i; // one of the option's words
    return true;
}

static bool open_model(struct work *w, struct err *err) {
    const struct config *c = &w->o->config;
    if (!c->model_path)
        return err_set(err, ERR_INVALID_VALUE, "-m FILE is missing");
    if (!cli_check_model(c->model_path, err))
        return false;
    w->ops = cpu_open(&(struct cpu_options){.n_threads = c->n_threads}, err);
    if (!w->ops)
        return false;
    // Nobody chats here: what is wrong with the file's own template must not matter.
    struct llm_options options = {.n_ctx = c->n_ctx, .kv_type = c->kv_type, .chat_template = "chatml"};
    w->llm = llm_open(c->model_path, w->ops, &options, err);
    return w->llm != NULL;
}

static bool build_prompt(struct work *w, struct err *err) {
    uint8_t *bytes = NULL;
    const char *text = w->o->text;
    size_t n_ids, len = text ? strlen(text) : 0;
    if (w->o->file) {
        bytes = cli_read_file(w->o->file, SIZE_MAX, &len, err);
        if (!bytes)
            return false;
        text = (const char *)bytes;
    }
    int32_t *ids = llm_tokenize(w->llm, text, len, w->o->special, -1, &n_ids, err);
    if (ids && n_ids == 0)
        err_set(err, ERR_INVALID_VALUE, "a text without a token has no embedding");
    else if (ids)
        w->prompt = llm_prompt_raw(w->llm, ids, n_ids, NULL, 0, err);
    free(ids);
    free(bytes);
    return w->prompt != NULL;
}

static bool run_prompt(struct work *w, struct err *err) {
    enum llm_pooling pooling = LLM_POOLING_MEAN;
    size_t n_rows = llm_prompt_n_rows(w->prompt), n_max = llm_n_rows_max(w->llm);
    if (!choose_pooling(w, &pooling, err) || !(w->seq = llm_seq_create(w->llm, err)) ||
        !(w->embedding = llm_embedding_create(w->llm, pooling, n_rows, err)) ||
        !(w->out = try_malloc_array(llm_n_embd(w->llm), sizeof *w->out, "an embedding", err)))
        return false;
    for (size_t first = 0, n; first < n_rows; first += n) {
        n = n_rows - first < n_max ? n_rows - first : n_max;
        struct llm_rows rows = {
            .seq = w->seq, .prompt = w->prompt, .first = first, .n_rows = n, .want_hidden = true};
        if (!llm_forward(w->llm, &rows, 1, NULL, NULL, err))
            return false;
        llm_embedding_add(w->embedding, &rows);
    }
    if (!llm_embedding_finish(w->embedding, !w->o->no_normalise, w->out, err))
        return false;
    printf("{\"pooling\": \"%s\", \"n_tokens\": %zu, \"embedding\": [", pooling_names[pooling], n_rows);
    for (size_t i = 0; i < llm_n_embd(w->llm); i++)
        printf("%s%.9g", i ? ", " : "", (double)w->out[i]);
    printf("]}\n");
    return true;
}

bool cmd_inspect_embedding(struct cli_options *o, struct err *err) {
    if ((o->text != NULL) == (o->file != NULL))
        return err_set(err, ERR_INVALID_VALUE, "want either --text or --file");
    struct work w = {.o = o};
    bool ok = open_model(&w, err) && build_prompt(&w, err) && run_prompt(&w, err);
    free(w.out);
    llm_embedding_destroy(w.embedding);
    llm_seq_destroy(w.seq);
    llm_prompt_destroy(w.prompt);
    llm_close(w.llm);
    if (w.ops)
        w.ops->close(w.ops);
    return ok;
}
