// The vocabulary of a model file and text -> token ids: SentencePiece BPE (GGUF's "llama") and Unigram ("t5"),
// byte-level BPE ("gpt2") and WordPiece ("bert").
#ifndef LLM_TOKENIZER_H
#define LLM_TOKENIZER_H

#include "compute/gguf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TOKEN_NONE = -1 }; // a special token that the file does not have

enum token_type { // GGUF's own numbers
    TOKEN_NORMAL = 1,
    TOKEN_UNKNOWN,
    TOKEN_CONTROL,
    TOKEN_USER_DEFINED,
    TOKEN_UNUSED,
    TOKEN_BYTE,
};

struct token_ids { // a growing list; zeroed is empty
    int32_t *ids;
    size_t n, cap;
};

bool token_ids_append(struct token_ids *list, const int32_t *ids, size_t n, struct err *err);
void token_ids_clear(struct token_ids *list); // frees; the list may be used again

struct tokenizer; // read-only after tokenizer_open: any thread

// Returns new. Borrows g until tokenizer_close. ERR_MODEL names the key, expected and found.
struct tokenizer *tokenizer_open(const struct gguf *g, struct err *err);
// The same with another pre-tokenizer than the file's (NULL: the file's). ERR_INVALID_VALUE where the
// vocabulary has none.
struct tokenizer *tokenizer_open_pre(const struct gguf *g, const char *pre, struct err *err);
void tokenizer_close(struct tokenizer *t);

size_t tokenizer_n_vocab(const struct tokenizer *t);
size_t tokenizer_longest_piece(const struct tokenizer *t); // bytes of text that one token stands for, at most
int32_t tokenizer_bos(const struct tokenizer *t);          // or TOKEN_NONE, as the next
int32_t tokenizer_eos(const struct tokenizer *t);
bool tokenizer_adds_bos(const struct tokenizer *t); // the file's wish, and the token is there
bool tokenizer_adds_eos(const struct tokenizer *t);
bool tokenizer_adds_space(const struct tokenizer *t); // a text begins with the piece of a space
bool tokenizer_is_end(const struct tokenizer *t, int32_t id);

// The control or user-defined token written so, or TOKEN_NONE.
int32_t tokenizer_find_special(const struct tokenizer *t, const char *text);

// The bytes that a token stands for ("▁" is a space, <0x0A> a line feed); borrowed. *type tells what it is.
// id must be in the vocabulary.
const char *tokenizer_piece(const struct tokenizer *t, int32_t id, size_t *len, enum token_type *type);

// For the merging: the normal token written exactly so (with "▁" for spaces), its id and score.
bool tokenizer_find_piece(const struct tokenizer *t, const char *text, size_t len, int32_t *id, float *score);
// What byte-level BPE makes of two tokens side by side: the id and its score (the first merge has the best).
bool tokenizer_find_merge(const struct tokenizer *t, int32_t left, int32_t right, int32_t *id, float *score);
int32_t tokenizer_byte(const struct tokenizer *t, unsigned char byte); // the token of this byte or TOKEN_NONE

// Appends the ids of one text to list: the space prefix at its start and after each special token, no BOS
// and no EOS. User-defined tokens are always found in it, control tokens when parse_special. Any bytes are
// text. On failure (ERR_NOMEM) the list may have grown.
bool tokenizer_encode(const struct tokenizer *t, const char *text, size_t len, bool parse_special,
                      struct token_ids *list, struct err *err);
// The same for a text of which only some may hold special tokens: those without a byte whose is_input [len] is
// set (NULL: none is). goes_on: the text follows another, so it begins without a space prefix.
bool tokenizer_encode_mixed(const struct tokenizer *t, const char *text, const uint8_t *is_input, size_t len,
                            bool goes_on, struct token_ids *list, struct err *err);
// The special token that such a text (len > 0) begins with, the longest first, and its length; or TOKEN_NONE.
int32_t tokenizer_match_special(const struct tokenizer *t, const char *text, const uint8_t *is_input,
                                size_t len, size_t *n);

#endif
