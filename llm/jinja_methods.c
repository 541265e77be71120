// Methods of strings, lists, dicts and loops, as Python has them. Those that would change their object are
// listed without a function: the sandbox refuses them.
#include "llm/jinja_value.h"

#include <string.h>

#define METHOD(name)                                                                                         \
    static struct jinja_value name(struct jinja_run *r, struct jinja_value self,                             \
                                   const struct jinja_value *arg, const struct jinja_args *args)

static struct jinja_value part_value(struct jinja_run *r, struct jinja_text t, size_t from, size_t to) {
    return jinja_text_value(r, jinja_text_part(t, from, to));
}

// ---- strings: sides ----

static struct jinja_value strip(struct jinja_run *r, struct jinja_value self, struct jinja_value set,
                                int sides) {
    struct jinja_text none = {0};
    bool blank = set.type == JINJA_ABSENT || set.type == JINJA_NONE;
    return jinja_text_value(
        r, jinja_text_strip(r, *self.as.string, blank ? none : jinja_arg_text(r, set, NULL), sides));
}

METHOD(string_strip) {
    (void)args;
    return strip(r, self, arg[0], STRIP_BOTH);
}

METHOD(string_lstrip) {
    (void)args;
    return strip(r, self, arg[0], STRIP_LEFT);
}

METHOD(string_rstrip) {
    (void)args;
    return strip(r, self, arg[0], STRIP_RIGHT);
}

static bool has_side(struct jinja_text t, struct jinja_text part, int side) {
    return part.len <= t.len &&
           jinja_text_equal(side == STRIP_LEFT ? jinja_text_part(t, 0, part.len)
                                               : jinja_text_part(t, t.len - part.len, t.len),
                            part);
}

// With one string, or a tuple of which one is enough.
static struct jinja_value side_is(struct jinja_run *r, struct jinja_value self, struct jinja_value with,
                                  int side) {
    struct jinja_text t = *self.as.string;
    if (with.type != JINJA_LIST || with.as.list->kind != LIST_TUPLE)
        return jinja_bool(has_side(t, jinja_arg_text(r, with, NULL), side));
    for (size_t i = 0; i < with.as.list->n; i++)
        if (has_side(t, jinja_arg_text(r, with.as.list->items[i], NULL), side))
            return jinja_bool(true);
    return jinja_bool(false);
}

METHOD(string_startswith) {
    (void)args;
    return side_is(r, self, arg[0], STRIP_LEFT);
}

METHOD(string_endswith) {
    (void)args;
    return side_is(r, self, arg[0], STRIP_RIGHT);
}

METHOD(string_removeprefix) {
    (void)args;
    struct jinja_text t = *self.as.string, part = jinja_arg_text(r, arg[0], NULL);
    return part_value(r, t, has_side(t, part, STRIP_LEFT) ? part.len : 0, t.len);
}

METHOD(string_removesuffix) {
    (void)args;
    struct jinja_text t = *self.as.string, part = jinja_arg_text(r, arg[0], NULL);
    return part_value(r, t, 0, t.len - (has_side(t, part, STRIP_RIGHT) ? part.len : 0));
}

// ---- strings: split ----

static bool is_space_at(struct jinja_text t, size_t at) {
    uint32_t c;
    jinja_char_len(t, at, &c);
    return jinja_char_is_space(c);
}

// Words between white space; what is left after n_max cuts stays whole.
static struct jinja_value split_words(struct jinja_run *r, struct jinja_text t, int64_t n_max) {
    struct jinja_value list = jinja_list(r);
    struct jinja_text none = {0};
    t = jinja_text_strip(r, t, none, STRIP_LEFT);
    while (t.len > 0 && !r->failed) {
        size_t end = n_max-- == 0 ? t.len : 0;
        while (end < t.len && !is_space_at(t, end))
            end += jinja_char_len(t, end, NULL);
        jinja_charge(r, end / 64);
        jinja_list_add(r, list, part_value(r, t, 0, end));
        t = jinja_text_strip(r, jinja_text_part(t, end, t.len), none, STRIP_LEFT);
    }
    return list;
}

