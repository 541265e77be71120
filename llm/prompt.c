// Takes messages, gives the prompt: one line of token ids with the rows of images between them (the splice).
//
//   text ids [n], image rows [n_tokens], text ids [n], ...     ids: -1 in image rows
//
// An image is one run of rows or several, with special strings between. M-RoPE (Qwen2-VL, section 2.1): the
// rows of an image with a grid share one time and count lines and columns from there; text behind begins at 1
// + the greatest position so far.
//
// The text before an image and the text behind it are tokenized on their own, each with the space prefix, as
// transformers' LLaVA 1.5 does. Nothing is computed here: a row becomes an embedding in the forward pass.
#include "llm/prompt.h"

#include "base/buf.h"
#include "base/mem.h"
#include "llm/chat.h"
#include "llm/model.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

struct builder {
    const struct llm *m;
    struct token_ids ids;
    struct prompt_image *images;
    char **keys;
    size_t n_runs, n_images;
    size_t n_image_tokens; // with their special strings
    bool ids_end_in_text;  // what was put last: the text behind it goes on without a space prefix
    size_t n_left_out;     // rows of images counted but not laid out, once they cannot fit
};

static bool put_text(void *ctx, const char *text, const uint8_t *is_input, size_t len, struct err *err) {
    struct builder *b = ctx;
    bool goes_on = b->ids_end_in_text;
    b->ids_end_in_text = false;
    return tokenizer_encode_mixed(b->m->tokenizer, text, is_input, len, goes_on, &b->ids, err);
}

static bool put_ids(void *ctx, const int32_t *ids, size_t n, struct err *err) {
    struct builder *b = ctx;
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || (size_t)ids[i] >= b->m->n_vocab)
            return err_set(err, ERR_INVALID_VALUE, "token id %d at position %zu: want 0 to %zu", (int)ids[i],
                           i, b->m->n_vocab - 1);
    if (n > 0) {
        size_t n_piece;
        enum token_type type;
        tokenizer_piece(b->m->tokenizer, ids[n - 1], &n_piece, &type);
        b->ids_end_in_text = type == TOKEN_NORMAL || type == TOKEN_BYTE;
    }
    return token_ids_append(&b->ids, ids, n, err);
}

// Rows `first` to first + n of an image, whose first run begins with row 0.
static bool put_rows(void *ctx, const struct llm_image *image, size_t first, size_t n, struct err *err) {
    struct builder *b = ctx;
    b->ids_end_in_text = false;
    if (first == 0)
        b->keys[b->n_images++] = xstrdup(image->key);
    if (image->both_ways && n > b->m->n_rows_max)
        return err_set(err, ERR_INVALID_VALUE, "an image of %zu tokens that go in one step, a step holds %zu",
                       n, b->m->n_rows_max);
    size_t key_size = strlen(image->key) + 24;
    struct prompt_image *run = &b->images[b->n_runs++];
    *run = (struct prompt_image){
        .key = xcalloc(key_size, 1),
        .image = b->n_images - 1,
        .first_row = b->ids.n,
        .n_rows = n,
        .skipped = first,
        .grid_width = image->grid_width,
        .grid_height = image->grid_height,
        .both_ways = image->both_ways,
    };
    snprintf(run->key, key_size, "%s %zu", image->key, first);
    if (b->n_left_out > 0 || b->ids.n >= b->m->n_ctx || n > b->m->n_ctx - b->ids.n)
        return size_add(b->n_left_out, n, &b->n_left_out) ||
               err_set(err, ERR_CONTEXT_EXCEEDED, "an image of %zu tokens, the context holds %zu", n,
                       b->m->n_ctx);
    static const int32_t rows[] = {
        PROMPT_IMAGE_ROW, PROMPT_IMAGE_ROW, PROMPT_IMAGE_ROW, PROMPT_IMAGE_ROW,
        PROMPT_IMAGE_ROW, PROMPT_IMAGE_ROW, PROMPT_IMAGE_ROW, PROMPT_IMAGE_ROW,
    };
    enum { STEP = sizeof rows / sizeof *rows };
    for (; n > 0; n -= n < STEP ? n : STEP)
        if (!token_ids_append(&b->ids, rows, n < STEP ? n : STEP, err))
            return false;
    return true;
}

