// Takes the fields of a response.create that say how it is sampled -> gives struct llm_sampling, biases and the
// grammar of the request.
#include "message_sampling.h"

#include "base/mem.h"
#include "json_schema.h"
#include "message_in.h"
#include "message_input.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

enum number_kind { NUMBER_FLOAT, NUMBER_SIZE, NUMBER_INT };

struct number_field {
    const char *name;
    enum number_kind kind;
    double min, max;
    size_t offset; // in struct request
};

#define REQUEST_OFFSET(member) offsetof(struct request, member)

static const struct number_field message_numbers[] = {
    {"temperature", NUMBER_FLOAT, 0, 2, REQUEST_OFFSET(sampling.temperature)},
    {"top_p", NUMBER_FLOAT, 0, 1, REQUEST_OFFSET(sampling.top_p)},
    {"min_p", NUMBER_FLOAT, 0, 1, REQUEST_OFFSET(sampling.min_p)},
    {"top_k", NUMBER_SIZE, 0, 1000000, REQUEST_OFFSET(sampling.top_k)},
    {"repeat_penalty", NUMBER_FLOAT, 0.01, 10, REQUEST_OFFSET(sampling.repeat_penalty)},
    {"presence_penalty", NUMBER_FLOAT, -2, 2, REQUEST_OFFSET(sampling.presence_penalty)},
    {"frequency_penalty", NUMBER_FLOAT, -2, 2, REQUEST_OFFSET(sampling.frequency_penalty)},
    {"repeat_last_n", NUMBER_SIZE, 0, 65536, REQUEST_OFFSET(sampling.penalty_last_n)},
    {"typical_p", NUMBER_FLOAT, 0, 1, REQUEST_OFFSET(sampling.typical_p)},
    {"top_n_sigma", NUMBER_FLOAT, -1, 100, REQUEST_OFFSET(sampling.top_n_sigma)},
    {"dynatemp_range", NUMBER_FLOAT, 0, 2, REQUEST_OFFSET(sampling.dynatemp_range)},
    {"dynatemp_exponent", NUMBER_FLOAT, 0, 10, REQUEST_OFFSET(sampling.dynatemp_exponent)},
    {"xtc_probability", NUMBER_FLOAT, 0, 1, REQUEST_OFFSET(sampling.xtc_probability)},
    {"xtc_threshold", NUMBER_FLOAT, 0, 1, REQUEST_OFFSET(sampling.xtc_threshold)},
    {"dry_multiplier", NUMBER_FLOAT, 0, 100, REQUEST_OFFSET(sampling.dry_multiplier)},
    {"dry_base", NUMBER_FLOAT, 0, 100, REQUEST_OFFSET(sampling.dry_base)},
    {"dry_allowed_length", NUMBER_SIZE, 0, 65536, REQUEST_OFFSET(sampling.dry_allowed_length)},
    {"dry_penalty_last_n", NUMBER_INT, -1, 16777216, REQUEST_OFFSET(sampling.dry_penalty_last_n)},
    {"mirostat", NUMBER_INT, 0, 2, REQUEST_OFFSET(sampling.mirostat)},
    {"mirostat_tau", NUMBER_FLOAT, 0, 100, REQUEST_OFFSET(sampling.mirostat_tau)},
    {"mirostat_eta", NUMBER_FLOAT, 0, 1, REQUEST_OFFSET(sampling.mirostat_eta)},
    {"max_output_tokens", NUMBER_SIZE, 1, 1000000000, REQUEST_OFFSET(max_output_tokens)},
    {"max_image_tokens", NUMBER_SIZE, 1, 1000000000, REQUEST_OFFSET(max_image_tokens)},
};

static bool message_number(const json_t *root, const struct number_field *field, struct request *r,
                           struct err *err) {
    const json_t *value = json_object_get(root, field->name);
    if (!value || json_is_null(value))
        return true;
    bool whole = field->kind != NUMBER_FLOAT;
    if (whole ? !json_is_integer(value) : !json_is_number(value))
        return message_invalid(err, field->name, whole ? "an integer" : "a number", value);
    double number = json_number_value(value);
    if (!(number >= field->min && number <= field->max)) {
        err_set(err, ERR_INVALID_VALUE, "%s: expected %g to %g, found %g", field->name, field->min,
                field->max, number);
        return err_set_param(err, "%s", field->name);
    }
    char *member = (char *)r + field->offset;
    if (field->kind == NUMBER_SIZE)
        *(size_t *)(void *)member = (size_t)json_integer_value(value);
    else if (field->kind == NUMBER_INT)
        *(int32_t *)(void *)member = (int32_t)json_integer_value(value);
    else
        *(float *)(void *)member = (float)number;
    return true;
}

