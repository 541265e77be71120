// The built-in chat formats: messages -> a line of pieces (plain text, special tokens, image runs, ids).
#ifndef LLM_CHAT_H
#define LLM_CHAT_H

#include "llm/llm.h"
#include "llm/tokenizer.h"

enum chat_format { CHAT_VICUNA, CHAT_LLAMA_2, CHAT_CHATML };

// By name, or for NULL by the file's tokenizer.chat_template, or by its vocabulary where it has none.
// ERR_INVALID_VALUE names the formats there are.
bool chat_format_find(const struct gguf *g, const struct tokenizer *t, const char *name,
                      enum chat_format *out, struct err *err);
const char *chat_format_name(enum chat_format f); // "vicuna", "llama-2", "chatml"

// What chat_render writes to. Text that arrives in one go is one text to the tokenizer; everything else ends
// it.
struct chat_sink {
    void *ctx;
    bool (*text)(void *ctx, const char *text, size_t len, struct err *err); // never holds a special token
    bool (*ids)(void *ctx, const int32_t *ids, size_t n, struct err *err);
    bool (*image)(void *ctx, const struct llm_image *image, struct err *err);
};

// Renders the conversation up to where the answer begins. ERR_INVALID_VALUE for an image in a system message.
bool chat_render(enum chat_format f, const struct gguf *g, const struct tokenizer *t,
                 const struct llm_message *messages, size_t n_messages, const struct chat_sink *sink,
                 struct err *err);

#endif
