// Takes two JSON schemas, gives the one that allows what both allow, keyword by keyword.
#include "json_schema.h"

#include <string.h>

static bool fail(struct err *err, const char *keyword, const char *why) {
    return err_set(err, ERR_INVALID_VALUE, "JSON schema: %.60s: %s", keyword, why);
}

bool json_merge_counts(const char *keyword) {
    static const char *const silent[] = {"$defs",      "definitions", "$schema",     "$id",     "$comment",
                                         "$anchor",    "title",       "description", "default", "examples",
                                         "deprecated", "readOnly",    "writeOnly"};
    for (size_t i = 0; i < sizeof silent / sizeof *silent; i++)
        if (!strcmp(keyword, silent[i]))
            return false;
    return true;
}

static bool holds(const json_t *list, const json_t *item) {
    if (!json_is_array(list))
        return json_equal(list, item);
    for (size_t i = 0; i < json_array_size(list); i++)
        if (json_equal(json_array_get(list, i), item))
            return true;
    return false;
}

// New: what is in both lists, or in the one value that stands for a list.
static json_t *common(const json_t *a, const json_t *b) {
    json_t *both = json_array();
    size_t n = json_is_array(a) ? json_array_size(a) : 1;
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_is_array(a) ? json_array_get(a, i) : a;
        if (holds(b, item))
            json_array_append(both, (json_t *)item);
    }
    return both;
}

// New: the schema that asks for both.
static json_t *both_of(json_t *a, json_t *b) {
    return json_equal(a, b) ? json_incref(a) : json_pack("{s:[O, O]}", "allOf", a, b);
}

static json_t *merge_properties(json_t *a, json_t *b) {
    json_t *all = json_copy(a), *value;
    const char *key;
    json_object_foreach(b, key, value) {
        json_t *known = json_object_get(a, key);
        json_object_set_new(all, key, known ? both_of(known, value) : json_incref(value));
    }
    return all;
}

static json_t *merge_required(json_t *a, json_t *b) {
    json_t *all = json_copy(a);
    for (size_t i = 0; i < json_array_size(b); i++)
        if (!holds(a, json_array_get(b, i)))
            json_array_append(all, json_array_get(b, i));
    return all;
}

// New value of a keyword that both have; NULL with *why where there is none.
static json_t *merge_values(const char *key, json_t *a, json_t *b, const char **why) {
    bool at_least = !strncmp(key, "min", 3) || !strcmp(key, "exclusiveMinimum");
    bool at_most = !strncmp(key, "max", 3) || !strcmp(key, "exclusiveMaximum");
    *why = "both have it, and it cannot be merged";
    if (json_equal(a, b))
        return json_incref(a);
    if (!strcmp(key, "properties") && json_is_object(a) && json_is_object(b))
        return merge_properties(a, b);
    if (!strcmp(key, "required") && json_is_array(a) && json_is_array(b))
        return merge_required(a, b);
    if ((at_least || at_most) && json_is_number(a) && json_is_number(b))
        return json_incref((json_number_value(a) > json_number_value(b)) == at_least ? a : b);
    if (!strcmp(key, "items") || !strcmp(key, "additionalProperties"))
        return json_is_false(a) || json_is_false(b) ? json_false() : both_of(a, b);
    if (!strcmp(key, "type") || !strcmp(key, "enum")) {
        json_t *both = common(a, b);
        *why = "no value is of both";
        if (json_array_size(both) > 0)
            return both;
        json_decref(both);
    }
    return NULL;
}

bool json_merge_into(json_t *into, json_t *from, struct err *err) {
    const char *key, *why;
    json_t *value;
    if (json_is_true(from))
        return true;
    if (!json_is_object(from))
        return fail(err, "allOf, anyOf, oneOf", "expected an object or true");
    json_object_foreach(from, key, value) {
        if (!json_merge_counts(key))
            continue;
        json_t *known = json_object_get(into, key);
        if (known && (!strcmp(key, "$ref") || !strcmp(key, "anyOf") || !strcmp(key, "oneOf") ||
                      !strcmp(key, "allOf"))) {
            json_t *all = json_object_get(into, "allOf"), *one = json_pack("{s:O}", key, value);
            json_t *more = all ? json_copy(all) : json_array();
            json_array_append_new(more, one);
            json_object_set_new(into, "allOf", more);
            continue;
        }
        json_t *merged = known ? merge_values(key, known, value, &why) : json_incref(value);
        if (!merged)
            return fail(err, key, why);
        json_object_set_new(into, key, merged);
    }
    return true;
}