static void reverse_items(struct jinja_value list) {
    struct jinja_list *l = list.as.list;
    for (size_t i = 0; i < l->n / 2; i++) {
        struct jinja_value swap = l->items[i];
        l->items[i] = l->items[l->n - 1 - i];
        l->items[l->n - 1 - i] = swap;
    }
}

static struct jinja_value split_words_last(struct jinja_run *r, struct jinja_text t, int64_t n_max) {
    struct jinja_value list = jinja_list(r);
    struct jinja_text none = {0};
    t = jinja_text_strip(r, t, none, STRIP_RIGHT);
    while (t.len > 0 && !r->failed) {
        size_t begin = n_max-- == 0 ? 0 : t.len;
        while (begin > 0) {
            size_t at = begin - 1;
            while (at > 0 && ((unsigned char)t.data[at] & 0xC0) == 0x80)
                at--;
            if (is_space_at(t, at))
                break;
            begin = at;
        }
        jinja_charge(r, (t.len - begin) / 64);
        jinja_list_add(r, list, part_value(r, t, begin, t.len));
        t = jinja_text_strip(r, jinja_text_part(t, 0, begin), none, STRIP_RIGHT);
    }
    if (list.type == JINJA_LIST)
        reverse_items(list);
    return list;
}

METHOD(string_split) {
    (void)args;
    struct jinja_text t = *self.as.string;
    int64_t n_max = jinja_arg_int(r, arg[1], -1);
    if (arg[0].type == JINJA_ABSENT || arg[0].type == JINJA_NONE)
        return split_words(r, t, n_max);
    struct jinja_text by = jinja_arg_text(r, arg[0], NULL);
    struct jinja_value list = jinja_list(r);
    size_t from = 0;
    if (by.len == 0)
        return jinja_fail(r, "empty separator");
    while (n_max-- != 0 && !r->failed) {
        size_t at = jinja_text_find(r, t, by, from);
        if (at == SIZE_MAX)
            break;
        jinja_list_add(r, list, part_value(r, t, from, at));
        from = at + by.len;
    }
    jinja_list_add(r, list, part_value(r, t, from, t.len));
    return list;
}

METHOD(string_rsplit) {
    (void)args;
    struct jinja_text t = *self.as.string;
    int64_t n_max = jinja_arg_int(r, arg[1], -1);
    if (arg[0].type == JINJA_ABSENT || arg[0].type == JINJA_NONE)
        return split_words_last(r, t, n_max);
    struct jinja_text by = jinja_arg_text(r, arg[0], NULL);
    struct jinja_value list = jinja_list(r);
    if (by.len == 0)
        return jinja_fail(r, "empty separator");
    while (n_max-- != 0 && !r->failed) {
        size_t at = jinja_text_find_last(r, t, by);
        if (at == SIZE_MAX)
            break;
        jinja_list_add(r, list, part_value(r, t, at + by.len, t.len));
        t = jinja_text_part(t, 0, at);
    }
    jinja_list_add(r, list, jinja_text_value(r, t));
    if (!r->failed)
        reverse_items(list);
    return list;
}

METHOD(string_splitlines) {
    (void)args;
    struct jinja_text t = *self.as.string;
    struct jinja_value list = jinja_list(r);
    bool keep = jinja_truth(arg[0]);
    for (size_t from = 0, at = 0; from < t.len && !r->failed; from = at) {
        while (at < t.len && t.data[at] != '\n' && t.data[at] != '\r')
            at++;
        size_t end = at;
        if (at < t.len)
            at += 1 + (t.data[at] == '\r' && at + 1 < t.len && t.data[at + 1] == '\n');
        jinja_charge(r, (at - from) / 64);
        jinja_list_add(r, list, part_value(r, t, from, keep ? at : end));
    }
    return list;
}

