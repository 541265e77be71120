// Filters: "value | name(arguments)".
#include "llm/jinja_value.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FILTER(name)                                                                                         \
    static struct jinja_value name(struct jinja_run *r, struct jinja_value self,                             \
                                   const struct jinja_value *arg, const struct jinja_args *args)

static bool is_given(struct jinja_value v) {
    return v.type != JINJA_ABSENT && v.type != JINJA_NONE;
}

// ---- text ----

FILTER(filter_trim) {
    (void)args;
    struct jinja_text none = {0};
    return jinja_text_value(r, jinja_text_strip(r, jinja_str(r, self),
                                                is_given(arg[0]) ? jinja_arg_text(r, arg[0], NULL) : none,
                                                STRIP_BOTH));
}

FILTER(filter_string) {
    (void)arg;
    (void)args;
    return self.type == JINJA_STRING ? self : jinja_text_value(r, jinja_str(r, self));
}

FILTER(filter_lower) {
    (void)arg;
    (void)args;
    return jinja_text_case(r, jinja_str(r, self), CASE_LOWER);
}

FILTER(filter_upper) {
    (void)arg;
    (void)args;
    return jinja_text_case(r, jinja_str(r, self), CASE_UPPER);
}

FILTER(filter_capitalize) {
    (void)arg;
    (void)args;
    return jinja_text_case(r, jinja_str(r, self), CASE_CAPITAL);
}

// Words begin behind white space, "-" and opening brackets only, unlike str.title().
FILTER(filter_title) {
    (void)arg;
    (void)args;
    struct jinja_text t = jinja_str(r, self);
    struct jinja_out o;
    jinja_out_init(&o, r);
    for (size_t from = 0, at = 0; from < t.len && !r->failed; from = at) {
        uint32_t c = 0;
        do
            at += jinja_char_len(t, at, &c);
        while (at < t.len && !jinja_char_is_space(c) && !(c < 0x80 && c && strchr("-({[<", (int)c)));
        struct jinja_value word = jinja_text_case(r, jinja_text_part(t, from, at), CASE_CAPITAL);
        jinja_print(&o, word);
    }
    return jinja_out_value(&o);
}

static struct jinja_value call_method(struct jinja_run *r, const char *name, struct jinja_text t,
                                      struct jinja_value *items, size_t n) {
    const struct jinja_args args = {.items = items, .n = n};
    return jinja_builtin_call(r, jinja_builtin_find(jinja_string_methods, jinja_text_of(name, strlen(name))),
                              jinja_text_value(r, t), &args);
}

FILTER(filter_replace) {
    (void)args;
    struct jinja_value items[3] = {jinja_text_value(r, jinja_str(r, arg[0])),
                                   jinja_text_value(r, jinja_str(r, arg[1])), arg[2]};
    if (r->failed)
        return jinja_none();
    return call_method(r, "replace", jinja_str(r, self), items, is_given(arg[2]) ? 3 : 2);
}

FILTER(filter_indent) {
    (void)args;
    struct jinja_out o, blanks;
    jinja_out_init(&o, r);
    jinja_out_init(&blanks, r);
    if (arg[0].type == JINJA_STRING)
        jinja_out_add(&blanks, *arg[0].as.string);
    for (int64_t n = arg[0].type == JINJA_STRING ? 0 : jinja_arg_int(r, arg[0], 4); n > 0 && !r->failed; n--)
        jinja_out_str(&blanks, " ");
    bool first = jinja_truth(arg[1]), blank = jinja_truth(arg[2]);
    struct jinja_text t = jinja_str(r, self);
    for (size_t from = 0, at = 0; !r->failed; from = at + 1) {
        const char *end = from < t.len ? memchr(t.data + from, '\n', t.len - from) : NULL;
        at = end ? (size_t)(end - t.data) : t.len;
        if (from > 0)
            jinja_out_str(&o, "\n");
        if (from == 0 ? first : blank || at > from)
            jinja_out_add(&o, jinja_out_text(&blanks));
        jinja_out_add(&o, jinja_text_part(t, from < t.len ? from : t.len, at));
        if (!end)
            break;
    }
    return jinja_out_value(&o);
}

