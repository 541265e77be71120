// What a tokenizer knows of its vocabulary: for tokenizer*.c and vocab.c only.
#ifndef LLM_VOCAB_H
#define LLM_VOCAB_H

#include "llm/normalise.h"
#include "llm/pretokenize.h"
#include "llm/tokenizer.h"

enum { VOCAB_MAX = 1 << 24 };

enum vocab_kind { VOCAB_SPM, VOCAB_BYTE_BPE, VOCAB_WORDPIECE, VOCAB_UNIGRAM };

struct slot { // of a hash table: id + 1, 0 = empty
    uint32_t hash;
    uint32_t id1;
};

struct table { // token text -> id; open addressing
    struct slot *slots;
    size_t mask;
    bool decoded; // by the bytes that tokens stand for, not as the file writes them
};

struct merge { // of a hash table; left1 = id of the left token + 1, 0 = empty
    uint32_t left1, right;
    int32_t id; // what the two become
    float score;
};

struct piece_trie {        // of Unigram's pieces; node 0 is the root
    unsigned char *labels; // [n_nodes] the byte that leads to a node
    uint32_t *first;       // [n_nodes + 1] the children of node i: first[i] up to first[i + 1], in order
    int32_t *ids;          // [n_nodes] the piece that ends at a node, or TOKEN_NONE
};

struct unigram { // scratch kept from run to run; zeroed is empty
    float score; // of the text so far, and whether it ends in <unk>: zeroed for each text
    bool after_unknown;
    struct unigram_best *best;
    size_t cap;
};

struct tokenizer {
    enum vocab_kind kind;
    const struct gguf_string *texts; // [n_vocab] as the file writes them
    size_t n_vocab;
    uint64_t hash_key; // of the tables below, random: a file cannot choose texts that share a slot
    float *scores;     // [n_vocab]; NULL where only SentencePiece needs them
    uint8_t *types;    // [n_vocab] enum token_type
    bool *is_end;      // [n_vocab]
    char *decoded;     // the pieces' own bytes, one after another
    size_t *starts;    // [n_vocab + 1] where a piece begins in decoded
    size_t longest;    // bytes of the longest decoded piece

    struct table pieces;   // what merging may give: normal tokens
    struct table specials; // control, unknown and user-defined tokens
    size_t longest_text;   // bytes of the longest key in pieces
    size_t *special_lens;  // the lengths that special texts have, longest first
    size_t n_special_lens;
    bool special_first[256]; // a special text begins with this byte
    bool words_are_apart;    // no piece holds "▁" behind another character: words merge on their own

    const struct pretokenizer *pre; // of byte-level BPE
    struct merge *merges;           // and its merges
    size_t merges_mask;

    bool uncased; // WordPiece: no piece has a capital letter

    struct normaliser normaliser; // of SentencePiece and Unigram
    struct piece_trie trie;       // of Unigram
    float unknown_score;          // and what <unk> costs there

    int32_t bytes[256]; // the token of a byte or TOKEN_NONE
    int32_t bos, eos, unk;
    bool add_bos, add_eos, add_space;
};

// Everything but the merges from the file; pre (may be NULL) stands for the file's tokenizer.ggml.pre.
bool vocab_load(struct tokenizer *t, const struct gguf *g, const char *pre, struct err *err);
// The merges of byte-level BPE, after the rest.
bool vocab_load_merges(struct tokenizer *t, const struct gguf *g, struct err *err);
// The trie of Unigram, after the rest.
bool vocab_load_unigram(struct tokenizer *t, struct err *err);
// The array `name` with items of this type; NULL with ERR_MODEL that names type_name.
const struct gguf_key *vocab_array(const struct gguf *g, const char *name, enum gguf_type type,
                                   const char *type_name, struct err *err);

// Both halves of a product of 128 bits in one: without the key nobody can say which inputs meet.
static inline uint64_t vocab_mix(uint64_t h, uint64_t key) {
    uint64_t factor = (key << 32 | key >> 32) | 1;
    unsigned __int128 product = (unsigned __int128)(h ^ key) * factor;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline size_t merge_hash(const struct tokenizer *t, uint32_t left, uint32_t right) {
    return (size_t)vocab_mix((uint64_t)left << 32 | right, t->hash_key);
}

// The id of the token of this table, or TOKEN_NONE.
int32_t vocab_find(const struct tokenizer *t, const struct table *table, const char *s, size_t len);

// One text without special tokens.
bool vocab_encode_wordpiece(const struct tokenizer *t, const char *text, size_t len, struct token_ids *list,
                            struct err *err);

// One run of normalised text.
bool vocab_encode_unigram(const struct tokenizer *t, struct unigram *u, const char *run, size_t len,
                          struct token_ids *list, struct err *err);
void unigram_clear(struct unigram *u); // frees

// A character that no piece holds: its bytes' <0xXX>, or where one is missing <unk>, once for a run of such
// characters: *after_unknown tells of the one before, and then of this one.
bool vocab_append_unknown(const struct tokenizer *t, const char *s, size_t len, bool *after_unknown,
                          struct token_ids *list, struct err *err);

// The bytes that a byte-level text stands for, written to out (as long as the text); returns how many. A
// character that stands for no byte is its own bytes.
size_t vocab_decode_bytes(const char *text, size_t len, char *out);

#endif
