// Takes tokens, gives the tree of a template.
//
//   expression   or "if" or "else" expression
//   or, and, not, comparison, + -, ~, * / // %, **, unary, primary with its .name [key] (call) | filter, is test
//
// Chains of one operator, of "elif" and of attributes are lists and loops here, so only brackets and blocks
// inside each other take depth (JINJA_NEST_MAX).
#include "llm/jinja_ast.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHAIN_MAX = 100 }; // attributes, calls, filters and tests behind one another

struct parser {
    struct jinja_lexer lexer;
    struct jinja_arena *arena;
    struct jinja_token now, ahead;
    bool failed;
    size_t depth, n_loops;
    struct jinja_node nothing; // what a failure leaves in the place of a node
    struct err *err;
};

struct node_list {
    struct jinja_node *first, **end;
};

static void fail_text(struct parser *p, const char *what) {
    if (!p->failed)
        err_set(p->err, ERR_MODEL, "line %u: %s", (unsigned)p->now.line, what);
    p->failed = true;
}

static void next(struct parser *p) {
    p->now = p->ahead;
    if (!p->failed && p->ahead.kind != LEX_END && !jinja_lexer_next(&p->lexer, &p->ahead, p->err))
        p->failed = true;
    if (p->failed)
        p->now.kind = p->ahead.kind = LEX_END;
}

static bool is_op(const struct parser *p, int op) {
    return p->now.kind == LEX_OP && p->now.op == op;
}

static bool is_name(const struct parser *p, const char *name) {
    return p->now.kind == LEX_NAME && jinja_text_is(p->now.text, name);
}

static bool take_op(struct parser *p, int op) {
    bool found = is_op(p, op);
    if (found)
        next(p);
    return found;
}

static bool take_name(struct parser *p, const char *name) {
    bool found = is_name(p, name);
    if (found)
        next(p);
    return found;
}

static void fail_unexpected(struct parser *p, const char *want) {
    static const char *const kinds[] = {
        "the end of the template",
        "text",
        "{{",
        "the end of the expression",
        "{%",
        "the end of the block",
        "a name",
        "a string",
        "a number",
        "a number",
        "an operator",
    };
    char found[100], op[3] = {(char)(p->now.op & 0xFF), (char)(p->now.op >> 8 & 0xFF), 0};
    if (p->failed)
        return;
    if (p->now.kind == LEX_NAME)
        snprintf(found, sizeof found, "\"%.*s\"", (int)(p->now.text.len < 60 ? p->now.text.len : 60),
                 p->now.text.data);
    else
        snprintf(found, sizeof found, p->now.kind == LEX_OP ? "\"%s\"" : "%s",
                 p->now.kind == LEX_OP ? op : kinds[p->now.kind]);
    p->failed = true;
    err_set(p->err, ERR_MODEL, "line %u: want %s, found %s", (unsigned)p->now.line, want, found);
}

static void expect_op(struct parser *p, int op) {
    char want[] = {'"', (char)op, '"', 0};
    if (!take_op(p, op))
        fail_unexpected(p, want);
}

static void expect_kind(struct parser *p, enum jinja_token_kind kind, const char *want) {
    if (p->now.kind != kind)
        fail_unexpected(p, want);
    next(p);
}

static struct jinja_text expect_name(struct parser *p) {
    struct jinja_text name = p->now.text;
    expect_kind(p, LEX_NAME, "a name");
    return name;
}

static bool enter(struct parser *p) {
    if (++p->depth > JINJA_NEST_MAX)
        fail_text(p, "too many blocks and brackets inside each other");
    return !p->failed;
}

// Never NULL: after a failure a node of which nobody makes use.
static struct jinja_node *node_at(struct parser *p, enum jinja_node_kind kind, uint32_t line) {
    struct jinja_node *n = p->failed ? NULL : jinja_arena_alloc(p->arena, sizeof *n);
    if (!n) {
        fail_text(p, "the template takes too much memory");
        return &p->nothing;
    }
    n->kind = kind;
    n->line = line;
    return n;
}

static struct jinja_node *node_new(struct parser *p, enum jinja_node_kind kind) {
    return node_at(p, kind, p->now.line);
}

