// Takes a run of normalised text, gives token ids: SentencePiece's Unigram model.
//
// Of all ways to cut the run into pieces the one whose scores (log probabilities) sum to the most, by Viterbi:
// best[end] = max over pieces that begin at start and end here of best[start] + score(piece). A character
// that is no piece alone may also stand as <unk>, 10 worse than the vocabulary's worst piece; in the end it is
// its bytes' <0xXX> tokens, or one <unk> for a run of such characters where one of those is missing.
//
// Sums are kept in f32 and compared in f64, and go on from word to word, as the original's do: near ties fall
// as they fall there.
//
// Sources: Kudo 2018, "Subword regularization"; sentencepiece/src/unigram_model.cc, Model::EncodeOptimized.
#include "llm/vocab.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

enum { UNIGRAM_PIECE_MAX = 256 }; // bytes: each place of a text walks so far at most

#define UNKNOWN_PENALTY 10.0f
#define UNREACHED       UINT32_MAX

struct unigram_best { // of the ways to cut the text before this place
    float score;
    int32_t id;     // of the last piece, TOKEN_NONE: <unk>
    uint32_t start; // where that begins
    uint32_t next;  // where the piece behind this place ends, once the way is known
};

// ---- the trie of pieces ----
//
// Nodes by depth, those of a depth in the order of their text: the children of node i stand at first[i] up to
// first[i + 1], so one number a node is all that says where they are.

static int compare_texts(const void *a, const void *b) {
    const struct gguf_string *x = *(const struct gguf_string *const *)a;
    const struct gguf_string *y = *(const struct gguf_string *const *)b;
    int order = memcmp(x->data, y->data, x->len < y->len ? x->len : y->len);
    return order ? order : x->len < y->len ? -1 : x->len > y->len;
}

// The texts in their order, each once; n of them. NULL: ERR_MODEL, ERR_NOMEM.
static const struct gguf_string **sort_texts(const struct tokenizer *t, size_t *n, struct err *err) {
    const struct gguf_string **sorted =
        try_malloc_array(t->n_vocab, sizeof *sorted, "the vocabulary's texts", err);
    *n = 0;
    for (size_t i = 0; sorted && i <= t->pieces.mask; i++) {
        if (!t->pieces.slots[i].id1)
            continue;
        const struct gguf_string *text = &t->texts[t->pieces.slots[i].id1 - 1];
        if (text->len > UNIGRAM_PIECE_MAX) {
            err_set(err, ERR_MODEL,
                    "tokenizer.ggml.tokens[%zu]: %zu bytes, want at most %d in a t5 vocabulary",
                    (size_t)(text - t->texts), text->len, UNIGRAM_PIECE_MAX);
            free(sorted);
            return NULL;
        }
        sorted[(*n)++] = text;
    }
    if (sorted)
        qsort(sorted, *n, sizeof *sorted, compare_texts);
    return sorted;
}

static size_t count_nodes(const struct gguf_string *const *sorted, size_t n) {
    size_t n_nodes = 1;
    for (size_t i = 0; i < n; i++) {
        size_t common = 0;
        while (i > 0 && common < sorted[i]->len && common < sorted[i - 1]->len &&
               sorted[i]->data[common] == sorted[i - 1]->data[common])
            common++;
        n_nodes += sorted[i]->len - common;
    }
    return n_nodes;
}

struct range { // of the sorted texts that begin as a node does
    uint32_t begin, end;
};

static void fill_trie(struct tokenizer *t, const struct gguf_string *const *sorted, size_t n, size_t n_nodes,
                      struct range *ranges) {
    struct piece_trie *trie = &t->trie;
    size_t n_made = 1, depth = 0, depth_end = 1;
    ranges[0] = (struct range){0, (uint32_t)n};
    trie->labels[0] = 0;
    for (size_t node = 0; node < n_nodes; node++) {
        if (node == depth_end) {
            depth++;
            depth_end = n_made;
        }
        struct range range = ranges[node];
        trie->first[node] = (uint32_t)n_made;
        trie->ids[node] = TOKEN_NONE;
        if (range.begin < range.end && sorted[range.begin]->len == depth)
            trie->ids[node] = (int32_t)(sorted[range.begin++] - t->texts);
        while (range.begin < range.end) {
            uint32_t begin = range.begin;
            char label = sorted[begin]->data[depth];
            while (range.begin < range.end && sorted[range.begin]->data[depth] == label)
                range.begin++;
            trie->labels[n_made] = (unsigned char)label;
            ranges[n_made++] = (struct range){begin, range.begin};
        }
    }
    trie->first[n_nodes] = (uint32_t)n_made;
}