FILTER(filter_escape) {
    (void)arg;
    (void)args;
    struct jinja_out o;
    jinja_out_init(&o, r);
    jinja_out_escaped(&o, jinja_str(r, self));
    struct jinja_text escaped = jinja_out_text(&o);
    escaped.is_safe = true;
    return jinja_text_value(r, escaped);
}

FILTER(filter_safe) {
    (void)arg;
    (void)args;
    struct jinja_text t = jinja_str(r, self);
    t.is_safe = true;
    return jinja_text_value(r, t);
}

FILTER(filter_tojson) {
    (void)args;
    struct jinja_json how = {.ascii = jinja_truth(arg[0]), .sort_keys = jinja_truth(arg[3])};
    struct jinja_out o, blanks;
    struct jinja_text indent;
    jinja_out_init(&o, r);
    jinja_out_init(&blanks, r);
    if (is_given(arg[1])) {
        for (int64_t n = arg[1].type == JINJA_STRING ? 0 : jinja_arg_int(r, arg[1], 0); n > 0 && !r->failed;
             n--)
            jinja_out_str(&blanks, " ");
        indent = arg[1].type == JINJA_STRING ? *arg[1].as.string : jinja_out_text(&blanks);
        how.indent = &indent;
    }
    how.item_separator = how.indent ? jinja_text_of(",", 1) : jinja_text_of(", ", 2);
    how.key_separator = jinja_text_of(": ", 2);
    if (is_given(arg[2])) {
        const struct jinja_list *pair = jinja_iterate(r, arg[2]);
        if (r->failed || pair->n != 2)
            return jinja_fail(r, "tojson: want two separators");
        how.item_separator = jinja_arg_text(r, pair->items[0], NULL);
        how.key_separator = jinja_arg_text(r, pair->items[1], NULL);
    }
    jinja_print_json(&o, self, &how, 0);
    return jinja_out_value(&o);
}

// ---- one value ----

FILTER(filter_length) {
    (void)arg;
    (void)args;
    return jinja_length(r, self);
}

FILTER(filter_default) {
    (void)args;
    bool replaced = self.type == JINJA_UNDEFINED || (jinja_truth(arg[1]) && !jinja_truth(self));
    if (!replaced)
        return self;
    return arg[0].type == JINJA_ABSENT ? jinja_text_value(r, jinja_text_of("", 0)) : arg[0];
}

// A number that a whole text spells, white space around it aside. False: none.
static bool read_number(struct jinja_run *r, struct jinja_text t, int base, int64_t *integer, double *real) {
    char digits[80], *end;
    struct jinja_text none = {0};
    t = jinja_text_strip(r, t, none, STRIP_BOTH);
    if (t.len == 0 || t.len >= sizeof digits)
        return false;
    memcpy(digits, t.data, t.len);
    digits[t.len] = 0;
    errno = 0;
    if (integer)
        *integer = strtoll(digits, &end, base);
    else
        *real = strtod(digits, &end);
    return *end == 0 && end != digits && errno == 0 && (integer || !strpbrk(digits, "xX("));
}

FILTER(filter_int) {
    (void)args;
    struct jinja_value fallback = arg[0].type == JINJA_ABSENT ? jinja_int(0) : arg[0];
    int64_t integer, base = jinja_arg_int(r, arg[1], 10);
    double real = 0;
    if (self.type == JINJA_UNDEFINED)
        return jinja_fail_undefined(r, self);
    if (self.type == JINJA_INT || self.type == JINJA_BOOL)
        return jinja_int(jinja_as_int(self));
    if (self.type == JINJA_STRING && base >= 2 && base <= 36 &&
        read_number(r, *self.as.string, (int)base, &integer, NULL))
        return jinja_int(integer);
    if (self.type == JINJA_FLOAT)
        real = self.as.real;
    else if (self.type != JINJA_STRING || !read_number(r, *self.as.string, 10, NULL, &real))
        return fallback;
    return fabs(real) < 9e18 ? jinja_int((int64_t)real) : fallback;
}

FILTER(filter_float) {
    (void)args;
    double real;
    if (self.type == JINJA_UNDEFINED)
        return jinja_fail_undefined(r, self);
    if (jinja_is_number(self))
        return jinja_float(jinja_as_double(self));
    if (self.type == JINJA_STRING && read_number(r, *self.as.string, 10, NULL, &real))
        return jinja_float(real);
    return arg[0].type == JINJA_ABSENT ? jinja_float(0) : arg[0];
}

