// Takes bytes of text, gives the text that SentencePiece cuts into pieces.
//
// At each place the longest rule of the file (tokenizer.ggml.precompiled_charsmap) gives the text that stands
// for it; where there is none, the character stays and a byte that is not valid UTF-8 becomes U+FFFD. Then
// spaces: with remove_extra_whitespaces those at both ends go and a run becomes one; a prefix; each is
// written as U+2581 ("▁").
//
// The rules are u32 size_bytes, a double-array trie of that size, and the texts it points to. A unit of the
// trie is a u32: bits 0-7 the byte that leads to it, bit 8 a rule ends here, bit 9 the offset is in steps of
// 256, bits 10-30 the offset: the child by byte c stands at index ^ offset ^ c. With bit 31 it is the end of
// a rule, at index ^ offset of the unit before: bits 0-30 are where its text begins.
//
// Sources: sentencepiece/src/normalizer.cc; Yata, Darts-clone, and Kanda 2018 on XOR-compressed double arrays.
#include "llm/normalise.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

#define CHARSMAP    "tokenizer.ggml.precompiled_charsmap"
#define REPLACEMENT "\xef\xbf\xbd" // U+FFFD

enum {
    RULE_BYTES_MAX = 128,  // of what a rule replaces: a trie may run in circles
    GROWTH_MAX = 16,       // times the text's length; NFKC's longest gives 13 bytes for one
    GROWTH_FREE = 1 << 10, // and this many bytes whatever the length
};

// ---- the rules ----

