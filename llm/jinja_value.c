// Values and their memory: an arena dropped whole, and Python's rules of truth, equality and order.
#include "llm/jinja_value.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_BYTES = 64 << 10, COMPARE_DEPTH_MAX = 80 };

struct jinja_chunk {
    struct jinja_chunk *next;
    size_t used, size;
    _Alignas(16) char data[];
};

void *jinja_arena_alloc(struct jinja_arena *a, size_t size_bytes) {
    struct jinja_chunk *c = a->chunks;
    if (size_bytes > a->limit_bytes)
        return NULL;
    size_bytes = (size_bytes + 15) & ~(size_t)15;
    if (!c || c->size - c->used < size_bytes) {
        size_t size = size_bytes > CHUNK_BYTES / 4 ? size_bytes : CHUNK_BYTES;
        if (size > a->limit_bytes - a->used_bytes)
            return NULL;
        struct jinja_chunk *fresh = calloc(1, sizeof *fresh + size);
        if (!fresh)
            return NULL;
        fresh->size = size;
        a->used_bytes += size;
        if (c && size != CHUNK_BYTES) { // a big piece of its own: what is left of the chunk stays in use
            fresh->next = c->next;
            c->next = fresh;
        } else {
            fresh->next = c;
            a->chunks = fresh;
        }
        c = fresh;
    }
    void *p = c->data + c->used;
    c->used += size_bytes;
    return p;
}

void jinja_arena_clear(struct jinja_arena *a) {
    while (a->chunks) {
        struct jinja_chunk *next = a->chunks->next;
        free(a->chunks);
        a->chunks = next;
    }
    a->used_bytes = 0;
}

// ---- the run ----

// A message is one line, whatever the template puts into it.
static void keep_error(struct jinja_run *r, enum err_code code, char *message) {
    for (char *c = message; *c; c++)
        *c = (unsigned char)*c < 0x20 ? ' ' : *c;
    if (r->line)
        err_set(&r->err, code, "line %u: %s", (unsigned)r->line, message);
    else
        err_set(&r->err, code, "%s", message);
    r->failed = true;
}

struct jinja_value jinja_fail(struct jinja_run *r, const char *fmt, ...) {
    char message[sizeof r->err.msg];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    keep_error(r, ERR_MODEL, message);
    return (struct jinja_value){.type = JINJA_UNDEFINED};
}

struct jinja_value jinja_fail_undefined(struct jinja_run *r, struct jinja_value v) {
    const struct jinja_undefined *u = v.as.undefined;
    if (!u)
        return jinja_fail(r, "an undefined value is used");
    int n = (int)(u->name.len < 100 ? u->name.len : 100);
    if (!u->owner)
        return jinja_fail(r, "'%.*s' is undefined", n, u->name.data);
    if (u->is_unsafe)
        return jinja_fail(r, "access to attribute '%.*s' of '%s' object is unsafe", n, u->name.data,
                          u->owner);
    if (u->is_element)
        return jinja_fail(r, "%s object has no element %.*s", u->owner, n, u->name.data);
    return jinja_fail(r, "'%s object' has no attribute '%.*s'", u->owner, n, u->name.data);
}

void jinja_charge(struct jinja_run *r, size_t n_steps) {
    r->n_steps += n_steps;
    if (r->n_steps > JINJA_STEPS_MAX && !r->failed)
        jinja_fail(r, "the template takes more than %d steps", JINJA_STEPS_MAX);
}

void *jinja_alloc(struct jinja_run *r, size_t size_bytes) {
    void *p = r->failed ? NULL : jinja_arena_alloc(&r->arena, size_bytes);
    if (!p)
        jinja_fail(r, "the template's values take more than %d MiB", JINJA_VALUES_MAX >> 20);
    return p;
}