// Before, the separator, behind; of the first place or the last.
static struct jinja_value partition(struct jinja_run *r, struct jinja_text t, struct jinja_text by,
                                    bool last) {
    size_t at = last ? jinja_text_find_last(r, t, by) : jinja_text_find(r, t, by, 0);
    struct jinja_value list = jinja_list_of(r, LIST_TUPLE);
    if (by.len == 0)
        return jinja_fail(r, "empty separator");
    bool found = at != SIZE_MAX;
    size_t begin = found ? at : last ? 0 : t.len, end = found ? at + by.len : begin;
    jinja_list_add(r, list, part_value(r, t, 0, begin));
    jinja_list_add(r, list, part_value(r, t, begin, end));
    jinja_list_add(r, list, part_value(r, t, end, t.len));
    return list;
}

METHOD(string_partition) {
    (void)args;
    return partition(r, *self.as.string, jinja_arg_text(r, arg[0], NULL), false);
}

METHOD(string_rpartition) {
    (void)args;
    return partition(r, *self.as.string, jinja_arg_text(r, arg[0], NULL), true);
}

// ---- strings: search ----

static struct jinja_value find(struct jinja_run *r, struct jinja_value self, struct jinja_value part,
                               bool last, bool must) {
    struct jinja_text t = *self.as.string, what = jinja_arg_text(r, part, NULL);
    size_t at = last ? jinja_text_find_last(r, t, what) : jinja_text_find(r, t, what, 0);
    if (at == SIZE_MAX)
        return must ? jinja_fail(r, "substring not found") : jinja_int(-1);
    return jinja_int((int64_t)jinja_text_n_chars(r, jinja_text_part(t, 0, at)));
}

METHOD(string_find) {
    (void)args;
    return find(r, self, arg[0], false, false);
}

METHOD(string_rfind) {
    (void)args;
    return find(r, self, arg[0], true, false);
}

METHOD(string_index) {
    (void)args;
    return find(r, self, arg[0], false, true);
}

METHOD(string_rindex) {
    (void)args;
    return find(r, self, arg[0], true, true);
}

METHOD(string_count) {
    (void)args;
    struct jinja_text t = *self.as.string, part = jinja_arg_text(r, arg[0], NULL);
    int64_t n = 0;
    if (part.len == 0)
        return jinja_int((int64_t)jinja_text_n_chars(r, t) + 1);
    for (size_t at = 0; !r->failed && (at = jinja_text_find(r, t, part, at)) != SIZE_MAX; at += part.len)
        n++;
    return jinja_int(n);
}

METHOD(string_replace) {
    (void)args;
    struct jinja_text t = *self.as.string, old = jinja_arg_text(r, arg[0], NULL);
    struct jinja_text new = jinja_arg_text(r, arg[1], NULL);
    int64_t n_max = arg[2].type == JINJA_NONE ? -1 : jinja_arg_int(r, arg[2], -1);
    struct jinja_out o;
    jinja_out_init(&o, r);
    size_t from = 0, at = 0;
    while (n_max-- != 0 && !r->failed) {
        at = jinja_text_find(r, t, old, at);
        if (at == SIZE_MAX)
            break;
        jinja_out_add(&o, jinja_text_part(t, from, at));
        jinja_out_add(&o, new);
        from = at + old.len;
        at = from;
        if (old.len == 0) // between all characters
            at += at < t.len ? jinja_char_len(t, at, NULL) : 1;
        jinja_charge(r, 1);
    }
    jinja_out_add(&o, jinja_text_part(t, from, t.len));
    return jinja_out_value(&o);
}

METHOD(string_join) {
    (void)args;
    struct jinja_out o;
    jinja_out_init(&o, r);
    const struct jinja_list *items = jinja_iterate(r, arg[0]);
    for (size_t i = 0; i < items->n && !r->failed; i++) {
        if (items->items[i].type != JINJA_STRING)
            return jinja_fail(r, "sequence item %zu: expected str instance, %s found", i,
                              jinja_type_name(items->items[i]));
        if (i)
            jinja_out_add(&o, *self.as.string);
        jinja_out_add(&o, *items->items[i].as.string);
    }
    return jinja_out_value(&o);
}

// ---- strings: letters ----

METHOD(string_lower) {
    (void)arg;
    (void)args;
    return jinja_text_case(r, *self.as.string, CASE_LOWER);
}

METHOD(string_upper) {
    (void)arg;
    (void)args;
    return jinja_text_case(r, *self.as.string, CASE_UPPER);
}