// Any integer; -1 keeps the random seed, as llama-server has it.
static bool message_seed(const json_t *root, struct request *r, struct err *err) {
    const json_t *value = json_object_get(root, "seed");
    if (!value || json_is_null(value))
        return true;
    if (!json_is_integer(value))
        return message_invalid(err, "seed", "an integer", value);
    if (json_integer_value(value) != -1)
        r->sampling.seed = (uint64_t)json_integer_value(value);
    return true;
}

static bool message_bias_wrong(struct err *err) {
    err_set(err, ERR_INVALID_VALUE,
            "logit_bias: expected token ids or texts, each with a bias of -100 to 100 or false");
    return err_set_param(err, "logit_bias");
}

// A number is a token id where it may be one, all else a text: assistant_resolve knows its tokens. false forbids.
static bool message_bias(const char *text, bool may_be_id, const json_t *bias, struct request *r,
                         struct err *err) {
    double number = json_is_false(bias) ? -INFINITY : json_number_value(bias);
    if (!json_is_false(bias) && (!json_is_number(bias) || number < -100 || number > 100))
        return message_bias_wrong(err);
    char *end;
    errno = 0;
    long id = strtol(text, &end, 10);
    if (may_be_id && end != text && *end == 0) {
        if (errno || id < 0 || id > INT32_MAX)
            return message_bias_wrong(err);
        r->biases[r->sampling.n_biases++] = (struct llm_logit_bias){(int32_t)id, (float)number};
        return true;
    }
    if (text[0] == 0 || strlen(text) > MESSAGE_ID_MAX)
        return message_bias_wrong(err);
    r->text_biases[r->n_text_biases++] = (struct request_text_bias){xstrdup(text), (float)number};
    return true;
}

static bool message_bias_pair(const json_t *pair, struct request *r, struct err *err) {
    const json_t *key = json_array_get(pair, 0);
    char id[24];
    if (json_array_size(pair) != 2)
        return message_bias_wrong(err);
    if (!json_is_string(key) && !json_is_integer(key))
        return message_bias_wrong(err);
    if (json_is_string(key))
        return message_bias(json_string_value(key), false, json_array_get(pair, 1), r, err);
    snprintf(id, sizeof id, "%lld", (long long)json_integer_value(key));
    return message_bias(id, true, json_array_get(pair, 1), r, err);
}

// {"token id or text": bias} or [[token id or text, bias]]; -100 and 100 all but forbid and force.
static bool message_biases(json_t *root, struct request *r, struct err *err) {
    json_t *value = json_object_get(root, "logit_bias");
    if (!value || json_is_null(value))
        return true;
    if (!json_is_object(value) && !json_is_array(value))
        return message_invalid(err, "logit_bias", "an object or an array of pairs", value);
    size_t n = json_is_object(value) ? json_object_size(value) : json_array_size(value);
    if (n > MESSAGE_BIASES_MAX) {
        err_set(err, ERR_INVALID_VALUE, "logit_bias: expected at most %d tokens, found %zu",
                MESSAGE_BIASES_MAX, n);
        return err_set_param(err, "logit_bias");
    }
    r->biases = xcalloc(n + 1, sizeof *r->biases);
    r->text_biases = xcalloc(n + 1, sizeof *r->text_biases);
    r->sampling.biases = r->biases;
    const char *key;
    json_t *bias;
    json_object_foreach(value, key, bias) {
        if (!message_bias(key, true, bias, r, err))
            return false;
    }
    for (size_t i = 0; json_is_array(value) && i < n; i++)
        if (!message_bias_pair(json_array_get(value, i), r, err))
            return false;
    return true;
}

