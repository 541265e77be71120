// ocellus inspect template: a chat template and its variables to the text it writes, nothing added.
#include "base/json.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "compute/gguf.h"
#include "llm/jinja.h"

#include <stdlib.h>
#include <string.h>

enum { INPUT_MAX = 16 << 20, INPUT_BUDGET = 256 << 20 };

// The text of the token whose id this key holds, as a variable; nothing where the file has none.
static void set_token(struct jinja_run *r, const struct gguf *g, const char *key, const char *name) {
    uint64_t id;
    bool found = false;
    const struct gguf_key *tokens = gguf_find_key(g, "tokenizer.ggml.tokens");
    if (!tokens || tokens->type != GGUF_ARRAY || tokens->item_type != GGUF_STRING || tokens->n == 0 ||
        !gguf_get_uint(g, key, 0, tokens->n - 1, &id, &found, NULL) || !found)
        return;
    jinja_set(r, name, jinja_string(r, tokens->strings[id].data, tokens->strings[id].len, false));
}

// The template of --template, or the model's with its tokens as variables. Returns new.
static struct jinja_template *open_template(const struct cli_options *o, struct jinja_run *r,
                                            struct err *err) {
    struct jinja_template *t = NULL;
    struct gguf_string text = {0};
    size_t len;
    if (o->template) {
        uint8_t *bytes = cli_read_file(o->template, JINJA_TEMPLATE_MAX, &len, err);
        t = bytes ? jinja_compile((const char *)bytes, len, err) : NULL;
        free(bytes);
        return t;
    }
    struct gguf *g = cli_check_model(o->config.model_path, err) ? gguf_open(o->config.model_path, err) : NULL;
    bool found = false;
    if (g && gguf_get_string(g, "tokenizer.chat_template", &text, &found, err) && !found)
        err_set(err, ERR_MODEL, "it has no tokenizer.chat_template");
    if (found) {
        t = jinja_compile(text.data, text.len, err);
        set_token(r, g, "tokenizer.ggml.bos_token_id", "bos_token");
        set_token(r, g, "tokenizer.ggml.eos_token_id", "eos_token");
    }
    gguf_close(g);
    return t;
}

static bool set_clock(struct jinja_run *r, const char *now, struct err *err) {
    struct tm t = {.tm_isdst = -1};
    int n = 0;
    if (sscanf(now, "%4d-%2d-%2dT%2d:%2d%n", &t.tm_year, &t.tm_mon, &t.tm_mday, &t.tm_hour, &t.tm_min, &n) !=
            5 ||
        now[n])
        return err_set(err, ERR_INVALID_VALUE, "--now: \"%.40s\" is not a time such as 2026-01-15T12:00",
                       now);
    t.tm_year -= 1900;
    t.tm_mon--;
    if (mktime(&t) == (time_t)-1) // the day of the week
        return err_set(err, ERR_INVALID_VALUE, "--now: \"%.40s\" is no time", now);
    jinja_run_set_clock(r, &t);
    return true;
}

// The variables of the file: every key of its object.
static bool set_variables(struct jinja_run *r, const char *path, struct err *err) {
    size_t len;
    const char *key;
    json_t *item;
    uint8_t *bytes = cli_read_file(path, INPUT_MAX, &len, err);
    if (!bytes)
        return false;
    json_t *root = json_parse((const char *)bytes, len, INPUT_BUDGET, err);
    free(bytes);
    if (!root)
        return false;
    bool ok = json_is_object(root) || err_set(err, ERR_INVALID_VALUE, "%s: want a JSON object", path);
    if (ok)
        json_object_foreach(root, key, item) jinja_set(r, key, jinja_from_json(r, item));
    json_decref(root);
    return ok;
}

bool cmd_inspect_template(struct cli_options *o, struct err *err) {
    if (!o->template && !o->config.model_path)
        return err_set(err, ERR_INVALID_VALUE, "--template FILE or -m FILE is missing");
    if (!o->input)
        return err_set(err, ERR_INVALID_VALUE, "--input CASE.json is missing");
    struct err failed = {0};
    struct jinja_text text;
    struct jinja_run *r = jinja_run_create();
    struct jinja_template *t = NULL;
    bool ok = (!o->now || set_clock(r, o->now, err)) && (t = open_template(o, r, &failed)) != NULL &&
              set_variables(r, o->input, err) && jinja_render(r, t, &text, &failed);
    if (ok)
        fwrite(text.data, 1, text.len, stdout);
    else if (failed.code == ERR_MODEL ||
             failed.code == ERR_INVALID_VALUE) // what a template raises is its error
        err_set(err, ERR_MODEL, "%s: %s", o->template ? o->template : o->config.model_path, failed.msg);
    else
        err_set(err, failed.code, "%s", failed.msg);
    jinja_template_destroy(t);
    jinja_run_destroy(r);
    return ok;
}
