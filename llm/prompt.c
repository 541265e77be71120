// Takes messages, gives the prompt: one line of token ids with the rows of images between them (the splice).
//
//   text ids [n], image rows [n_tokens], text ids [n], ...     ids: -1 in image rows
//
// The text before an image and the text behind it are tokenized on their own, each with the space prefix, as
// transformers' LLaVA 1.5 does. Nothing is computed here: a row becomes an embedding in the forward pass.
#include "llm/prompt.h"

#include "base/mem.h"
#include "llm/chat.h"
#include "llm/model.h"

#include <assert.h>
#include <stdlib.h>

struct builder {
    const struct llm *m;
    struct token_ids ids;
    struct prompt_image *images;
    size_t n_images, n_image_rows;
    size_t n_left_out; // rows of images counted but not laid out, once they cannot fit
};

static bool put_text(void *ctx, const char *text, size_t len, struct err *err) {
    struct builder *b = ctx;
    return tokenizer_encode(b->m->tokenizer, text, len, false, &b->ids, err);
}

static bool put_ids(void *ctx, const int32_t *ids, size_t n, struct err *err) {
    struct builder *b = ctx;
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || (size_t)ids[i] >= b->m->n_vocab)
            return err_set(err, ERR_INVALID_VALUE, "token id %d at position %zu: want 0 to %zu", (int)ids[i],
                           i, b->m->n_vocab - 1);
    return token_ids_append(&b->ids, ids, n, err);
}

static bool put_image(void *ctx, const struct llm_image *image, struct err *err) {
    struct builder *b = ctx;
    size_t n = image->n_tokens;
    if (!size_add(b->n_image_rows, n, &b->n_image_rows))
        return err_set(err, ERR_CONTEXT_EXCEEDED, "an image of %zu tokens, the context holds %zu", n,
                       b->m->n_ctx);
    b->images[b->n_images++] = (struct prompt_image){
        .key = xstrdup(image->key),
        .first_row = b->ids.n,
        .n_rows = n,
    };
    if (b->n_left_out > 0 || b->ids.n >= b->m->n_ctx || n > b->m->n_ctx - b->ids.n) {
        b->n_left_out += n;
        return true;
    }
    static const int32_t run[] = {
        PROMPT_IMAGE_ROW, PROMPT_IMAGE_ROW, PROMPT_IMAGE_ROW, PROMPT_IMAGE_ROW,
        PROMPT_IMAGE_ROW, PROMPT_IMAGE_ROW, PROMPT_IMAGE_ROW, PROMPT_IMAGE_ROW,
    };
    enum { RUN = sizeof run / sizeof *run };
    for (; n > 0; n -= n < RUN ? n : RUN)
        if (!token_ids_append(&b->ids, run, n < RUN ? n : RUN, err))
            return false;
    return true;
}

static void builder_clear(struct builder *b) {
    for (size_t i = 0; i < b->n_images; i++)
        free(b->images[i].key);
    free(b->images);
    token_ids_clear(&b->ids);
}

// Gives what was built away: returns new, or NULL with an error when it takes more than n_max rows.
static struct llm_prompt *builder_finish(struct builder *b, size_t n_max, struct err *err) {
    size_t n_rows;
    if (!size_add(b->ids.n, b->n_left_out, &n_rows) || n_rows > n_max) {
        if (b->n_images > 0)
            err_set(err, ERR_CONTEXT_EXCEEDED,
                    "prompt of %zu tokens (of these %zu for %zu image%s), the context holds %zu", n_rows,
                    b->n_image_rows, b->n_images, b->n_images == 1 ? "" : "s", b->m->n_ctx);
        else
            err_set(err, ERR_CONTEXT_EXCEEDED, "prompt of %zu tokens, the context holds %zu", n_rows,
                    b->m->n_ctx);
        return NULL;
    }
    struct llm_prompt *p = xcalloc(1, sizeof *p);
    *p = (struct llm_prompt){
        .n_rows = n_rows,
        .ids = b->ids.ids,
        .images = b->images,
        .n_images = b->n_images,
    };
    *b = (struct builder){0};
    return p;
}