static bool message_samplers(const json_t *root, struct request *r, struct err *err) {
    const json_t *value = json_object_get(root, "samplers");
    if (!value || json_is_null(value))
        return true;
    if (!json_is_array(value))
        return message_invalid(err, "samplers", "an array of names", value);
    size_t n = json_array_size(value);
    if (n > LLM_N_STAGES) {
        err_set(err, ERR_INVALID_VALUE, "samplers: expected at most %d names, found %zu", LLM_N_STAGES, n);
        return err_set_param(err, "samplers");
    }
    r->sampling.stages_set = true;
    for (size_t i = 0; i < n; i++) {
        const json_t *name = json_array_get(value, i);
        if (json_is_string(name) && llm_sampler_stage_find(json_string_value(name), &r->sampling.stages[i]))
            continue;
        err_set(err, ERR_INVALID_VALUE,
                "samplers[%zu]: expected penalties, dry, top_n_sigma, top_k, typ_p, top_p, min_p, xtc or "
                "temperature",
                i);
        return err_set_param(err, "samplers[%zu]", i);
    }
    return true;
}

static bool message_breakers(const json_t *root, struct request *r, struct err *err) {
    const json_t *value = json_object_get(root, "dry_sequence_breakers");
    if (!value || json_is_null(value))
        return true;
    if (!json_is_array(value))
        return message_invalid(err, "dry_sequence_breakers", "an array of strings", value);
    size_t n = json_array_size(value);
    if (n > MESSAGE_BREAKERS_MAX) {
        err_set(err, ERR_INVALID_VALUE, "dry_sequence_breakers: expected at most %d strings, found %zu",
                MESSAGE_BREAKERS_MAX, n);
        return err_set_param(err, "dry_sequence_breakers");
    }
    r->dry_breakers = xcalloc(n + 1, sizeof *r->dry_breakers);
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(value, i);
        size_t len = json_string_length(item);
        if (!json_is_string(item) || len == 0 || len > MESSAGE_ID_MAX) {
            err_set(err, ERR_INVALID_VALUE, "dry_sequence_breakers[%zu]: expected a string of 1 to %d bytes",
                    i, MESSAGE_ID_MAX);
            return err_set_param(err, "dry_sequence_breakers[%zu]", i);
        }
        r->dry_breakers[r->n_dry_breakers++] = xstrdup(json_string_value(item));
    }
    r->sampling.dry_breakers = (const char *const *)r->dry_breakers;
    r->sampling.n_dry_breakers = n;
    return true;
}

// include: ["message.output_text.logprobs"], top_logprobs, or llama-server's n_probs.
static bool message_logprobs(const json_t *root, struct request *r, struct err *err) {
    static const char *const names[] = {"top_logprobs", "n_probs"};
    const json_t *include = json_object_get(root, "include");
    if (include && !json_is_null(include) && !json_is_array(include))
        return message_invalid(err, "include", "an array of strings", include);
    for (size_t i = 0; i < json_array_size(include); i++) {
        const json_t *name = json_array_get(include, i);
        if (!json_is_string(name))
            return message_invalid(err, "include", "an array of strings", include);
        r->logprobs |= !strcmp(json_string_value(name), "message.output_text.logprobs");
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const json_t *value = json_object_get(root, names[i]);
        if (!value || json_is_null(value))
            continue;
        json_int_t n = json_integer_value(value);
        if (!json_is_integer(value))
            return message_invalid(err, names[i], "an integer", value);
        if (n < 0 || n > LOGPROBS_TOP_MAX) {
            err_set(err, ERR_INVALID_VALUE, "%s: expected 0 to %d, found %lld", names[i], LOGPROBS_TOP_MAX,
                    (long long)n);
            return err_set_param(err, "%s", names[i]);
        }
        r->n_top_logprobs = (size_t)n > r->n_top_logprobs ? (size_t)n : r->n_top_logprobs;
    }
    r->logprobs |= r->n_top_logprobs > 0;
    return true;
}

static bool message_ignore_eos(const json_t *root, struct request *r, struct err *err) {
    const json_t *value = json_object_get(root, "ignore_eos");
    if (!value || json_is_null(value))
        return true;
    if (!json_is_boolean(value))
        return message_invalid(err, "ignore_eos", "true or false", value);
    r->sampling.ignore_eos = json_is_true(value);
    return true;
}

