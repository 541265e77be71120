// JSON Schemas. Input: a schema; behind a line "--text--" bytes that the matcher of its grammar is led over.
#include "fuzz/fuzz.h"

#include "base/buf.h"
#include "json_schema.h"
#include "llm/grammar.h"

#include <string.h>

enum { BUDGET_BYTES = 8 * FUZZ_MIB };

static void walk(const struct llm_grammar *g, const char *text, size_t len) {
    struct err err = {0};
    bool fits = true;
    struct matcher *m = matcher_create(g, NULL, NULL, false, &err);
    for (size_t i = 0; m && fits && i < len; i++)
        if (!matcher_accept(m, text + i, 1, &fits, &err))
            break;
    matcher_destroy(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool is_set_up;
    if (!is_set_up)
        json_setup();
    is_set_up = true;
    const uint8_t *text;
    size_t len;
    size_t schema_len = fuzz_split(data, size, "\n--text--\n", &text, &len);
    struct err err = {0};
    json_t *schema = json_parse((const char *)data, schema_len, BUDGET_BYTES, &err);
    if (!schema)
        return 0;
    fuzz_begin(fuzz_largest(size), 8 * FUZZ_MIB + 16 * size);
    struct buf gbnf = {0};
    if (json_schema_to_gbnf(schema, &gbnf, &err)) {
        struct llm_grammar *g = llm_grammar_parse(gbnf.data, gbnf.len, &err);
        // What we write ourselves is GBNF; it may only be too much of it, or turn in a circle as the schema does.
        FUZZ_CHECK(g || strstr(err.msg, "too large") || strstr(err.msg, "limit") ||
                   strstr(err.msg, "left recursion"));
        if (g)
            walk(g, (const char *)text, len);
        llm_grammar_destroy(g);
    }
    buf_clear(&gbnf);
    fuzz_end();
    json_decref(schema);
    return 0;
}
