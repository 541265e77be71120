// The syntax of a template: tokens (jinja_lex.c) and the tree (jinja_parse.c).
#ifndef LLM_JINJA_AST_H
#define LLM_JINJA_AST_H

#include "llm/jinja_value.h"

enum jinja_token_kind {
    LEX_END, // of the template
    LEX_DATA,
    LEX_PRINT_BEGIN, // {{
    LEX_PRINT_END,
    LEX_BLOCK_BEGIN, // {%
    LEX_BLOCK_END,
    LEX_NAME,
    LEX_STRING, // escapes resolved
    LEX_INT,
    LEX_FLOAT,
    LEX_OP,
};

#define JINJA_OP2(a, b) ((a) | (b) << 8) // an operator of two characters

struct jinja_token {
    enum jinja_token_kind kind;
    uint32_t line;
    int op; // '+', or JINJA_OP2('=', '=')
    struct jinja_text text;
    int64_t integer;
    double real;
};

struct jinja_lexer {
    struct jinja_arena *arena;
    const char *text;
    size_t at, len;
    uint32_t line;
    enum { IN_DATA, AT_TAG, IN_PRINT, IN_BLOCK } mode; // AT_TAG: the data before this tag is done
    size_t n_open;                                     // brackets inside a tag
};

// Copies the text, with its line ends made "\n". False with ERR_MODEL.
bool jinja_lexer_init(struct jinja_lexer *l, struct jinja_arena *arena, const char *text, size_t len,
                      struct err *err);
bool jinja_lexer_next(struct jinja_lexer *l, struct jinja_token *t, struct err *err);

enum jinja_node_kind {
    // expressions
    NODE_CONST,   // value
    NODE_NAME,    // text
    NODE_LIST,    // a: items
    NODE_TUPLE,   // a: items; also a target
    NODE_DICT,    // a: NODE_PAIR
    NODE_PAIR,    // a: key, b: value
    NODE_ATTR,    // a: object, text; also a target
    NODE_ITEM,    // a: object, b: key
    NODE_SLICE,   // a: object, b, c, d: start, stop, step or NULL
    NODE_CALL,    // a: function, b: NODE_ARG
    NODE_ARG,     // a: value, text: its keyword or none
    NODE_FILTER,  // a: value, text, b: NODE_ARG
    NODE_TEST,    // a: value, text, b: NODE_ARG
    NODE_PIPED,   // what a filter block gives to its filters
    NODE_CHAIN,   // a: first operand, b: NODE_OPERAND: arithmetic from left to right
    NODE_COMPARE, // a: first operand, b: NODE_OPERAND
    NODE_OPERAND, // op, a
    NODE_CONCAT,  // a: operands
    NODE_AND,     // a: operands
    NODE_OR,      // a: operands
    NODE_NOT,     // a
    NODE_NEGATE,  // a
    NODE_PLUS,    // a
    NODE_COND,    // a: condition, b: then, c: else or NULL
    // statements
    NODE_TEXT,         // text
    NODE_PRINT,        // a
    NODE_IF,           // a: NODE_BRANCH
    NODE_BRANCH,       // a: condition or NULL, d: body
    NODE_FOR,          // a: target, b: iterable, c: filter or NULL, d: body, e: else; op: recursive
    NODE_SET,          // a: target, b: value
    NODE_SET_BLOCK,    // a: target, b: filters of NODE_PIPED, d: body
    NODE_MACRO,        // text, b: NODE_PARAM, d: body
    NODE_PARAM,        // text, a: default or NULL
    NODE_CALL_BLOCK,   // a: NODE_CALL, e: NODE_MACRO "caller"
    NODE_FILTER_BLOCK, // b: filters of NODE_PIPED, d: body
    NODE_WITH,         // a: NODE_SET, d: body
    NODE_BREAK,
    NODE_CONTINUE,
};

struct jinja_node {
    enum jinja_node_kind kind;
    uint32_t line;
    int op;
    struct jinja_text text;
    struct jinja_value value;
    struct jinja_node *a, *b, *c, *d, *e;
    struct jinja_node *next; // in a list
};

enum { // operators that are words
    JINJA_OP_IN = JINJA_OP2('i', 'n'),
    JINJA_OP_NOT_IN = JINJA_OP2('n', 'i'),
};

struct jinja_template {
    struct jinja_arena arena;
    struct jinja_node *body;
};

// Runs a list of statements as a whole template.
void jinja_exec_template(struct jinja_run *r, const struct jinja_node *body);

#endif