// ---- what the answer may be ----

static bool message_set_grammar(const char *text, size_t len, const char *param, struct request *r,
                                struct err *err) {
    if (r->grammar) {
        err_set(err, ERR_INVALID_VALUE, "%s: there is a grammar already", param);
        return err_set_param(err, "%s", param);
    }
    r->grammar = llm_grammar_parse(text, len, err);
    r->sampling.grammar = r->grammar;
    return r->grammar || err_set_param(err, "%s", param);
}

static bool message_grammar(const json_t *root, struct request *r, struct err *err) {
    const json_t *value = json_object_get(root, "grammar");
    if (!value || json_is_null(value))
        return true;
    if (!json_is_string(value))
        return message_invalid(err, "grammar", "a string", value);
    return message_set_grammar(json_string_value(value), json_string_length(value), "grammar", r, err);
}

// text.format: {type: "text" | "json_object" | "json_schema", schema}, as in the Responses API.
static bool message_format(const json_t *root, struct request *r, struct err *err) {
    const json_t *format = json_object_get(json_object_get(root, "text"), "format");
    if (!format || json_is_null(format))
        return true;
    const json_t *type = json_object_get(format, "type");
    if (!json_is_string(type))
        return message_invalid(err, "text.format.type", "a string", type);
    const char *name = json_string_value(type);
    if (!strcmp(name, "text"))
        return true;
    json_t *schema = NULL, *made = NULL;
    if (!strcmp(name, "json_schema")) {
        schema = json_object_get(format, "schema");
        if (!schema)
            return message_invalid(err, "text.format.schema", "a JSON Schema", NULL);
    } else if (!strcmp(name, "json_object")) {
        schema = made = json_pack("{s:s}", "type", "object");
    } else {
        err_set(err, ERR_INVALID_VALUE,
                "text.format.type: expected text, json_object or json_schema, found \"%.40s\"", name);
        return err_set_param(err, "text.format.type");
    }
    struct buf gbnf = {0};
    bool ok = json_schema_to_gbnf(schema, &gbnf, err);
    json_decref(made);
    ok = ok ? message_set_grammar(gbnf.data, gbnf.len, "text.format.schema", r, err)
            : err_set_param(err, "text.format.schema");
    buf_clear(&gbnf);
    return ok;
}

bool message_echo_format(json_t *root, char **format, struct err *err) {
    json_t *value = json_object_get(json_object_get(root, "text"), "format"), *schema;
    const char *type = json_string_value(json_object_get(value, "type"));
    if (!type || !strcmp(type, "text"))
        return true;
    *format = json_dumps(value, JSON_COMPACT);
    if (*format && strlen(*format) > MESSAGE_FORMAT_MAX) {
        free(*format);
        schema =
            json_pack("{s:s, s:O?, s:n}", "type", type, "name", json_object_get(value, "name"), "schema");
        *format = schema ? json_dumps(schema, JSON_COMPACT) : NULL;
        json_decref(schema);
        if (*format && strlen(*format) > MESSAGE_FORMAT_MAX) { // a name of that length
            err_set(err, ERR_INVALID_VALUE, "text.format.name: longer than %d bytes", MESSAGE_FORMAT_MAX);
            return err_set_param(err, "text.format.name");
        }
    }
    return *format || err_set(err, ERR_NOMEM, "text.format: no memory");
}

void message_sampling_defaults(const struct llm_sampling *defaults, int seed, struct request *r) {
    uint64_t random = r->sampling.seed;
    r->sampling = *defaults;
    r->sampling.seed = seed < 0 ? random : (uint64_t)seed;
}

bool message_sampling(json_t *root, struct request *r, struct err *err) {
    for (size_t i = 0; i < sizeof message_numbers / sizeof *message_numbers; i++)
        if (!message_number(root, &message_numbers[i], r, err))
            return false;
    return message_seed(root, r, err) && message_biases(root, r, err) && message_samplers(root, r, err) &&
           message_breakers(root, r, err) && message_ignore_eos(root, r, err) &&
           message_logprobs(root, r, err) && message_grammar(root, r, err) && message_format(root, r, err);
}
