// SentencePiece's normaliser: what a text becomes before it is cut into pieces.
#ifndef LLM_NORMALISE_H
#define LLM_NORMALISE_H

#include "compute/gguf.h"

#define SPACE_MARK "\xe2\x96\x81" // U+2581

enum { SPACE_MARK_LEN = 3 };

struct normaliser {      // read-only once loaded: any thread
    const uint8_t *trie; // [n_units] u32, little-endian and not aligned; borrowed from the file
    size_t n_units;      // 0: no rules
    const char *texts;   // [n_texts] what rules give, each ended by a NUL; borrowed
    size_t n_texts;
    bool add_space;      // a text begins with one more
    bool remove_spaces;  // those at both ends, and all but the first of a run
    bool keep_bad_bytes; // a byte that is not valid UTF-8 stays; else it becomes U+FFFD
    bool as_is[256];     // a byte that is a text of its own and no rule begins with
};

struct normal_text { // what a text became; zeroed is empty, scratch from text to text
    char *data;
    size_t len, cap;
};

// Reads tokenizer.ggml.precompiled_charsmap and remove_extra_whitespaces into n, where add_space and
// keep_bad_bytes are set. Borrows g. ERR_MODEL.
bool normaliser_load(struct normaliser *n, const struct gguf *g, struct err *err);

// Any bytes -> out, spaces as "▁". goes_on: the text follows another, its beginning is no beginning. ERR_NOMEM;
// ERR_MODEL where the file's rules make a text many times as long.
bool normalise(const struct normaliser *n, bool goes_on, const char *text, size_t len,
               struct normal_text *out, struct err *err);
void normal_text_clear(struct normal_text *t); // frees

#endif