static void builder_clear(struct builder *b) {
    for (size_t i = 0; i < b->n_runs; i++)
        free(b->images[i].key);
    for (size_t i = 0; i < b->n_images; i++)
        free(b->keys[i]);
    free(b->images);
    free(b->keys);
    token_ids_clear(&b->ids);
}

// Rows of a run as M-RoPE places them, from `at` on. Returns the position behind them.
static int32_t place_run(struct llm_prompt *p, const struct prompt_image *run, int32_t at) {
    int32_t width = (int32_t)run->grid_width, height = (int32_t)run->grid_height;
    int32_t next = at + (width > height ? width : height);
    for (size_t i = 0; i < run->n_rows; i++) {
        int32_t *position = p->positions + 3 * (run->first_row + i);
        position[0] = at;
        position[1] = at + (int32_t)i / width;
        position[2] = at + (int32_t)i % width;
        p->next_position[run->first_row + i] = next;
    }
    return next;
}

static bool place_rows(struct llm_prompt *p, struct err *err) {
    p->positions = try_malloc_array(p->n_rows, 3 * sizeof *p->positions, "positions", err);
    p->next_position = try_malloc_array(p->n_rows, sizeof *p->next_position, "positions", err);
    if (!p->positions || !p->next_position)
        return false;
    int32_t at = 0;
    for (size_t row = 0, run = 0; row < p->n_rows;) {
        while (run < p->n_runs && p->images[run].first_row < row)
            run++;
        const struct prompt_image *image = run < p->n_runs ? &p->images[run] : NULL;
        if (image && image->first_row == row && image->grid_width > 0) {
            at = place_run(p, image, at);
            row += image->n_rows;
            continue;
        }
        for (size_t axis = 0; axis < 3; axis++)
            p->positions[3 * row + axis] = at;
        p->next_position[row++] = ++at;
    }
    return true;
}

// Gives what was built away: returns new, or NULL with an error when it takes more than n_max rows.
static struct llm_prompt *builder_finish(struct builder *b, size_t n_max, struct err *err) {
    size_t n_rows;
    if (!size_add(b->ids.n, b->n_left_out, &n_rows) || n_rows > n_max) {
        if (b->n_images > 0)
            err_set(err, ERR_CONTEXT_EXCEEDED,
                    "prompt of %zu tokens (of these %zu for %zu image%s), the context holds %zu", n_rows,
                    b->n_image_tokens, b->n_images, b->n_images == 1 ? "" : "s", b->m->n_ctx);
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
        .n_runs = b->n_runs,
        .n_images = b->n_images,
        .keys = b->keys,
        .n_embd_image = llm_n_embd_image(b->m),
    };
    bool has_axes = b->m->rope.n_axes > 1;
    *b = (struct builder){0};
    if (!has_axes || place_rows(p, err))
        return p;
    llm_prompt_destroy(p);
    return NULL;
}

static bool reserve_images(struct builder *b, size_t n_images, size_t n_runs, struct err *err) {
    b->images = try_malloc_array(n_runs ? n_runs : 1, sizeof *b->images, "images of a prompt", err);
    b->keys = try_malloc_array(n_images ? n_images : 1, sizeof *b->keys, "images of a prompt", err);
    return b->images && b->keys;
}

static size_t n_runs_of(const struct llm_image *image) {
    size_t n = image->n_spans == 0;
    for (size_t i = 0; i < image->n_spans; i++)
        n += image->spans[i].n_rows > 0;
    return n;
}