METHOD(string_capitalize) {
    (void)arg;
    (void)args;
    return jinja_text_case(r, *self.as.string, CASE_CAPITAL);
}

METHOD(string_title) {
    (void)arg;
    (void)args;
    return jinja_text_case(r, *self.as.string, CASE_TITLE);
}

enum class { CLASS_DIGIT, CLASS_LETTER, CLASS_EITHER, CLASS_SPACE };

static bool is_of_class(uint32_t c, enum class k) {
    bool digit = c >= '0' && c <= '9';
    bool letter = c >= 0x80 ? !jinja_char_is_space(c) && (c < 0x2000 || c > 0x2BFF) && c >= 0xAA
                            : (c | 32) >= 'a' && (c | 32) <= 'z';
    switch (k) {
    case CLASS_DIGIT:
        return digit;
    case CLASS_LETTER:
        return letter;
    case CLASS_EITHER:
        return digit || letter;
    case CLASS_SPACE:
        break;
    }
    return jinja_char_is_space(c);
}

static struct jinja_value is_all(struct jinja_run *r, struct jinja_text t, enum class k) {
    jinja_charge(r, t.len / 64);
    for (size_t at = 0, n; at < t.len; at += n) {
        uint32_t c;
        n = jinja_char_len(t, at, &c);
        if (!is_of_class(c, k))
            return jinja_bool(false);
    }
    return jinja_bool(t.len > 0);
}

METHOD(string_isdigit) {
    (void)arg;
    (void)args;
    return is_all(r, *self.as.string, CLASS_DIGIT);
}

METHOD(string_isalpha) {
    (void)arg;
    (void)args;
    return is_all(r, *self.as.string, CLASS_LETTER);
}

METHOD(string_isalnum) {
    (void)arg;
    (void)args;
    return is_all(r, *self.as.string, CLASS_EITHER);
}

METHOD(string_isspace) {
    (void)arg;
    (void)args;
    return is_all(r, *self.as.string, CLASS_SPACE);
}

// Letters there are, and all of this case.
static struct jinja_value is_case(struct jinja_run *r, struct jinja_text t, bool upper) {
    bool any = false;
    jinja_charge(r, t.len / 64);
    for (size_t at = 0, n; at < t.len; at += n) {
        uint32_t c;
        n = jinja_char_len(t, at, &c);
        bool is_upper = jinja_char_lower(c) != c, is_lower = jinja_char_upper(c) != c;
        if (upper ? is_lower : is_upper)
            return jinja_bool(false);
        any = any || is_upper || is_lower;
    }
    return jinja_bool(any);
}

METHOD(string_isupper) {
    (void)arg;
    (void)args;
    return is_case(r, *self.as.string, true);
}

METHOD(string_islower) {
    (void)arg;
    (void)args;
    return is_case(r, *self.as.string, false);
}

const struct jinja_builtin jinja_string_methods[] = {
    {"strip", "chars", string_strip},
    {"lstrip", "chars", string_lstrip},
    {"rstrip", "chars", string_rstrip},
    {"split", "sep,maxsplit", string_split},
    {"rsplit", "sep,maxsplit", string_rsplit},
    {"splitlines", "keepends", string_splitlines},
    {"partition", "sep", string_partition},
    {"rpartition", "sep", string_rpartition},
    {"startswith", "prefix", string_startswith},
    {"endswith", "suffix", string_endswith},
    {"removeprefix", "prefix", string_removeprefix},
    {"removesuffix", "suffix", string_removesuffix},
    {"replace", "old,new,count", string_replace},
    {"find", "sub", string_find},
    {"rfind", "sub", string_rfind},
    {"index", "sub", string_index},
    {"rindex", "sub", string_rindex},
    {"count", "sub", string_count},
    {"join", "iterable", string_join},
    {"lower", "", string_lower},
    {"upper", "", string_upper},
    {"capitalize", "", string_capitalize},
    {"title", "", string_title},
    {"isdigit", "", string_isdigit},
    {"isdecimal", "", string_isdigit},
    {"isnumeric", "", string_isdigit},
    {"isalpha", "", string_isalpha},
    {"isalnum", "", string_isalnum},
    {"isspace", "", string_isspace},
    {"isupper", "", string_isupper},
    {"islower", "", string_islower},
    {0},
};

