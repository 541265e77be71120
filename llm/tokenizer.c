// Takes a vocabulary and bytes of text, gives token ids.
//
// text -> cut at special tokens -> and each cut
//   SentencePiece  -> normalise.c: a space in front, every space written as U+2581 ("▁") -> words -> bpe.c
//                  merges each, tokenizer_unigram.c cuts each where the model is Unigram.
//                  A vocabulary where no piece holds "▁" behind another character can never join two words,
//                  so each word is merged on its own; any other vocabulary gets the whole cut at once.
//   byte-level BPE -> words (pretokenize.c) -> bpe.c merges the bytes of each.
//   WordPiece      -> tokenizer_wordpiece.c
//
// Sources: sentencepiece; GPT-2's encoder.py; special tokens and the space prefix after each as transformers'
// LlamaTokenizer (legacy behaviour).
#include "llm/tokenizer.h"

#include "base/mem.h"
#include "llm/bpe.h"
#include "llm/model.h"
#include "llm/vocab.h"

#include <stdlib.h>
#include <string.h>

// ---- lists of ids ----

bool token_ids_append(struct token_ids *list, const int32_t *ids, size_t n, struct err *err) {
    if (!list->ids || n > list->cap - list->n) {
        size_t want, cap;
        if (!size_add(list->n, n, &want) || !size_mul(want, 2, &cap))
            return err_set(err, ERR_NOMEM, "token ids: %zu more than fit in memory", n);
        cap = cap < 64 ? 64 : cap;
        int32_t *bigger = try_malloc_array(cap, sizeof *bigger, "token ids", err);
        if (!bigger)
            return false;
        if (list->n)
            memcpy(bigger, list->ids, list->n * sizeof *bigger);
        free(list->ids);
        list->ids = bigger;
        list->cap = cap;
    }
    if (n)
        memcpy(list->ids + list->n, ids, n * sizeof *ids);
    list->n += n;
    return true;
}

void token_ids_clear(struct token_ids *list) {
    free(list->ids);
    *list = (struct token_ids){0};
}

// ---- opening ----

struct tokenizer *tokenizer_open_pre(const struct gguf *g, const char *pre, struct err *err) {
    struct tokenizer *t = xcalloc(1, sizeof *t);
    if (vocab_load(t, g, pre, err) && (t->kind != VOCAB_BYTE_BPE || vocab_load_merges(t, g, err)) &&
        (t->kind != VOCAB_UNIGRAM || vocab_load_unigram(t, err)))
        return t;
    tokenizer_close(t);
    return NULL;
}

struct tokenizer *tokenizer_open(const struct gguf *g, struct err *err) {
    return tokenizer_open_pre(g, NULL, err);
}

void tokenizer_close(struct tokenizer *t) {
    if (!t)
        return;
    free(t->scores);
    free(t->types);
    free(t->is_end);
    free(t->decoded);
    free(t->starts);
    free(t->pieces.slots);
    free(t->specials.slots);
    free(t->special_lens);
    free(t->merges);
    free(t->trie.labels);
    free(t->trie.first);
    free(t->trie.ids);
    free(t);
}

size_t tokenizer_n_vocab(const struct tokenizer *t) {
    return t->n_vocab;
}

size_t tokenizer_longest_piece(const struct tokenizer *t) {
    return t->longest;
}

int32_t tokenizer_bos(const struct tokenizer *t) {
    return t->bos;
}

int32_t tokenizer_eos(const struct tokenizer *t) {
    return t->eos;
}

bool tokenizer_adds_bos(const struct tokenizer *t) {
    return t->add_bos && t->bos != TOKEN_NONE;
}

bool tokenizer_adds_eos(const struct tokenizer *t) {
    return t->add_eos && t->eos != TOKEN_NONE;
}

bool tokenizer_adds_space(const struct tokenizer *t) {
    return t->add_space;
}

bool tokenizer_is_end(const struct tokenizer *t, int32_t id) {
    return id >= 0 && (size_t)id < t->n_vocab && t->is_end[id];
}

int32_t tokenizer_find_special(const struct tokenizer *t, const char *text) {
    return vocab_find(t, &t->specials, text, strlen(text));
}

const char *tokenizer_piece(const struct tokenizer *t, int32_t id, size_t *len, enum token_type *type) {
    *len = t->starts[id + 1] - t->starts[id];
    *type = (enum token_type)t->types[id];
    return t->decoded + t->starts[id];
}

