// Takes a JSON Schema, gives GBNF: one expression a schema, a rule for what is referred to or comes often.
//
//   object   properties in their order, each with the comma that it needs: rest-i after a property, first-i before
//   $ref     a rule of its own, written once, so a schema may hold itself
//   allOf    its schemas merged into one (json_merge.c); so are those of anyOf, oneOf and $ref with what stands beside
//
// properties without additionalProperties allow no others: a model that may write any key writes any. Keywords
// that only describe (title, description, default, examples) are passed over; those that a grammar cannot hold
// are refused by name.
#include "json_schema.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    SCHEMA_DEPTH_MAX = 48,
    SCHEMA_REFS_MAX = 256,
    SCHEMA_TEXT_MAX = 200 << 10,
    SCHEMA_COUNT_MAX = 10000,
    SCHEMA_MERGED_MAX = 1000
};

struct compiler {
    json_t *root;
    json_t *made;                  // array of merged schemas, alive until the end
    struct buf *out;               // finished rules
    json_t *refs[SCHEMA_REFS_MAX]; // rule ref-i is of refs[i]
    size_t n_refs, n_rules;
    struct err *err;
};

static const char common_rules[] =
    "ws ::= | \" \" | \"\\n\" [ \\t]{0,20}\n"
    "char ::= [^\\x00-\\x1f\\\"\\\\] | \"\\\\\" ([\\\"\\\\/bfnrt] | \"u\" [0-9a-fA-F]{4})\n"
    "string ::= \"\\\"\" char* \"\\\"\"\n"
    "integer ::= \"-\"? (\"0\" | [1-9] [0-9]{0,15})\n"
    "number ::= integer (\".\" [0-9]{1,16})? ([eE] [-+]? [0-9]{1,3})?\n"
    "boolean ::= \"true\" | \"false\"\n"
    "null ::= \"null\"\n"
    "value ::= object | array | string | number | boolean | null\n"
    "pair ::= string ws \":\" ws value\n"
    "object ::= \"{\" ws (pair ws (\",\" ws pair ws)*)? \"}\"\n"
    "array ::= \"[\" ws (value ws (\",\" ws value ws)*)? \"]\"\n"
    "date ::= [0-9]{4} \"-\" (\"0\" [1-9] | \"1\" [0-2]) \"-\" (\"0\" [1-9] | [12] [0-9] | \"3\" [01])\n"
    "time ::= ([01] [0-9] | \"2\" [0-3]) \":\" [0-5] [0-9] \":\" [0-5] [0-9] (\".\" [0-9]{1,9})? "
    "(\"Z\" | [-+] ([01] [0-9] | \"2\" [0-3]) \":\" [0-5] [0-9])\n"
    "date-time ::= date \"T\" time\n"
    "label ::= [a-zA-Z0-9] ([a-zA-Z0-9-]{0,61} [a-zA-Z0-9])?\n"
    "hostname ::= label (\".\" label){0,8}\n"
    "email ::= [a-zA-Z0-9_+-]{1,32} (\".\" [a-zA-Z0-9_+-]{1,32}){0,3} \"@\" label (\".\" label){1,8}\n"
    "octet ::= [0-9] | [1-9] [0-9] | \"1\" [0-9]{2} | \"2\" [0-4] [0-9] | \"25\" [0-5]\n"
    "ipv4 ::= octet (\".\" octet){3}\n"
    "uri ::= [a-zA-Z] [a-zA-Z0-9+.-]{0,15} \":\" [a-zA-Z0-9%/?#@!$&'()*+,;=:._~-]{1,500}\n"
    "uuid ::= [0-9a-fA-F]{8} \"-\" [0-9a-fA-F]{4} \"-\" [0-9a-fA-F]{4} \"-\" [0-9a-fA-F]{4} \"-\" "
    "[0-9a-fA-F]{12}\n";

static bool refuse(struct compiler *c, const char *keyword, const char *why) {
    return err_set(c->err, ERR_INVALID_VALUE, "JSON schema: %.60s: %s", keyword, why);
}

