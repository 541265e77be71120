// Takes a GGUF file's vocabulary and bytes of text, gives token ids.
//
// text -> cut at special tokens -> a space in front of each cut, every space written as U+2581 ("▁") ->
// words -> bpe.c merges each. A vocabulary where no piece holds "▁" behind another character can never join
// two words, so each word is merged on its own; any other vocabulary gets the whole cut at once.
//
// Source: sentencepiece; special tokens and the space prefix after each as transformers' LlamaTokenizer
// (legacy behaviour).
#include "llm/tokenizer.h"

#include "base/mem.h"
#include "llm/bpe.h"
#include "llm/model.h"

#include <stdlib.h>
#include <string.h>

#define SPACE_MARK "\xe2\x96\x81" // U+2581

enum {
    SPACE_MARK_LEN = 3,
    PIECE_BYTES_MAX = 1 << 20,
    VOCAB_MAX = 1 << 24,
};

struct slot { // of a hash table: id + 1, 0 = empty
    uint32_t hash;
    uint32_t id1;
};

struct table { // token text -> id; open addressing
    struct slot *slots;
    size_t mask;
};

struct tokenizer {
    const struct gguf_string *texts; // [n_vocab] as the file writes them
    size_t n_vocab;
    float *scores;  // [n_vocab]
    uint8_t *types; // [n_vocab] enum token_type
    bool *is_end;   // [n_vocab]
    char *decoded;  // the pieces' own bytes, one after another
    size_t *starts; // [n_vocab + 1] where a piece begins in decoded
    size_t longest; // bytes of the longest decoded piece

    struct table pieces;   // what merging may give: normal tokens
    struct table specials; // control, unknown and user-defined tokens
    size_t longest_text;   // bytes of the longest text in pieces
    size_t *special_lens;  // the lengths that special texts have, longest first
    size_t n_special_lens;
    bool special_first[256]; // a special text begins with this byte
    bool words_are_apart;    // no piece holds "▁" behind another character: words merge on their own

    int32_t bytes[256]; // <0xXX> or TOKEN_NONE
    int32_t bos, eos, unk;
    bool add_bos, add_eos, add_space;
};

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

// ---- hash tables of token texts ----