bool tokenizer_find_piece(const struct tokenizer *t, const char *text, size_t len, int32_t *id,
                          float *score) {
    if (len > t->longest_text)
        return false;
    *id = vocab_find(t, &t->pieces, text, len);
    if (*id < 0)
        return false;
    *score = t->scores[*id];
    return true;
}

bool tokenizer_find_merge(const struct tokenizer *t, int32_t left, int32_t right, int32_t *id, float *score) {
    for (size_t i = merge_hash(t, (uint32_t)left, (uint32_t)right) & t->merges_mask;;
         i = (i + 1) & t->merges_mask) {
        const struct merge *m = &t->merges[i];
        if (m->left1 == 0)
            return false;
        if (m->left1 == (uint32_t)left + 1 && m->right == (uint32_t)right) {
            *id = m->id;
            *score = m->score;
            return true;
        }
    }
}

int32_t tokenizer_byte(const struct tokenizer *t, unsigned char byte) {
    return t->bytes[byte];
}

// ---- encoding ----

static bool has_input(const uint8_t *is_input, size_t n) {
    for (size_t i = 0; is_input && i < n; i++)
        if (is_input[i])
            return true;
    return false;
}

// As tokenizer_match_special; without parse_special no byte may be part of a control token.
static int32_t match_special(const struct tokenizer *t, const char *text, const uint8_t *is_input, size_t len,
                             bool parse_special, size_t *n) {
    if (!t->special_first[(unsigned char)text[0]])
        return TOKEN_NONE;
    for (size_t i = 0; i < t->n_special_lens; i++) {
        *n = t->special_lens[i];
        int32_t id = *n <= len ? vocab_find(t, &t->specials, text, *n) : TOKEN_NONE;
        if (id >= 0 && (t->types[id] == TOKEN_USER_DEFINED || (parse_special && !has_input(is_input, *n))))
            return id;
    }
    return TOKEN_NONE;
}

int32_t tokenizer_match_special(const struct tokenizer *t, const char *text, const uint8_t *is_input,
                                size_t len, size_t *n) {
    return match_special(t, text, is_input, len, true, n);
}

// Where the word that begins at `at` ends: before the next mark that follows something else.
static size_t word_end(const char *text, size_t len, size_t at) {
    bool in_marks = true;
    while (at < len) {
        bool mark = text[at] == SPACE_MARK[0] && len - at >= SPACE_MARK_LEN &&
                    memcmp(text + at, SPACE_MARK, SPACE_MARK_LEN) == 0;
        if (mark && !in_marks)
            return at;
        in_marks = mark;
        at += mark ? SPACE_MARK_LEN : 1;
    }
    return len;
}

// What one call works with.
struct cutter {
    struct bpe bpe;
    struct unigram unigram;
    struct normal_text normal;
};

bool vocab_append_unknown(const struct tokenizer *t, const char *s, size_t len, bool *after_unknown,
                          struct token_ids *list, struct err *err) {
    int32_t ids[4];
    bool is_unknown = false;
    for (size_t i = 0; i < len && !is_unknown; i++) {
        ids[i] = t->bytes[(unsigned char)s[i]];
        is_unknown = ids[i] == TOKEN_NONE;
    }
    bool is_again = is_unknown && *after_unknown;
    *after_unknown = is_unknown;
    if (is_unknown)
        return is_again || t->unk == TOKEN_NONE || token_ids_append(list, &t->unk, 1, err);
    return token_ids_append(list, ids, len, err);
}

// One text without special tokens.
static bool encode_sentencepiece(const struct tokenizer *t, struct cutter *s, const char *text, size_t len,
                                 bool goes_on, struct token_ids *list, struct err *err) {
    if (!normalise(&t->normaliser, goes_on, text, len, &s->normal, err))
        return false;
    const char *normal = s->normal.data;
    s->bpe.after_unknown = s->unigram.after_unknown = false;
    s->unigram.score = 0;
    for (size_t at = 0; at < s->normal.len;) {
        size_t end = t->words_are_apart ? word_end(normal, s->normal.len, at) : s->normal.len;
        bool ok = t->kind == VOCAB_UNIGRAM
                      ? vocab_encode_unigram(t, &s->unigram, normal + at, end - at, list, err)
                      : bpe_encode(&s->bpe, t, normal + at, end - at, list, err);
        if (!ok)
            return false;
        at = end;
    }
    return true;
}

