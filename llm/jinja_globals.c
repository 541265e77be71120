// Tests ("value is name") and the functions every template has.
#include "llm/jinja_value.h"

#include <string.h>

#define FUNCTION(name)                                                                                       \
    static struct jinja_value name(struct jinja_run *r, struct jinja_value self,                             \
                                   const struct jinja_value *arg, const struct jinja_args *args)

// ---- tests of a type ----

#define TEST(name, condition)                                                                                \
    FUNCTION(name) {                                                                                         \
        (void)r;                                                                                             \
        (void)self;                                                                                          \
        (void)arg;                                                                                           \
        (void)args;                                                                                          \
        return jinja_bool(condition);                                                                        \
    }

static bool is_bool(struct jinja_value v, bool truth) {
    return v.type == JINJA_BOOL && v.as.truth == truth;
}

static bool is_sequence(struct jinja_value v) {
    return v.type == JINJA_STRING || v.type == JINJA_DICT ||
           (v.type == JINJA_LIST && v.as.list->kind <= LIST_RANGE);
}

TEST(test_defined, self.type != JINJA_UNDEFINED)
TEST(test_undefined, self.type == JINJA_UNDEFINED)
TEST(test_none, self.type == JINJA_NONE)
TEST(test_boolean, self.type == JINJA_BOOL)
TEST(test_true, is_bool(self, true))
TEST(test_false, is_bool(self, false))
TEST(test_integer, self.type == JINJA_INT)
TEST(test_float, self.type == JINJA_FLOAT)
TEST(test_number, jinja_is_number(self))
TEST(test_string, self.type == JINJA_STRING)
TEST(test_mapping, self.type == JINJA_DICT)
TEST(test_sequence, is_sequence(self))
TEST(test_iterable, is_sequence(self) || self.type == JINJA_LIST || self.type == JINJA_UNDEFINED)
TEST(test_callable, self.type == JINJA_MACRO || self.type == JINJA_FUNCTION || self.type == JINJA_LOOP)
TEST(test_filter, self.type == JINJA_STRING && jinja_builtin_find(jinja_filters, *self.as.string))
TEST(test_test, self.type == JINJA_STRING && jinja_builtin_find(jinja_tests, *self.as.string))
TEST(test_escaped, false)

// ---- tests of a value ----

static bool has_case(struct jinja_run *r, struct jinja_value v, enum jinja_case how) {
    struct jinja_text t = jinja_str(r, v);
    struct jinja_value changed = jinja_text_case(r, t, how);
    struct jinja_value other = jinja_text_case(r, t, how == CASE_LOWER ? CASE_UPPER : CASE_LOWER);
    return !r->failed && jinja_text_equal(t, *changed.as.string) && !jinja_text_equal(t, *other.as.string);
}

TEST(test_lower, has_case(r, self, CASE_LOWER))
TEST(test_upper, has_case(r, self, CASE_UPPER))
TEST(test_eq, jinja_equal(r, self, arg[0]))
TEST(test_ne, !jinja_equal(r, self, arg[0]))
TEST(test_lt, jinja_compare(r, self, arg[0], "<") < 0)
TEST(test_le, jinja_compare(r, self, arg[0], "<=") <= 0)
TEST(test_gt, jinja_compare(r, self, arg[0], ">") > 0)
TEST(test_ge, jinja_compare(r, self, arg[0], ">=") >= 0)
TEST(test_in, jinja_contains(r, arg[0], self))
TEST(test_sameas, self.type == arg[0].type &&
                      (self.type == JINJA_LIST || self.type == JINJA_DICT ? self.as.list == arg[0].as.list
                                                                          : jinja_equal(r, self, arg[0])))

static bool remainder_is(struct jinja_run *r, struct jinja_value v, struct jinja_value divisor,
                         int64_t want) {
    struct jinja_value rest = jinja_binary(r, '%', v, divisor);
    return !r->failed && jinja_equal(r, rest, jinja_int(want));
}

TEST(test_odd, remainder_is(r, self, jinja_int(2), 1))
TEST(test_even, remainder_is(r, self, jinja_int(2), 0))
TEST(test_divisibleby, remainder_is(r, self, arg[0], 0))

const struct jinja_builtin jinja_tests[] = {
    {"boolean", "", test_boolean},     {"callable", "", test_callable},
    {"defined", "", test_defined},     {"divisibleby", "num", test_divisibleby},
    {"eq", "other", test_eq},          {"equalto", "other", test_eq},
    {"==", "other", test_eq},          {"escaped", "", test_escaped},
    {"even", "", test_even},           {"false", "", test_false},
    {"filter", "", test_filter},       {"float", "", test_float},
    {"ge", "other", test_ge},          {">=", "other", test_ge},
    {"greaterthan", "other", test_gt}, {"gt", "other", test_gt},
    {">", "other", test_gt},           {"in", "seq", test_in},
    {"integer", "", test_integer},     {"iterable", "", test_iterable},
    {"le", "other", test_le},          {"<=", "other", test_le},
    {"lessthan", "other", test_lt},    {"lower", "", test_lower},
    {"lt", "other", test_lt},          {"<", "other", test_lt},
    {"mapping", "", test_mapping},     {"ne", "other", test_ne},
    {"!=", "other", test_ne},          {"none", "", test_none},
    {"number", "", test_number},       {"odd", "", test_odd},
    {"sameas", "other", test_sameas},  {"sequence", "", test_sequence},
    {"string", "", test_string},       {"test", "", test_test},
    {"true", "", test_true},           {"undefined", "", test_undefined},
    {"upper", "", test_upper},         {0},
};