static struct jinja_value want_number(struct jinja_run *r, struct jinja_value v) {
    return v.type == JINJA_UNDEFINED ? jinja_fail_undefined(r, v)
                                     : jinja_fail(r, "want a number, found %s", jinja_type_name(v));
}

FILTER(filter_abs) {
    (void)arg;
    (void)args;
    if (!jinja_is_number(self))
        return want_number(r, self);
    if (self.type == JINJA_FLOAT)
        return jinja_float(fabs(self.as.real));
    return jinja_as_int(self) < 0 ? jinja_binary(r, '-', jinja_int(0), self) : jinja_int(jinja_as_int(self));
}

FILTER(filter_round) {
    (void)args;
    if (!jinja_is_number(self))
        return want_number(r, self);
    struct jinja_text how = jinja_arg_text(r, arg[1], "common");
    double x = jinja_as_double(self), scale = pow(10, (double)jinja_arg_int(r, arg[0], 0));
    double scaled = x * scale;
    if (!isfinite(scaled) || scale == 0)
        return jinja_float(x);
    if (jinja_text_is(how, "ceil"))
        scaled = ceil(scaled);
    else if (jinja_text_is(how, "floor"))
        scaled = floor(scaled);
    else if (jinja_text_is(how, "common"))
        scaled = rint(scaled);
    else
        return jinja_fail(r, "method must be common, ceil or floor");
    return jinja_float(scaled / scale);
}

// ---- items ----

FILTER(filter_list) {
    (void)arg;
    (void)args;
    struct jinja_value list = jinja_list(r);
    const struct jinja_list *items = jinja_iterate(r, self);
    for (size_t i = 0; i < items->n && !r->failed; i++)
        jinja_list_add(r, list, items->items[i]);
    return list;
}

FILTER(filter_first) {
    (void)arg;
    (void)args;
    const struct jinja_list *items = jinja_iterate(r, self);
    return items->n ? items->items[0] : jinja_undefined_of(r, "sequence", jinja_text_of("first", 5));
}

FILTER(filter_last) {
    (void)arg;
    (void)args;
    if (self.type == JINJA_LIST && self.as.list->kind == LIST_GENERATOR)
        return jinja_fail(r, "'generator' object is not reversible");
    const struct jinja_list *items = jinja_iterate(r, self);
    return items->n ? items->items[items->n - 1]
                    : jinja_undefined_of(r, "sequence", jinja_text_of("last", 4));
}

FILTER(filter_reverse) {
    (void)arg;
    (void)args;
    const struct jinja_list *items = jinja_iterate(r, self);
    struct jinja_value list = jinja_list_of(r, LIST_GENERATOR);
    struct jinja_out o;
    jinja_out_init(&o, r);
    for (size_t i = items->n; i-- > 0 && !r->failed;) {
        if (self.type == JINJA_STRING)
            jinja_print(&o, items->items[i]);
        else
            jinja_list_add(r, list, items->items[i]);
    }
    return self.type == JINJA_STRING ? jinja_out_value(&o) : list;
}

FILTER(filter_join) {
    (void)args;
    struct jinja_text by = is_given(arg[0]) ? jinja_str(r, arg[0]) : jinja_text_of("", 0);
    const struct jinja_list *items = jinja_iterate(r, self);
    struct jinja_out o;
    jinja_out_init(&o, r);
    for (size_t i = 0; i < items->n && !r->failed; i++) {
        if (i)
            jinja_out_add(&o, by);
        jinja_print(&o,
                    is_given(arg[1]) ? jinja_attribute_path(r, items->items[i], arg[1]) : items->items[i]);
    }
    return jinja_out_value(&o);
}

FILTER(filter_items) {
    (void)arg;
    (void)args;
    struct jinja_value list = jinja_list_of(r, LIST_GENERATOR);
    if (self.type == JINJA_UNDEFINED)
        return list;
    if (self.type != JINJA_DICT)
        return jinja_fail(r, "can only get item pairs from a mapping, not from %s", jinja_type_name(self));
    for (size_t i = 0; i < self.as.dict->n && !r->failed; i++)
        jinja_list_add(r, list, jinja_pair_of(r, self.as.dict->pairs[i].key, self.as.dict->pairs[i].value));
    return list;
}