static bool put(struct compiler *c, struct buf *out, const char *text) {
    if (out->len > SCHEMA_TEXT_MAX || c->out->len > SCHEMA_TEXT_MAX)
        return refuse(c, "schema", "too large: its grammar has more than 200 KiB");
    return buf_append_str(out, text, c->err);
}

// The text of a JSON value as a literal.
static bool put_json(struct compiler *c, struct buf *out, const json_t *value) {
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!text)
        return err_set(c->err, ERR_NOMEM, "JSON schema: no memory");
    bool ok = put(c, out, "\"");
    for (const char *p = text; ok && *p; p++) {
        char escaped[3] = {'\\', *p, 0};
        ok = put(c, out, *p == '"' || *p == '\\' ? escaped : (char[]){*p, 0});
    }
    free(text);
    return ok && put(c, out, "\" ");
}

static bool put_schema(struct compiler *c, struct buf *out, json_t *schema, size_t depth);

// A count among the keywords; *found false where it is not there.
static bool read_count(struct compiler *c, const json_t *schema, const char *keyword, long long *count,
                       bool *found) {
    const json_t *value = json_object_get(schema, keyword);
    *found = value != NULL;
    if (!value)
        return true;
    *count = json_integer_value(value);
    if (!json_is_integer(value) || *count < 0 || *count > SCHEMA_COUNT_MAX)
        return refuse(c, keyword, "expected an integer of 0 to 10000");
    return true;
}

static bool put_string(struct compiler *c, struct buf *out, const json_t *schema) {
    static const char *const formats[] = {"date",  "time",     "date-time", "uuid",
                                          "email", "hostname", "ipv4",      "uri"};
    const json_t *pattern = json_object_get(schema, "pattern"), *format = json_object_get(schema, "format");
    long long min = 0, max = 0;
    bool has_min, has_max;
    char text[64];
    if (!read_count(c, schema, "minLength", &min, &has_min) ||
        !read_count(c, schema, "maxLength", &max, &has_max))
        return false;
    if ((pattern || format) && (has_min || has_max))
        return refuse(c, "minLength, maxLength", "not together with pattern or format");
    if (pattern) {
        if (!json_is_string(pattern))
            return refuse(c, "pattern", "expected a string");
        return put(c, out, "\"\\\"\" ") && json_pattern_to_gbnf(json_string_value(pattern), out, c->err) &&
               put(c, out, "\"\\\"\" ");
    }
    for (size_t i = 0; json_is_string(format) && i < sizeof formats / sizeof *formats; i++)
        if (!strcmp(json_string_value(format), formats[i]))
            return put(c, out, "\"\\\"\" ") && put(c, out, formats[i]) && put(c, out, " \"\\\"\" ");
    if (format)
        return refuse(c, "format", "expected date, time, date-time, uuid, email, hostname, ipv4 or uri");
    if (!has_min && !has_max)
        return put(c, out, "string ");
    if (has_max && min > max)
        return refuse(c, "minLength", "above maxLength");
    if (has_max)
        snprintf(text, sizeof text, "\"\\\"\" char{%lld,%lld} \"\\\"\" ", min, max);
    else
        snprintf(text, sizeof text, "\"\\\"\" char{%lld,} \"\\\"\" ", min);
    return put(c, out, text);
}

// The bounds of a number; exclusive ones of an integer are moved by one.
static bool read_bounds(struct compiler *c, const json_t *schema, bool whole, long long *bounds,
                        bool *found) {
    static const char *const names[] = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"};
    for (size_t i = 0; i < 4; i++) {
        const json_t *value = json_object_get(schema, names[i]);
        if (!value)
            continue;
        double number = json_number_value(value);
        if (!json_is_number(value) || !(number >= -1e15 && number <= 1e15) ||
            number != (double)(long long)number)
            return refuse(c, names[i], "expected a whole number of at most 1e15");
        if (i > 1 && !whole)
            return refuse(c, names[i], "supported for integers only");
        if (found[i % 2])
            return refuse(c, names[i], "there is an inclusive bound already");
        found[i % 2] = true;
        bounds[i % 2] = (long long)number + (i == 2) - (i == 3);
    }
    return true;
}

