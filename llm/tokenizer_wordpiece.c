// Takes text, gives token ids: BERT's WordPiece.
//
// text -> control characters dropped -> in an uncased vocabulary accents dropped, lower case -> words: cut at
// spaces, each punctuation mark and each Chinese character a word of its own -> each word from its left, again
// and again, the longest piece that fits; a word where none does, or of more than 100 characters, is <unk>.
// GGUF writes a piece that begins a word with "▁" in front and one inside a word ("##") bare.
//
// Source: google-research/bert, tokenization.py; the order of its steps as in BertNormalizer of Hugging Face.
#include "base/utf8.h"
#include "llm/unicode.h"
#include "llm/vocab.h"

#include <string.h>

enum { WORD_CHARS_MAX = 100, CHAR_BYTES_MAX = 4 };

struct word {                                                    // being collected
    char text[SPACE_MARK_LEN + WORD_CHARS_MAX * CHAR_BYTES_MAX]; // after the mark
    size_t len;
    size_t n_chars; // also those that did not fit
};

static bool is_chinese(uint32_t c) {
    return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) || (c >= 0x20000 && c <= 0x2a6df) ||
           (c >= 0x2a700 && c <= 0x2b73f) || (c >= 0x2b740 && c <= 0x2b81f) ||
           (c >= 0x2b820 && c <= 0x2ceaf) || (c >= 0xf900 && c <= 0xfaff) || (c >= 0x2f800 && c <= 0x2fa1f);
}

// Punctuation, and what is neither letter nor number in ASCII.
static bool is_mark(uint32_t c) {
    unsigned class = unicode_class(c);
    return (class & UNICODE_PUNCTUATION) ||
           (c > ' ' && c < 0x7f && !(class & (UNICODE_LETTER | UNICODE_NUMBER)));
}

static void word_clear(struct word *w) {
    memcpy(w->text, SPACE_MARK, SPACE_MARK_LEN);
    w->len = SPACE_MARK_LEN;
    w->n_chars = 0;
}

static void word_put(struct word *w, uint32_t c) {
    if (w->n_chars++ < WORD_CHARS_MAX)
        w->len += utf8_encode(c, w->text + w->len);
}

// The longest piece that text begins with: its id and length, or TOKEN_NONE.
static int32_t longest_piece(const struct tokenizer *t, const char *text, size_t len, size_t *matched) {
    for (size_t n = len < t->longest_text ? len : t->longest_text; n > 0; n--) {
        if (n < len && ((unsigned char)text[n] & 0xc0) == 0x80)
            continue; // inside a character
        int32_t id = vocab_find(t, &t->pieces, text, n);
        if (id != TOKEN_NONE) {
            *matched = n;
            return id;
        }
    }
    return TOKEN_NONE;
}

// Appends the word's ids and empties it.
static bool end_word(const struct tokenizer *t, struct word *w, struct token_ids *list, struct err *err) {
    int32_t ids[WORD_CHARS_MAX];
    size_t n_ids = 0, n = 0;
    bool known = w->n_chars <= WORD_CHARS_MAX;
    for (size_t at = 0; w->n_chars > 0 && known && at < w->len; at += n) {
        int32_t id = longest_piece(t, w->text + at, w->len - at, &n);
        known = id != TOKEN_NONE && at + n > SPACE_MARK_LEN; // the mark alone begins no word
        if (known)
            ids[n_ids++] = id;
    }
    if (!known) {
        ids[0] = t->unk;
        n_ids = t->unk != TOKEN_NONE;
    }
    word_clear(w);
    return token_ids_append(list, ids, n_ids, err);
}

static bool put_char(const struct tokenizer *t, struct word *w, uint32_t c, struct token_ids *list,
                     struct err *err) {
    bool alone = is_mark(c) || is_chinese(c);
    if (alone && !end_word(t, w, list, err))
        return false;
    word_put(w, c);
    return !alone || end_word(t, w, list, err);
}

bool vocab_encode_wordpiece(const struct tokenizer *t, const char *text, size_t len, struct token_ids *list,
                            struct err *err) {
    struct word w;
    struct character c;
    word_clear(&w);
    for (size_t at = 0; (c = character_at(text, len, at)).len > 0; at += c.len) {
        bool is_line = c.code_point == '\t' || c.code_point == '\n' || c.code_point == '\r';
        if (!is_line && (c.code_point == 0xfffd || (c.class & UNICODE_CONTROL)))
            continue;
        if (c.class & UNICODE_SPACE) {
            if (!end_word(t, &w, list, err))
                return false;
            continue;
        }
        uint32_t bare[3] = {c.code_point};
        size_t n = t->uncased ? unicode_bare(c.code_point, bare) : 1;
        for (size_t i = 0; i < n; i++)
            if (!put_char(t, &w, bare[i], list, err))
                return false;
    }
    return end_word(t, &w, list, err);
}