FILTER(filter_sum) {
    (void)args;
    const struct jinja_list *items = jinja_iterate(r, self);
    struct jinja_value sum = arg[1].type == JINJA_ABSENT ? jinja_int(0) : arg[1];
    for (size_t i = 0; i < items->n && !r->failed; i++)
        sum = jinja_binary(r, '+', sum,
                           is_given(arg[0]) ? jinja_attribute_path(r, items->items[i], arg[0])
                                            : items->items[i]);
    return sum;
}

FILTER(filter_batch) {
    (void)args;
    int64_t n = jinja_arg_int(r, arg[0], 0);
    struct jinja_value list = jinja_list_of(r, LIST_GENERATOR), part = jinja_none();
    const struct jinja_list *items = jinja_iterate(r, self);
    if (n <= 0)
        return jinja_fail(r, "batch: want a number of items from 1 up");
    for (size_t i = 0; i < items->n && !r->failed; i++) {
        if (i % (size_t)n == 0) {
            part = jinja_list(r);
            jinja_list_add(r, list, part);
        }
        jinja_list_add(r, part, items->items[i]);
    }
    while (part.type == JINJA_LIST && is_given(arg[1]) && part.as.list->n < (size_t)n && !r->failed)
        jinja_list_add(r, part, arg[1]);
    return list;
}

// ---- order ----

// What an item is sorted or compared by: an attribute of it, and of text the lower-case form.
static struct jinja_value sort_key(struct jinja_run *r, struct jinja_value v, struct jinja_value attribute,
                                   struct jinja_value case_sensitive) {
    if (is_given(attribute))
        v = jinja_attribute_path(r, v, attribute);
    return v.type == JINJA_STRING && !jinja_truth(case_sensitive)
               ? jinja_text_case(r, *v.as.string, CASE_LOWER)
               : v;
}

// Merges two sorted halves of pairs (key, value); equal keys stay in order.
static void merge_sort(struct jinja_run *r, struct jinja_pair *items, struct jinja_pair *scratch, size_t n,
                       bool reverse) {
    if (n < 2 || r->failed)
        return;
    size_t half = n / 2, i = 0, k = half;
    merge_sort(r, items, scratch, half, reverse);
    merge_sort(r, items + half, scratch, n - half, reverse);
    for (size_t out = 0; out < n; out++) {
        int order = i < half && k < n ? jinja_compare(r, items[k].key, items[i].key, "<") : 0;
        bool right = i == half || (k < n && (reverse ? order > 0 : order < 0));
        scratch[out] = right ? items[k++] : items[i++];
    }
    memcpy(items, scratch, n * sizeof *items);
}

// The items in order of their keys.
static struct jinja_value sorted(struct jinja_run *r, struct jinja_pair *pairs, size_t n, bool reverse) {
    struct jinja_value list = jinja_list(r);
    struct jinja_pair *scratch = jinja_alloc(r, n * sizeof *scratch);
    if (scratch && pairs)
        merge_sort(r, pairs, scratch, n, reverse);
    for (size_t i = 0; i < n && !r->failed; i++)
        jinja_list_add(r, list, pairs[i].value);
    return list;
}

FILTER(filter_sort) {
    (void)args;
    const struct jinja_list *items = jinja_iterate(r, self);
    struct jinja_pair *pairs = jinja_alloc(r, items->n * sizeof *pairs);
    for (size_t i = 0; i < items->n && !r->failed; i++)
        pairs[i] = (struct jinja_pair){sort_key(r, items->items[i], arg[2], arg[1]), items->items[i]};
    return sorted(r, pairs, items->n, jinja_truth(arg[0]));
}

FILTER(filter_dictsort) {
    (void)args;
    if (self.type != JINJA_DICT)
        return jinja_fail(r, "dictsort: want a dict, found %s", jinja_type_name(self));
    const struct jinja_dict *d = self.as.dict;
    bool by_value = arg[1].type == JINJA_STRING && jinja_text_is(*arg[1].as.string, "value");
    struct jinja_pair *pairs = jinja_alloc(r, d->n * sizeof *pairs);
    for (size_t i = 0; i < d->n && !r->failed; i++) {
        struct jinja_value by = by_value ? d->pairs[i].value : d->pairs[i].key;
        pairs[i].key = sort_key(r, by, jinja_none(), arg[0]);
        pairs[i].value = jinja_pair_of(r, d->pairs[i].key, d->pairs[i].value);
    }
    return sorted(r, pairs, d->n, jinja_truth(arg[2]));
}