struct jinja_run *jinja_run_create(void) {
    struct jinja_run *r = xcalloc(1, sizeof *r);
    r->arena.limit_bytes = JINJA_VALUES_MAX;
    time_t now = time(NULL);
    localtime_r(&now, &r->now);
    r->scope = jinja_alloc(r, sizeof *r->scope);
    return r;
}

void jinja_run_destroy(struct jinja_run *r) {
    if (!r)
        return;
    jinja_arena_clear(&r->arena);
    free(r);
}

void jinja_run_set_clock(struct jinja_run *r, const struct tm *now) {
    r->now = *now;
}

// ---- construction ----

struct jinja_value jinja_none(void) {
    return (struct jinja_value){.type = JINJA_NONE};
}

struct jinja_value jinja_bool(bool truth) {
    return (struct jinja_value){.type = JINJA_BOOL, .as.truth = truth};
}

struct jinja_value jinja_int(int64_t integer) {
    return (struct jinja_value){.type = JINJA_INT, .as.integer = integer};
}

struct jinja_value jinja_float(double real) {
    return (struct jinja_value){.type = JINJA_FLOAT, .as.real = real};
}

static struct jinja_value undefined(void) {
    return (struct jinja_value){.type = JINJA_UNDEFINED};
}

struct jinja_value jinja_undefined_of(struct jinja_run *r, const char *owner, struct jinja_text name) {
    struct jinja_undefined *u = jinja_alloc(r, sizeof *u);
    if (u) {
        u->owner = owner;
        u->name = name;
    }
    return (struct jinja_value){.type = JINJA_UNDEFINED, .as.undefined = u};
}

struct jinja_value jinja_text_value(struct jinja_run *r, struct jinja_text t) {
    struct jinja_text *copy = jinja_alloc(r, sizeof *copy);
    if (!copy)
        return undefined();
    *copy = t;
    return (struct jinja_value){.type = JINJA_STRING, .as.string = copy};
}

struct jinja_value jinja_string(struct jinja_run *r, const char *data, size_t len, uint8_t mark) {
    if (len > JINJA_TEXT_MAX)
        return jinja_fail(r, "a text of %zu bytes, want at most %d", len, JINJA_TEXT_MAX);
    char *copy = jinja_alloc(r, len);
    uint8_t *mask = mark ? jinja_alloc(r, len) : NULL;
    if (!copy || (mark && !mask))
        return undefined();
    memcpy(copy, data, len);
    if (mask)
        memset(mask, mark, len);
    return jinja_text_value(r, (struct jinja_text){.data = copy, .is_input = mask, .len = len});
}

struct jinja_value jinja_concat(struct jinja_run *r, struct jinja_value list) {
    struct jinja_out out;
    jinja_out_init(&out, r);
    const struct jinja_list *items = jinja_iterate(r, list);
    for (size_t i = 0; i < items->n && !r->failed; i++)
        jinja_out_add(&out, *items->items[i].as.string);
    return jinja_out_value(&out);
}

struct jinja_value jinja_list_of(struct jinja_run *r, enum jinja_list_kind kind) {
    struct jinja_list *list = jinja_alloc(r, sizeof *list);
    if (!list)
        return undefined();
    list->kind = kind;
    return (struct jinja_value){.type = JINJA_LIST, .as.list = list};
}

struct jinja_value jinja_list(struct jinja_run *r) {
    return jinja_list_of(r, LIST_PLAIN);
}

// Room for one more of n items in the arena: the same items or a copy twice as big; NULL with the error kept.
static void *grow(struct jinja_run *r, void *items, size_t n, size_t *cap, size_t size_bytes) {
    if (n < *cap)
        return items;
    size_t more = *cap ? *cap * 2 : 4;
    void *copy = jinja_alloc(r, more * size_bytes);
    if (!copy)
        return NULL;
    if (n)
        memcpy(copy, items, n * size_bytes);
    *cap = more;
    return copy;
}

