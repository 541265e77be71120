// The tokenizer on the real vocabularies of Llama and Phi-3. They are not ours to ship: they lie beside the
// checkout, or the test says that it is skipped.
#include "check.h"

#include "llm/tokenizer.h"

#include <jansson.h>

#define FOLDER "../shared/vocab/"

static bool ids_equal(const struct token_ids *got, const json_t *want) {
    if (got->n != json_array_size(want))
        return false;
    for (size_t i = 0; i < got->n; i++)
        if (got->ids[i] != json_integer_value(json_array_get(want, i)))
            return false;
    return true;
}

// A NAME.cases.json is [{"text", "ids"}]: no BOS, special tokens not parsed.
static void check_vocab(const char *vocab, const char *cases) {
    struct err err = {0};
    struct gguf *file = gguf_open(vocab, &err);
    struct tokenizer *t = file ? tokenizer_open(file, &err) : NULL;
    json_t *list = json_load_file(cases, 0, NULL);
    CHECK_STR(err.msg, "");
    CHECK(json_array_size(list) > 0);
    size_t n_ok = 0, i;
    json_t *entry;
    json_array_foreach(t ? list : NULL, i, entry) {
        const json_t *text = json_object_get(entry, "text");
        struct token_ids got = {0};
        CHECK(tokenizer_encode(t, json_string_value(text), json_string_length(text), false, &got, &err));
        if (ids_equal(&got, json_object_get(entry, "ids")))
            n_ok++;
        else
            printf("case %zu differs: \"%s\"\n", i, json_string_value(text));
        token_ids_clear(&got);
    }
    printf("%s: %zu of %zu cases\n", vocab, n_ok, json_array_size(list));
    CHECK(n_ok == json_array_size(list));
    json_decref(list);
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
    check_vocab(FOLDER "llama-spm.gguf", FOLDER "llama-spm.cases.json");
    check_vocab(FOLDER "phi-3.gguf", FOLDER "phi-3.cases.json");
    return check_result();
}