// Those with a fraction have a whole part one short of the bound that is further from 0.
static bool put_fractions(struct compiler *c, struct buf *out, const char *sign, long long least,
                          const long long *most) {
    long long last = most ? *most - 1 : 0;
    least = least > 0 ? least : 0;
    if (most && last < least)
        return true;
    return put(c, out, "| ") && put(c, out, sign) && put(c, out, "(") &&
           json_range_to_gbnf(&least, most ? &last : NULL, out, c->err) &&
           put(c, out, ") \".\" [0-9]{1,15} ");
}

static bool put_number(struct compiler *c, struct buf *out, const json_t *schema, bool whole) {
    long long bounds[2] = {0, 0};
    bool found[2] = {false, false};
    if (json_object_get(schema, "multipleOf"))
        return refuse(c, "multipleOf", "not supported");
    if (!read_bounds(c, schema, whole, bounds, found))
        return false;
    if (!found[0] && !found[1])
        return put(c, out, whole ? "integer " : "number ");
    const long long *min = found[0] ? &bounds[0] : NULL, *max = found[1] ? &bounds[1] : NULL;
    if (!put(c, out, "((") || !json_range_to_gbnf(min, max, out, c->err) || !put(c, out, ") "))
        return false;
    if (!whole) {
        long long below = min ? -*min : 0;
        if (!put(c, out, "(\".\" \"0\"{1,15})? ") ||
            ((!max || *max > 0) && !put_fractions(c, out, "", min ? *min : 0, max)) ||
            ((!min || *min < 0) && !put_fractions(c, out, "\"-\" ", max ? -*max : 0, min ? &below : NULL)))
            return false;
    }
    return put(c, out, ") ");
}

// Closes a body into a rule of its own and names it in out.
static bool put_rule(struct compiler *c, struct buf *out, struct buf *body) {
    char name[32];
    snprintf(name, sizeof name, "n%zu ", c->n_rules++);
    bool ok = put(c, c->out, name) && put(c, c->out, "::= ") &&
              put(c, c->out, body->len ? body->data : "\"\"") && put(c, c->out, "\n") && put(c, out, name);
    buf_clear(body);
    return ok;
}

static bool is_required(const json_t *schema, const char *name) {
    const json_t *required = json_object_get(schema, "required");
    for (size_t i = 0; i < json_array_size(required); i++) {
        const char *item = json_string_value(json_array_get(required, i));
        if (item && !strcmp(item, name))
            return true;
    }
    return false;
}

struct member { // expression of `"key": value`, and what follows it
    char *name;
    bool is_required;
};

// From the last property to the first: rest (after one) and first (after none) of what follows.
static bool put_members(struct compiler *c, struct buf *out, const struct member *members, size_t n,
                        const char *more) {
    char rest[32] = "", first[32] = "";
    struct buf body = {0}, name = {0};
    bool ok = true;
    if (more) {
        ok = put(c, &body, "(\",\" ws ") && put(c, &body, more) && put(c, &body, "ws)* ") &&
             put_rule(c, &name, &body);
        snprintf(rest, sizeof rest, "%s", ok ? name.data : "");
        buf_clear(&name);
        ok = ok && put(c, &body, "(") && put(c, &body, more) && put(c, &body, "ws ") && put(c, &body, rest) &&
             put(c, &body, ")? ") && put_rule(c, &name, &body);
        snprintf(first, sizeof first, "%s", ok ? name.data : "");
        buf_clear(&name);
    }
    for (size_t i = n; ok && i-- > 0;) {
        const struct member *m = &members[i];
        ok = put(c, &body, m->name) && put(c, &body, "ws ") && put(c, &body, rest) &&
             (m->is_required || (put(c, &body, "| ") && put(c, &body, first[0] ? first : "\"\" "))) &&
             put_rule(c, &name, &body);
        snprintf(first, sizeof first, "%s", ok ? name.data : "");
        buf_clear(&name);
        ok = ok && put(c, &body, "\",\" ws ") && put(c, &body, m->name) && put(c, &body, "ws ") &&
             put(c, &body, rest) &&
             (m->is_required || (put(c, &body, "| ") && put(c, &body, rest[0] ? rest : "\"\" "))) &&
             put_rule(c, &name, &body);
        snprintf(rest, sizeof rest, "%s", ok ? name.data : "");
        buf_clear(&name);
    }
    buf_clear(&body);
    buf_clear(&name);
    return ok && put(c, out, "\"{\" ws ") && put(c, out, first) && put(c, out, "\"}\" ");
}