static void list_init(struct node_list *list) {
    list->first = NULL;
    list->end = &list->first;
}

static void list_add(struct node_list *list, struct jinja_node *n) {
    *list->end = n;
    list->end = &n->next;
}

// ---- expressions ----

static struct jinja_node *parse_expression(struct parser *p);
static struct jinja_node *parse_condition(struct parser *p);
static struct jinja_node *parse_unary(struct parser *p, bool with_filter);

// Arguments behind "(", with the ")".
static struct jinja_node *parse_args(struct parser *p) {
    struct node_list args;
    bool named = false;
    list_init(&args);
    expect_op(p, '(');
    while (!p->failed && !is_op(p, ')')) {
        struct jinja_node *arg = node_new(p, NODE_ARG);
        if (p->now.kind == LEX_NAME && p->ahead.kind == LEX_OP && p->ahead.op == '=') {
            arg->text = expect_name(p);
            next(p);
            named = true;
        } else if (is_op(p, '*') || is_op(p, JINJA_OP2('*', '*'))) {
            fail_text(p, "arguments of \"*\" are not supported");
        } else if (named) {
            fail_text(p, "an argument without a name behind one with a name");
        }
        arg->a = parse_expression(p);
        list_add(&args, arg);
        if (!is_op(p, ')'))
            expect_op(p, ',');
    }
    expect_op(p, ')');
    return args.first;
}

// What is inside "[" and "]".
static struct jinja_node *parse_subscript(struct parser *p, struct jinja_node *object) {
    struct jinja_node *first = is_op(p, ':') ? NULL : parse_expression(p), *n;
    if (!is_op(p, ':')) {
        n = node_new(p, NODE_ITEM);
        n->a = object;
        n->b = first;
        return n;
    }
    n = node_new(p, NODE_SLICE);
    n->a = object;
    n->b = first;
    next(p);
    if (!is_op(p, ':') && !is_op(p, ']'))
        n->c = parse_expression(p);
    if (take_op(p, ':') && !is_op(p, ']'))
        n->d = parse_expression(p);
    return n;
}

static struct jinja_node *parse_dot(struct parser *p, struct jinja_node *object) {
    struct jinja_node *n = node_new(p, NODE_ATTR);
    n->a = object;
    if (p->now.kind == LEX_INT) {
        n->kind = NODE_ITEM;
        n->b = node_new(p, NODE_CONST);
        n->b->value = jinja_int(p->now.integer);
        next(p);
    } else {
        n->text = expect_name(p);
    }
    return n;
}

static void count_chain(struct parser *p, size_t *n) {
    if (++*n > CHAIN_MAX)
        fail_text(p, "too many attributes, calls and filters behind one another");
}

static struct jinja_node *parse_postfix(struct parser *p, struct jinja_node *n, size_t *n_chain) {
    while (!p->failed) {
        if (take_op(p, '.')) {
            n = parse_dot(p, n);
        } else if (take_op(p, '[')) {
            n = parse_subscript(p, n);
            expect_op(p, ']');
        } else if (is_op(p, '(')) {
            struct jinja_node *call = node_new(p, NODE_CALL);
            call->a = n;
            call->b = parse_args(p);
            n = call;
        } else {
            break;
        }
        count_chain(p, n_chain);
    }
    return n;
}

// The name and arguments of one filter behind "|".
static struct jinja_node *parse_filter(struct parser *p, struct jinja_node *value) {
    struct jinja_node *n = node_new(p, NODE_FILTER);
    n->a = value;
    n->text = expect_name(p);
    if (is_op(p, '('))
        n->b = parse_args(p);
    return n;
}

static struct jinja_node *parse_primary(struct parser *p);

// A test's argument may stand without parentheses: "x is divisibleby 3".
static bool begins_test_arg(const struct parser *p) {
    if (p->now.kind == LEX_NAME)
        return !is_name(p, "else") && !is_name(p, "or") && !is_name(p, "and") && !is_name(p, "is") &&
               !is_name(p, "if");
    return p->now.kind == LEX_STRING || p->now.kind == LEX_INT || p->now.kind == LEX_FLOAT || is_op(p, '[') ||
           is_op(p, '{');
}