static struct jinja_value extreme(struct jinja_run *r, struct jinja_value self, const struct jinja_value *arg,
                                  bool largest) {
    const struct jinja_list *items = jinja_iterate(r, self);
    if (items->n == 0)
        return jinja_undefined_of(r, "sequence", jinja_text_of("item", 4));
    size_t best = 0;
    struct jinja_value best_key = sort_key(r, items->items[0], arg[1], arg[0]);
    for (size_t i = 1; i < items->n && !r->failed; i++) {
        struct jinja_value key = sort_key(r, items->items[i], arg[1], arg[0]);
        int order = jinja_compare(r, key, best_key, largest ? ">" : "<");
        if (largest ? order > 0 : order < 0) {
            best = i;
            best_key = key;
        }
    }
    return items->items[best];
}

FILTER(filter_min) {
    (void)args;
    return extreme(r, self, arg, false);
}

FILTER(filter_max) {
    (void)args;
    return extreme(r, self, arg, true);
}

FILTER(filter_unique) {
    (void)args;
    const struct jinja_list *items = jinja_iterate(r, self);
    struct jinja_value seen = jinja_list(r), list = jinja_list_of(r, LIST_GENERATOR);
    for (size_t i = 0; i < items->n && !r->failed; i++) {
        struct jinja_value key = sort_key(r, items->items[i], arg[1], arg[0]);
        if (r->failed || jinja_contains(r, seen, key))
            continue;
        jinja_list_add(r, seen, key);
        jinja_list_add(r, list, items->items[i]);
    }
    return list;
}

// ---- filters of filters and tests ----

// These filters take any false value for no items.
static const struct jinja_list *items_of(struct jinja_run *r, struct jinja_value v) {
    return jinja_iterate(r, jinja_truth(v) ? v : (struct jinja_value){.type = JINJA_UNDEFINED});
}

// The arguments behind the first `n`.
static struct jinja_args args_behind(const struct jinja_args *args, size_t n) {
    struct jinja_args rest = *args;
    size_t skip = n < args->n ? n : args->n;
    rest.items = args->n > skip ? args->items + skip : NULL;
    rest.n -= skip;
    return rest;
}

static const struct jinja_value *named_arg(const struct jinja_args *args, const char *name) {
    for (size_t i = 0; i < args->n_named; i++)
        if (jinja_text_is(args->named[i].name, name))
            return &args->named[i].value;
    return NULL;
}

FILTER(filter_map) {
    (void)arg;
    const struct jinja_value *attribute = named_arg(args, "attribute"),
                             *fallback = named_arg(args, "default");
    const struct jinja_list *items = items_of(r, self);
    struct jinja_value list = jinja_list_of(r, LIST_GENERATOR);
    struct jinja_args rest = args_behind(args, 1);
    struct jinja_text name = {0};
    if (!attribute)
        name = jinja_arg_text(r, args->n ? args->items[0] : jinja_none(), NULL);
    for (size_t i = 0; i < items->n && !r->failed; i++) {
        struct jinja_value v;
        if (attribute) {
            v = jinja_attribute_path(r, items->items[i], *attribute);
            if (v.type == JINJA_UNDEFINED && fallback)
                v = *fallback;
        } else {
            v = jinja_filter(r, name, items->items[i], &rest);
        }
        jinja_list_add(r, list, v);
    }
    return list;
}