static uint32_t load_u32(const uint8_t *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint32_t unit_at(const struct normaliser *n, size_t i) {
    return load_u32(n->trie + i * 4);
}

static size_t unit_offset(uint32_t unit) {
    return (size_t)(unit >> 10 & 0x1fffff) << (unit & 1u << 9 ? 8 : 0);
}

static bool unit_is_end(uint32_t unit) {
    return unit >> 31;
}

static bool unit_has_rule(uint32_t unit) {
    return unit >> 8 & 1;
}

// The child of the unit at *node by this byte: its index in *node, itself in *unit; false where none is.
static bool find_child(const struct normaliser *n, size_t *node, uint32_t *unit, unsigned char byte) {
    size_t child = *node ^ unit_offset(*unit) ^ byte;
    if (child >= n->n_units)
        return false;
    *unit = unit_at(n, child);
    *node = child;
    return !unit_is_end(*unit) && (*unit & 0xff) == byte;
}

// The text that stands for the longest beginning a rule knows, and that beginning's length; NULL: no rule.
static const char *find_rule(const struct normaliser *n, const char *text, size_t len, size_t *matched) {
    if (n->n_units == 0)
        return NULL;
    const char *found = NULL;
    size_t node = 0;
    uint32_t unit = unit_at(n, 0);
    len = len < RULE_BYTES_MAX ? len : RULE_BYTES_MAX;
    for (size_t i = 0; i < len && find_child(n, &node, &unit, (unsigned char)text[i]); i++) {
        if (unit_has_rule(unit)) { // checked at loading
            found = n->texts + (unit_at(n, node ^ unit_offset(unit)) & 0x7fffffff);
            *matched = i + 1;
        }
    }
    return found;
}

// Every end of a rule is in the trie and every text among the texts.
static bool check_rules(const struct normaliser *n, struct err *err) {
    for (size_t i = 0; i < n->n_units; i++) {
        uint32_t unit = unit_at(n, i);
        if (unit_is_end(unit) || !unit_has_rule(unit))
            continue;
        size_t end = i ^ unit_offset(unit);
        if (end >= n->n_units)
            return err_set(err, ERR_MODEL, CHARSMAP ": unit %zu points to unit %zu, want one of %zu", i, end,
                           n->n_units);
        size_t at = unit_at(n, end) & 0x7fffffff;
        if (at >= n->n_texts)
            return err_set(err, ERR_MODEL,
                           CHARSMAP ": unit %zu points to byte %zu of the texts, want one of %zu", end, at,
                           n->n_texts);
    }
    return true;
}

static bool load_rules(struct normaliser *n, const struct gguf *g, struct err *err) {
    const struct gguf_key *key = gguf_find_key(g, CHARSMAP);
    if (!key)
        return true;
    if (key->type != GGUF_ARRAY || (key->item_type != GGUF_U8 && key->item_type != GGUF_I8))
        return err_set(err, ERR_MODEL, CHARSMAP ": %s of type %d, want an array of u8 or i8",
                       key->type == GGUF_ARRAY ? "array" : "value",
                       (int)(key->type == GGUF_ARRAY ? key->item_type : key->type));
    if (key->n == 0)
        return true;
    size_t trie_bytes = key->n < 4 ? 0 : load_u32(key->data);
    if (trie_bytes < 4 || trie_bytes % 4 != 0 || trie_bytes >= key->n - 4)
        return err_set(err, ERR_MODEL,
                       CHARSMAP ": a trie of %zu bytes in %zu, want units of 4 bytes and texts behind them",
                       trie_bytes, key->n);
    if (key->data[key->n - 1] != 0)
        return err_set(err, ERR_MODEL, CHARSMAP ": the last text has no end");
    n->trie = key->data + 4;
    n->n_units = trie_bytes / 4;
    n->texts = (const char *)n->trie + trie_bytes;
    n->n_texts = key->n - 4 - trie_bytes;
    return check_rules(n, err);
}

bool normaliser_load(struct normaliser *n, const struct gguf *g, struct err *err) {
    if (!load_rules(n, g, err) ||
        !gguf_get_bool(g, "tokenizer.ggml.remove_extra_whitespaces", &n->remove_spaces, NULL, err))
        return false;
    for (unsigned byte = 0; byte < 256; byte++) {
        size_t node = 0;
        uint32_t unit = n->n_units ? unit_at(n, 0) : 0;
        bool begins_rule = n->n_units && find_child(n, &node, &unit, (unsigned char)byte);
        // A byte of a longer character stays as it is where nothing asks what character that is.
        bool is_text = byte < 0x80 || (n->keep_bad_bytes && n->n_units == 0);
        n->as_is[byte] = byte != ' ' && is_text && !begins_rule;
    }
    return true;
}

// ---- texts ----

struct writer {
    struct normal_text *out;
    size_t max; // bytes of it
    struct err *err;
};

static bool reserve(struct writer *w, size_t n) {
    struct normal_text *out = w->out;
    if (n > w->max - out->len)
        return err_set(w->err, ERR_MODEL, CHARSMAP ": makes a text more than %d times as long", GROWTH_MAX);
    if (n <= out->cap - out->len)
        return true;
    size_t cap = (out->len + n) * 2;
    char *bigger = try_malloc(cap, "the text to tokenize", w->err);
    if (!bigger)
        return false;
    if (out->len)
        memcpy(bigger, out->data, out->len);
    free(out->data);
    out->data = bigger;
    out->cap = cap;
    return true;
}

static bool put_bytes(struct writer *w, const char *s, size_t len) {
    if (!reserve(w, len))
        return false;
    memcpy(w->out->data + w->out->len, s, len);
    w->out->len += len;
    return true;
}

// What stands for a place of the text. *after_space: spaces are to be dropped now.
static bool put_text(struct writer *w, const struct normaliser *n, const char *s, size_t len,
                     bool *after_space) {
    while (*after_space && len > 0 && *s == ' ') {
        s++;
        len--;
    }
    for (size_t i = 0; i < len; i++)
        if (!put_bytes(w, s[i] == ' ' ? SPACE_MARK : s + i, s[i] == ' ' ? SPACE_MARK_LEN : 1))
            return false;
    if (len > 0)
        *after_space = n->remove_spaces && s[len - 1] == ' ';
    return true;
}

// One place of the text from a rule, or a character of its own; returns how many bytes it took, 0: failure.
static size_t put_place(struct writer *w, const struct normaliser *n, const char *text, size_t len,
                        bool *after_space) {
    size_t taken;
    uint32_t code_point;
    const char *s = find_rule(n, text, len, &taken);
    if (s)
        return put_text(w, n, s, strlen(s), after_space) ? taken : 0;
    taken = utf8_decode(text, len, &code_point);
    bool ok = taken == 0 && !n->keep_bad_bytes
                  ? put_text(w, n, REPLACEMENT, sizeof REPLACEMENT - 1, after_space)
                  : put_text(w, n, text, taken ? taken : 1, after_space);
    return ok ? (taken ? taken : 1) : 0;
}

static void drop_last_spaces(struct normal_text *out) {
    while (out->len >= SPACE_MARK_LEN &&
           memcmp(out->data + out->len - SPACE_MARK_LEN, SPACE_MARK, SPACE_MARK_LEN) == 0)
        out->len -= SPACE_MARK_LEN;
}

bool normalise(const struct normaliser *n, bool goes_on, const char *text, size_t len,
               struct normal_text *out, struct err *err) {
    struct writer w = {.out = out, .err = err};
    if (!size_mul(len, 2 * GROWTH_MAX, &w.max)) // twice: reserve() doubles
        return err_set(err, ERR_NOMEM, "a text of %zu bytes does not fit in memory", len);
    w.max = w.max / 2 + GROWTH_FREE;
    out->len = 0;
    if (!reserve(&w, len) || (n->add_space && !goes_on && !put_bytes(&w, SPACE_MARK, SPACE_MARK_LEN)))
        return false;
    bool after_space = n->remove_spaces && !goes_on;
    for (size_t at = 0; at < len;) {
        size_t taken = 0;
        while (at + taken < len && n->as_is[(unsigned char)text[at + taken]])
            taken++;
        bool ok = true;
        if (taken > 0) {
            ok = put_bytes(&w, text + at, taken);
            after_space = false;
        } else {
            ok = (taken = put_place(&w, n, text + at, len - at, &after_space)) > 0;
        }
        if (!ok)
            return false;
        at += taken;
    }
    if (n->remove_spaces)
        drop_last_spaces(out);
    return true;
}

void normal_text_clear(struct normal_text *t) {
    free(t->data);
    *t = (struct normal_text){0};
}