static struct jinja_node *parse_test(struct parser *p, struct jinja_node *value) {
    size_t n_chain = 0;
    uint32_t line = p->now.line;
    bool negated = take_name(p, "not");
    struct jinja_node *n = node_at(p, NODE_TEST, line);
    n->a = value;
    n->text = expect_name(p);
    if (is_op(p, '(')) {
        n->b = parse_args(p);
    } else if (begins_test_arg(p)) {
        n->b = node_new(p, NODE_ARG);
        n->b->a = parse_postfix(p, parse_primary(p), &n_chain);
    }
    if (!negated)
        return n;
    struct jinja_node *not = node_at(p, NODE_NOT, line);
    not ->a = n;
    return not ;
}

static struct jinja_node *parse_filters(struct parser *p, struct jinja_node *n, size_t *n_chain) {
    while (!p->failed) {
        if (take_op(p, '|'))
            n = parse_filter(p, n);
        else if (take_name(p, "is"))
            n = parse_test(p, n);
        else if (is_op(p, '('))
            n = parse_postfix(p, n, n_chain);
        else
            break;
        count_chain(p, n_chain);
    }
    return n;
}

static struct jinja_node *const_node(struct parser *p, struct jinja_value value) {
    struct jinja_node *n = node_new(p, NODE_CONST);
    n->value = value;
    next(p);
    return n;
}

// A string, with those directly behind it.
static struct jinja_node *parse_string(struct parser *p) {
    struct jinja_node *n = node_new(p, NODE_CONST);
    n->text = p->now.text;
    next(p);
    while (!p->failed && p->now.kind == LEX_STRING) {
        char *joined = jinja_arena_alloc(p->arena, n->text.len + p->now.text.len + 1);
        if (!joined) {
            fail_text(p, "the template takes too much memory");
            break;
        }
        memcpy(joined, n->text.data, n->text.len);
        memcpy(joined + n->text.len, p->now.text.data, p->now.text.len);
        n->text = jinja_text_of(joined, n->text.len + p->now.text.len);
        next(p);
    }
    n->value = (struct jinja_value){.type = JINJA_STRING, .as.string = &n->text};
    return n;
}

static struct jinja_node *parse_name(struct parser *p) {
    if (is_name(p, "true") || is_name(p, "True"))
        return const_node(p, jinja_bool(true));
    if (is_name(p, "false") || is_name(p, "False"))
        return const_node(p, jinja_bool(false));
    if (is_name(p, "none") || is_name(p, "None"))
        return const_node(p, jinja_none());
    struct jinja_node *n = node_new(p, NODE_NAME);
    n->text = expect_name(p);
    return n;
}

// Expressions up to `close`, which goes too. *n_commas tells a tuple from one in parentheses.
static struct jinja_node *parse_items(struct parser *p, int close, size_t *n_commas) {
    struct node_list items;
    list_init(&items);
    *n_commas = 0;
    while (!p->failed && !is_op(p, close)) {
        list_add(&items, parse_expression(p));
        if (is_op(p, close))
            break;
        expect_op(p, ',');
        ++*n_commas;
    }
    expect_op(p, close);
    return items.first;
}

static struct jinja_node *parse_dict(struct parser *p) {
    struct jinja_node *n = node_new(p, NODE_DICT);
    struct node_list pairs;
    list_init(&pairs);
    while (!p->failed && !is_op(p, '}')) {
        struct jinja_node *pair = node_new(p, NODE_PAIR);
        pair->a = parse_expression(p);
        expect_op(p, ':');
        pair->b = parse_expression(p);
        list_add(&pairs, pair);
        if (!is_op(p, '}'))
            expect_op(p, ',');
    }
    expect_op(p, '}');
    n->a = pairs.first;
    return n;
}

