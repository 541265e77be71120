// ocellus inspect logits: a prompt to logits [n_rows, n_vocab].
//
// The prompt is token ids, and between them one picture's rows; or with --text what a user's message of pictures
// and this text is in the model's chat template, special strings around the rows included.
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/encode.h"
#include "compute/ops.h"

#include <stdlib.h>
#include <string.h>

struct picture {
    struct vision_layout layout;  // owns the texts of
    struct llm_image_span *spans; // its special strings, in a chat
    struct llm_image image;
    float *rows; // [n_tokens, n_embd] f32
};

struct work {
    struct cli_options *o;
    struct ops *ops;
    struct vision *vision;
    struct llm *llm;
    struct llm_seq *seq;
    struct llm_prompt *prompt;
    int32_t *ids; // [n_ids] of --tokens and --tokens-after
    size_t n_ids, n_before;
    struct picture *pictures; // [o->images.n]
    float *logits;            // [n_rows or 1, n_vocab] f32
};

static bool open_models(struct work *w, struct err *err) {
    const struct config *c = &w->o->config;
    if (!c->model_path)
        return err_set(err, ERR_INVALID_VALUE, "-m FILE is missing");
    if ((w->o->images.n > 0) != (c->mmproj_path != NULL))
        return err_set(err, ERR_INVALID_VALUE, "--mmproj and --image go together");
    if (!cli_check_model(c->model_path, err) || !cli_check_model(c->mmproj_path, err))
        return false;
    w->ops = cpu_open(&(struct cpu_options){.n_threads = c->n_threads}, err);
    if (!w->ops)
        return false;
    // Where nobody chats, what is wrong with the file's own template must not matter.
    struct llm_options options = {
        .n_ctx = c->n_ctx, .kv_type = c->kv_type, .chat_template = w->o->text ? c->chat_template : "chatml"};
    w->llm = llm_open(c->model_path, w->ops, &options, err);
    struct vision_options limits;
    if (!cli_vision_options(w->o, &limits, err))
        return false;
    if (w->llm && c->mmproj_path)
        w->vision = vision_open(c->mmproj_path, w->ops, &limits, err);
    return w->llm && (w->vision || !c->mmproj_path);
}

static bool read_ids(struct work *w, struct err *err) {
    if (!w->o->tokens)
        return err_set(err, ERR_INVALID_VALUE, "want either --tokens N,N,... or --text");
    int32_t max = (int32_t)llm_n_vocab(w->llm) - 1;
    w->ids = cli_parse_ids(w->o->tokens, "--tokens", max, &w->n_before, err);
    if (!w->ids)
        return false;
    w->n_ids = w->n_before;
    if (!w->o->tokens_after)
        return true;
    size_t n_after;
    int32_t *after = cli_parse_ids(w->o->tokens_after, "--tokens-after", max, &n_after, err);
    if (!after)
        return false;
    int32_t *joined = realloc(w->ids, (w->n_ids + n_after) * sizeof *joined);
    if (joined) {
        memcpy(joined + w->n_ids, after, n_after * sizeof *after);
        w->ids = joined;
        w->n_ids += n_after;
    }
    free(after);
    return joined || err_set(err, ERR_NOMEM, "--tokens-after: no memory");
}

// What vision says of the rows' places, in the words of llm. Between ids there are no special strings.
static bool place_rows(const struct work *w, struct picture *p, const char *path, struct err *err) {
    struct vision_layout *layout = &p->layout;
    if (!cli_image_layout(w->vision, w->o, path, layout, err))
        return false;
    p->image = (struct llm_image){.key = path,
                                  .n_tokens = layout->n_tokens,
                                  .grid_width = layout->grid_width,
                                  .grid_height = layout->grid_height,
                                  .both_ways = layout->both_ways};
    if (!w->o->text)
        return true;
    p->spans = xcalloc(layout->n_spans, sizeof *p->spans);
    for (size_t i = 0; i < layout->n_spans; i++)
        p->spans[i] = (struct llm_image_span){.text = layout->spans[i].text,
                                              .is_number = layout->spans[i].is_number,
                                              .first_row = layout->spans[i].first_row,
                                              .n_rows = layout->spans[i].n_rows};
    p->image.spans = p->spans;
    p->image.n_spans = layout->n_spans;
    return true;
}

static bool encode_rows(const struct work *w, struct picture *p, const char *path, struct err *err) {
    struct vision_image *prepared = cli_prepare_image(w->vision, w->o, path, err);
    if (!prepared)
        return false;
    if (!place_rows(w, p, path, err)) {
        vision_image_destroy(prepared);
        return false;
    }
    struct vision_encode *e = cli_encode(w->vision, prepared, false, err);
    if (!e)
        return false;
    p->rows =
        try_malloc_array(p->image.n_tokens * vision_n_embd(w->vision), sizeof *p->rows, "image rows", err);
    if (p->rows)
        vision_encode_rows(e, p->rows);
    vision_encode_destroy(e);
    return p->rows != NULL;
}

