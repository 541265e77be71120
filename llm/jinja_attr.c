// What "value.name", "value[key]" and "value[a:b]" are: data, or a built-in method of the type.
#include "llm/jinja_value.h"

#include <stdlib.h>
#include <string.h>

const struct jinja_builtin *jinja_builtin_find(const struct jinja_builtin *table, struct jinja_text name) {
    for (; table->name; table++)
        if (jinja_text_is(name, table->name))
            return table;
    return NULL;
}

static struct jinja_value method(struct jinja_run *r, const struct jinja_builtin *b,
                                 struct jinja_value self) {
    struct jinja_function *f = jinja_alloc(r, sizeof *f);
    if (!f)
        return jinja_none();
    f->builtin = b;
    f->self = self;
    return (struct jinja_value){.type = JINJA_FUNCTION, .as.function = f};
}

// A loop's own values; false for another name.
static bool loop_value(struct jinja_run *r, const struct jinja_loop *loop, struct jinja_text name,
                       struct jinja_value *out) {
    static const char *const names[] = {"index",  "index0", "revindex", "revindex0", "first",    "last",
                                        "length", "depth",  "depth0",   "previtem",  "nextitem", NULL};
    size_t which = 0, i = loop->i, n = loop->items->n;
    while (names[which] && !jinja_text_is(name, names[which]))
        which++;
    if (!names[which])
        return false;
    const size_t numbers[] = {i + 1,      i, n - i,       n - i - 1,      i == 0,
                              i + 1 == n, n, loop->depth, loop->depth - 1};
    if (which == 4 || which == 5)
        *out = jinja_bool(numbers[which] != 0);
    else if (which < 9)
        *out = jinja_int((int64_t)numbers[which]);
    else if (which == 9 ? i > 0 : i + 1 < n)
        *out = loop->items->items[which == 9 ? i - 1 : i + 1];
    else
        *out = jinja_undefined_of(r, "loop", name);
    return true;
}

static const struct jinja_builtin *methods_of(struct jinja_value v) {
    static const struct jinja_builtin none[] = {{0}};
    switch (v.type) {
    case JINJA_STRING:
        return jinja_string_methods;
    case JINJA_LIST:
        return v.as.list->kind <= LIST_TUPLE ? jinja_list_methods : none;
    case JINJA_DICT:
        return jinja_dict_methods;
    case JINJA_LOOP:
        return jinja_loop_methods;
    default:
        return none;
    }
}

// A method, or an undefined value that says what is missing.
static struct jinja_value method_or_undefined(struct jinja_run *r, struct jinja_value v,
                                              struct jinja_text name) {
    const struct jinja_builtin *b = jinja_builtin_find(methods_of(v), name);
    if (b && b->call)
        return method(r, b, v);
    struct jinja_undefined *u = jinja_alloc(r, sizeof *u);
    if (u) {
        u->owner = jinja_type_name(v);
        u->name = name;
        u->is_unsafe = b != NULL;
    }
    return (struct jinja_value){.type = JINJA_UNDEFINED, .as.undefined = u};
}

struct jinja_value jinja_attribute(struct jinja_run *r, struct jinja_value v, struct jinja_text name) {
    struct jinja_value out, *found;
    if (v.type == JINJA_UNDEFINED)
        return jinja_fail_undefined(r, v);
    if (v.type == JINJA_LOOP && loop_value(r, v.as.loop, name, &out))
        return out;
    bool is_dict = v.type == JINJA_DICT && !jinja_builtin_find(jinja_dict_methods, name);
    if (is_dict || v.type == JINJA_NAMESPACE) {
        found = jinja_dict_find(r, v.as.dict, (struct jinja_value){.type = JINJA_STRING, .as.string = &name});
        if (found)
            return *found;
    }
    return method_or_undefined(r, v, name);
}

static struct jinja_value no_element(struct jinja_run *r, struct jinja_value v, struct jinja_value key) {
    struct jinja_undefined *u = jinja_alloc(r, sizeof *u);
    if (u) {
        u->owner = jinja_type_name(v);
        u->name = jinja_str(r, key);
        u->is_element = true;
    }
    return (struct jinja_value){.type = JINJA_UNDEFINED, .as.undefined = u};
}