static struct jinja_node *parse_primary(struct parser *p) {
    size_t n_commas;
    struct jinja_node *n;
    switch (p->now.kind) {
    case LEX_NAME:
        return parse_name(p);
    case LEX_STRING:
        return parse_string(p);
    case LEX_INT:
        return const_node(p, jinja_int(p->now.integer));
    case LEX_FLOAT:
        return const_node(p, jinja_float(p->now.real));
    default:
        break;
    }
    if (take_op(p, '(')) {
        n = node_new(p, NODE_TUPLE);
        n->a = parse_items(p, ')', &n_commas);
        return n->a && n_commas == 0 ? n->a : n;
    }
    if (take_op(p, '[')) {
        n = node_new(p, NODE_LIST);
        n->a = parse_items(p, ']', &n_commas);
        return n;
    }
    if (take_op(p, '{'))
        return parse_dict(p);
    fail_unexpected(p, "an expression");
    return &p->nothing;
}

static struct jinja_node *parse_unary(struct parser *p, bool with_filter) {
    size_t n_chain = 0;
    struct jinja_node *n;
    if (is_op(p, '-') || is_op(p, '+')) {
        n = node_new(p, is_op(p, '-') ? NODE_NEGATE : NODE_PLUS);
        next(p);
        if (!enter(p))
            return n;
        n->a = parse_unary(p, false);
        p->depth--;
    } else {
        n = parse_primary(p);
    }
    n = parse_postfix(p, n, &n_chain);
    if (with_filter)
        n = parse_filters(p, n, &n_chain);
    return n;
}

// The levels of arithmetic, the tightest last.
static const int levels[][5] = {
    {'+', '-'},
    {'~'},
    {'*', '/', JINJA_OP2('/', '/'), '%'},
    {JINJA_OP2('*', '*')},
};

enum { N_LEVELS = sizeof levels / sizeof *levels };

static bool is_level_op(const struct parser *p, size_t level) {
    for (const int *op = levels[level]; *op; op++)
        if (is_op(p, *op))
            return true;
    return false;
}

static struct jinja_node *parse_level(struct parser *p, size_t level) {
    if (level == N_LEVELS)
        return parse_unary(p, true);
    struct jinja_node *first = parse_level(p, level + 1), *n;
    if (!is_level_op(p, level))
        return first;
    struct node_list operands;
    list_init(&operands);
    n = node_new(p, NODE_CHAIN);
    if (is_op(p, '~')) {
        n->kind = NODE_CONCAT;
        n->a = first;
        operands.end = &first->next;
        while (!p->failed && take_op(p, '~'))
            list_add(&operands, parse_level(p, level + 1));
        return n;
    }
    while (!p->failed && is_level_op(p, level)) {
        struct jinja_node *operand = node_new(p, NODE_OPERAND);
        operand->op = p->now.op;
        next(p);
        operand->a = parse_level(p, level + 1);
        list_add(&operands, operand);
    }
    n->a = first;
    n->b = operands.first;
    return n;
}

// The comparison that begins here, or 0. "not in" takes its first word.
static int comparison(struct parser *p) {
    static const int ops[] = {
        '<', '>', JINJA_OP2('=', '='), JINJA_OP2('!', '='), JINJA_OP2('<', '='), JINJA_OP2('>', '=')};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (is_op(p, ops[i]))
            return ops[i];
    if (is_name(p, "in"))
        return JINJA_OP_IN;
    if (!is_name(p, "not") || p->ahead.kind != LEX_NAME || !jinja_text_is(p->ahead.text, "in"))
        return 0;
    next(p);
    return JINJA_OP_NOT_IN;
}

static struct jinja_node *parse_compare(struct parser *p) {
    struct jinja_node *first = parse_level(p, 0);
    struct node_list operands;
    list_init(&operands);
    for (int op; !p->failed && (op = comparison(p)) != 0;) {
        struct jinja_node *operand = node_new(p, NODE_OPERAND);
        operand->op = op;
        next(p);
        operand->a = parse_level(p, 0);
        list_add(&operands, operand);
    }
    if (!operands.first)
        return first;
    struct jinja_node *n = node_at(p, NODE_COMPARE, first->line);
    n->a = first;
    n->b = operands.first;
    return n;
}

static struct jinja_node *parse_not(struct parser *p) {
    if (!is_name(p, "not"))
        return parse_compare(p);
    struct jinja_node *n = node_new(p, NODE_NOT);
    next(p);
    if (!enter(p))
        return n;
    n->a = parse_not(p);
    p->depth--;
    return n;
}

