// What the files of the interpreter share of values: memory, construction, Python's rules.
//
// Failure is kept in the run (jinja_fail): the first error wins, every function then returns an undefined
// value or nothing, and loops ask r->failed.
#ifndef LLM_JINJA_VALUE_H
#define LLM_JINJA_VALUE_H

#include "llm/jinja.h"

struct jinja_chunk;

struct jinja_arena {
    struct jinja_chunk *chunks;
    size_t used_bytes, limit_bytes;
};

// Zeroed memory until jinja_arena_clear, or NULL past the limit.
void *jinja_arena_alloc(struct jinja_arena *a, size_t size_bytes);
void jinja_arena_clear(struct jinja_arena *a);

struct jinja_undefined { // "'name' is undefined", "'owner' has no attribute 'name'", "owner has no element 3"
    const char *owner;   // NULL: a variable
    struct jinja_text name;
    bool is_element, is_unsafe; // unsafe: an attribute that the sandbox refuses
};

enum jinja_list_kind { LIST_PLAIN, LIST_TUPLE, LIST_RANGE, LIST_GENERATOR, LIST_VIEW };

struct jinja_list {
    enum jinja_list_kind kind;
    struct jinja_value *items;
    size_t n, cap;
    bool used_up; // a generator gives its items once
};

struct jinja_pair {
    struct jinja_value key, value;
};

struct jinja_dict { // in order of insertion
    struct jinja_pair *pairs;
    size_t n, cap;
};

struct jinja_variable {
    struct jinja_text name;
    struct jinja_value value;
};

struct jinja_scope {
    struct jinja_scope *parent;
    struct jinja_variable *variables;
    size_t n, cap;
};

struct jinja_args {
    struct jinja_value *items; // in order
    size_t n;
    struct jinja_variable *named;
    size_t n_named;
};

enum { JINJA_PARAMS_MAX = 5 };

// A filter, test, method or global function. `arg` holds JINJA_PARAMS_MAX values in order of `params`,
// JINJA_ABSENT where not given; params NULL: the function reads `args` itself.
struct jinja_builtin {
    const char *name;
    const char *params; // "indent,sort_keys"
    struct jinja_value (*call)(struct jinja_run *r, struct jinja_value self, const struct jinja_value *arg,
                               const struct jinja_args *args); // NULL: refused, it would change its object
};

struct jinja_function {
    const struct jinja_builtin *builtin;
    struct jinja_value self;
};

struct jinja_run {
    struct jinja_arena arena;
    struct jinja_scope *scope; // of the statement that runs
    struct jinja_out *out;     // where it writes
    struct jinja_value piped;  // what a filter block or block assignment gives to its filters
    struct tm now;
    size_t n_steps, depth;
    uint32_t line; // of the node that runs
    bool failed;
    struct err err;
};

struct jinja_out { // a text that grows
    struct jinja_run *r;
    char *data;
    uint8_t *is_input; // NULL until the first byte from input
    size_t len, cap;
};

// ---- the run ----