// ---- lists ----

METHOD(list_index) {
    (void)args;
    for (size_t i = 0; i < self.as.list->n && !r->failed; i++)
        if (jinja_equal(r, self.as.list->items[i], arg[0]))
            return jinja_int((int64_t)i);
    return jinja_fail(r, "the value is not in list");
}

METHOD(list_count) {
    (void)args;
    int64_t n = 0;
    for (size_t i = 0; i < self.as.list->n && !r->failed; i++)
        n += jinja_equal(r, self.as.list->items[i], arg[0]);
    return jinja_int(n);
}

METHOD(list_copy) {
    (void)arg;
    (void)args;
    (void)r;
    return self; // nothing changes a list
}

const struct jinja_builtin jinja_list_methods[] = {
    {"index", "value", list_index},
    {"count", "value", list_count},
    {"copy", "", list_copy},
    {"append", NULL, NULL},
    {"extend", NULL, NULL},
    {"insert", NULL, NULL},
    {"pop", NULL, NULL},
    {"remove", NULL, NULL},
    {"clear", NULL, NULL},
    {"sort", NULL, NULL},
    {"reverse", NULL, NULL},
    {0},
};

// ---- dicts ----

METHOD(dict_get) {
    (void)args;
    if (arg[0].type == JINJA_ABSENT)
        return jinja_fail(r, "get expected at least 1 argument, got 0");
    const struct jinja_value *found = jinja_dict_find(r, self.as.dict, arg[0]);
    return found ? *found : arg[1].type == JINJA_ABSENT ? jinja_none() : arg[1];
}

METHOD(dict_items) {
    (void)arg;
    (void)args;
    struct jinja_value list = jinja_list_of(r, LIST_VIEW);
    for (size_t i = 0; i < self.as.dict->n && !r->failed; i++)
        jinja_list_add(r, list, jinja_pair_of(r, self.as.dict->pairs[i].key, self.as.dict->pairs[i].value));
    return list;
}

METHOD(dict_keys) {
    (void)arg;
    (void)args;
    struct jinja_value list = jinja_list_of(r, LIST_VIEW);
    for (size_t i = 0; i < self.as.dict->n && !r->failed; i++)
        jinja_list_add(r, list, self.as.dict->pairs[i].key);
    return list;
}

METHOD(dict_values) {
    (void)arg;
    (void)args;
    struct jinja_value list = jinja_list_of(r, LIST_VIEW);
    for (size_t i = 0; i < self.as.dict->n && !r->failed; i++)
        jinja_list_add(r, list, self.as.dict->pairs[i].value);
    return list;
}

METHOD(dict_copy) {
    (void)arg;
    (void)args;
    (void)r;
    return self;
}

const struct jinja_builtin jinja_dict_methods[] = {
    {"get", "key,default", dict_get}, {"items", "", dict_items},
    {"keys", "", dict_keys},          {"values", "", dict_values},
    {"copy", "", dict_copy},          {"pop", NULL, NULL},
    {"popitem", NULL, NULL},          {"update", NULL, NULL},
    {"setdefault", NULL, NULL},       {"clear", NULL, NULL},
    {"fromkeys", NULL, NULL},         {0},
};

// ---- loops ----

METHOD(loop_cycle) {
    (void)arg;
    if (args->n == 0)
        return jinja_fail(r, "no items for cycling given");
    return args->items[self.as.loop->i % args->n];
}

METHOD(loop_changed) {
    (void)arg;
    struct jinja_value now = jinja_list_of(r, LIST_TUPLE);
    for (size_t i = 0; i < args->n; i++)
        jinja_list_add(r, now, args->items[i]);
    bool same = self.as.loop->changed.type != JINJA_ABSENT && jinja_equal(r, self.as.loop->changed, now);
    self.as.loop->changed = now;
    return jinja_bool(!same);
}

const struct jinja_builtin jinja_loop_methods[] = {
    {"cycle", NULL, loop_cycle},
    {"changed", NULL, loop_changed},
    {0},
};