bool vocab_load_unigram(struct tokenizer *t, struct err *err) {
    size_t n;
    const struct gguf_string **sorted = sort_texts(t, &n, err);
    if (!sorted)
        return false;
    struct piece_trie *trie = &t->trie;
    struct range *ranges = NULL;
    size_t n_nodes = count_nodes(sorted, n);
    bool ok = n_nodes < UINT32_MAX ||
              err_set(err, ERR_MODEL, "tokenizer.ggml.tokens: the texts are too long together");
    ok = ok && (trie->labels = try_malloc(n_nodes, "the vocabulary's trie", err)) &&
         (trie->first = try_malloc_array(n_nodes + 1, sizeof *trie->first, "the vocabulary's trie", err)) &&
         (trie->ids = try_malloc_array(n_nodes, sizeof *trie->ids, "the vocabulary's trie", err)) &&
         (ranges = try_malloc_array(n_nodes, sizeof *ranges, "the vocabulary's trie", err));
    if (ok)
        fill_trie(t, sorted, n, n_nodes, ranges);
    free(ranges);
    free(sorted);
    float worst = FLT_MAX;
    for (size_t i = 0; i < t->n_vocab; i++)
        if (t->types[i] == TOKEN_NORMAL && t->scores[i] < worst)
            worst = t->scores[i];
    t->unknown_score = worst - UNKNOWN_PENALTY;
    return ok;
}

// The child of a node by this byte, 0: none.
static uint32_t find_child(const struct piece_trie *trie, uint32_t node, unsigned char byte) {
    uint32_t first = trie->first[node], n = trie->first[node + 1] - first;
    if (n <= 1)
        return n == 1 && trie->labels[first] == byte ? first : 0;
    const unsigned char *label = memchr(trie->labels + first, byte, n);
    return label ? (uint32_t)(label - trie->labels) : 0;
}

// ---- encoding ----

static bool reserve(struct unigram *u, size_t n, struct err *err) {
    if (n < u->cap)
        return true;
    if (n >= UNREACHED)
        return err_set(err, ERR_NOMEM, "a word of %zu bytes is too long to tokenize", n);
    size_t cap = n + 1 < 64 ? 64 : n + 1;
    unigram_clear(u);
    u->best = try_malloc_array(cap, sizeof *u->best, "the ways to cut a word", err);
    u->cap = u->best ? cap : 0;
    return u->best != NULL;
}

void unigram_clear(struct unigram *u) {
    free(u->best);
    u->best = NULL;
    u->cap = 0;
}

static void offer(struct unigram_best *best, double score, int32_t id, size_t start) {
    if (best->start == UNREACHED || score > (double)best->score) {
        best->score = (float)score;
        best->id = id;
        best->start = (uint32_t)start;
    }
}

// All pieces that begin at `at`, and <unk>; returns the length of the character there.
static size_t offer_pieces(const struct tokenizer *t, struct unigram_best *best, const char *run, size_t len,
                           size_t at) {
    float before = best[at].score;
    size_t char_len = utf8_length((unsigned char)run[at]);
    char_len = char_len == 0 ? 1 : char_len < len - at ? char_len : len - at;
    bool is_piece = false;
    uint32_t node = 0;
    for (size_t i = at; i < len && (node = find_child(&t->trie, node, (unsigned char)run[i])); i++) {
        int32_t id = t->trie.ids[node];
        if (id == TOKEN_NONE)
            continue;
        offer(&best[i + 1], (double)t->scores[id] + before, id, at);
        is_piece = is_piece || i + 1 - at == char_len;
    }
    if (!is_piece) {
        float score = t->unknown_score + before;
        offer(&best[at + char_len], (double)score, TOKEN_NONE, at);
    }
    return char_len;
}

bool vocab_encode_unigram(const struct tokenizer *t, struct unigram *u, const char *run, size_t len,
                          struct token_ids *list, struct err *err) {
    if (!reserve(u, len, err))
        return false;
    struct unigram_best *best = u->best;
    for (size_t i = 0; i <= len; i++)
        best[i].start = UNREACHED;
    best[0].score = u->score;
    for (size_t at = 0; at < len;)
        at += offer_pieces(t, best, run, len, at);
    u->score = best[len].score;
    for (size_t end = len; end > 0; end = best[end].start)
        best[best[end].start].next = (uint32_t)end;
    for (size_t at = 0; at < len; at = best[at].next) {
        size_t end = best[at].next;
        int32_t id = best[end].id;
        bool ok = id == TOKEN_NONE ? vocab_append_unknown(t, run + at, end - at, &u->after_unknown, list, err)
                                   : token_ids_append(list, &id, 1, err);
        if (!ok)
            return false;
        u->after_unknown = u->after_unknown && id == TOKEN_NONE;
    }
    return true;
}