void jinja_list_add(struct jinja_run *r, struct jinja_value list, struct jinja_value item) {
    if (list.type != JINJA_LIST)
        return;
    struct jinja_list *l = list.as.list;
    struct jinja_value *items = grow(r, l->items, l->n, &l->cap, sizeof *items);
    if (!items)
        return;
    l->items = items;
    items[l->n++] = item;
    jinja_charge(r, 1);
}

struct jinja_value jinja_pair_of(struct jinja_run *r, struct jinja_value a, struct jinja_value b) {
    struct jinja_value pair = jinja_list_of(r, LIST_TUPLE);
    jinja_list_add(r, pair, a);
    jinja_list_add(r, pair, b);
    return pair;
}

struct jinja_value jinja_dict(struct jinja_run *r) {
    struct jinja_dict *d = jinja_alloc(r, sizeof *d);
    return d ? (struct jinja_value){.type = JINJA_DICT, .as.dict = d} : undefined();
}

static void dict_add(struct jinja_run *r, struct jinja_dict *d, struct jinja_value key,
                     struct jinja_value value) {
    struct jinja_pair *pairs = grow(r, d->pairs, d->n, &d->cap, sizeof *pairs);
    if (!pairs)
        return;
    d->pairs = pairs;
    pairs[d->n++] = (struct jinja_pair){key, value};
    jinja_charge(r, 1);
}

void jinja_dict_add(struct jinja_run *r, struct jinja_value dict, struct jinja_value key,
                    struct jinja_value value) {
    if (dict.type == JINJA_DICT)
        dict_add(r, dict.as.dict, key, value);
}

struct jinja_value *jinja_dict_find(struct jinja_run *r, const struct jinja_dict *d, struct jinja_value key) {
    jinja_charge(r, d->n / 16);
    for (size_t i = 0; i < d->n && !r->failed; i++) {
        const struct jinja_value *k = &d->pairs[i].key;
        bool same = k->type == JINJA_STRING && key.type == JINJA_STRING
                        ? jinja_text_equal(*k->as.string, *key.as.string)
                        : jinja_equal(r, *k, key);
        if (same)
            return &d->pairs[i].value;
    }
    return NULL;
}

void jinja_dict_put(struct jinja_run *r, struct jinja_dict *d, struct jinja_value key,
                    struct jinja_value value) {
    if (key.type == JINJA_DICT || (key.type == JINJA_LIST && key.as.list->kind != LIST_TUPLE)) {
        jinja_fail(r, "unhashable type: '%s'", jinja_type_name(key));
        return;
    }
    struct jinja_value *old = jinja_dict_find(r, d, key);
    if (old)
        *old = value;
    else
        dict_add(r, d, key, value);
}

// ---- Python's rules ----

const char *jinja_type_name(struct jinja_value v) {
    static const char *const names[] = {"Undefined",   "Undefined", "NoneType", "bool", "int",
                                        "float",       "str",       "list",     "dict", "Namespace",
                                        "LoopContext", "Macro",     "function"};
    static const char *const lists[] = {"list", "tuple", "range", "generator", "dict view"};
    return v.type == JINJA_LIST ? lists[v.as.list->kind] : names[v.type];
}

bool jinja_truth(struct jinja_value v) {
    switch (v.type) {
    case JINJA_ABSENT:
    case JINJA_UNDEFINED:
    case JINJA_NONE:
        return false;
    case JINJA_BOOL:
        return v.as.truth;
    case JINJA_INT:
        return v.as.integer != 0;
    case JINJA_FLOAT:
        return v.as.real != 0;
    case JINJA_STRING:
        return v.as.string->len > 0;
    case JINJA_LIST:
        return v.as.list->n > 0 || v.as.list->kind == LIST_GENERATOR;
    case JINJA_DICT:
        return v.as.dict->n > 0;
    case JINJA_NAMESPACE:
    case JINJA_LOOP:
    case JINJA_MACRO:
    case JINJA_FUNCTION:
        break;
    }
    return true;
}