static uint32_t text_hash(const char *s, size_t len) {
    uint64_t h = len * 0x9e3779b97f4a7c15u;
    for (; len >= 8; s += 8, len -= 8) {
        uint64_t v;
        memcpy(&v, s, 8);
        h = (h ^ v) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
    }
    uint64_t v = 0;
    for (size_t i = 0; i < len; i++)
        v = v << 8 | (unsigned char)s[i];
    h = (h ^ v) * 0xff51afd7ed558ccdu;
    return (uint32_t)(h >> 32) ^ (uint32_t)h;
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

// The slot that holds the text, or the empty one where it belongs.
static struct slot *table_slot(const struct tokenizer *t, const struct table *table, const char *s,
                               size_t len, uint32_t hash) {
    for (size_t i = hash & table->mask;; i = (i + 1) & table->mask) {
        struct slot *slot = &table->slots[i];
        if (!slot->id1)
            return slot;
        if (slot->hash != hash)
            continue;
        const struct gguf_string *text = &t->texts[slot->id1 - 1];
        if (text->len == len && memcmp(text->data, s, len) == 0)
            return slot;
    }
}

static void table_put(const struct tokenizer *t, struct table *table, size_t id) {
    uint32_t hash = text_hash(t->texts[id].data, t->texts[id].len);
    struct slot *slot = table_slot(t, table, t->texts[id].data, t->texts[id].len, hash);
    *slot = (struct slot){.hash = hash, .id1 = (uint32_t)id + 1};
}

static int32_t table_find(const struct tokenizer *t, const struct table *table, const char *s, size_t len) {
    return (int32_t)table_slot(t, table, s, len, text_hash(s, len))->id1 - 1;
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

static bool text_is_known_end(const struct gguf_string *s) {
    static const char *const ends[] = {
        "</s>", "<|im_end|>", "<|eot_id|>", "<|end|>", "<|endoftext|>", "<end_of_turn>",
    };
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (text_is(s, ends[i]))
            return true;
    return false;
}

static const struct gguf_key *vocab_array(const struct gguf *g, const char *name, enum gguf_type type,
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

static bool check_model_kind(const struct gguf *g, struct err *err) {
    struct gguf_string kind;
    bool found;
    if (!gguf_get_string(g, "tokenizer.ggml.model", &kind, &found, err))
        return false;
    if (!found)
        return err_set(err, ERR_MODEL, "tokenizer.ggml.model: missing, want \"llama\"");
    if (!text_is(&kind, "llama"))
        return err_set(err, ERR_MODEL, "tokenizer.ggml.model: \"%.*s\", want \"llama\"",
                       (int)(kind.len < 64 ? kind.len : 64), kind.data);
    return true;
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

// Types come from the file; a file without them has byte tokens by their texts and all else normal.
static bool load_types(struct tokenizer *t, const struct gguf *g, struct err *err) {
    t->types = try_malloc(t->n_vocab, "token types", err);
    if (!t->types)
        return false;
    if (!gguf_find_key(g, "tokenizer.ggml.token_type")) {
        for (size_t i = 0; i < t->n_vocab; i++)
            t->types[i] = byte_token_value(&t->texts[i]) >= 0 ? TOKEN_BYTE : TOKEN_NORMAL;
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
        if (type == TOKEN_USER_DEFINED &&
            (text_is_known_end(&t->texts[i]) || text_is(&t->texts[i], "<|im_start|>")))
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

static bool load_special_ids(struct tokenizer *t, const struct gguf *g, struct err *err) {
    int32_t eot;
    if (!load_special_id(t, g, "tokenizer.ggml.bos_token_id", 1, &t->bos, err) ||
        !load_special_id(t, g, "tokenizer.ggml.eos_token_id", 2, &t->eos, err) ||
        !load_special_id(t, g, "tokenizer.ggml.unknown_token_id", 0, &t->unk, err) ||
        !load_special_id(t, g, "tokenizer.ggml.eot_token_id", TOKEN_NONE, &eot, err))
        return false;
    t->add_bos = true;
    t->add_space = true;
    if (!gguf_get_bool(g, "tokenizer.ggml.add_bos_token", &t->add_bos, NULL, err) ||
        !gguf_get_bool(g, "tokenizer.ggml.add_eos_token", &t->add_eos, NULL, err) ||
        !gguf_get_bool(g, "tokenizer.ggml.add_space_prefix", &t->add_space, NULL, err))
        return false;
    t->is_end = try_malloc_array(t->n_vocab, sizeof *t->is_end, "end tokens", err);
    if (!t->is_end)
        return false;
    for (size_t i = 0; i < t->n_vocab; i++)
        t->is_end[i] = (int32_t)i == t->eos || (int32_t)i == eot ||
                       (t->types[i] == TOKEN_CONTROL && text_is_known_end(&t->texts[i]));
    return true;
}

// The bytes a token stands for, written to out (which has room for its text); returns how many.
static size_t piece_decode(const struct gguf_string *text, enum token_type type, char *out) {
    int value = type == TOKEN_BYTE ? byte_token_value(text) : -1;
    if (value >= 0) {
        out[0] = (char)value;
        return 1;
    }
    if (type != TOKEN_NORMAL) {
        memcpy(out, text->data, text->len);
        return text->len;
    }
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
            at += piece_decode(&t->texts[i], (enum token_type)t->types[i], t->decoded + at);
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
    for (size_t i = 0; i < t->n_vocab; i++) {
        if (t->texts[i].len == 0)
            continue;
        switch ((enum token_type)t->types[i]) {
        case TOKEN_NORMAL:
            table_put(t, &t->pieces, i);
            if (t->texts[i].len > t->longest_text)
                t->longest_text = t->texts[i].len;
            t->words_are_apart = t->words_are_apart && !has_inner_mark(&t->texts[i]);
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

struct tokenizer *tokenizer_open(const struct gguf *g, struct err *err) {
    struct tokenizer *t = xcalloc(1, sizeof *t);
    if (!check_model_kind(g, err) || !load_texts(t, g, err) || !load_scores(t, g, err) ||
        !load_types(t, g, err) || !load_special_ids(t, g, err) || !decode_pieces(t, err) ||
        !index_tokens(t, err))
        goto fail;
    return t;
fail:
    tokenizer_close(t);
    return NULL;
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
    return table_find(t, &t->specials, text, strlen(text));
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
    *id = table_find(t, &t->pieces, text, len);
    if (*id < 0)
        return false;
    *score = t->scores[*id];
    return true;
}

int32_t tokenizer_byte(const struct tokenizer *t, unsigned char byte) {
    return t->bytes[byte];
}

int32_t tokenizer_unknown(const struct tokenizer *t) {
    return t->unk;
}

// ---- encoding ----

// The special token that the text begins with, the longest first; TOKEN_NONE when there is none.
static int32_t match_special(const struct tokenizer *t, const char *text, size_t len, bool parse_special,
                             size_t *matched_len) {
    if (!t->special_first[(unsigned char)text[0]])
        return TOKEN_NONE;
    for (size_t i = 0; i < t->n_special_lens; i++) {
        size_t n = t->special_lens[i];
        int32_t id = n <= len ? table_find(t, &t->specials, text, n) : TOKEN_NONE;
        if (id >= 0 && (parse_special || t->types[id] == TOKEN_USER_DEFINED)) {
            *matched_len = n;
            return id;
        }
    }
    return TOKEN_NONE;
}

// Writes the text with marks for spaces to out (3 * (len + 1) bytes); returns its length.
static size_t mark_spaces(const char *text, size_t len, bool prefix, char *out) {
    size_t n = 0;
    if (prefix) {
        memcpy(out, SPACE_MARK, SPACE_MARK_LEN);
        n = SPACE_MARK_LEN;
    }
    for (size_t i = 0; i < len; i++) {
        if (text[i] == ' ') {
            memcpy(out + n, SPACE_MARK, SPACE_MARK_LEN);
            n += SPACE_MARK_LEN;
        } else {
            out[n++] = text[i];
        }
    }
    return n;
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

// One text without special tokens; marked is scratch of 3 * (len + 1) bytes.
static bool encode_plain(const struct tokenizer *t, struct bpe *bpe, const char *text, size_t len,
                         char *marked, struct token_ids *list, struct err *err) {
    if (len == 0)
        return true;
    size_t n = mark_spaces(text, len, t->add_space, marked);
    for (size_t at = 0; at < n;) {
        size_t end = t->words_are_apart ? word_end(marked, n, at) : n;
        if (!bpe_encode(bpe, t, marked + at, end - at, list, err))
            return false;
        at = end;
    }
    return true;
}

bool tokenizer_encode(const struct tokenizer *t, const char *text, size_t len, bool parse_special,
                      struct token_ids *list, struct err *err) {
    if (len == 0)
        return true;
    size_t room;
    if (!size_add(len, 1, &room) || !size_mul(room, SPACE_MARK_LEN, &room))
        return err_set(err, ERR_NOMEM, "a text of %zu bytes does not fit in memory", len);
    struct bpe bpe = {0};
    bool ok = false;
    char *marked = try_malloc(room, "the text to tokenize", err);
    if (!marked)
        return false;
    size_t begin = 0;
    for (size_t i = 0; i < len;) {
        size_t n;
        int32_t id = match_special(t, text + i, len - i, parse_special, &n);
        if (id == TOKEN_NONE) {
            i++;
            continue;
        }
        if (!encode_plain(t, &bpe, text + begin, i - begin, marked, list, err) ||
            !token_ids_append(list, &id, 1, err))
            goto done;
        i += n;
        begin = i;
    }
    ok = encode_plain(t, &bpe, text + begin, len - begin, marked, list, err);
done:
    bpe_clear(&bpe);
    free(marked);
    return ok;
}

// ---- llm.h: tokens ----

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
