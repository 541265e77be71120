// Takes a run of characters, gives token ids: SentencePiece BPE and byte-level BPE.
//
// The run is cut into characters (a byte that is not valid UTF-8 counts as one). Then, again and again, the
// adjacent pair whose joined text is the piece with the best score becomes one symbol, the leftmost first
// among equals. What is left is the answer; a symbol that is no piece becomes its bytes' <0xXX> tokens, or
// <unk> where one of them is missing. Candidate pairs wait in a heap; a merge leaves stale ones behind, known
// by their length when they come up: n characters cost O(n log n).
//
// Byte-level BPE begins with bytes instead, and a pair is one that the vocabulary lists as a merge, the first
// listed before all others.
//
// Sources: sentencepiece/src/bpe_model.cc, Model::SampleEncode without sampling; GPT-2's encoder.py.
#include "llm/bpe.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "llm/vocab.h"

#include <stdlib.h>

enum { NO_SYMBOL = -1 };

struct bpe_symbol {
    uint32_t start, len; // bytes of the run; len 0 once merged into its left neighbour
    int32_t prev, next;
    int32_t id; // TOKEN_NONE while it is no piece
};

struct bpe_pair {
    float score;
    int32_t left;
    uint32_t len; // of both symbols together when the pair was found
    int32_t id;   // what they become
};

static bool bpe_reserve(struct bpe *b, size_t n, struct err *err) {
    if (n <= b->cap)
        return true;
    if (n > INT32_MAX / 2)
        return err_set(err, ERR_NOMEM, "a word of %zu bytes is too long to tokenize", n);
    size_t cap = n < 64 ? 64 : n;
    bpe_clear(b);
    b->symbols = try_malloc_array(cap, sizeof *b->symbols, "symbols to tokenize", err);
    b->heap = b->symbols ? try_malloc_array(cap * 2, sizeof *b->heap, "pairs to tokenize", err) : NULL;
    if (!b->heap)
        return false;
    b->cap = cap;
    return true;
}

void bpe_clear(struct bpe *b) {
    free(b->symbols);
    free(b->heap);
    *b = (struct bpe){.by_merges = b->by_merges, .after_unknown = b->after_unknown};
}

static bool pair_is_before(const struct bpe_pair *a, const struct bpe_pair *b) {
    return a->score > b->score || (a->score == b->score && a->left < b->left);
}

static void heap_push(struct bpe *b, struct bpe_pair pair) {
    size_t i = b->n_heap++;
    while (i > 0 && pair_is_before(&pair, &b->heap[(i - 1) / 2])) {
        b->heap[i] = b->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    b->heap[i] = pair;
}

static struct bpe_pair heap_pop(struct bpe *b) {
    struct bpe_pair top = b->heap[0], last = b->heap[--b->n_heap];
    size_t i = 0;
    for (size_t child = 1; child < b->n_heap; child = i * 2 + 1) {
        if (child + 1 < b->n_heap && pair_is_before(&b->heap[child + 1], &b->heap[child]))
            child++;
        if (!pair_is_before(&b->heap[child], &last))
            break;
        b->heap[i] = b->heap[child];
        i = child;
    }
    b->heap[i] = last;
    return top;
}

static void try_pair(struct bpe *b, const struct tokenizer *t, const char *run, int32_t left) {
    if (left == NO_SYMBOL || b->symbols[left].next == NO_SYMBOL)
        return;
    const struct bpe_symbol *l = &b->symbols[left];
    struct bpe_pair pair = {.left = left, .len = l->len + b->symbols[l->next].len};
    const struct bpe_symbol *r = &b->symbols[l->next];
    bool found = b->by_merges ? l->id != TOKEN_NONE && r->id != TOKEN_NONE &&
                                    tokenizer_find_merge(t, l->id, r->id, &pair.id, &pair.score)
                              : tokenizer_find_piece(t, run + l->start, pair.len, &pair.id, &pair.score);
    if (found)
        heap_push(b, pair);
}

// The symbols to begin with: characters, or bytes where merges are listed.
static size_t split_run(struct bpe *b, const struct tokenizer *t, const char *run, size_t len) {
    size_t n = 0;
    for (size_t at = 0; at < len; n++) {
        uint32_t code_point;
        size_t char_len = b->by_merges ? 1 : utf8_decode(run + at, len - at, &code_point);
        if (char_len == 0)
            char_len = 1;
        struct bpe_symbol *s = &b->symbols[n];
        *s = (struct bpe_symbol){
            .start = (uint32_t)at,
            .len = (uint32_t)char_len,
            .prev = (int32_t)n - 1,
            .next = at + char_len < len ? (int32_t)n + 1 : NO_SYMBOL,
        };
        float score;
        if (b->by_merges)
            s->id = tokenizer_byte(t, (unsigned char)run[at]);
        else if (!tokenizer_find_piece(t, run + at, char_len, &s->id, &score))
            s->id = TOKEN_NONE;
        at += char_len;
    }
    return n;
}

static void merge_pairs(struct bpe *b, const struct tokenizer *t, const char *run) {
    while (b->n_heap > 0) {
        struct bpe_pair pair = heap_pop(b);
        struct bpe_symbol *left = &b->symbols[pair.left];
        if (left->len == 0 || left->next == NO_SYMBOL || left->len + b->symbols[left->next].len != pair.len)
            continue;
        struct bpe_symbol *right = &b->symbols[left->next];
        left->len = pair.len;
        left->id = pair.id;
        left->next = right->next;
        right->len = 0;
        if (left->next != NO_SYMBOL)
            b->symbols[left->next].prev = pair.left;
        try_pair(b, t, run, left->prev);
        try_pair(b, t, run, pair.left);
    }
}

bool bpe_encode(struct bpe *b, const struct tokenizer *t, const char *run, size_t len, struct token_ids *list,
                struct err *err) {
    if (!bpe_reserve(b, len, err))
        return false;
    size_t n = split_run(b, t, run, len);
    b->n_heap = 0;
    for (size_t i = 0; i + 1 < n; i++)
        try_pair(b, t, run, (int32_t)i);
    merge_pairs(b, t, run);
    for (int32_t i = n > 0 ? 0 : NO_SYMBOL; i != NO_SYMBOL; i = b->symbols[i].next) {
        const struct bpe_symbol *s = &b->symbols[i];
        bool ok = s->id != TOKEN_NONE
                      ? token_ids_append(list, &s->id, 1, err)
                      : vocab_append_unknown(t, run + s->start, s->len, &b->after_unknown, list, err);
        if (!ok)
            return false;
        b->after_unknown = b->after_unknown && s->id == TOKEN_NONE && !b->by_merges;
    }
    return true;
}