// Items for which a test (or their own truth) holds, or does not; of an attribute of them or of themselves.
static struct jinja_value choose(struct jinja_run *r, struct jinja_value self, const struct jinja_args *args,
                                 bool by_attribute, bool keep) {
    const struct jinja_list *items = items_of(r, self);
    struct jinja_value list = jinja_list_of(r, LIST_GENERATOR);
    if (by_attribute && args->n == 0)
        return jinja_fail(r, "want the name of an attribute");
    struct jinja_args rest = args_behind(args, by_attribute ? 1 : 0), test_args = args_behind(&rest, 1);
    struct jinja_text test = {0};
    if (rest.n)
        test = jinja_arg_text(r, rest.items[0], NULL);
    for (size_t i = 0; i < items->n && !r->failed; i++) {
        struct jinja_value v = items->items[i];
        if (by_attribute)
            v = jinja_attribute_path(r, v, args->items[0]);
        bool holds = r->failed || (rest.n ? jinja_test(r, test, v, &test_args) : jinja_truth(v));
        if (holds == keep)
            jinja_list_add(r, list, items->items[i]);
    }
    return list;
}

FILTER(filter_select) {
    (void)arg;
    return choose(r, self, args, false, true);
}

FILTER(filter_reject) {
    (void)arg;
    return choose(r, self, args, false, false);
}

FILTER(filter_selectattr) {
    (void)arg;
    return choose(r, self, args, true, true);
}

FILTER(filter_rejectattr) {
    (void)arg;
    return choose(r, self, args, true, false);
}

FILTER(filter_groupby) {
    (void)args;
    struct jinja_value groups = jinja_list(r), group = jinja_none(), key = jinja_none();
    struct jinja_value sort_args[3] = {jinja_none(), arg[2], arg[0]};
    struct jinja_value list = filter_sort(r, self, sort_args, args);
    for (size_t i = 0; !r->failed && i < list.as.list->n; i++) {
        struct jinja_value next = jinja_attribute_path(r, list.as.list->items[i], arg[0]);
        if (i == 0 || !jinja_equal(r, next, key)) {
            group = jinja_list(r);
            jinja_list_add(r, groups, jinja_pair_of(r, next, group));
            key = next;
        }
        jinja_list_add(r, group, list.as.list->items[i]);
    }
    return groups;
}

const struct jinja_builtin jinja_filters[] = {
    {"abs", "", filter_abs},
    {"batch", "linecount,fill_with", filter_batch},
    {"capitalize", "", filter_capitalize},
    {"count", "", filter_length},
    {"d", "default_value,boolean", filter_default},
    {"default", "default_value,boolean", filter_default},
    {"dictsort", "case_sensitive,by,reverse", filter_dictsort},
    {"e", "", filter_escape},
    {"escape", "", filter_escape},
    {"first", "", filter_first},
    {"float", "default", filter_float},
    {"groupby", "attribute,default,case_sensitive", filter_groupby},
    {"indent", "width,first,blank", filter_indent},
    {"int", "default,base", filter_int},
    {"items", "", filter_items},
    {"join", "d,attribute", filter_join},
    {"last", "", filter_last},
    {"length", "", filter_length},
    {"list", "", filter_list},
    {"lower", "", filter_lower},
    {"map", NULL, filter_map},
    {"max", "case_sensitive,attribute", filter_max},
    {"min", "case_sensitive,attribute", filter_min},
    {"reject", NULL, filter_reject},
    {"rejectattr", NULL, filter_rejectattr},
    {"replace", "old,new,count", filter_replace},
    {"reverse", "", filter_reverse},
    {"round", "precision,method", filter_round},
    {"safe", "", filter_safe},
    {"select", NULL, filter_select},
    {"selectattr", NULL, filter_selectattr},
    {"sort", "reverse,case_sensitive,attribute", filter_sort},
    {"string", "", filter_string},
    {"sum", "attribute,start", filter_sum},
    {"title", "", filter_title},
    {"tojson", "ensure_ascii,indent,separators,sort_keys", filter_tojson},
    {"trim", "chars", filter_trim},
    {"unique", "case_sensitive,attribute", filter_unique},
    {"upper", "", filter_upper},
    {0},
};

struct jinja_value jinja_filter(struct jinja_run *r, struct jinja_text name, struct jinja_value v,
                                const struct jinja_args *args) {
    const struct jinja_builtin *b = jinja_builtin_find(jinja_filters, name);
    if (!b)
        return jinja_fail(r, "no filter named '%.*s'", (int)(name.len < 60 ? name.len : 60), name.data);
    if (!jinja_enter(r)) // map of map of map
        return jinja_none();
    struct jinja_value out = jinja_builtin_call(r, b, v, args);
    r->depth--;
    return out;
}
