// Takes token ids one by one, gives whole UTF-8 text.
//
// id -> the piece's bytes ("▁" is a space, <0xXX> a byte) -> behind the bytes still held -> everything up to
// an unfinished sequence (at most 3 bytes), each invalid part replaced by one U+FFFD (Unicode 15, section
// 3.9, "substitution of maximal subparts"). The space prefix is dropped at the start of the text.
#include "base/mem.h"
#include "base/utf8.h"
#include "llm/model.h"
#include "llm/tokenizer.h"

#include <stdlib.h>

#define REPLACEMENT "\xef\xbf\xbd" // U+FFFD

enum { HELD_MAX = 3, REPLACEMENT_LEN = 3 };

struct llm_detok {
    const struct tokenizer *tokenizer;
    bool show_special;
    bool is_first; // no text yet
    size_t n_held;
    char *in;  // [HELD_MAX + longest piece]; the first n_held bytes are an unfinished sequence
    char *out; // REPLACEMENT_LEN times as long: each byte may become U+FFFD
};

struct llm_detok *llm_detok_create(const struct llm *m, bool show_special) {
    struct llm_detok *d = xcalloc(1, sizeof *d);
    size_t longest = HELD_MAX + tokenizer_longest_piece(m->tokenizer);
    d->tokenizer = m->tokenizer;
    d->show_special = show_special;
    d->is_first = true;
    d->in = xcalloc(longest, 1);
    d->out = xcalloc(longest, REPLACEMENT_LEN);
    return d;
}

void llm_detok_destroy(struct llm_detok *d) {
    if (!d)
        return;
    free(d->in);
    free(d->out);
    free(d);
}

// The bytes at s that cannot become a character but would be one's beginning: at least 1.
static size_t invalid_part(const char *s, size_t len) {
    size_t n = 1;
    while (n < 3 && n < len && utf8_incomplete_tail(s, n + 1) == n + 1)
        n++;
    return n;
}

// Moves the first n bytes of d->in to d->out as valid UTF-8; returns how many bytes that gave.
static size_t emit(struct llm_detok *d, size_t n) {
    size_t n_out = 0;
    for (size_t i = 0; i < n;) {
        uint32_t code_point;
        size_t len = utf8_decode(d->in + i, n - i, &code_point);
        if (len > 0) {
            memcpy(d->out + n_out, d->in + i, len);
            n_out += len;
        } else {
            len = invalid_part(d->in + i, n - i);
            memcpy(d->out + n_out, REPLACEMENT, REPLACEMENT_LEN);
            n_out += REPLACEMENT_LEN;
        }
        i += len;
    }
    return n_out;
}

bool llm_detok_is_first(const struct llm_detok *d) {
    return d->is_first;
}

bool llm_detok_holds_some(const struct llm_detok *d) {
    return d->n_held > 0;
}

// The bytes of a token within a text; NULL for one that is none.
static const char *text_of(const struct tokenizer *t, int32_t id, bool first, bool show_special,
                           size_t *len) {
    enum token_type type;
    const char *piece = tokenizer_piece(t, id, len, &type);
    bool is_text = type == TOKEN_NORMAL || type == TOKEN_BYTE || type == TOKEN_USER_DEFINED;
    if (*len == 0 || (!is_text && !show_special))
        return NULL;
    if (first && type == TOKEN_NORMAL && piece[0] == ' ' && tokenizer_adds_space(t)) {
        piece++;
        --*len;
    }
    return piece;
}

const char *llm_token_bytes(const struct llm *m, int32_t id, bool first, size_t *len) {
    const char *bytes = text_of(m->tokenizer, id, first, false, len);
    *len = bytes ? *len : 0;
    return bytes ? bytes : "";
}

const char *llm_detok_put(struct llm_detok *d, int32_t id, size_t *len) {
    *len = 0;
    if (id < 0 || (size_t)id >= tokenizer_n_vocab(d->tokenizer))
        return d->out;
    size_t n_piece;
    const char *piece = text_of(d->tokenizer, id, d->is_first, d->show_special, &n_piece);
    if (!piece)
        return d->out;
    d->is_first = false;

    memcpy(d->in + d->n_held, piece, n_piece);
    size_t n = d->n_held + n_piece;
    d->n_held = utf8_incomplete_tail(d->in, n);
    n -= d->n_held;
    *len = emit(d, n);
    memmove(d->in, d->in + n, d->n_held);
    return d->out;
}

const char *llm_detok_flush(struct llm_detok *d, size_t *len) {
    *len = emit(d, d->n_held);
    d->n_held = 0;
    return d->out;
}