// Operands joined by a word: "or" of "and" of parse_not.
static struct jinja_node *parse_logic(struct parser *p, bool is_or) {
    const char *word = is_or ? "or" : "and";
    struct jinja_node *first = is_or ? parse_logic(p, false) : parse_not(p);
    if (!is_name(p, word))
        return first;
    struct jinja_node *n = node_new(p, is_or ? NODE_OR : NODE_AND);
    struct node_list operands;
    list_init(&operands);
    list_add(&operands, first);
    while (!p->failed && take_name(p, word))
        list_add(&operands, is_or ? parse_logic(p, false) : parse_not(p));
    n->a = operands.first;
    return n;
}

static struct jinja_node *parse_condition(struct parser *p) {
    return parse_logic(p, true);
}

static struct jinja_node *parse_expression(struct parser *p) {
    if (!enter(p))
        return &p->nothing;
    struct jinja_node *n = parse_condition(p);
    while (!p->failed && is_name(p, "if")) {
        struct jinja_node *choice = node_new(p, NODE_COND);
        next(p);
        choice->b = n;
        choice->a = parse_condition(p);
        if (take_name(p, "else"))
            choice->c = parse_expression(p);
        n = choice;
    }
    p->depth--;
    return n;
}

// One expression, or several with commas: a tuple.
static struct jinja_node *parse_tuple(struct parser *p, bool with_condition) {
    struct jinja_node *first = with_condition ? parse_expression(p) : parse_condition(p);
    if (!is_op(p, ','))
        return first;
    struct jinja_node *n = node_at(p, NODE_TUPLE, first->line);
    struct node_list items;
    list_init(&items);
    list_add(&items, first);
    while (!p->failed && take_op(p, ',')) {
        if (p->now.kind == LEX_BLOCK_END || p->now.kind == LEX_PRINT_END || is_op(p, '='))
            break;
        list_add(&items, with_condition ? parse_expression(p) : parse_condition(p));
    }
    n->a = items.first;
    return n;
}

// ---- statements ----

static const char *const end_else[] = {"elif", "else", "endif", NULL}, *const end_if[] = {"endif", NULL},
                         *const end_for_else[] = {"else", "endfor", NULL},
                         *const end_for[] = {"endfor", NULL}, *const end_set[] = {"endset", NULL},
                         *const end_macro[] = {"endmacro", NULL}, *const end_call[] = {"endcall", NULL},
                         *const end_filter[] = {"endfilter", NULL}, *const end_with[] = {"endwith", NULL},
                         *const end_generation[] = {"endgeneration", NULL};

static struct jinja_node *parse_body(struct parser *p, const char *const *ends);

// The body behind a block's head, with the name that ends it but not that one's "%}".
static struct jinja_node *parse_block(struct parser *p, const char *const *ends) {
    expect_kind(p, LEX_BLOCK_END, "the end of the block");
    return parse_body(p, ends);
}

static struct jinja_node *parse_if(struct parser *p) {
    struct jinja_node *n = node_new(p, NODE_IF);
    struct node_list branches;
    list_init(&branches);
    bool more = true;
    for (bool has_condition = true; more && !p->failed;) {
        struct jinja_node *branch = node_new(p, NODE_BRANCH);
        next(p); // "if", "elif" or "else"
        if (has_condition)
            branch->a = parse_tuple(p, false);
        branch->d = parse_block(p, has_condition ? end_else : end_if);
        list_add(&branches, branch);
        more = !is_name(p, "endif");
        has_condition = is_name(p, "elif");
    }
    next(p);
    n->a = branches.first;
    return n;
}

static struct jinja_node *parse_target_item(struct parser *p) {
    if (take_op(p, '(')) {
        struct jinja_node *n = node_new(p, NODE_TUPLE);
        struct node_list items;
        list_init(&items);
        if (!enter(p))
            return n;
        do
            list_add(&items, parse_target_item(p));
        while (!p->failed && take_op(p, ',') && !is_op(p, ')'));
        expect_op(p, ')');
        p->depth--;
        n->a = items.first;
        return n;
    }
    struct jinja_node *n = node_new(p, NODE_NAME);
    n->text = expect_name(p);
    if (!take_op(p, '.'))
        return n;
    struct jinja_node *attr = node_new(p, NODE_ATTR);
    attr->a = n;
    attr->text = expect_name(p);
    return attr;
}