static bool make_member(struct compiler *c, struct member *m, const json_t *schema, const char *key,
                        json_t *value, size_t depth) {
    struct buf body = {0}, name = {0};
    json_t *text = json_string(key);
    bool ok = text && put_json(c, &body, text) && put(c, &body, "ws \":\" ws ") &&
              put_schema(c, &body, value, depth + 1) && put_rule(c, &name, &body);
    json_decref(text);
    buf_clear(&body);
    m->name = buf_take(&name, &(size_t){0});
    m->is_required = is_required(schema, key);
    return ok;
}

static bool put_object(struct compiler *c, struct buf *out, json_t *schema, size_t depth) {
    json_t *properties = json_object_get(schema, "properties"), *value;
    json_t *more = json_object_get(schema, "additionalProperties");
    size_t n = json_object_size(properties), i = 0;
    if (properties && !json_is_object(properties))
        return refuse(c, "properties", "expected an object");
    json_t *required = json_object_get(schema, "required");
    for (size_t k = 0; k < json_array_size(required); k++) {
        const char *name = json_string_value(json_array_get(required, k));
        if (!name || !json_object_get(properties, name))
            return refuse(c, "required", "names what is not among the properties");
    }
    if (n == 0 && (!more || json_is_true(more)))
        return put(c, out, "object ");
    struct member *members = xcalloc(n + 1, sizeof *members);
    struct buf pair = {0}, body = {0};
    bool ok = true, has_more = more && !json_is_false(more);
    const char *key;
    json_object_foreach(properties, key, value) {
        ok = ok && make_member(c, &members[i++], schema, key, value, depth);
    }
    if (ok && has_more)
        ok = put(c, &body, "string ws \":\" ws ") && put_schema(c, &body, more, depth + 1) &&
             put_rule(c, &pair, &body);
    ok = ok && put_members(c, out, members, n, has_more ? pair.data : NULL);
    buf_clear(&body);
    buf_clear(&pair);
    for (i = 0; i < n; i++)
        free(members[i].name);
    free(members);
    return ok;
}

