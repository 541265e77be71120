// The merging of SentencePiece BPE and of byte-level BPE: one run of characters -> token ids.
#ifndef LLM_BPE_H
#define LLM_BPE_H

#include "llm/tokenizer.h"

struct bpe {            // scratch kept from run to run; zeroed but for by_merges is empty
    bool by_merges;     // merges are listed (byte-level BPE), not all pairs that give a piece
    bool after_unknown; // the runs so far end in <unk>
    struct bpe_symbol *symbols;
    struct bpe_pair *heap;
    size_t cap; // symbols; the heap holds twice as many
    size_t n_heap;
};

// Appends the ids of the run (any bytes; SentencePiece: spaces written as "▁"). ERR_NOMEM.
bool bpe_encode(struct bpe *b, const struct tokenizer *t, const char *run, size_t len, struct token_ids *list,
                struct err *err);
void bpe_clear(struct bpe *b); // frees

#endif