// What is assigned to: a name, an attribute of a namespace, or several of these with commas.
static struct jinja_node *parse_target(struct parser *p) {
    struct jinja_node *first = parse_target_item(p);
    if (!is_op(p, ','))
        return first;
    struct jinja_node *n = node_at(p, NODE_TUPLE, first->line);
    struct node_list items;
    list_init(&items);
    list_add(&items, first);
    while (!p->failed && take_op(p, ',') && !is_op(p, '=') && !is_name(p, "in"))
        list_add(&items, parse_target_item(p));
    n->a = items.first;
    return n;
}

static struct jinja_node *parse_for(struct parser *p) {
    struct jinja_node *n = node_new(p, NODE_FOR);
    next(p);
    n->a = parse_target(p);
    if (!take_name(p, "in"))
        fail_unexpected(p, "\"in\"");
    n->b = parse_tuple(p, false);
    if (take_name(p, "if"))
        n->c = parse_condition(p);
    n->op = take_name(p, "recursive");
    p->n_loops++;
    n->d = parse_block(p, end_for_else);
    p->n_loops--;
    if (take_name(p, "else"))
        n->e = parse_block(p, end_for);
    next(p);
    return n;
}

static struct jinja_node *parse_set(struct parser *p) {
    struct jinja_node *n = node_new(p, NODE_SET);
    size_t n_chain = 0;
    next(p);
    n->a = parse_target(p);
    if (take_op(p, '=')) {
        n->b = parse_tuple(p, true);
        return n;
    }
    n->kind = NODE_SET_BLOCK;
    n->b = parse_filters(p, node_new(p, NODE_PIPED), &n_chain);
    n->d = parse_block(p, end_set);
    next(p);
    return n;
}

static struct jinja_node *parse_params(struct parser *p) {
    struct node_list params;
    list_init(&params);
    expect_op(p, '(');
    while (!p->failed && !is_op(p, ')')) {
        struct jinja_node *param = node_new(p, NODE_PARAM);
        param->text = expect_name(p);
        if (take_op(p, '='))
            param->a = parse_expression(p);
        list_add(&params, param);
        if (!is_op(p, ')'))
            expect_op(p, ',');
    }
    expect_op(p, ')');
    return params.first;
}

// A body that runs when it is called, so no loop around it is its own.
static struct jinja_node *parse_callable(struct parser *p, const char *const *ends) {
    size_t n_loops = p->n_loops;
    p->n_loops = 0;
    struct jinja_node *body = parse_block(p, ends);
    p->n_loops = n_loops;
    next(p);
    return body;
}

static struct jinja_node *parse_macro(struct parser *p) {
    struct jinja_node *n = node_new(p, NODE_MACRO);
    next(p);
    n->text = expect_name(p);
    n->b = parse_params(p);
    n->d = parse_callable(p, end_macro);
    return n;
}

static struct jinja_node *parse_call(struct parser *p) {
    struct jinja_node *n = node_new(p, NODE_CALL_BLOCK), *caller = node_new(p, NODE_MACRO);
    next(p);
    caller->text = jinja_text_of("caller", 6);
    if (is_op(p, '('))
        caller->b = parse_params(p);
    n->a = parse_expression(p);
    if (n->a->kind != NODE_CALL)
        fail_text(p, "want a call behind \"call\"");
    caller->d = parse_callable(p, end_call);
    n->e = caller;
    return n;
}

static struct jinja_node *parse_filter_block(struct parser *p) {
    struct jinja_node *n = node_new(p, NODE_FILTER_BLOCK);
    size_t n_chain = 0;
    next(p);
    n->b = parse_filters(p, parse_filter(p, node_new(p, NODE_PIPED)), &n_chain);
    n->d = parse_block(p, end_filter);
    next(p);
    return n;
}