// Where character i of the text begins.
static size_t char_at(struct jinja_run *r, struct jinja_text t, size_t i) {
    size_t at = 0;
    jinja_charge(r, i / 64);
    for (; i > 0 && at < t.len; i--)
        at += jinja_char_len(t, at, NULL);
    return at;
}

static struct jinja_value string_item(struct jinja_run *r, struct jinja_text t, size_t i) {
    size_t at = char_at(r, t, i);
    return jinja_text_value(r, jinja_text_part(t, at, at + jinja_char_len(t, at, NULL)));
}

struct jinja_value jinja_item(struct jinja_run *r, struct jinja_value v, struct jinja_value key) {
    if (v.type == JINJA_UNDEFINED)
        return jinja_fail_undefined(r, v);
    if (v.type == JINJA_DICT) {
        const struct jinja_value *found = jinja_dict_find(r, v.as.dict, key);
        if (found)
            return *found;
    }
    if (key.type == JINJA_STRING)
        return v.type == JINJA_DICT ? method_or_undefined(r, v, *key.as.string)
                                    : jinja_attribute(r, v, *key.as.string);
    bool is_list = v.type == JINJA_LIST && v.as.list->kind <= LIST_RANGE;
    if ((key.type != JINJA_INT && key.type != JINJA_BOOL) || (!is_list && v.type != JINJA_STRING))
        return no_element(r, v, key);
    int64_t i = jinja_as_int(key), n = jinja_as_int(jinja_length(r, v));
    i += i < 0 ? n : 0;
    if (i < 0 || i >= n)
        return no_element(r, v, key);
    return is_list ? v.as.list->items[i] : string_item(r, *v.as.string, (size_t)i);
}

// A bound of a slice: none gives `fallback`; others count from the end when negative and are clamped.
static int64_t slice_bound(struct jinja_run *r, struct jinja_value v, int64_t fallback, int64_t n,
                           int64_t step) {
    if (v.type == JINJA_NONE)
        return fallback;
    if (v.type != JINJA_INT && v.type != JINJA_BOOL) {
        if (v.type == JINJA_UNDEFINED)
            jinja_fail_undefined(r, v);
        jinja_fail(r, "slice indices must be integers or None, not %s", jinja_type_name(v));
        return 0;
    }
    int64_t i = jinja_as_int(v), low = step < 0 ? -1 : 0, high = step < 0 ? n - 1 : n;
    if (i < 0)
        i = i < -n ? low : i + n;
    return i < low ? low : i > high ? high : i;
}

static struct jinja_value slice_text(struct jinja_run *r, struct jinja_text t, int64_t start, int64_t stop,
                                     int64_t step) {
    if (step == 1) {
        size_t from = char_at(r, t, (size_t)start);
        size_t to =
            stop > start ? from + char_at(r, jinja_text_part(t, from, t.len), (size_t)(stop - start)) : from;
        return jinja_text_value(r, jinja_text_part(t, from, to));
    }
    struct jinja_out o;
    jinja_out_init(&o, r);
    const struct jinja_list *characters = jinja_iterate(r, jinja_text_value(r, t));
    for (int64_t i = start; (step > 0 ? i < stop : i > stop) && !r->failed; i += step)
        jinja_out_add(&o, *characters->items[i].as.string);
    return jinja_out_value(&o);
}

struct jinja_value jinja_slice(struct jinja_run *r, struct jinja_value v, const struct jinja_value bound[3]) {
    if (v.type == JINJA_UNDEFINED)
        return jinja_fail_undefined(r, v);
    bool is_list = v.type == JINJA_LIST && v.as.list->kind <= LIST_RANGE;
    if (!is_list && v.type != JINJA_STRING)
        return no_element(r, v, jinja_none());
    int64_t n = jinja_as_int(jinja_length(r, v));
    int64_t step = bound[2].type == JINJA_NONE ? 1 : slice_bound(r, bound[2], 1, INT32_MAX, 1);
    if (bound[2].type == JINJA_INT && bound[2].as.integer < 0)
        step = bound[2].as.integer < -INT32_MAX ? -INT32_MAX : bound[2].as.integer;
    if (step == 0)
        return jinja_fail(r, "slice step cannot be zero");
    int64_t start = slice_bound(r, bound[0], step < 0 ? n - 1 : 0, n, step);
    int64_t stop = slice_bound(r, bound[1], step < 0 ? -1 : n, n, step);
    if (r->failed)
        return jinja_none();
    if (!is_list)
        return slice_text(r, *v.as.string, start, stop, step);
    struct jinja_value part = jinja_list_of(r, v.as.list->kind);
    for (int64_t i = start; (step > 0 ? i < stop : i > stop) && !r->failed; i += step)
        jinja_list_add(r, part, v.as.list->items[i]);
    return part;
}