static bool encode_pictures(struct work *w, struct err *err) {
    const struct cli_list *images = &w->o->images;
    size_t n_embd = vision_n_embd(w->vision), wanted = llm_n_embd_image(w->llm);
    if (n_embd != wanted)
        return err_set(err, ERR_MODEL, "%s: rows of %zu values, %s wants %zu", w->o->config.mmproj_path,
                       n_embd, w->o->config.model_path, wanted);
    if (!w->o->text && !cli_one_image(w->o, err))
        return false;
    w->pictures = xcalloc(images->n, sizeof *w->pictures);
    for (size_t i = 0; i < images->n; i++)
        if (!encode_rows(w, &w->pictures[i], images->items[i], err))
            return false;
    return true;
}

static struct llm_prompt *chat_prompt(const struct work *w, struct err *err) {
    size_t n = w->o->images.n;
    struct llm_part *parts = xcalloc(n + 1, sizeof *parts);
    for (size_t i = 0; i < n; i++)
        parts[i].image = w->pictures[i].image;
    parts[n] = (struct llm_part){.text = w->o->text, .len = strlen(w->o->text)};
    const struct llm_message message = {LLM_USER, parts, n + 1};
    struct llm_prompt *prompt = llm_prompt_chat(w->llm, &message, 1, err);
    free(parts);
    return prompt;
}

// Pictures of one path have the same rows, so that the order in which a template puts them does not matter.
static void give_rows(const struct work *w) {
    for (size_t i = 0; i < llm_prompt_n_images(w->prompt); i++) {
        size_t first_row, n_rows, at = 0;
        const char *key;
        llm_prompt_image(w->prompt, i, &first_row, &n_rows, &key);
        while (strcmp(w->pictures[at].image.key, key) != 0)
            at++;
        llm_prompt_set_image_rows(w->prompt, i, w->pictures[at].rows);
    }
}

static bool build_prompt(struct work *w, struct err *err) {
    if (w->vision && !encode_pictures(w, err))
        return false;
    w->prompt = w->o->text ? chat_prompt(w, err)
                           : llm_prompt_raw(w->llm, w->ids, w->n_ids,
                                            w->vision ? &w->pictures[0].image : NULL, w->n_before, err);
    if (w->prompt)
        give_rows(w);
    return w->prompt != NULL;
}

static bool forward_all(struct work *w, struct err *err) {
    size_t n_rows = llm_prompt_n_rows(w->prompt), n_vocab = llm_n_vocab(w->llm);
    size_t n_out = w->o->last ? 1 : n_rows, n_max = llm_n_rows_max(w->llm);
    w->seq = llm_seq_create(w->llm, err);
    w->logits = w->seq ? try_malloc_array(n_out * n_vocab, sizeof *w->logits, "logits", err) : NULL;
    if (!w->logits)
        return false;
    for (size_t first = 0; first < n_rows;) {
        size_t n = llm_prompt_chunk(w->prompt, first, n_max);
        struct llm_rows part = {.seq = w->seq, .prompt = w->prompt, .first = first, .n_rows = n};
        part.want_logits = first + n == n_rows;
        part.all_logits = !w->o->last;
        if (!llm_forward(w->llm, &part, 1, NULL, NULL, err))
            return false;
        if (!w->o->last)
            memcpy(w->logits + first * n_vocab, part.logits, n * n_vocab * sizeof *w->logits);
        else if (part.want_logits)
            memcpy(w->logits, part.logits, n_vocab * sizeof *w->logits);
        first += n;
    }
    struct cli_array array = {.n_dims = 2, .shape = {n_out, n_vocab}, .floats = w->logits};
    return cli_write_array(&array, w->o->out, err);
}

bool cmd_inspect_logits(struct cli_options *o, struct err *err) {
    if (o->text && (o->tokens || o->tokens_after))
        return err_set(err, ERR_INVALID_VALUE, "want either --tokens N,N,... or --text");
    struct work w = {.o = o};
    bool ok = open_models(&w, err) && (o->text || read_ids(&w, err)) && build_prompt(&w, err) &&
              forward_all(&w, err);
    llm_seq_destroy(w.seq);
    llm_prompt_destroy(w.prompt);
    vision_close(w.vision);
    llm_close(w.llm);
    if (w.ops)
        w.ops->close(w.ops);
    for (size_t i = 0; w.pictures && i < o->images.n; i++) {
        free(w.pictures[i].spans);
        free(w.pictures[i].layout.spans);
        free(w.pictures[i].rows);
    }
    free(w.pictures);
    free(w.ids);
    free(w.logits);
    return ok;
}