static bool reserve_images(struct builder *b, size_t n, struct err *err) {
    b->images = try_malloc_array(n ? n : 1, sizeof *b->images, "images of a prompt", err);
    return b->images != NULL;
}

// A text too long for the context whatever its tokens is refused before any work is done on it.
static bool check_text_fits(const struct llm *m, size_t text_bytes, struct err *err) {
    size_t longest = tokenizer_longest_piece(m->tokenizer), most;
    if (!size_mul(m->n_ctx, longest, &most) || text_bytes <= most)
        return true;
    return err_set(err, ERR_CONTEXT_EXCEEDED,
                   "prompt of more than %zu tokens (%zu bytes of text), the context holds %zu",
                   longest ? text_bytes / longest : text_bytes, text_bytes, m->n_ctx);
}

struct llm_prompt *llm_prompt_chat(const struct llm *m, const struct llm_message *messages, size_t n_messages,
                                   struct err *err) {
    size_t n_images = 0, text_bytes = 0;
    for (size_t i = 0; i < n_messages; i++) {
        for (size_t k = 0; k < messages[i].n_parts; k++) {
            const struct llm_part *part = &messages[i].parts[k];
            if (part->image.n_tokens > 0)
                n_images++;
            else if (part->n_ids == 0 && !size_add(text_bytes, part->len, &text_bytes))
                text_bytes = SIZE_MAX;
        }
    }
    if (!check_text_fits(m, text_bytes, err))
        return NULL;
    struct builder b = {.m = m};
    struct chat_sink sink = {.ctx = &b, .text = put_text, .ids = put_ids, .image = put_image};
    struct llm_prompt *p = NULL;
    // One position at least stays free for the answer.
    if (reserve_images(&b, n_images, err) &&
        chat_render(m->chat_format, m->gguf, m->tokenizer, messages, n_messages, &sink, err))
        p = builder_finish(&b, m->n_ctx - 1, err);
    builder_clear(&b);
    return p;
}

struct llm_prompt *llm_prompt_raw(const struct llm *m, const int32_t *ids, size_t n_ids,
                                  const struct llm_image *image, size_t n_before, struct err *err) {
    if (n_ids == 0 && !image) {
        err_set(err, ERR_INVALID_VALUE, "an empty prompt: want a token or an image");
        return NULL;
    }
    if (image && n_before > n_ids) {
        err_set(err, ERR_INVALID_VALUE, "an image after %zu tokens of %zu", n_before, n_ids);
        return NULL;
    }
    n_before = image ? n_before : n_ids;
    struct builder b = {.m = m};
    struct llm_prompt *p = NULL;
    if (reserve_images(&b, 1, err) && put_ids(&b, ids, n_before, err) &&
        (!image || put_image(&b, image, err)) &&
        put_ids(&b, n_before < n_ids ? ids + n_before : NULL, n_ids - n_before, err))
        p = builder_finish(&b, m->n_ctx, err);
    builder_clear(&b);
    return p;
}

void llm_prompt_destroy(struct llm_prompt *p) {
    if (!p)
        return;
    for (size_t i = 0; i < p->n_images; i++)
        free(p->images[i].key);
    free(p->images);
    free(p->ids);
    free(p);
}

size_t llm_prompt_n_rows(const struct llm_prompt *p) {
    return p->n_rows;
}

size_t llm_prompt_n_images(const struct llm_prompt *p) {
    return p->n_images;
}

void llm_prompt_image(const struct llm_prompt *p, size_t i, size_t *first_row, size_t *n_rows,
                      const char **key) {
    assert(i < p->n_images);
    *first_row = p->images[i].first_row;
    *n_rows = p->images[i].n_rows;
    *key = p->images[i].key;
}

void llm_prompt_set_image_rows(struct llm_prompt *p, size_t i, const float *rows) {
    assert(i < p->n_images);
    p->images[i].rows = rows;
}