bool jinja_is_number(struct jinja_value v) {
    return v.type == JINJA_BOOL || v.type == JINJA_INT || v.type == JINJA_FLOAT;
}

int64_t jinja_as_int(struct jinja_value v) {
    return v.type == JINJA_BOOL ? v.as.truth : v.as.integer;
}

double jinja_as_double(struct jinja_value v) {
    return v.type == JINJA_FLOAT ? v.as.real : (double)jinja_as_int(v);
}

static int compare_numbers(struct jinja_value a, struct jinja_value b) {
    if (a.type == JINJA_FLOAT || b.type == JINJA_FLOAT) {
        double x = jinja_as_double(a), y = jinja_as_double(b);
        return x < y ? -1 : x == y ? 0 : 1;
    }
    int64_t x = jinja_as_int(a), y = jinja_as_int(b);
    return x < y ? -1 : x > y;
}

static bool equal_at(struct jinja_run *r, struct jinja_value a, struct jinja_value b, size_t depth) {
    if (depth > COMPARE_DEPTH_MAX)
        jinja_fail(r, "values too deep to compare");
    jinja_charge(r, 1);
    if (r->failed)
        return false;
    if (jinja_is_number(a) && jinja_is_number(b))
        return compare_numbers(a, b) == 0;
    if (a.type != b.type)
        return false;
    switch (a.type) {
    case JINJA_STRING:
        jinja_charge(r, a.as.string->len / 64);
        return jinja_text_equal(*a.as.string, *b.as.string);
    case JINJA_LIST: {
        const struct jinja_list *x = a.as.list, *y = b.as.list;
        if (x == y)
            return true;
        bool same = x->n == y->n && x->kind == y->kind && x->kind != LIST_GENERATOR;
        for (size_t i = 0; i < x->n && same; i++)
            same = equal_at(r, x->items[i], y->items[i], depth + 1);
        return same;
    }
    case JINJA_DICT: {
        const struct jinja_dict *x = a.as.dict, *y = b.as.dict;
        bool same = x->n == y->n;
        for (size_t i = 0; i < x->n && same && x != y; i++) {
            const struct jinja_value *other = jinja_dict_find(r, y, x->pairs[i].key);
            same = other && equal_at(r, x->pairs[i].value, *other, depth + 1);
        }
        return same;
    }
    case JINJA_NAMESPACE:
        return a.as.dict == b.as.dict;
    case JINJA_LOOP:
        return a.as.loop == b.as.loop;
    case JINJA_MACRO:
        return a.as.macro == b.as.macro;
    case JINJA_FUNCTION:
        return a.as.function->builtin == b.as.function->builtin;
    default:
        return true; // none, undefined
    }
}

bool jinja_equal(struct jinja_run *r, struct jinja_value a, struct jinja_value b) {
    return equal_at(r, a, b, 0);
}

static int compare_texts(struct jinja_run *r, struct jinja_text a, struct jinja_text b) {
    size_t n = a.len < b.len ? a.len : b.len; // UTF-8 is in the order of its code points
    jinja_charge(r, n / 64);
    int order = n ? memcmp(a.data, b.data, n) : 0;
    return order ? order : a.len < b.len ? -1 : a.len > b.len;
}

static int compare_at(struct jinja_run *r, struct jinja_value a, struct jinja_value b, const char *op,
                      size_t depth) {
    jinja_charge(r, 1);
    if (r->failed)
        return 0;
    if (jinja_is_number(a) && jinja_is_number(b))
        return compare_numbers(a, b);
    if (a.type == JINJA_STRING && b.type == JINJA_STRING)
        return compare_texts(r, *a.as.string, *b.as.string);
    if (a.type == JINJA_LIST && b.type == JINJA_LIST && depth < COMPARE_DEPTH_MAX) {
        const struct jinja_list *x = a.as.list, *y = b.as.list;
        for (size_t i = 0; i < x->n && i < y->n && !r->failed; i++)
            if (!equal_at(r, x->items[i], y->items[i], depth + 1))
                return compare_at(r, x->items[i], y->items[i], op, depth + 1);
        return x->n < y->n ? -1 : x->n > y->n;
    }
    if (a.type == JINJA_UNDEFINED || b.type == JINJA_UNDEFINED)
        jinja_fail_undefined(r, a.type == JINJA_UNDEFINED ? a : b);
    jinja_fail(r, "'%s' not supported between instances of '%s' and '%s'", op, jinja_type_name(a),
               jinja_type_name(b));
    return 0;
}

