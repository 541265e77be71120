// A Jinja interpreter for chat templates: template text and variables -> text.
//
// It runs text that nobody has vouched for. A template reaches the values it is given and nothing else; its
// steps, memory, depth and output are bounded. Semantics: jinja2 in its immutable sandbox with trim_blocks,
// lstrip_blocks and loop controls, as model publishers test their templates with.
#ifndef LLM_JINJA_H
#define LLM_JINJA_H

#include "base/err.h"
#include "base/json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

enum jinja_limit {
    JINJA_TEMPLATE_MAX = 1 << 20,         // bytes of a template
    JINJA_TREE_MAX = 16 << 20,            // bytes of its syntax tree
    JINJA_VALUES_MAX = 44 << 20,          // bytes of all values of a run
    JINJA_TEXT_MAX = 4 << 20,             // bytes of a string, and of the output
    JINJA_STEPS_MAX = 1000 * 1000,        // nodes visited, items and 64-byte pieces of text handled
    JINJA_NEST_MAX = 80,                  // blocks and parentheses inside each other
    JINJA_DEPTH_MAX = 8 * JINJA_NEST_MAX, // calls of a macro inside each other, and what they nest
};

enum jinja_type {
    JINJA_ABSENT, // an argument that was not given
    JINJA_UNDEFINED,
    JINJA_NONE,
    JINJA_BOOL,
    JINJA_INT,
    JINJA_FLOAT,
    JINJA_STRING,
    JINJA_LIST, // also tuple, range, generator and view of a dict
    JINJA_DICT,
    JINJA_NAMESPACE,
    JINJA_LOOP,
    JINJA_MACRO,
    JINJA_FUNCTION, // built in; a method holds its object
};

struct jinja_text {
    const char *data;
    const uint8_t
        *is_input; // [len] 0 the template's own byte, else its input's mark; NULL: all the template's
    size_t len;
    bool is_safe; // marked by the filter "safe": "+" escapes for HTML what it joins to such a text
};

struct jinja_value {
    enum jinja_type type;
    union {
        bool truth;
        int64_t integer;
        double real;
        const struct jinja_undefined *undefined; // NULL: no name is known
        const struct jinja_text *string;
        struct jinja_list *list;
        struct jinja_dict *dict; // also of a namespace
        struct jinja_loop *loop;
        const struct jinja_macro *macro;
        const struct jinja_function *function;
    } as;
};

struct jinja_template; // parsed, read-only: any number of threads may run it
struct jinja_run;      // the values of one rendering, dropped whole

// Returns new. ERR_MODEL names line and reason. Copies the text.
struct jinja_template *jinja_compile(const char *text, size_t len, struct err *err);
void jinja_template_destroy(struct jinja_template *t);

// Returns new, with strftime_now() at the present local time.
struct jinja_run *jinja_run_create(void);
void jinja_run_destroy(struct jinja_run *r);
void jinja_run_set_clock(struct jinja_run *r, const struct tm *now); // another time for strftime_now()

// Values live as long as their run. What goes wrong (memory) is kept in the run and told by jinja_render.
struct jinja_value jinja_none(void);
struct jinja_value jinja_bool(bool truth);
struct jinja_value jinja_int(int64_t integer);
struct jinja_value jinja_float(double real);
// Copies the bytes. mark: 0 for text as good as the template's own; else they are data, and this value (1 to
// 255) goes with them into the output. A byte that the template has changed has mark 1 whatever it was.
struct jinja_value jinja_string(struct jinja_run *r, const char *data, size_t len, uint8_t mark);
struct jinja_value jinja_concat(struct jinja_run *r, struct jinja_value list); // of a list of strings
struct jinja_value jinja_list(struct jinja_run *r);
void jinja_list_add(struct jinja_run *r, struct jinja_value list, struct jinja_value item);
struct jinja_value jinja_dict(struct jinja_run *r);
// A key must not be in the dict yet.
void jinja_dict_add(struct jinja_run *r, struct jinja_value dict, struct jinja_value key,
                    struct jinja_value value);
// The same value, all texts and keys marked as input. json: as json_parse gives it, so of at most JSON_DEPTH_MAX
// levels.
struct jinja_value jinja_from_json(struct jinja_run *r, const json_t *json);
void jinja_set(struct jinja_run *r, const char *name, struct jinja_value value); // a variable

// Runs the template once. *out is borrowed from the run. Errors name line and reason: ERR_INVALID_VALUE where
// the template refuses its input (raise_exception), ERR_MODEL for all else.
bool jinja_render(struct jinja_run *r, const struct jinja_template *t, struct jinja_text *out,
                  struct err *err);

#endif
