// The tokenizer on real vocabularies. They are not ours to ship: they lie beside the checkout, or the test
// says that it is skipped.
#include "check.h"
#include "vocab_check.h"

#include "base/clock.h"
#include "llm/tokenizer.h"

#define FOLDER "../shared/vocab/"

// The pieces of the ids, one after another, are the text again.
static bool pieces_are(const struct tokenizer *t, const struct token_ids *ids, const char *text, size_t len) {
    size_t at = 0;
    for (size_t i = 0; i < ids->n; i++) {
        size_t n;
        enum token_type type;
        const char *piece = tokenizer_piece(t, ids->ids[i], &n, &type);
        if (n > len - at || memcmp(piece, text + at, n) != 0)
            return false;
        at += n;
    }
    return at == len;
}

// A NAME.cases.json is [{"text", "ids"}]: no BOS, special tokens not parsed. pre: a pre-tokenizer in place of
// the vocabulary's own.
static void check_vocab(const char *vocab, const char *pre, const char *cases) {
    struct err err = {0};
    struct gguf *file = gguf_open(vocab, &err);
    struct tokenizer *t = file ? tokenizer_open_pre(file, pre, &err) : NULL;
    json_t *list = json_load_file(cases, 0, NULL);
    CHECK_STR(err.msg, "");
    CHECK(t != NULL);
    CHECK(json_array_size(list) > 0);
    size_t n_ok = 0, i;
    json_t *entry;
    json_array_foreach(t ? list : NULL, i, entry) {
        const json_t *text = json_object_get(entry, "text");
        struct token_ids got = {0};
        CHECK(tokenizer_encode(t, json_string_value(text), json_string_length(text), false, &got, &err));
        bool equal = vocab_ids_equal(&got, json_object_get(entry, "ids"));
        if (equal && (tokenizer_adds_space(t) ||
                      pieces_are(t, &got, json_string_value(text), json_string_length(text))))
            n_ok++;
        else
            printf("case %zu differs: \"%s\"\n", i, json_string_value(text));
        token_ids_clear(&got);
    }
    printf("%s: %zu of %zu cases\n", cases, n_ok, json_array_size(list));
    CHECK(n_ok == json_array_size(list));
    json_decref(list);
    tokenizer_close(t);
    gguf_close(file);
}

// Not a test but a figure: how long the vocabulary takes to open, and English text a second.
static void print_speed(const char *vocab) {
    enum { LEN = 1 << 20 };
    static const char sentence[] = "In 1953 he wasn't sure whether the ship, 40 metres long, would return. ";
    double begin = clock_ms();
    struct gguf *file = gguf_open(vocab, NULL);
    struct tokenizer *t = file ? tokenizer_open(file, NULL) : NULL;
    double opened = clock_ms();
    char *text = malloc(LEN);
    for (size_t i = 0; i < LEN; i++)
        text[i] = sentence[(i + i / 997) % (sizeof sentence - 1)];
    struct token_ids got = {0};
    CHECK(t && tokenizer_encode(t, text, LEN, false, &got, NULL));
    double done = clock_ms();
    printf("%s: opened in %.0f ms, %.1f MB/s\n", vocab, opened - begin, LEN / 1000 / (done - opened));
    token_ids_clear(&got);
    free(text);
    tokenizer_close(t);
    gguf_close(file);
}

int main(void) {
    FILE *f = fopen(FOLDER "llama-spm.gguf", "rb");
    if (!f) {
        printf("skipped: " FOLDER " is not here\n");
        return CHECK_SKIPPED;
    }
    fclose(f);
    static const char *const names[] = {"llama-spm",    "phi-3",          "gpt-2",
                                        "deepseek-llm", "deepseek-coder", "starcoder"};
    static const char *const pres[] = {"llama-bpe", "qwen2", "smollm", "gpt-4o", "tekken"};
    char vocab[100], cases[100];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(vocab, sizeof vocab, FOLDER "%s.gguf", names[i]);
        snprintf(cases, sizeof cases, FOLDER "%s.cases.json", names[i]);
        check_vocab(vocab, NULL, cases);
        print_speed(vocab);
    }
    for (size_t i = 0; i < sizeof pres / sizeof *pres; i++) { // one vocabulary, cut in five ways
        snprintf(cases, sizeof cases, FOLDER "gpt-2-pre-%s.cases.json", pres[i]);
        check_vocab(FOLDER "gpt-2-pre-llama-bpe.gguf", pres[i], cases);
    }
    return check_result();
}