bool jinja_test(struct jinja_run *r, struct jinja_text name, struct jinja_value v,
                const struct jinja_args *args) {
    const struct jinja_builtin *b = jinja_builtin_find(jinja_tests, name);
    if (!b) {
        jinja_fail(r, "no test named '%.*s'", (int)(name.len < 60 ? name.len : 60), name.data);
        return false;
    }
    if (b->params && *b->params && args->n + args->n_named == 0) {
        jinja_fail(r, "test '%s' wants an argument", b->name);
        return false;
    }
    struct jinja_value out = jinja_builtin_call(r, b, v, args);
    return !r->failed && jinja_truth(out);
}

// ---- functions ----

FUNCTION(global_range) {
    (void)self;
    (void)args;
    int64_t first = jinja_arg_int(r, arg[0], 0), stop = jinja_arg_int(r, arg[1], 0);
    int64_t step = jinja_arg_int(r, arg[2], 1);
    struct jinja_value list = jinja_list_of(r, LIST_RANGE);
    if (arg[0].type == JINJA_ABSENT)
        return jinja_fail(r, "range: want a number");
    if (arg[1].type == JINJA_ABSENT) {
        stop = first;
        first = 0;
    }
    if (step == 0)
        return jinja_fail(r, "range: the step must not be zero");
    for (int64_t i = first; (step > 0 ? i < stop : i > stop) && !r->failed;) {
        jinja_list_add(r, list, jinja_int(i));
        if (__builtin_add_overflow(i, step, &i))
            break;
    }
    return list;
}

// The named arguments as a dict, on top of a dict or a list of pairs given first.
static struct jinja_value dict_of_args(struct jinja_run *r, const struct jinja_args *args) {
    struct jinja_value dict = jinja_dict(r);
    if (args->n > 1)
        return jinja_fail(r, "want at most one value beside those with names, found %zu", args->n);
    if (args->n == 1 && args->items[0].type == JINJA_DICT) {
        const struct jinja_dict *from = args->items[0].as.dict;
        for (size_t i = 0; i < from->n && !r->failed; i++)
            jinja_dict_put(r, dict.as.dict, from->pairs[i].key, from->pairs[i].value);
    } else if (args->n == 1) {
        const struct jinja_list *pairs = jinja_iterate(r, args->items[0]);
        for (size_t i = 0; i < pairs->n && !r->failed; i++) {
            const struct jinja_list *pair = jinja_iterate(r, pairs->items[i]);
            if (pair->n != 2)
                return jinja_fail(r, "want pairs to make a dict of, item %zu is none", i);
            jinja_dict_put(r, dict.as.dict, pair->items[0], pair->items[1]);
        }
    }
    for (size_t i = 0; i < args->n_named && !r->failed; i++)
        jinja_dict_put(r, dict.as.dict, jinja_text_value(r, args->named[i].name), args->named[i].value);
    return dict;
}

FUNCTION(global_dict) {
    (void)self;
    (void)arg;
    return dict_of_args(r, args);
}

FUNCTION(global_namespace) {
    (void)self;
    (void)arg;
    struct jinja_value space = dict_of_args(r, args);
    if (!r->failed)
        space.type = JINJA_NAMESPACE;
    return space;
}

FUNCTION(global_raise_exception) {
    (void)self;
    (void)args;
    struct jinja_text t = jinja_str(r, arg[0]);
    if (!r->failed) {
        struct jinja_value failed = jinja_fail(r, "%.*s", (int)(t.len < 200 ? t.len : 200), t.data);
        r->err.code = ERR_INVALID_VALUE;
        return failed;
    }
    return jinja_none();
}

// One conversion at a time: strftime's own widths and flags could ask for any amount of text.
FUNCTION(global_strftime_now) {
    (void)self;
    (void)args;
    struct jinja_text format = jinja_arg_text(r, arg[0], NULL);
    struct jinja_out o;
    jinja_out_init(&o, r);
    for (size_t i = 0; i < format.len && !r->failed; i++) {
        char one[] = {'%', i + 1 < format.len ? format.data[i + 1] : 0, 0}, text[64];
        if (format.data[i] != '%' || !one[1] || !strchr("aAbBcdDeFHIjmMpSTuUVwWxXyYZz%", one[1])) {
            jinja_out_add(&o, jinja_text_part(format, i, i + 1));
            continue;
        }
        size_t n = strftime(text, sizeof text, one, &r->now);
        jinja_out_add(&o, jinja_text_of(text, n));
        i++;
    }
    return jinja_out_value(&o);
}

const struct jinja_builtin jinja_globals[] = {
    {"dict", NULL, global_dict},
    {"namespace", NULL, global_namespace},
    {"raise_exception", "message", global_raise_exception},
    {"range", "start,stop,step", global_range},
    {"strftime_now", "format", global_strftime_now},
    {0},
};