bool llm_image_n_tokens(const struct llm *m, const struct llm_image *image, size_t *n_tokens,
                        struct err *err) {
    struct token_ids ids = {0};
    struct buf text;
    buf_init(&text, 0);
    bool goes_on = true, ok = true;
    *n_tokens = image->n_tokens;
    for (size_t i = 0; ok && i <= image->n_spans; i++) {
        const struct llm_image_span *span = i < image->n_spans ? &image->spans[i] : NULL;
        if (span && span->n_rows == 0) {
            ok = buf_append_str(&text, span->is_number ? "0" : span->text, err);
            continue;
        }
        ok = text.len == 0 ||
             tokenizer_encode_mixed(m->tokenizer, text.data, NULL, text.len, goes_on, &ids, err);
        goes_on = false;
        buf_clear(&text);
    }
    ok = ok && (size_add(*n_tokens, ids.n, n_tokens) ||
                err_set(err, ERR_CONTEXT_EXCEEDED, "an image of %zu tokens", image->n_tokens));
    buf_clear(&text);
    token_ids_clear(&ids);
    return ok;
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
    size_t n_images = 0, n_runs = 0, text_bytes = 0, n_tokens;
    struct builder b = {.m = m};
    for (size_t i = 0; i < n_messages; i++) {
        for (size_t k = 0; k < messages[i].n_parts; k++) {
            const struct llm_part *part = &messages[i].parts[k];
            n_images += part->image.n_tokens > 0;
            if (part->image.n_tokens > 0) {
                n_runs += n_runs_of(&part->image);
                if (!llm_image_n_tokens(m, &part->image, &n_tokens, err))
                    return NULL;
                if (!size_add(b.n_image_tokens, n_tokens, &b.n_image_tokens))
                    b.n_image_tokens = SIZE_MAX;
            } else if (!size_add(text_bytes, part->len, &text_bytes))
                text_bytes = SIZE_MAX;
        }
    }
    if (!check_text_fits(m, text_bytes, err))
        return NULL;
    struct chat_sink sink = {.ctx = &b, .text = put_text, .ids = put_ids, .rows = put_rows};
    struct llm_prompt *p = NULL;
    // One position at least stays free for the answer.
    if (reserve_images(&b, n_images, n_runs, err) &&
        chat_render(m->chat, m->tokenizer, messages, n_messages, &sink, err))
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
    struct builder b = {.m = m, .n_image_tokens = image ? image->n_tokens : 0};
    struct llm_prompt *p = NULL;
    if (reserve_images(&b, 1, 1, err) && put_ids(&b, ids, n_before, err) &&
        (!image || put_rows(&b, image, 0, image->n_tokens, err)) &&
        put_ids(&b, n_before < n_ids ? ids + n_before : NULL, n_ids - n_before, err))
        p = builder_finish(&b, m->n_ctx, err);
    builder_clear(&b);
    return p;
}

void llm_prompt_destroy(struct llm_prompt *p) {
    if (!p)
        return;
    for (size_t i = 0; i < p->n_runs; i++)
        free(p->images[i].key);
    for (size_t i = 0; i < p->n_images; i++)
        free(p->keys[i]);
    free(p->images);
    free(p->keys);
    free(p->ids);
    free(p->positions);
    free(p->next_position);
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
    size_t end = 0;
    *n_rows = 0;
    *key = p->keys[i];
    for (size_t k = 0; k < p->n_runs; k++) {
        const struct prompt_image *run = &p->images[k];
        if (run->image != i)
            continue;
        if (run->skipped == 0)
            *first_row = run->first_row;
        end = run->first_row + run->n_rows;
    }
    *n_rows = end - *first_row;
}

const struct prompt_image *prompt_image_at(const struct llm_prompt *p, size_t row) {
    for (size_t i = 0; i < p->n_runs; i++)
        if (row >= p->images[i].first_row && row - p->images[i].first_row < p->images[i].n_rows)
            return &p->images[i];
    return NULL;
}

size_t llm_prompt_chunk(const struct llm_prompt *p, size_t first, size_t n_wanted) {
    size_t end = n_wanted < p->n_rows - first ? first + n_wanted : p->n_rows;
    const struct prompt_image *run = end < p->n_rows ? prompt_image_at(p, end) : NULL;
    if (!run || !run->both_ways || run->first_row == end)
        return end - first;
    return (run->first_row > first ? run->first_row : run->first_row + run->n_rows) - first;
}

void llm_prompt_set_image_rows(struct llm_prompt *p, size_t i, const float *rows) {
    assert(i < p->n_images);
    for (size_t k = 0; k < p->n_runs; k++)
        if (p->images[k].image == i)
            p->images[k].rows = rows + p->images[k].skipped * p->n_embd_image;
}