static bool encode_words(const struct tokenizer *t, struct bpe *bpe, const char *text, size_t len,
                         struct token_ids *list, struct err *err) {
    struct words words;
    const char *word;
    size_t n;
    words_init(&words, t->pre, text, len);
    while (words_next(&words, &word, &n)) {
        int32_t id =
            t->pre->whole_words && n <= t->longest_text ? vocab_find(t, &t->pieces, word, n) : TOKEN_NONE;
        bool ok =
            id != TOKEN_NONE ? token_ids_append(list, &id, 1, err) : bpe_encode(bpe, t, word, n, list, err);
        if (!ok)
            return false;
    }
    return true;
}

static bool encode_plain(const struct tokenizer *t, struct cutter *s, const char *text, size_t len,
                         bool goes_on, struct token_ids *list, struct err *err) {
    if (len == 0)
        return true;
    switch (t->kind) {
    case VOCAB_SPM:
    case VOCAB_UNIGRAM:
        return encode_sentencepiece(t, s, text, len, goes_on, list, err);
    case VOCAB_BYTE_BPE:
        return encode_words(t, &s->bpe, text, len, list, err);
    case VOCAB_WORDPIECE:
        break;
    }
    return vocab_encode_wordpiece(t, text, len, list, err);
}

static bool encode(const struct tokenizer *t, const char *text, const uint8_t *is_input, size_t len,
                   bool parse_special, bool goes_on, struct token_ids *list, struct err *err) {
    if (len == 0)
        return true;
    struct cutter s = {.bpe.by_merges = t->kind == VOCAB_BYTE_BPE};
    bool ok = false;
    size_t begin = 0;
    for (size_t i = 0; i < len;) {
        size_t n;
        int32_t id = match_special(t, text + i, is_input ? is_input + i : NULL, len - i, parse_special, &n);
        if (id == TOKEN_NONE) {
            i++;
            continue;
        }
        if (!encode_plain(t, &s, text + begin, i - begin, goes_on && begin == 0, list, err) ||
            !token_ids_append(list, &id, 1, err))
            goto done;
        i += n;
        begin = i;
    }
    ok = encode_plain(t, &s, text + begin, len - begin, goes_on && begin == 0, list, err);
done:
    bpe_clear(&s.bpe);
    unigram_clear(&s.unigram);
    normal_text_clear(&s.normal);
    return ok;
}

bool tokenizer_encode(const struct tokenizer *t, const char *text, size_t len, bool parse_special,
                      struct token_ids *list, struct err *err) {
    return encode(t, text, NULL, len, parse_special, false, list, err);
}

bool tokenizer_encode_mixed(const struct tokenizer *t, const char *text, const uint8_t *is_input, size_t len,
                            bool goes_on, struct token_ids *list, struct err *err) {
    return encode(t, text, is_input, len, true, goes_on, list, err);
}

// ---- llm.h: tokens ----

struct llm *llm_open_vocabulary(const char *path, struct ops *ops, const char *pre, struct err *err) {
    struct llm *m = xcalloc(1, sizeof *m);
    m->ops = ops;
    if ((m->gguf = gguf_open(path, err)) && (m->tokenizer = tokenizer_open_pre(m->gguf, pre, err))) {
        m->n_vocab = tokenizer_n_vocab(m->tokenizer);
        return m;
    }
    llm_close(m);
    return NULL;
}

int32_t *llm_tokenize(const struct llm *m, const char *text, size_t len, bool parse_special, int add_bos,
                      size_t *n_ids, struct err *err) {
    const struct tokenizer *t = m->tokenizer;
    bool bos = add_bos < 0 ? tokenizer_adds_bos(t) : add_bos > 0 && t->bos != TOKEN_NONE;
    bool eos = add_bos != 0 && tokenizer_adds_eos(t);
    struct token_ids list = {0};
    if (!token_ids_append(&list, &t->bos, bos ? 1 : 0, err) ||
        !tokenizer_encode(t, text, len, parse_special, &list, err) ||
        !token_ids_append(&list, &t->eos, eos ? 1 : 0, err)) {
        token_ids_clear(&list);
        return NULL;
    }
    *n_ids = list.n;
    return list.ids;
}

bool llm_token_is_end(const struct llm *m, int32_t id) {
    return tokenizer_is_end(m->tokenizer, id);
}
