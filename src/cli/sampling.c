// Takes the sampling options as they were typed -> gives what a sampler takes: order of the stages, breakers, biases,
// grammar.
#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "json_schema.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_MAX = 1 << 20 };

// "penalties;dry;top_k" or with commas.
static bool read_order(struct cli_options *o, struct err *err) {
    const char *at = o->samplers;
    size_t n = 0;
    if (!at)
        return true;
    while (*at) {
        char name[24] = "";
        size_t len = strcspn(at, ";,");
        memcpy(name, at, len < sizeof name ? len : sizeof name - 1);
        if (n == LLM_N_STAGES)
            return err_set(err, ERR_INVALID_VALUE, "--samplers: expected at most %d names", LLM_N_STAGES);
        if (!llm_sampler_stage_find(name, &o->sampling.stages[n++]))
            return err_set(
                err, ERR_INVALID_VALUE,
                "--samplers: \"%s\" is not one of penalties, dry, top_n_sigma, top_k, typ_p, top_p, "
                "min_p, xtc, temperature",
                name);
        at += len + (at[len] != 0);
    }
    o->sampling.stages_set = true;
    o->sampling.stages[n] = LLM_STAGE_END;
    return true;
}

// "15043+1", "15043-0.5", "15043-inf".
static bool read_biases(struct cli_options *o, struct err *err) {
    o->biases = xcalloc(o->logit_biases.n + 1, sizeof *o->biases);
    for (size_t i = 0; i < o->logit_biases.n; i++) {
        const char *text = o->logit_biases.items[i];
        char *behind, *end;
        errno = 0;
        long id = strtol(text, &behind, 10);
        float bias = strtof(behind, &end);
        bool is_number = *text >= '0' && *text <= '9' && (*behind == '+' || *behind == '-') && end != behind;
        if (errno || !is_number || *end || id > INT32_MAX ||
            !((bias >= -100 && bias <= 100) || bias == -INFINITY))
            return err_set(
                err, ERR_INVALID_VALUE,
                "--logit-bias: \"%.60s\" is not ID+BIAS or ID-BIAS with a bias of at most 100, or inf", text);
        o->biases[i] = (struct llm_logit_bias){(int32_t)id, bias};
    }
    o->sampling.biases = o->biases;
    o->sampling.n_biases = o->logit_biases.n;
    return true;
}

bool cli_sampling(struct cli_options *o, struct err *err) {
    bool no_breakers = o->dry_breakers.n == 1 && strcmp(o->dry_breakers.items[0], "none") == 0;
    if (o->dry_breakers.n > 0) {
        o->sampling.dry_breakers = (const char *const *)o->dry_breakers.items;
        o->sampling.n_dry_breakers = no_breakers ? 0 : o->dry_breakers.n;
    }
    return read_order(o, err) && read_biases(o, err);
}

static struct llm_grammar *parse_schema(const char *text, size_t len, struct err *err) {
    json_t *schema = json_parse(text, len, (size_t)64 << 20, err);
    struct buf gbnf = {0};
    struct llm_grammar *g = NULL;
    if (schema && json_schema_to_gbnf(schema, &gbnf, err))
        g = llm_grammar_parse(gbnf.data, gbnf.len, err);
    json_decref(schema);
    buf_clear(&gbnf);
    return g;
}

bool cli_read_grammar(const struct cli_options *o, struct llm_grammar **grammar, struct err *err) {
    const char *text = o->grammar ? o->grammar : o->json_schema;
    const char *path = o->grammar_file ? o->grammar_file : o->json_schema_file;
    *grammar = NULL;
    if ((o->grammar != NULL) + (o->json_schema != NULL) + (o->grammar_file != NULL) +
            (o->json_schema_file != NULL) >
        1)
        return err_set(err, ERR_INVALID_VALUE,
                       "--grammar, --grammar-file, --json-schema, --json-schema-file: one");
    if (!text && !path)
        return true;
    size_t len = text ? strlen(text) : 0;
    uint8_t *bytes = text ? NULL : cli_read_file(path, FILE_MAX, &len, err);
    if (!text && !bytes)
        return false;
    text = text ? text : (const char *)bytes;
    *grammar = o->json_schema || o->json_schema_file ? parse_schema(text, len, err)
                                                     : llm_grammar_parse(text, len, err);
    free(bytes);
    return *grammar != NULL;
}