// Keeps the first error with the line. Returns undefined.
struct jinja_value jinja_fail(struct jinja_run *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
// Error of a use that an undefined value does not allow.
struct jinja_value jinja_fail_undefined(struct jinja_run *r, struct jinja_value v);
void jinja_charge(struct jinja_run *r, size_t n_steps);
void *jinja_alloc(struct jinja_run *r, size_t size_bytes); // NULL with the error kept

// ---- text ----

static inline struct jinja_text jinja_text_of(const char *s, size_t len) {
    return (struct jinja_text){.data = s, .len = len};
}
static inline struct jinja_text jinja_text_part(struct jinja_text t, size_t from, size_t to) {
    t.data += from;
    t.is_input = t.is_input ? t.is_input + from : NULL;
    t.len = to - from;
    return t;
}
bool jinja_text_is(struct jinja_text t, const char *s);
bool jinja_text_equal(struct jinja_text a, struct jinja_text b);
// First (or last) place of `part` at or behind `from`; SIZE_MAX without one.
size_t jinja_text_find(struct jinja_run *r, struct jinja_text t, struct jinja_text part, size_t from);
size_t jinja_text_find_last(struct jinja_run *r, struct jinja_text t, struct jinja_text part);
// Characters are code points; a byte that is no UTF-8 counts as one.
size_t jinja_char_len(struct jinja_text t, size_t at, uint32_t *code_point);
size_t jinja_text_n_chars(struct jinja_run *r, struct jinja_text t);
bool jinja_char_is_space(uint32_t c);
uint32_t jinja_char_lower(uint32_t c);
uint32_t jinja_char_upper(uint32_t c);
enum jinja_sides { STRIP_LEFT = 1, STRIP_RIGHT = 2, STRIP_BOTH = 3 };
// Without characters in `set` (or those in it) at its sides; set.data NULL: white space.
struct jinja_text jinja_text_strip(struct jinja_run *r, struct jinja_text t, struct jinja_text set,
                                   int sides);
enum jinja_case { CASE_LOWER, CASE_UPPER, CASE_CAPITAL, CASE_TITLE };
struct jinja_value jinja_text_case(struct jinja_run *r, struct jinja_text t, enum jinja_case how);

void jinja_out_escaped(struct jinja_out *o, struct jinja_text t); // for HTML, unless it is safe
void jinja_out_init(struct jinja_out *o, struct jinja_run *r);
void jinja_out_add(struct jinja_out *o, struct jinja_text t);
void jinja_out_str(struct jinja_out *o, const char *s); // the template's or our own
void jinja_out_char(struct jinja_out *o, uint32_t code_point, bool is_input);
struct jinja_text jinja_out_text(const struct jinja_out *o);
struct jinja_value jinja_out_value(struct jinja_out *o);

// ---- values ----

struct jinja_value jinja_undefined_of(struct jinja_run *r, const char *owner, struct jinja_text name);
struct jinja_value jinja_text_value(struct jinja_run *r, struct jinja_text t); // shares the bytes
struct jinja_value jinja_list_of(struct jinja_run *r, enum jinja_list_kind kind);
struct jinja_value jinja_pair_of(struct jinja_run *r, struct jinja_value a, struct jinja_value b); // tuple
const char *jinja_type_name(struct jinja_value v); // Python's: "str", "NoneType"
bool jinja_truth(struct jinja_value v);
bool jinja_is_number(struct jinja_value v); // bool too
double jinja_as_double(struct jinja_value v);
int64_t jinja_as_int(struct jinja_value v); // of a bool or int
bool jinja_equal(struct jinja_run *r, struct jinja_value a, struct jinja_value b);
// <0, 0, >0; fails where Python has no order. `op` is for the error.
int jinja_compare(struct jinja_run *r, struct jinja_value a, struct jinja_value b, const char *op);
bool jinja_contains(struct jinja_run *r, struct jinja_value container, struct jinja_value item);
struct jinja_value *jinja_dict_find(struct jinja_run *r, const struct jinja_dict *d, struct jinja_value key);
void jinja_dict_put(struct jinja_run *r, struct jinja_dict *d, struct jinja_value key,
                    struct jinja_value value);
// Items of anything that can be iterated (of a dict its keys, of a string its characters), as a list that
// may be the value's own; fails for the rest.
const struct jinja_list *jinja_iterate(struct jinja_run *r, struct jinja_value v);
struct jinja_value jinja_length(struct jinja_run *r, struct jinja_value v);
struct jinja_text jinja_str(struct jinja_run *r, struct jinja_value v); // Python's str()

// ---- jinja_print.c ----

void jinja_print(struct jinja_out *o, struct jinja_value v); // as str() of it
void jinja_print_repr(struct jinja_out *o, struct jinja_value v, size_t depth);
struct jinja_json {
    bool ascii, sort_keys;
    const struct jinja_text *indent; // one level, NULL: all on a line
    struct jinja_text item_separator, key_separator;
};
void jinja_print_json(struct jinja_out *o, struct jinja_value v, const struct jinja_json *how, size_t depth);

// ---- jinja_attr.c ----

struct jinja_value jinja_attribute(struct jinja_run *r, struct jinja_value v, struct jinja_text name);
struct jinja_value jinja_item(struct jinja_run *r, struct jinja_value v, struct jinja_value key);
struct jinja_value jinja_slice(struct jinja_run *r, struct jinja_value v, const struct jinja_value bound[3]);
// "a.b.0", as filters take attributes
struct jinja_value jinja_attribute_path(struct jinja_run *r, struct jinja_value v, struct jinja_value path);

// ---- jinja_methods.c, jinja_filters.c, jinja_globals.c ----

extern const struct jinja_builtin jinja_string_methods[], jinja_list_methods[], jinja_dict_methods[];
extern const struct jinja_builtin jinja_loop_methods[], jinja_globals[], jinja_filters[], jinja_tests[];
const struct jinja_builtin *jinja_builtin_find(const struct jinja_builtin *table, struct jinja_text name);
struct jinja_value jinja_builtin_call(struct jinja_run *r, const struct jinja_builtin *b,
                                      struct jinja_value self, const struct jinja_args *args);
struct jinja_value jinja_filter(struct jinja_run *r, struct jinja_text name, struct jinja_value v,
                                const struct jinja_args *args);
bool jinja_test(struct jinja_run *r, struct jinja_text name, struct jinja_value v,
                const struct jinja_args *args);
// Arguments of text, integer or bool type, with a default for an absent one; fail for another type.
struct jinja_text jinja_arg_text(struct jinja_run *r, struct jinja_value v, const char *fallback);
int64_t jinja_arg_int(struct jinja_run *r, struct jinja_value v, int64_t fallback);

// ---- jinja_eval.c ----

struct jinja_loop {
    const struct jinja_list *items;
    size_t i, depth;
    struct jinja_value changed;    // what loop.changed() saw last
    const struct jinja_node *node; // of a recursive loop, else NULL
    struct jinja_scope *scope;     // around it
};

struct jinja_macro {
    const struct jinja_node *node;
    struct jinja_scope *scope; // where it was defined
    const char *name;
};

struct jinja_node;
struct jinja_value jinja_eval(struct jinja_run *r, const struct jinja_node *n);
struct jinja_value jinja_binary(struct jinja_run *r, int op, struct jinja_value a, struct jinja_value b);

// ---- jinja_exec.c ----

bool jinja_enter(struct jinja_run *r); // one level deeper; false with the error kept past the limit
struct jinja_value jinja_lookup(struct jinja_run *r, struct jinja_text name);
struct jinja_value jinja_call_macro(struct jinja_run *r, const struct jinja_macro *m,
                                    const struct jinja_args *args);
struct jinja_value jinja_call_loop(struct jinja_run *r, const struct jinja_loop *loop,
                                   const struct jinja_args *args);

#endif