static bool put_array(struct compiler *c, struct buf *out, json_t *schema, size_t depth) {
    json_t *prefix = json_object_get(schema, "prefixItems"), *items = json_object_get(schema, "items");
    size_t n = json_array_size(prefix);
    long long min = 0, max = 0;
    bool has_min, has_max, ok = true;
    if (!read_count(c, schema, "minItems", &min, &has_min) ||
        !read_count(c, schema, "maxItems", &max, &has_max))
        return false;
    if (has_max && min > max)
        return refuse(c, "minItems", "above maxItems");
    if (n > 0 && (has_min || has_max))
        return refuse(c, "minItems, maxItems", "not together with prefixItems");
    struct buf body = {0}, item = {0};
    if (n > 0) { // all of these, then any number of items
        ok = put(c, &body, "\"[\" ws ");
        for (size_t i = 0; ok && i < n; i++)
            ok = (i == 0 || put(c, &body, "\",\" ws ")) &&
                 put_schema(c, &body, json_array_get(prefix, i), depth + 1) && put(c, &body, "ws ");
        if (ok && items && !json_is_false(items))
            ok = put(c, &body, "(\",\" ws ") && put_schema(c, &body, items, depth + 1) &&
                 put(c, &body, "ws)* ");
        ok = ok && put(c, &body, "\"]\" ") && put_rule(c, out, &body);
        buf_clear(&body);
        return ok;
    }
    ok = (items ? put_schema(c, &body, items, depth + 1) : put(c, &body, "value ")) &&
         put_rule(c, &item, &body);
    char counts[64] = "*";
    if (has_max && max > 0)
        snprintf(counts, sizeof counts, "{%lld,%lld}", min > 0 ? min - 1 : 0, max - 1);
    else if (min > 1)
        snprintf(counts, sizeof counts, "{%lld,}", min - 1);
    if (ok && has_max && max == 0)
        ok = put(c, out, "\"[\" ws \"]\" ");
    else if (ok)
        ok = put(c, out, "\"[\" ws (") && put(c, out, item.data) && put(c, out, "ws (\",\" ws ") &&
             put(c, out, item.data) && put(c, out, "ws)") && put(c, out, counts) &&
             put(c, out, min > 0 ? ") \"]\" " : ")? \"]\" ");
    buf_clear(&body);
    buf_clear(&item);
    return ok;
}

static bool put_type(struct compiler *c, struct buf *out, json_t *schema, const char *type, size_t depth) {
    if (!strcmp(type, "object"))
        return put_object(c, out, schema, depth);
    if (!strcmp(type, "array"))
        return put_array(c, out, schema, depth);
    if (!strcmp(type, "string"))
        return put_string(c, out, schema);
    if (!strcmp(type, "integer") || !strcmp(type, "number"))
        return put_number(c, out, schema, type[0] == 'i');
    if (!strcmp(type, "boolean") || !strcmp(type, "null"))
        return put(c, out, type) && put(c, out, " ");
    return refuse(c, type, "no such type");
}

// Pointer of a local reference, or NULL.
static json_t *find_ref(struct compiler *c, const char *ref) {
    json_t *at = c->root;
    if (ref[0] != '#')
        return NULL;
    for (const char *p = ref + 1; *p == '/' && at;) {
        char key[128];
        size_t n = 0;
        for (p++; *p && *p != '/' && n + 1 < sizeof key; p++) {
            bool escaped = p[0] == '~' && (p[1] == '0' || p[1] == '1');
            key[n++] = escaped ? (p[1] == '0' ? '~' : '/') : *p;
            p += escaped;
        }
        key[n] = 0;
        at = json_is_array(at) ? json_array_get(at, strtoul(key, NULL, 10)) : json_object_get(at, key);
    }
    return at;
}

static bool put_ref(struct compiler *c, struct buf *out, const json_t *ref) {
    char name[32];
    json_t *found = json_is_string(ref) ? find_ref(c, json_string_value(ref)) : NULL;
    if (!found)
        return refuse(c, json_is_string(ref) ? json_string_value(ref) : "$ref", "nothing in this schema");
    size_t i = 0;
    while (i < c->n_refs && c->refs[i] != found)
        i++;
    if (i == SCHEMA_REFS_MAX)
        return refuse(c, "$ref", "more than 256 different ones");
    if (i == c->n_refs)
        c->refs[c->n_refs++] = found;
    snprintf(name, sizeof name, "ref%zu ", i);
    return put(c, out, name);
}

// Whether there is more beside $ref, anyOf or oneOf than what only describes.
static bool is_combined(const json_t *schema) {
    size_t n_choices = 0, n_more = 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)schema, key, value) {
        bool is_choice = !strcmp(key, "$ref") || !strcmp(key, "anyOf") || !strcmp(key, "oneOf");
        n_choices += is_choice;
        n_more += !is_choice && json_merge_counts(key);
    }
    return n_choices > 1 || (n_choices == 1 && n_more > 0);
}

