// Grammars. Input: GBNF; behind a line "--text--" bytes that the matcher is led over, here each as the token of
// that number.
#include "fuzz/fuzz.h"

#include "fuzz/vocabulary.h"
#include "llm/grammar.h"

enum { TOKENS_MAX = 24 }; // of some 30 ms each at most

static void walk(const struct llm_grammar *g, const uint8_t *text, size_t len) {
    const struct tokenizer *t = fuzz_vocabulary();
    static struct token_order *order;
    if (!order)
        order = token_order_create(t);
    struct err err = {0};
    const uint64_t *mask;
    bool fits = true;
    struct matcher *m = matcher_create(g, t, order, len % 2 == 1, &err);
    FUZZ_CHECK((m != NULL) == (err.code == ERR_NONE));
    for (size_t i = 0; m && fits && i < len && i < TOKENS_MAX; i++) {
        int32_t id = (int32_t)(text[i] % tokenizer_n_vocab(t));
        if (!matcher_mask(m, &mask, &err))
            break;
        bool allowed = mask[id / 64] >> id % 64 & 1;
        bool ok = matcher_accept_token(m, id, &fits, &err);
        FUZZ_CHECK(ok == (err.code == ERR_NONE));
        FUZZ_CHECK(!ok || fits == allowed);
    }
    matcher_destroy(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *text;
    size_t len;
    size_t grammar_len = fuzz_split(data, size, "\n--text--\n", &text, &len);
    struct err err = {0};
    fuzz_vocabulary();
    fuzz_begin(fuzz_largest(size), 12 * FUZZ_MIB + 16 * size);
    struct llm_grammar *g = llm_grammar_parse((const char *)data, grammar_len, &err);
    FUZZ_CHECK((g != NULL) == (err.code == ERR_NONE));
    if (g)
        walk(g, text, len);
    llm_grammar_destroy(g);
    fuzz_end();
    return 0;
}
