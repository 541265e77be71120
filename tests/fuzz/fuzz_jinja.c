// Chat templates. Input: a template; behind a line "--variables--" a JSON object of its variables, without one a
// conversation.
#include "fuzz/fuzz.h"

#include "base/json.h"
#include "llm/jinja.h"

#include <string.h>

enum { BUDGET_BYTES = 8 * FUZZ_MIB, TOTAL_BYTES = 64 * FUZZ_MIB };

static const char conversation[] =
    "{\"messages\": [{\"role\": \"system\", \"content\": \"Be brief.\"},"
    " {\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \" Hi <b>\\u00e9 \"}, {\"type\": "
    "\"image\"}]},"
    " {\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"id\": \"c1\", \"function\":"
    " {\"name\": \"f\", \"arguments\": {\"x\": 1.5, \"y\": [true, null, -3]}}}]},"
    " {\"role\": \"tool\", \"content\": \"4\"}, {\"role\": \"user\", \"content\": \"Why?\\n\"}],"
    " \"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"f\", \"description\": \"d\","
    " \"parameters\": {\"type\": \"object\", \"properties\": {\"x\": {\"type\": \"number\"}}, \"required\": "
    "[\"x\"]}}}],"
    " \"bos_token\": \"<s>\", \"eos_token\": \"</s>\", \"add_generation_prompt\": true, \"n\": 3}";

static void render(const struct jinja_template *t, json_t *variables) {
    static const struct tm now = {.tm_year = 126, .tm_mday = 15, .tm_hour = 12, .tm_wday = 4, .tm_yday = 14};
    struct jinja_run *r = jinja_run_create();
    struct err err = {0};
    struct jinja_text text;
    const char *name;
    json_t *item;
    jinja_run_set_clock(r, &now);
    json_object_foreach(variables, name, item) jinja_set(r, name, jinja_from_json(r, item));
    bool ok = jinja_render(r, t, &text, &err);
    FUZZ_CHECK(ok == (err.code == ERR_NONE));
    if (ok) {
        FUZZ_CHECK(text.len <= JINJA_TEXT_MAX);
        for (size_t i = 0; text.is_input && i < text.len; i++)
            FUZZ_CHECK(text.is_input[i] <= 1);
    } else {
        FUZZ_CHECK(err.code == ERR_MODEL || err.code == ERR_INVALID_VALUE || err.code == ERR_NOMEM);
    }
    jinja_run_destroy(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static json_t *usual;
    if (!usual) {
        json_setup();
        usual = json_parse(conversation, strlen(conversation), BUDGET_BYTES, NULL);
    }
    const uint8_t *json;
    size_t json_len;
    size_t len = fuzz_split(data, size, "\n--variables--\n", &json, &json_len);
    json_t *own = json_len ? json_parse((const char *)json, json_len, BUDGET_BYTES, NULL) : NULL;
    struct err err = {0};
    fuzz_begin(TOTAL_BYTES, TOTAL_BYTES);
    struct jinja_template *t = jinja_compile((const char *)data, len, &err);
    FUZZ_CHECK((t != NULL) == (err.code == ERR_NONE));
    if (t)
        render(t, json_is_object(own) ? own : usual);
    jinja_template_destroy(t);
    fuzz_end();
    json_decref(own);
    return 0;
}