static struct jinja_node *parse_with(struct parser *p) {
    struct jinja_node *n = node_new(p, NODE_WITH);
    struct node_list sets;
    list_init(&sets);
    next(p);
    while (!p->failed && p->now.kind != LEX_BLOCK_END) {
        struct jinja_node *set = node_new(p, NODE_SET);
        set->a = parse_target_item(p);
        expect_op(p, '=');
        set->b = parse_expression(p);
        list_add(&sets, set);
        if (p->now.kind != LEX_BLOCK_END)
            expect_op(p, ',');
    }
    n->a = sets.first;
    n->d = parse_block(p, end_with);
    next(p);
    return n;
}

// Marks what the model has written, for training; here a scope of its own.
static struct jinja_node *parse_generation(struct parser *p) {
    struct jinja_node *n = node_new(p, NODE_WITH);
    next(p);
    n->d = parse_block(p, end_generation);
    next(p);
    return n;
}

static struct jinja_node *parse_jump(struct parser *p) {
    struct jinja_node *n = node_new(p, is_name(p, "break") ? NODE_BREAK : NODE_CONTINUE);
    if (p->n_loops == 0)
        fail_text(p, "\"break\" or \"continue\" outside a loop");
    next(p);
    return n;
}

static const struct statement {
    const char *name;
    struct jinja_node *(*parse)(struct parser *p); // from its name up to its last "%}"
} statements[] = {
    {"if", parse_if},      {"for", parse_for},
    {"set", parse_set},    {"macro", parse_macro},
    {"call", parse_call},  {"filter", parse_filter_block},
    {"with", parse_with},  {"generation", parse_generation},
    {"break", parse_jump}, {"continue", parse_jump},
};

static struct jinja_node *parse_statement(struct parser *p) {
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++) {
        if (!is_name(p, statements[i].name))
            continue;
        if (!enter(p))
            break;
        struct jinja_node *n = statements[i].parse(p);
        p->depth--;
        expect_kind(p, LEX_BLOCK_END, "the end of the block");
        return n;
    }
    fail_unexpected(p, "a statement that chat templates use");
    return &p->nothing;
}

static bool is_among(const struct parser *p, const char *const *names) {
    for (; *names; names++)
        if (is_name(p, *names))
            return true;
    return false;
}

// Statements up to a block whose name is in `ends` (NULL: up to the end); that name is p->now.
static struct jinja_node *parse_body(struct parser *p, const char *const *ends) {
    struct node_list body;
    list_init(&body);
    while (!p->failed) {
        struct jinja_node *n = node_new(p, NODE_TEXT);
        if (p->now.kind == LEX_DATA) {
            n->text = p->now.text;
            next(p);
        } else if (p->now.kind == LEX_PRINT_BEGIN) {
            next(p);
            n->kind = NODE_PRINT;
            n->a = parse_tuple(p, true);
            expect_kind(p, LEX_PRINT_END, "\"}}\"");
        } else if (p->now.kind == LEX_BLOCK_BEGIN) {
            next(p);
            if (ends && is_among(p, ends))
                return body.first;
            n = parse_statement(p);
        } else if (!ends) {
            break;
        } else {
            char want[60];
            snprintf(want, sizeof want, "\"%s\"", ends[0]);
            fail_unexpected(p, want);
        }
        list_add(&body, n);
    }
    return body.first;
}

struct jinja_template *jinja_compile(const char *text, size_t len, struct err *err) {
    struct jinja_template *t = xcalloc(1, sizeof *t);
    struct err first = {0};
    struct parser p = {.arena = &t->arena, .err = &first, .ahead.kind = LEX_DATA}; // not at the end yet
    t->arena.limit_bytes = JINJA_TREE_MAX;
    p.failed = !jinja_lexer_init(&p.lexer, &t->arena, text, len, &first);
    next(&p);
    next(&p);
    t->body = parse_body(&p, NULL);
    if (!p.failed)
        return t;
    err_set(err, first.code, "%s", first.msg);
    jinja_template_destroy(t);
    return NULL;
}

void jinja_template_destroy(struct jinja_template *t) {
    if (!t)
        return;
    jinja_arena_clear(&t->arena);
    free(t);
}
