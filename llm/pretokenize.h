// Text -> words: what byte-level BPE merges on its own, by the name in tokenizer.ggml.pre.
#ifndef LLM_PRETOKENIZE_H
#define LLM_PRETOKENIZE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct pretokenizer {
    const char *name; // as GGUF writes it
    // Each rule cuts the pieces of the one before it. It gives the length of the piece that s begins with,
    // of at least one character (len >= 1); NULL ends the list.
    size_t (*rules[7])(const char *s, size_t len);
    bool whole_words; // a word that is a token is that token, whatever the merges say
    bool adds_bos;    // where the file does not say
};

// The one of this name or alias (NULL: gpt-2). NULL with ERR_MODEL that lists the names there are.
const struct pretokenizer *pretokenizer_find(const char *name, size_t len, struct err *err);

enum { PRETOKENIZE_LEVELS = 8 };

struct words { // of one text; made by words_init
    const struct pretokenizer *pre;
    const char *text;
    size_t at;
    size_t ends[PRETOKENIZE_LEVELS]; // where the piece of each rule ends; the text's end first
    size_t n_rules;
};

// Borrows the text (any bytes) until the last words_next.
void words_init(struct words *w, const struct pretokenizer *pre, const char *text, size_t len);
// The next word; together they are the text. False at its end. Time linear in the text.
bool words_next(struct words *w, const char **word, size_t *len);

#endif
