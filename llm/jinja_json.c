// JSON -> values of a template. All texts are input.
#include "llm/jinja.h"

struct jinja_value jinja_from_json(struct jinja_run *r, const json_t *json) {
    struct jinja_value value;
    const char *key;
    size_t key_len;
    json_t *item;
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        value = jinja_dict(r);
        json_object_keylen_foreach((json_t *)(uintptr_t)json, key, key_len, item)
            jinja_dict_add(r, value, jinja_string(r, key, key_len, true), jinja_from_json(r, item));
        return value;
    case JSON_ARRAY:
        value = jinja_list(r);
        for (size_t i = 0; i < json_array_size(json); i++)
            jinja_list_add(r, value, jinja_from_json(r, json_array_get(json, i)));
        return value;
    case JSON_STRING:
        return jinja_string(r, json_string_value(json), json_string_length(json), true);
    case JSON_INTEGER:
        return jinja_int(json_integer_value(json));
    case JSON_REAL:
        return jinja_float(json_real_value(json));
    case JSON_TRUE:
    case JSON_FALSE:
        return jinja_bool(json_is_true(json));
    case JSON_NULL:
        break;
    }
    return jinja_none();
}
