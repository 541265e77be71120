// Takes the keys tokenizer.ggml.* of a GGUF file, gives the vocabulary: texts, types, the bytes that tokens
// stand for, special ids, and the tables from text to id. Everything is checked; the file may lie.
#include "llm/vocab.h"

#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
    PIECE_BYTES_MAX = 1 << 20,
    SPECIAL_BYTES_MAX = 256, // each length that a special token has is looked up at each byte of a text
};

// ---- hash tables of token texts ----

static uint32_t text_hash(const struct tokenizer *t, const char *s, size_t len) {
    uint64_t h = vocab_mix(len, t->hash_key);
    for (; len >= 8; s += 8, len -= 8) {
        uint64_t v;
        memcpy(&v, s, 8);
        h = vocab_mix(h ^ v, t->hash_key);
    }
    uint64_t v = 0;
    for (size_t i = 0; i < len; i++)
        v = v << 8 | (unsigned char)s[i];
    return (uint32_t)vocab_mix(h ^ v, t->hash_key);
}

static bool table_create(struct table *table, size_t n, struct err *err) {
    size_t cap = 16;
    while (cap < n * 2)
        cap *= 2;
    table->slots = try_malloc_array(cap, sizeof *table->slots, "the vocabulary's index", err);
    if (!table->slots)
        return false;
    memset(table->slots, 0, cap * sizeof *table->slots);
    table->mask = cap - 1;
    return true;
}

static struct gguf_string table_key(const struct tokenizer *t, const struct table *table, size_t id) {
    if (!table->decoded)
        return t->texts[id];
    return (struct gguf_string){t->decoded + t->starts[id], t->starts[id + 1] - t->starts[id]};
}

// The slot that holds the text, or the empty one where it belongs.
static struct slot *table_slot(const struct tokenizer *t, const struct table *table, const char *s,
                               size_t len, uint32_t hash) {
    for (size_t i = hash & table->mask;; i = (i + 1) & table->mask) {
        struct slot *slot = &table->slots[i];
        if (!slot->id1)
            return slot;
        if (slot->hash != hash)
            continue;
        struct gguf_string key = table_key(t, table, slot->id1 - 1);
        if (key.len == len && memcmp(key.data, s, len) == 0)
            return slot;
    }
}

static void table_put(const struct tokenizer *t, struct table *table, size_t id) {
    struct gguf_string key = table_key(t, table, id);
    uint32_t hash = text_hash(t, key.data, key.len);
    struct slot *slot = table_slot(t, table, key.data, key.len, hash);
    *slot = (struct slot){.hash = hash, .id1 = (uint32_t)id + 1};
}

int32_t vocab_find(const struct tokenizer *t, const struct table *table, const char *s, size_t len) {
    return (int32_t)table_slot(t, table, s, len, text_hash(t, s, len))->id1 - 1;
}

// ---- opening ----

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