// Follows references and merges allOf, until there is none; takes one choice of anyOf and oneOf each.
static bool put_merged(struct compiler *c, struct buf *out, json_t *schema, size_t depth) {
    static const char *const choices[] = {"anyOf", "oneOf"};
    if (json_array_size(c->made) > SCHEMA_MERGED_MAX)
        return refuse(c, "allOf, anyOf, oneOf", "more than 1000 schemas to merge");
    json_t *rest = json_copy(schema), *all = json_incref(json_object_get(schema, "allOf"));
    json_t *ref = json_incref(json_object_get(schema, "$ref"));
    if (!rest || json_array_append_new(c->made, rest) != 0) {
        json_decref(all);
        json_decref(ref);
        return err_set(c->err, ERR_NOMEM, "JSON schema: no memory");
    }
    bool ok = true;
    if (all || ref) {
        json_object_del(rest, "allOf");
        json_object_del(rest, "$ref");
        json_t *found = json_is_string(ref) ? find_ref(c, json_string_value(ref)) : NULL;
        if (ref && !found)
            ok = refuse(c, "$ref", "nothing in this schema");
        if (all && json_array_size(all) == 0)
            ok = refuse(c, "allOf", "expected an array that is not empty");
        ok = ok && (!found || json_merge_into(rest, found, c->err));
        for (size_t i = 0; ok && i < json_array_size(all); i++)
            ok = json_merge_into(rest, json_array_get(all, i), c->err);
        json_decref(all);
        json_decref(ref);
        return ok && put_schema(c, out, rest, depth + 1);
    }
    const char *name = json_object_get(rest, "anyOf") ? choices[0] : choices[1];
    json_t *list = json_incref(json_object_get(rest, name));
    json_object_del(rest, name);
    ok = json_array_size(list) > 0 || refuse(c, name, "expected an array that is not empty");
    ok = ok && put(c, out, "(");
    for (size_t i = 0; ok && i < json_array_size(list); i++) {
        json_t *one = json_array_size(c->made) <= SCHEMA_MERGED_MAX ? json_copy(rest) : NULL;
        if (!one)
            ok = refuse(c, name, "more than 1000 schemas to merge");
        ok = one && json_array_append_new(c->made, one) == 0 && (i == 0 || put(c, out, "| ")) &&
             json_merge_into(one, json_array_get(list, i), c->err) && put_schema(c, out, one, depth + 1);
    }
    json_decref(list);
    return ok && put(c, out, ") ");
}

static bool put_any(struct compiler *c, struct buf *out, const json_t *list, size_t depth) {
    if (json_array_size(list) == 0)
        return refuse(c, "anyOf, oneOf", "expected an array that is not empty");
    bool ok = put(c, out, "(");
    for (size_t i = 0; ok && i < json_array_size(list); i++)
        ok = (i == 0 || put(c, out, "| ")) && put_schema(c, out, json_array_get(list, i), depth + 1);
    return ok && put(c, out, ") ");
}

static bool put_types(struct compiler *c, struct buf *out, json_t *schema, const json_t *types,
                      size_t depth) {
    if (json_array_size(types) == 0)
        return refuse(c, "type", "expected a name or an array of names");
    bool ok = put(c, out, "(");
    for (size_t i = 0; ok && i < json_array_size(types); i++) {
        const char *type = json_string_value(json_array_get(types, i));
        ok = (i == 0 || put(c, out, "| ")) && put_type(c, out, schema, type ? type : "?", depth);
    }
    return ok && put(c, out, ") ");
}

// What the keywords of a schema without a type say about it.
static const char *guess_type(const json_t *schema) {
    static const char *const hints[][2] = {
        {"properties", "object"}, {"additionalProperties", "object"},
        {"items", "array"},       {"prefixItems", "array"},
        {"minItems", "array"},    {"maxItems", "array"},
        {"pattern", "string"},    {"format", "string"},
        {"minLength", "string"},  {"maxLength", "string"},
        {"minimum", "number"},    {"maximum", "number"},
    };
    for (size_t i = 0; i < sizeof hints / sizeof *hints; i++)
        if (json_object_get(schema, hints[i][0]))
            return hints[i][1];
    return NULL;
}

