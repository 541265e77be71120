// The pre-tokenizers against the regular expressions that they are (tests/reference/pretokenize.py), on long
// texts, and by name.
#include "check.h"

#include "llm/pretokenize.h"

#include <jansson.h>

#define CASES "tests/vocab/pretokenize.json"

static const struct pretokenizer *find(const char *name) {
    struct err err = {0};
    const struct pretokenizer *pre = pretokenizer_find(name, strlen(name), &err);
    CHECK_STR(err.msg, "");
    return pre;
}

static bool words_equal(const struct pretokenizer *pre, const json_t *text, const json_t *want) {
    struct words words;
    const char *word;
    size_t len, n = 0;
    words_init(&words, pre, json_string_value(text), json_string_length(text));
    while (words_next(&words, &word, &len)) {
        const json_t *w = json_array_get(want, n++);
        if (!w || json_string_length(w) != len || memcmp(json_string_value(w), word, len) != 0) {
            printf("%s: word %zu of %s is \"%.*s\"\n", pre->name, n - 1, json_string_value(text), (int)len,
                   word);
            return false;
        }
    }
    return n == json_array_size(want);
}

// Another list of cases may be named for a longer run.
static void check_cases(const char *path) {
    json_t *cases = json_load_file(path, JSON_ALLOW_NUL, NULL);
    CHECK(json_array_size(cases) > 0);
    size_t i, n_ok = 0, n = 0;
    json_t *entry;
    json_array_foreach(cases, i, entry) {
        const char *name;
        json_t *want;
        json_object_foreach(json_object_get(entry, "words"), name, want) {
            const struct pretokenizer *pre = find(name);
            n++;
            n_ok += pre && words_equal(pre, json_object_get(entry, "text"), want);
        }
    }
    printf("%s: %zu of %zu\n", path, n_ok, n);
    CHECK(n_ok == n);
    json_decref(cases);
}

static void check_names(void) {
    struct err err = {0};
    CHECK(pretokenizer_find("nobody", 6, &err) == NULL);
    CHECK_ERR(&err, ERR_MODEL, "tokenizer.ggml.pre: \"nobody\", want one of gpt-2, llama-bpe, qwen2");
    CHECK(find("llama3") == find("llama-bpe"));
    CHECK(find("qwen2.5") == find("qwen2"));
    CHECK(find("llama-bpe")->whole_words && find("tekken")->whole_words && !find("qwen2")->whole_words);
    CHECK(pretokenizer_find(NULL, 0, NULL) == find("gpt-2"));
}

// Any bytes are cut, each byte into exactly one word, in time that grows with the text.
static void check_bytes(const char *pattern, size_t n_pattern) {
    static const char *const names[] = {"gpt-2",        "llama-bpe",      "gpt-4o", "tekken",
                                        "deepseek-llm", "deepseek-coder", "falcon", "smollm"};
    enum { LEN = 1 << 18 };
    char *text = malloc(LEN);
    for (size_t i = 0; i < LEN; i++)
        text[i] = pattern[i % n_pattern];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct words words;
        const char *word, *at = text;
        size_t len;
        words_init(&words, find(names[i]), text, LEN);
        while (words_next(&words, &word, &len)) {
            CHECK(word == at && len > 0);
            at = word + len;
        }
        CHECK(at == text + LEN);
    }
    free(text);
}

int main(int argc, char **argv) {
    check_cases(argc > 1 ? argv[1] : CASES);
    check_names();
    check_bytes(" ", 1);
    check_bytes("\n ", 2);
    check_bytes("A\xe6\x97\xa5", 4);
    check_bytes("1'", 2);
    check_bytes("\xff\xc3 \xe2\x96", 5);
    check_bytes("\0", 1);
    check_bytes("'S\xe3\x80\x80!", 6);
    return check_result();
}