// The value of a text "<0xXX>", or -1.
static int byte_token_value(const struct gguf_string *s) {
    if (s->len != 6 || memcmp(s->data, "<0x", 3) != 0 || s->data[5] != '>')
        return -1;
    int high = hex_digit(s->data[3]), low = hex_digit(s->data[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

static bool text_is(const struct gguf_string *s, const char *want) {
    return s->len == strlen(want) && memcmp(s->data, want, s->len) == 0;
}

// Marks that end an answer or a turn in the vocabularies of the families that people download.
static bool text_is_known_end(const struct gguf_string *s) {
    static const char *const ends[] = {
        "</s>",
        "<eos>",
        "<|im_end|>",
        "<|eot_id|>",
        "<|eom_id|>",
        "<|eot|>",
        "<|end|>",
        "<|end_of_text|>",
        "<|endoftext|>",
        "<|return|>",
        "<|call|>",
        "<|EOT|>",
        "<end_of_turn>",
        "<end_of_utterance>",
        "<|end_of_role|>",
        "<|END_OF_TURN_TOKEN|>",
        ("<\xef\xbd\x9c"
         "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>"),
    };
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (text_is(s, ends[i]))
            return true;
    return false;
}

// Texts that mark turns, whatever the file calls them: <|...|>, DeepSeek's wide form of it, Gemma's words.
static bool text_is_turn_mark(const struct gguf_string *s) {
    static const char wide[] = "\xef\xbd\x9c"; // U+FF5C
    enum { WIDE_LEN = sizeof wide - 1 };
    bool narrow_marks = s->len > 4 && !memcmp(s->data, "<|", 2) && !memcmp(s->data + s->len - 2, "|>", 2);
    bool wide_marks = s->len > 2 * WIDE_LEN + 2 && s->data[0] == '<' && s->data[s->len - 1] == '>' &&
                      !memcmp(s->data + 1, wide, WIDE_LEN) &&
                      !memcmp(s->data + s->len - 1 - WIDE_LEN, wide, WIDE_LEN);
    return narrow_marks || wide_marks || text_is(s, "<start_of_turn>") || text_is_known_end(s);
}

const struct gguf_key *vocab_array(const struct gguf *g, const char *name, enum gguf_type type,
                                   const char *type_name, struct err *err) {
    const struct gguf_key *key = gguf_find_key(g, name);
    if (!key) {
        err_set(err, ERR_MODEL, "%s: missing, want an array of %s", name, type_name);
        return NULL;
    }
    if (key->type != GGUF_ARRAY || key->item_type != type) {
        err_set(err, ERR_MODEL, "%s: %s of type %d, want an array of %s", name,
                key->type == GGUF_ARRAY ? "array" : "value",
                (int)(key->type == GGUF_ARRAY ? key->item_type : key->type), type_name);
        return NULL;
    }
    return key;
}

// True of the two models of SentencePiece: pieces with scores over normalised text.
static bool is_sentencepiece(const struct tokenizer *t) {
    return t->kind == VOCAB_SPM || t->kind == VOCAB_UNIGRAM;
}

static bool load_kind(struct tokenizer *t, const struct gguf *g, const char *pre, struct err *err) {
    static const char *const names[] = {
        [VOCAB_SPM] = "llama",
        [VOCAB_BYTE_BPE] = "gpt2",
        [VOCAB_WORDPIECE] = "bert",
        [VOCAB_UNIGRAM] = "t5",
    };
    const size_t n_names = sizeof names / sizeof *names;
    struct gguf_string kind, name = {pre, pre ? strlen(pre) : 0};
    size_t i = 0;
    bool found;
    if (!gguf_get_string(g, "tokenizer.ggml.model", &kind, &found, err))
        return false;
    if (!found)
        return err_set(err, ERR_MODEL, "tokenizer.ggml.model: missing, want one of llama, gpt2, bert, t5");
    while (i < n_names && !text_is(&kind, names[i]))
        i++;
    if (i == n_names)
        return err_set(err, ERR_MODEL, "tokenizer.ggml.model: \"%.*s\", want one of llama, gpt2, bert, t5",
                       (int)(kind.len < 64 ? kind.len : 64), kind.data);
    t->kind = (enum vocab_kind)i;
    if (t->kind != VOCAB_BYTE_BPE)
        return !pre || err_set(err, ERR_INVALID_VALUE, "--pre: this vocabulary has no pre-tokenizer");
    if (!pre && !gguf_get_string(g, "tokenizer.ggml.pre", &name, NULL, err))
        return false;
    t->pre = pretokenizer_find(name.data, name.len, err);
    return t->pre != NULL;
}

static bool load_texts(struct tokenizer *t, const struct gguf *g, struct err *err) {
    const struct gguf_key *tokens = vocab_array(g, "tokenizer.ggml.tokens", GGUF_STRING, "string", err);
    if (!tokens)
        return false;
    if (tokens->n == 0 || tokens->n > VOCAB_MAX)
        return err_set(err, ERR_MODEL, "tokenizer.ggml.tokens: %zu tokens, want 1 to %d", tokens->n,
                       VOCAB_MAX);
    for (size_t i = 0; i < tokens->n; i++)
        if (tokens->strings[i].len > PIECE_BYTES_MAX)
            return err_set(err, ERR_MODEL, "tokenizer.ggml.tokens[%zu]: %zu bytes, want at most %d", i,
                           tokens->strings[i].len, PIECE_BYTES_MAX);
    t->texts = tokens->strings;
    t->n_vocab = tokens->n;
    return true;
}

static bool load_scores(struct tokenizer *t, const struct gguf *g, struct err *err) {
    if (!is_sentencepiece(t))
        return true;
    const struct gguf_key *scores = vocab_array(g, "tokenizer.ggml.scores", GGUF_F32, "f32", err);
    if (!scores)
        return false;
    if (scores->n != t->n_vocab)
        return err_set(err, ERR_MODEL, "tokenizer.ggml.scores: %zu items, want %zu as in tokens", scores->n,
                       t->n_vocab);
    t->scores = try_malloc_array(t->n_vocab, sizeof *t->scores, "token scores", err);
    if (!t->scores)
        return false;
    for (size_t i = 0; i < t->n_vocab; i++)
        t->scores[i] = (float)gguf_array_float(scores, i);
    return true;
}

// The type of a token in a file without types.
static uint8_t usual_type(const struct tokenizer *t, const struct gguf_string *text) {
    if (is_sentencepiece(t))
        return byte_token_value(text) >= 0 ? TOKEN_BYTE : TOKEN_NORMAL;
    return text_is_turn_mark(text) ? TOKEN_CONTROL : TOKEN_NORMAL;
}

static bool load_types(struct tokenizer *t, const struct gguf *g, struct err *err) {
    t->types = try_malloc(t->n_vocab, "token types", err);
    if (!t->types)
        return false;
    if (!gguf_find_key(g, "tokenizer.ggml.token_type")) {
        for (size_t i = 0; i < t->n_vocab; i++)
            t->types[i] = usual_type(t, &t->texts[i]);
        return true;
    }
    const struct gguf_key *types = vocab_array(g, "tokenizer.ggml.token_type", GGUF_I32, "i32", err);
    if (!types)
        return false;
    if (types->n != t->n_vocab)
        return err_set(err, ERR_MODEL, "tokenizer.ggml.token_type: %zu items, want %zu as in tokens",
                       types->n, t->n_vocab);
    for (size_t i = 0; i < t->n_vocab; i++) {
        int64_t type = gguf_array_int(types, i);
        if (type < TOKEN_NORMAL || type > TOKEN_BYTE)
            return err_set(err, ERR_MODEL, "tokenizer.ggml.token_type[%zu]: %lld, want %d to %d", i,
                           (long long)type, TOKEN_NORMAL, TOKEN_BYTE);
        // Some converters call the marks of turns user-defined; a user's text must not find them.
        if (type == TOKEN_USER_DEFINED && text_is_turn_mark(&t->texts[i]))
            type = TOKEN_CONTROL;
        t->types[i] = (uint8_t)type;
    }
    return true;
}

// A special id: the key's, else the usual one where the vocabulary reaches so far (-1: none is usual).
static bool load_special_id(const struct tokenizer *t, const struct gguf *g, const char *name, int32_t usual,
                            int32_t *out, struct err *err) {
    uint64_t id = 0;
    bool found = false;
    if (!gguf_get_uint(g, name, 0, t->n_vocab - 1, &id, &found, err))
        return false;
    *out = found ? (int32_t)id : usual < (int64_t)t->n_vocab ? usual : TOKEN_NONE;
    return true;
}

// Where "<|return|>" ends an answer, "<|end|>" only ends one of the messages that it is made of.
static void forget_message_end(struct tokenizer *t) {
    size_t end = t->n_vocab;
    bool returns = false;
    for (size_t i = 0; i < t->n_vocab; i++) {
        if (t->is_end[i] && text_is(&t->texts[i], "<|end|>"))
            end = i;
        returns = returns || (t->is_end[i] && text_is(&t->texts[i], "<|return|>"));
    }
    if (returns && end < t->n_vocab && (int32_t)end != t->eos)
        t->is_end[end] = false;
}

// What files of a kind mean where they say nothing: ids (where the vocabulary reaches so far) and habits.
static const struct usual {
    int32_t bos, eos, unk;
    bool add_bos, add_eos, add_space;
} usual[] = {
    [VOCAB_SPM] = {1, 2, 0, true, false, true},
    [VOCAB_BYTE_BPE] = {TOKEN_NONE, TOKEN_NONE, TOKEN_NONE, false, false, false},
    [VOCAB_WORDPIECE] = {101, 102, 100, true, true, true}, // [CLS], [SEP], [UNK]
    [VOCAB_UNIGRAM] = {TOKEN_NONE, 1, 2, false, true, false},
};

static bool load_special_ids(struct tokenizer *t, const struct gguf *g, struct err *err) {
    const struct usual *u = &usual[t->kind];
    bool wordpiece = t->kind == VOCAB_WORDPIECE;
    const char *eos = wordpiece ? "tokenizer.ggml.seperator_token_id" : "tokenizer.ggml.eos_token_id"; // sic
    int32_t eot, eom;
    if (!load_special_id(t, g, "tokenizer.ggml.bos_token_id", u->bos, &t->bos, err) ||
        (wordpiece && !load_special_id(t, g, "tokenizer.ggml.cls_token_id", t->bos, &t->bos, err)) ||
        !load_special_id(t, g, eos, u->eos, &t->eos, err) ||
        !load_special_id(t, g, "tokenizer.ggml.unknown_token_id", u->unk, &t->unk, err) ||
        !load_special_id(t, g, "tokenizer.ggml.eot_token_id", TOKEN_NONE, &eot, err) ||
        !load_special_id(t, g, "tokenizer.ggml.eom_token_id", TOKEN_NONE, &eom, err))
        return false;
    t->add_bos = u->add_bos || (t->pre && t->pre->adds_bos);
    t->add_eos = u->add_eos;
    t->add_space = u->add_space;
    if (!gguf_get_bool(g, "tokenizer.ggml.add_bos_token", &t->add_bos, NULL, err) ||
        !gguf_get_bool(g, "tokenizer.ggml.add_eos_token", &t->add_eos, NULL, err) ||
        (is_sentencepiece(t) &&
         !gguf_get_bool(g, "tokenizer.ggml.add_space_prefix", &t->add_space, NULL, err)))
        return false;
    t->is_end = try_malloc_array(t->n_vocab, sizeof *t->is_end, "end tokens", err);
    if (!t->is_end)
        return false;
    for (size_t i = 0; i < t->n_vocab; i++)
        t->is_end[i] = (int32_t)i == t->eos || (int32_t)i == eot || (int32_t)i == eom ||
                       (t->types[i] == TOKEN_CONTROL && text_is_known_end(&t->texts[i]));
    forget_message_end(t);
    return true;
}

// The bytes a token stands for, written to out (which has room for its text); returns how many.
static size_t piece_decode(enum vocab_kind kind, const struct gguf_string *text, enum token_type type,
                           char *out) {
    int value = type == TOKEN_BYTE ? byte_token_value(text) : -1;
    if (value >= 0) {
        out[0] = (char)value;
        return 1;
    }
    if (type != TOKEN_NORMAL) {
        memcpy(out, text->data, text->len);
        return text->len;
    }
    if (kind == VOCAB_BYTE_BPE)
        return vocab_decode_bytes(text->data, text->len, out);
    size_t n = 0;
    for (size_t i = 0; i < text->len;) {
        bool mark = text->len - i >= SPACE_MARK_LEN && !memcmp(text->data + i, SPACE_MARK, SPACE_MARK_LEN);
        out[n++] = mark ? ' ' : text->data[i];
        i += mark ? SPACE_MARK_LEN : 1;
    }
    return n;
}

static bool decode_pieces(struct tokenizer *t, struct err *err) {
    size_t total = 0;
    for (size_t i = 0; i < t->n_vocab; i++)
        if (!size_add(total, t->texts[i].len, &total))
            return err_set(err, ERR_MODEL, "tokenizer.ggml.tokens: the texts are too long together");
    t->decoded = try_malloc(total ? total : 1, "token texts", err);
    t->starts = t->decoded ? try_malloc_array(t->n_vocab + 1, sizeof *t->starts, "token texts", err) : NULL;
    if (!t->starts)
        return false;
    size_t at = 0;
    for (size_t i = 0; i < t->n_vocab; i++) {
        t->starts[i] = at;
        if (t->texts[i].len)
            at += piece_decode(t->kind, &t->texts[i], (enum token_type)t->types[i], t->decoded + at);
        if (at - t->starts[i] > t->longest)
            t->longest = at - t->starts[i];
    }
    t->starts[t->n_vocab] = at;
    return true;
}

// True when "▁" stands behind another character.
static bool has_inner_mark(const struct gguf_string *s) {
    for (size_t i = 1; i + SPACE_MARK_LEN <= s->len; i++)
        if (memcmp(s->data + i, SPACE_MARK, SPACE_MARK_LEN) == 0 &&
            (i < SPACE_MARK_LEN || memcmp(s->data + i - SPACE_MARK_LEN, SPACE_MARK, SPACE_MARK_LEN) != 0))
            return true;
    return false;
}

static int compare_longest_first(const void *a, const void *b) {
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

static bool index_special_lens(struct tokenizer *t, size_t n_specials, struct err *err) {
    t->special_lens = try_malloc_array(n_specials + 1, sizeof *t->special_lens, "special tokens", err);
    if (!t->special_lens)
        return false;
    size_t n = 0;
    for (size_t i = 0; i < t->n_vocab; i++) {
        if ((t->types[i] == TOKEN_CONTROL || t->types[i] == TOKEN_UNKNOWN ||
             t->types[i] == TOKEN_USER_DEFINED) &&
            t->texts[i].len) {
            if (t->texts[i].len > SPECIAL_BYTES_MAX)
                return err_set(err, ERR_MODEL,
                               "tokenizer.ggml.tokens[%zu]: a special token of %zu bytes, want at most %d", i,
                               t->texts[i].len, SPECIAL_BYTES_MAX);
            t->special_first[(unsigned char)t->texts[i].data[0]] = true;
            t->special_lens[n++] = t->texts[i].len;
        }
    }
    qsort(t->special_lens, n, sizeof *t->special_lens, compare_longest_first);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || t->special_lens[i] != t->special_lens[i - 1])
            t->special_lens[t->n_special_lens++] = t->special_lens[i];
    return true;
}

static void index_piece(struct tokenizer *t, size_t id) {
    struct gguf_string key = table_key(t, &t->pieces, id);
    table_put(t, &t->pieces, id);
    if (key.len > t->longest_text)
        t->longest_text = key.len;
    t->words_are_apart = t->words_are_apart && !has_inner_mark(&t->texts[id]);
    for (size_t i = 0; i < key.len; i++)
        t->uncased = t->uncased && !(key.data[i] >= 'A' && key.data[i] <= 'Z');
    if (t->kind == VOCAB_BYTE_BPE && key.len == 1)
        t->bytes[(unsigned char)key.data[0]] = (int32_t)id;
}

static bool index_tokens(struct tokenizer *t, struct err *err) {
    size_t n_pieces = 0, n_specials = 0;
    for (size_t i = 0; i < t->n_vocab; i++) {
        n_pieces += t->types[i] == TOKEN_NORMAL;
        n_specials +=
            t->types[i] == TOKEN_CONTROL || t->types[i] == TOKEN_UNKNOWN || t->types[i] == TOKEN_USER_DEFINED;
    }
    if (!table_create(&t->pieces, n_pieces, err) || !table_create(&t->specials, n_specials, err))
        return false;
    for (size_t i = 0; i < 256; i++)
        t->bytes[i] = TOKEN_NONE;
    t->words_are_apart = true;
    t->uncased = true;
    t->pieces.decoded = t->kind == VOCAB_BYTE_BPE;
    for (size_t i = 0; i < t->n_vocab; i++) {
        if (t->texts[i].len == 0)
            continue;
        switch ((enum token_type)t->types[i]) {
        case TOKEN_NORMAL:
            index_piece(t, i);
            break;
        case TOKEN_UNKNOWN:
        case TOKEN_CONTROL:
        case TOKEN_USER_DEFINED:
            table_put(t, &t->specials, i);
            break;
        case TOKEN_BYTE:
            if (byte_token_value(&t->texts[i]) >= 0)
                t->bytes[byte_token_value(&t->texts[i])] = (int32_t)i;
            break;
        case TOKEN_UNUSED:
            break;
        }
    }
    return index_special_lens(t, n_specials, err);
}

static bool load_normaliser(struct tokenizer *t, const struct gguf *g, struct err *err) {
    t->normaliser.add_space = t->add_space;
    t->normaliser.keep_bad_bytes = t->kind == VOCAB_SPM;
    return !is_sentencepiece(t) || normaliser_load(&t->normaliser, g, err);
}

bool vocab_load(struct tokenizer *t, const struct gguf *g, const char *pre, struct err *err) {
    if (getrandom(&t->hash_key, sizeof t->hash_key, 0) != (ssize_t)sizeof t->hash_key)
        return err_set(err, ERR_IO, "no random key for the vocabulary: %s", strerror(errno));
    return load_kind(t, g, pre, err) && load_texts(t, g, err) && load_scores(t, g, err) &&
           load_types(t, g, err) && load_special_ids(t, g, err) && decode_pieces(t, err) &&
           index_tokens(t, err) && load_normaliser(t, g, err);
}