int jinja_compare(struct jinja_run *r, struct jinja_value a, struct jinja_value b, const char *op) {
    return compare_at(r, a, b, op, 0);
}

bool jinja_contains(struct jinja_run *r, struct jinja_value container, struct jinja_value item) {
    switch (container.type) {
    case JINJA_UNDEFINED:
        return false;
    case JINJA_STRING:
        if (item.type == JINJA_UNDEFINED)
            return jinja_truth(jinja_fail_undefined(r, item));
        if (item.type != JINJA_STRING)
            return jinja_truth(jinja_fail(r, "'in <string>' requires string as left operand, not %s",
                                          jinja_type_name(item)));
        return jinja_text_find(r, *container.as.string, *item.as.string, 0) != SIZE_MAX;
    case JINJA_DICT:
        return jinja_dict_find(r, container.as.dict, item) != NULL;
    case JINJA_LIST: {
        const struct jinja_list *l = jinja_iterate(r, container);
        for (size_t i = 0; i < l->n && !r->failed; i++)
            if (jinja_equal(r, l->items[i], item))
                return true;
        return false;
    }
    default:
        return jinja_truth(
            jinja_fail(r, "argument of type '%s' is not iterable", jinja_type_name(container)));
    }
}

static void add_characters(struct jinja_run *r, struct jinja_value list, struct jinja_text t) {
    for (size_t at = 0, n; at < t.len && !r->failed; at += n) {
        n = jinja_char_len(t, at, NULL);
        jinja_list_add(r, list, jinja_text_value(r, jinja_text_part(t, at, at + n)));
    }
}

const struct jinja_list *jinja_iterate(struct jinja_run *r, struct jinja_value v) {
    static const struct jinja_list empty;
    if (v.type == JINJA_LIST) {
        if (v.as.list->kind != LIST_GENERATOR)
            return v.as.list;
        if (v.as.list->used_up)
            return &empty;
        v.as.list->used_up = true;
        return v.as.list;
    }
    struct jinja_value list = jinja_list(r);
    if (v.type == JINJA_DICT)
        for (size_t i = 0; i < v.as.dict->n && !r->failed; i++)
            jinja_list_add(r, list, v.as.dict->pairs[i].key);
    else if (v.type == JINJA_STRING)
        add_characters(r, list, *v.as.string);
    else if (v.type != JINJA_UNDEFINED)
        jinja_fail(r, "'%s' object is not iterable", jinja_type_name(v));
    return list.type == JINJA_LIST ? list.as.list : &empty;
}

struct jinja_value jinja_length(struct jinja_run *r, struct jinja_value v) {
    switch (v.type) {
    case JINJA_UNDEFINED:
        return jinja_int(0);
    case JINJA_STRING:
        return jinja_int((int64_t)jinja_text_n_chars(r, *v.as.string));
    case JINJA_DICT:
        return jinja_int((int64_t)v.as.dict->n);
    case JINJA_LIST:
        if (v.as.list->kind != LIST_GENERATOR)
            return jinja_int((int64_t)v.as.list->n);
        break;
    case JINJA_LOOP:
        return jinja_int((int64_t)v.as.loop->items->n);
    default:
        break;
    }
    return jinja_fail(r, "object of type '%s' has no len()", jinja_type_name(v));
}
