#include "base/json.h"
#include "base/mem.h"

#include <stdint.h>
#include <stdlib.h>

// Bytes the calling thread may still allocate through jansson; outside json_parse there is no limit.
static _Thread_local size_t json_budget = SIZE_MAX;
static _Thread_local bool json_budget_hit;

static void *json_malloc_counted(size_t size) {
    if (size > json_budget) {
        json_budget_hit = true;
        return NULL;
    }
    if (json_budget != SIZE_MAX)
        json_budget -= size;
    return malloc(size);
}

void json_setup(void) {
    json_set_alloc_funcs(json_malloc_counted, free);
    json_object_seed(0);
}

// Deepest nesting of brackets outside strings: cheap, and before jansson recurses.
static size_t json_depth(const char *text, size_t len) {
    size_t depth = 0, deepest = 0;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > deepest)
                deepest = depth;
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return deepest;
}

json_t *json_parse(const char *text, size_t len, size_t budget_bytes, struct err *err) {
    size_t depth = json_depth(text, len);
    if (depth > JSON_DEPTH_MAX) {
        err_set(err, ERR_JSON_TOO_DEEP, "JSON nested %zu levels deep, limit %d", depth, JSON_DEPTH_MAX);
        return NULL;
    }
    json_error_t at;
    json_budget = budget_bytes;
    json_budget_hit = false;
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &at);
    json_budget = SIZE_MAX;
    if (root)
        return root;
    if (json_budget_hit)
        err_set(err, ERR_MESSAGE_TOO_BIG, "JSON of %zu bytes needs more than %zu bytes of memory", len,
                budget_bytes);
    else
        err_set(err, ERR_INVALID_JSON, "invalid JSON at line %d, column %d: %.120s", at.line, at.column,
                at.text);
    return NULL;
}
