// Inside the language layer: a parsed grammar (GBNF), and a matcher that follows it byte by byte.
#ifndef LLM_GRAMMAR_H
#define LLM_GRAMMAR_H

#include "llm/llm.h"
#include "llm/tokenizer.h"

enum element_type {
    ELEMENT_END,  // of an alternative
    ELEMENT_CHAR, // value: a code point
    ELEMENT_SET,  // value: index of a set
    ELEMENT_RULE, // value: index of a rule
};

struct element {
    uint32_t type : 2, value : 30;
};

struct code_range { // of code points, both included
    uint32_t lo, hi;
};

struct code_set { // ranges[first .. first + n), ascending, apart, without surrogates
    uint32_t first, n;
};

enum { GRAMMAR_NONE = -1 };

struct alternative {
    uint32_t start; // in elements
    int32_t next;   // or GRAMMAR_NONE
};

struct rule {
    int32_t first, last;     // alternatives, or GRAMMAR_NONE
    uint32_t name, name_len; // where it is first named in the text; 0 long: made for a group or a repetition
};

struct llm_grammar { // read-only once parsed: any thread
    struct element *elements;
    struct code_range *ranges;
    struct code_set *sets;
    struct alternative *alternatives;
    struct rule *rules;
    size_t n_elements, n_ranges, n_sets, n_alternatives, n_rules;
    uint32_t root;
};

// Whether the set holds any code point of lo .. hi; *all: it holds them all.
bool grammar_set_meets(const struct llm_grammar *g, uint32_t set, uint32_t lo, uint32_t hi, bool *all);
// ERR_INVALID_VALUE when a rule can begin with itself. For grammar_parse.c.
bool grammar_check_recursion(const struct llm_grammar *g, const char *text, struct err *err);

struct matcher; // a place in texts of the grammar; one thread at a time

// False with ERR_INVALID_VALUE from any of these: the grammar needs more places at once than there is room for, or
// more work for one token than anybody should wait for.
void matcher_destroy(struct matcher *m);
// Moves on over bytes; *fits false, and nothing has changed, where no text of the grammar goes on so.
bool matcher_accept(struct matcher *m, const char *bytes, size_t n, bool *fits, struct err *err);
bool matcher_may_end(const struct matcher *m); // the text so far is a whole one

// ---- over a vocabulary ----

// Kinds of characters, so that a token's text can be told from one byte: bits of token_order.kinds.
enum char_kind {
    KIND_LOWER,
    KIND_UPPER, // and digits
    KIND_SPACE,
    KIND_SIGN,  // ASCII signs but the next two
    KIND_QUOTE, // " and backslash
    KIND_CONTROL,
    KIND_WIDE, // two bytes and more, where any second byte goes with the first
    KIND_ODD,  // all else: other characters, and what is not whole UTF-8
    N_KINDS,
};

struct token_order {      // the text tokens sorted by their bytes, and the end tokens; read-only
    int32_t *ids;         // [n]
    uint32_t *starts;     // [n + 1] in bytes
    uint16_t *common;     // [n] bytes shared with the token before
    uint8_t *kinds;       // [n] of its characters
    uint32_t firsts[257]; // where the tokens of each first byte begin
    char *bytes;
    size_t n;
    int32_t *ends; // [n_ends] end tokens
    size_t n_ends;
};

// Takes some 50 ms for 150,000 tokens.
struct token_order *token_order_create(const struct tokenizer *t);
void token_order_destroy(struct token_order *o);
enum char_kind token_order_byte_kind(unsigned char byte); // of an ASCII byte, and of the first of a wide one

// The bytes of a token that is text; NULL for others.
const char *token_order_text(const struct tokenizer *t, int32_t id, bool drops_space, size_t *len);

// One for all that use a model: made when it is first asked for. Any thread.
struct shared_order;
struct shared_order *shared_order_create(void);
void shared_order_destroy(struct shared_order *s);
const struct token_order *shared_order_get(struct shared_order *s, const struct tokenizer *t);

// Returns new, at the beginning. Borrows all. Fixed buffers: nothing below allocates. drops_space: a space
// that the first token begins with is not part of the text.
struct matcher *matcher_create(const struct llm_grammar *g, const struct tokenizer *t,
                               const struct token_order *o, bool drops_space, struct err *err);
// Moves on over a token; *fits false, and nothing has changed, where it may not come next.
bool matcher_accept_token(struct matcher *m, int32_t id, bool *fits, struct err *err);
// Sets bit id of *mask [(n_vocab + 63) / 64] for each token that may come next: those whose bytes go on so, and
// the end tokens where the text may end. Borrowed until the next call. Masks of the latest places are kept.
bool matcher_mask(struct matcher *m, const uint64_t **mask, struct err *err);

#endif