struct jinja_value jinja_attribute_path(struct jinja_run *r, struct jinja_value v, struct jinja_value path) {
    if (path.type != JINJA_STRING)
        return jinja_item(r, v, path);
    struct jinja_text rest = *path.as.string;
    while (!r->failed) {
        const char *dot = rest.len ? memchr(rest.data, '.', rest.len) : NULL;
        struct jinja_text name = jinja_text_part(rest, 0, dot ? (size_t)(dot - rest.data) : rest.len);
        bool is_number = name.len > 0 && name.len < 10;
        int64_t number = 0;
        for (size_t i = 0; i < name.len && is_number; i++) {
            is_number = name.data[i] >= '0' && name.data[i] <= '9';
            number = number * 10 + name.data[i] - '0';
        }
        v = jinja_item(r, v, is_number ? jinja_int(number) : jinja_text_value(r, name));
        if (!dot)
            break;
        rest = jinja_text_part(rest, name.len + 1, rest.len);
    }
    return v;
}

// ---- calls ----

static struct jinja_value bind(struct jinja_run *r, const struct jinja_builtin *b,
                               const struct jinja_args *args, struct jinja_value arg[JINJA_PARAMS_MAX]) {
    size_t i = 0, n_named = 0;
    memset(arg, 0, JINJA_PARAMS_MAX * sizeof *arg); // JINJA_ABSENT
    for (const char *name = b->params; *name; i++) {
        size_t len = strcspn(name, ",");
        if (i < args->n)
            arg[i] = args->items[i];
        for (size_t k = 0; k < args->n_named; k++) {
            if (!jinja_text_equal(args->named[k].name, jinja_text_of(name, len)))
                continue;
            if (i < args->n)
                return jinja_fail(r, "%s got two values for '%.*s'", b->name, (int)len, name);
            arg[i] = args->named[k].value;
            n_named++;
        }
        name += len + (name[len] == ',');
    }
    if (args->n > i)
        return jinja_fail(r, "%s takes at most %zu arguments, found %zu", b->name, i, args->n);
    if (n_named < args->n_named)
        return jinja_fail(r, "%s takes no argument of that name; want of \"%s\"", b->name, b->params);
    return jinja_none();
}

struct jinja_value jinja_builtin_call(struct jinja_run *r, const struct jinja_builtin *b,
                                      struct jinja_value self, const struct jinja_args *args) {
    struct jinja_value arg[JINJA_PARAMS_MAX] = {0};
    if (b->params)
        bind(r, b, args, arg);
    return r->failed ? jinja_none() : b->call(r, self, arg, args);
}

struct jinja_text jinja_arg_text(struct jinja_run *r, struct jinja_value v, const char *fallback) {
    if (v.type == JINJA_STRING)
        return *v.as.string;
    if (v.type != JINJA_ABSENT || !fallback) {
        if (v.type == JINJA_UNDEFINED)
            jinja_fail_undefined(r, v);
        jinja_fail(r, "want a string as argument, found %s",
                   v.type == JINJA_ABSENT ? "none at all" : jinja_type_name(v));
    }
    return fallback ? jinja_text_of(fallback, strlen(fallback)) : jinja_text_of("", 0);
}

int64_t jinja_arg_int(struct jinja_run *r, struct jinja_value v, int64_t fallback) {
    if (v.type == JINJA_INT || v.type == JINJA_BOOL)
        return jinja_as_int(v);
    if (v.type != JINJA_ABSENT)
        jinja_fail(r, "want an integer as argument, found %s", jinja_type_name(v));
    return fallback;
}