static bool put_schema(struct compiler *c, struct buf *out, json_t *schema, size_t depth) {
    static const char *const unsupported[] = {
        "not",
        "if",
        "patternProperties",
        "propertyNames",
        "contains",
        "uniqueItems",
        "minProperties",
        "maxProperties",
        "dependentRequired",
        "$dynamicRef",
        "dependentSchemas",
        "unevaluatedProperties",
        "unevaluatedItems",
    };
    if (depth > SCHEMA_DEPTH_MAX)
        return refuse(c, "schema", "nested more than 48 deep");
    if (json_is_true(schema))
        return put(c, out, "value ");
    if (!json_is_object(schema))
        return refuse(c, "schema", "expected an object or true");
    for (size_t i = 0; i < sizeof unsupported / sizeof *unsupported; i++)
        if (json_object_get(schema, unsupported[i]) &&
            !json_is_false(json_object_get(schema, unsupported[i])))
            return refuse(c, unsupported[i], "not supported");
    json_t *list;
    if (json_object_get(schema, "allOf") || is_combined(schema))
        return put_merged(c, out, schema, depth);
    if ((list = json_object_get(schema, "$ref")))
        return put_ref(c, out, list);
    if ((list = json_object_get(schema, "const")))
        return put_json(c, out, list);
    if ((list = json_object_get(schema, "enum"))) {
        if (json_array_size(list) == 0)
            return refuse(c, "enum", "expected an array that is not empty");
        bool ok = put(c, out, "(");
        for (size_t i = 0; ok && i < json_array_size(list); i++)
            ok = (i == 0 || put(c, out, "| ")) && put_json(c, out, json_array_get(list, i));
        return ok && put(c, out, ") ");
    }
    if ((list = json_object_get(schema, "anyOf")) || (list = json_object_get(schema, "oneOf")))
        return put_any(c, out, list, depth);
    const json_t *type = json_object_get(schema, "type");
    if (type && !json_is_string(type))
        return put_types(c, out, schema, type, depth);
    const char *name = type ? json_string_value(type) : guess_type(schema);
    return name ? put_type(c, out, schema, name, depth) : put(c, out, "value ");
}

// Whether following references that are nothing else comes back to the same. aliases[i]: the next one, or
// SCHEMA_REFS_MAX.
static bool is_circle(const struct compiler *c, const size_t *aliases, size_t from) {
    size_t at = aliases[from];
    for (size_t i = 0; i < c->n_refs && at < c->n_refs; i++) {
        if (at == from)
            return true;
        at = aliases[at];
    }
    return false;
}

bool json_schema_to_gbnf(json_t *schema, struct buf *out, struct err *err) {
    struct compiler c = {.root = schema, .made = json_array(), .out = out, .err = err};
    struct buf body = {0};
    char name[32];
    bool ok = put(&c, out, common_rules) && put_schema(&c, &body, schema, 0) && put(&c, out, "root ::= ") &&
              put(&c, out, body.data) && put(&c, out, "\n");
    size_t aliases[SCHEMA_REFS_MAX];
    for (size_t i = 0; ok && i < c.n_refs; i++) { // each may bring more
        buf_clear(&body);
        snprintf(name, sizeof name, "ref%zu ::= ", i);
        ok = put_schema(&c, &body, c.refs[i], 0) && put(&c, out, name) && put(&c, out, body.data) &&
             put(&c, out, "\n");
        bool is_alias =
            ok && !strncmp(body.data, "ref", 3) && strchr(body.data, ' ') == body.data + body.len - 1;
        aliases[i] = is_alias ? strtoul(body.data + 3, NULL, 10) : SCHEMA_REFS_MAX;
    }
    for (size_t i = 0; ok && i < c.n_refs; i++)
        if (is_circle(&c, aliases, i))
            ok = refuse(&c, "$ref", "it refers to itself and to nothing else");
    buf_clear(&body);
    json_decref(c.made);
    return ok;
}
