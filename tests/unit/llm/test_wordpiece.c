// WordPiece against its plain reference (tests/reference/wordpiece.py), with a vocabulary of each kind, and
// what a file without keys means.
#include "check.h"
#include "gguf_writer.h"
#include "vocab_check.h"

#include "llm/tokenizer.h"

#define CASES "tests/vocab/wordpiece.json"

enum { N_MAX = 200 };

static void write_vocabulary(struct gguf_writer *w, const json_t *set) {
    const char *texts[N_MAX];
    int32_t types[N_MAX];
    size_t n = json_array_size(json_object_get(set, "tokens"));
    for (size_t i = 0; i < n && i < N_MAX; i++) {
        texts[i] = json_string_value(json_array_get(json_object_get(set, "tokens"), i));
        types[i] = (int32_t)json_integer_value(json_array_get(json_object_get(set, "types"), i));
    }
    writer_init(w);
    writer_string(w, "tokenizer.ggml.model", "bert");
    writer_strings(w, "tokenizer.ggml.tokens", texts, n);
    writer_array(w, "tokenizer.ggml.token_type", GGUF_I32, types, n, 4);
    writer_u32(w, "tokenizer.ggml.unknown_token_id", 1);
    writer_u32(w, "tokenizer.ggml.cls_token_id", 2);
    writer_u32(w, "tokenizer.ggml.seperator_token_id", 3);
}

static void check_set(const json_t *set) {
    struct gguf_writer w;
    struct err err = {0};
    char path[64];
    write_vocabulary(&w, set);
    writer_save(&w, path, sizeof path);
    struct gguf *file = gguf_open(path, &err);
    struct tokenizer *t = file ? tokenizer_open(file, &err) : NULL;
    CHECK_STR(err.msg, "");
    CHECK(t != NULL);
    CHECK(tokenizer_bos(t) == 2 && tokenizer_adds_bos(t) && tokenizer_eos(t) == 3 && tokenizer_adds_eos(t));
    size_t i, n_ok = 0;
    json_t *entry, *cases = json_object_get(set, "cases");
    json_array_foreach(cases, i, entry) {
        const json_t *text = json_object_get(entry, "text");
        struct token_ids got = {0};
        CHECK(tokenizer_encode(t, json_string_value(text), json_string_length(text), false, &got, &err));
        if (vocab_ids_equal(&got, json_object_get(entry, "ids")))
            n_ok++;
        else
            printf("case %zu differs: \"%s\"\n", i, json_string_value(text));
        token_ids_clear(&got);
    }
    printf("%zu of %zu cases\n", n_ok, json_array_size(cases));
    CHECK(n_ok == json_array_size(cases) && n_ok > 0);
    struct token_ids got = {0};
    CHECK(tokenizer_encode(t, "[CLS]the\xff[SEP]", 14, true, &got, &err)); // the bad byte is dropped
    CHECK(got.n == 3 && got.ids[0] == 2 && got.ids[1] == 4 && got.ids[2] == 3);
    token_ids_clear(&got);
    tokenizer_close(t);
    gguf_close(file);
    writer_clear(&w);
}

int main(int argc, char **argv) {
    json_t *sets = json_load_file(argc > 1 ? argv[1] : CASES, JSON_ALLOW_NUL, NULL);
    CHECK(json_array_size(sets) == 2);
    for (size_t i = 0; i < json_array_size(sets); i++)
        check_set(json_array_get(sets, i));
    json_decref(sets);
    return check_result();
}
