// Takes the key tokenizer.ggml.merges, gives the table (left token, right token) -> token of byte-level BPE.
//
// A byte-level text spells bytes as characters: the bytes that Latin-1 prints as themselves, the others as
// U+0100 and on, in order. A merge is "LEFT RIGHT" in that spelling; its rank is its place in the list.
//
// Source: GPT-2's encoder.py, bytes_to_unicode and bpe.
#include "base/log.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "llm/vocab.h"

#include <stdlib.h>
#include <string.h>

enum { SHIFTED = 0x100, N_SHIFTED = 68, MERGE_BYTES_MAX = 1 << 16, QUOTED_BYTES = 40 };

static bool is_spelt_as_itself(uint32_t byte) {
    return (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
}

// The byte that the n-th shifted character stands for: 0 to 0x20, 0x7f to 0xa0, 0xad.
static unsigned char shifted_byte(uint32_t n) {
    return (unsigned char)(n <= 0x20 ? n : n <= 0x42 ? n - 0x21 + 0x7f : 0xad);
}

size_t vocab_decode_bytes(const char *text, size_t len, char *out) {
    size_t n = 0;
    for (size_t at = 0; at < len;) {
        uint32_t c;
        size_t char_len = utf8_decode(text + at, len - at, &c);
        if (char_len > 0 && is_spelt_as_itself(c)) {
            out[n++] = (char)c;
        } else if (char_len > 0 && c >= SHIFTED && c < SHIFTED + N_SHIFTED) {
            out[n++] = (char)shifted_byte(c - SHIFTED);
        } else {
            char_len = char_len > 0 ? char_len : 1;
            memcpy(out + n, text + at, char_len);
            n += char_len;
        }
        at += char_len;
    }
    return n;
}

// Where the pair is, or the empty place where it belongs.
static struct merge *merge_slot(const struct tokenizer *t, uint32_t left, uint32_t right) {
    size_t i = merge_hash(t, left, right) & t->merges_mask;
    while (t->merges[i].left1 && (t->merges[i].left1 != left + 1 || t->merges[i].right != right))
        i = (i + 1) & t->merges_mask;
    return &t->merges[i];
}

// Stores merge number rank; *known is whether both its parts and what they become are tokens. Of a pair listed
// twice the first counts. `bytes` has room for the text.
static bool put_merge(struct tokenizer *t, const struct gguf_string *text, size_t rank, char *bytes,
                      bool *known, struct err *err) {
    const char *space = text->len > 1 ? memchr(text->data + 1, ' ', text->len - 1) : NULL;
    if (!space || space + 1 == text->data + text->len)
        return err_set(err, ERR_MODEL, "tokenizer.ggml.merges[%zu]: \"%.*s\", want two texts and a space",
                       rank, (int)(text->len < QUOTED_BYTES ? text->len : QUOTED_BYTES), text->data);
    size_t left_text = (size_t)(space - text->data);
    size_t n_left = vocab_decode_bytes(text->data, left_text, bytes);
    size_t n = n_left + vocab_decode_bytes(space + 1, text->len - left_text - 1, bytes + n_left);
    int32_t left = vocab_find(t, &t->pieces, bytes, n_left);
    int32_t right = vocab_find(t, &t->pieces, bytes + n_left, n - n_left);
    int32_t id = vocab_find(t, &t->pieces, bytes, n);
    *known = left != TOKEN_NONE && right != TOKEN_NONE && id != TOKEN_NONE;
    if (!*known)
        return true;
    struct merge *slot = merge_slot(t, (uint32_t)left, (uint32_t)right);
    if (!slot->left1)
        *slot = (struct merge){
            .left1 = (uint32_t)left + 1, .right = (uint32_t)right, .id = id, .score = -(float)rank};
    return true;
}

static bool create_table(struct tokenizer *t, size_t n, struct err *err) {
    size_t cap = 16;
    while (cap < n * 2)
        cap *= 2;
    t->merges = try_malloc_array(cap, sizeof *t->merges, "the vocabulary's merges", err);
    if (!t->merges)
        return false;
    memset(t->merges, 0, cap * sizeof *t->merges);
    t->merges_mask = cap - 1;
    return true;
}

bool vocab_load_merges(struct tokenizer *t, const struct gguf *g, struct err *err) {
    const struct gguf_key *key = vocab_array(g, "tokenizer.ggml.merges", GGUF_STRING, "string", err);
    if (!key)
        return false;
    if (key->n == 0 || key->n > VOCAB_MAX)
        return err_set(err, ERR_MODEL, "tokenizer.ggml.merges: %zu merges, want 1 to %d", key->n, VOCAB_MAX);
    size_t longest = 0, n_unknown = 0, unknown = 0;
    for (size_t i = 0; i < key->n; i++) {
        if (key->strings[i].len > MERGE_BYTES_MAX)
            return err_set(err, ERR_MODEL, "tokenizer.ggml.merges[%zu]: %zu bytes, want at most %d", i,
                           key->strings[i].len, MERGE_BYTES_MAX);
        longest = key->strings[i].len > longest ? key->strings[i].len : longest;
    }
    char *bytes = try_malloc(longest + 1, "a merge", err);
    bool ok = bytes && create_table(t, key->n, err);
    for (size_t i = 0; ok && i < key->n; i++) {
        bool known = true;
        ok = put_merge(t, &key->strings[i], i, bytes, &known, err);
        unknown = known || n_unknown > 0 ? unknown : i;
        n_unknown += !known;
    }
    free(bytes);
    if (ok && n_unknown > 0)
        log_event(LOG_LEVEL_WARN, "tokenizer.ggml.merges: %zu of %zu name no token, the first is [%zu]",
                  n_unknown, key->n, unknown);
    return ok;
}
