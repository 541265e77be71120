// Chat templates: messages -> a line of pieces (text, ids, image runs), by the file's Jinja or another.
#ifndef LLM_CHAT_H
#define LLM_CHAT_H

#include "llm/jinja.h"
#include "llm/llm.h"
#include "llm/tokenizer.h"

struct chat_format { // built in
    const char *name;
    const char *text;  // Jinja
    const char *model; // part of general.name, any case, of files without a template that are in it, or NULL
    const char *stop;  // a text that ends an answer although it is no token, or NULL
};

extern const struct chat_format chat_formats[]; // ends with a name of NULL

struct chat; // a compiled template and what it can do; read-only: any thread

// Returns new. choice: a built-in format's name or a file; NULL: tokenizer.chat_template, and without one the
// format of the model's name, else chatml where the vocabulary has its marks, else vicuna. ERR_MODEL names line and reason for a template of
// the model file, ERR_INVALID_VALUE for a choice; a template that does not write what users say is refused.
struct chat *chat_open(const struct gguf *g, const struct tokenizer *t, const char *choice, struct err *err);
void chat_close(struct chat *c);
const char *chat_name(
    const struct chat *c); // of a built-in format, else its file or "tokenizer.chat_template"

// A text that ends an answer, borrowed, or NULL.
const char *chat_stop(const struct chat *c);

// What chat_render writes to. Every piece of text is one text to the tokenizer.
struct chat_sink {
    void *ctx;
    // is_input [len] or NULL: bytes that must not become part of a control token are set.
    bool (*text)(void *ctx, const char *text, const uint8_t *is_input, size_t len, struct err *err);
    bool (*ids)(void *ctx, const int32_t *ids, size_t n, struct err *err);
    // n_rows of an image from `first` on; each image begins with its row 0.
    bool (*rows)(void *ctx, const struct llm_image *image, size_t first, size_t n_rows, struct err *err);
};

// Renders the conversation up to where the answer begins. ERR_INVALID_VALUE for what the template refuses or
// leaves out and for an image in a system message; ERR_MODEL where the template itself fails.
bool chat_render(const struct chat *c, const struct tokenizer *t, const struct llm_message *messages,
                 size_t n_messages, const struct chat_sink *sink, struct err *err);

#endif
