// Expressions: a node of the tree -> a value, with Python's arithmetic on 64-bit integers.
#include "llm/jinja_ast.h"

#include <math.h>
#include <string.h>

static const char *op_name(int op, char out[3]) {
    out[0] = (char)(op & 0xFF);
    out[1] = (char)(op >> 8);
    out[2] = 0;
    return out;
}

static struct jinja_value undefined(void) {
    return (struct jinja_value){.type = JINJA_UNDEFINED};
}

static struct jinja_value fail_operands(struct jinja_run *r, int op, struct jinja_value a,
                                        struct jinja_value b) {
    char name[3];
    if (a.type == JINJA_UNDEFINED || b.type == JINJA_UNDEFINED)
        return jinja_fail_undefined(r, a.type == JINJA_UNDEFINED ? a : b);
    if (op == '+' && (a.type == JINJA_STRING || a.type == JINJA_LIST))
        return jinja_fail(r, "can only concatenate %s (not \"%s\") to %s", jinja_type_name(a),
                          jinja_type_name(b), jinja_type_name(a));
    return jinja_fail(r, "unsupported operand type(s) for %s: '%s' and '%s'", op_name(op, name),
                      jinja_type_name(a), jinja_type_name(b));
}

static struct jinja_value integer_power(struct jinja_run *r, int64_t base, int64_t exponent) {
    int64_t result = 1;
    bool over = false;
    for (; exponent > 0 && !over; exponent >>= 1) {
        if (exponent & 1)
            over = __builtin_mul_overflow(result, base, &result);
        if (exponent > 1)
            over |= __builtin_mul_overflow(base, base, &base);
    }
    return over ? jinja_fail(r, "an integer past 64 bits") : jinja_int(result);
}

static struct jinja_value integer_op(struct jinja_run *r, int op, int64_t a, int64_t b) {
    int64_t result = 0;
    bool over = false;
    switch (op) {
    case '+':
        over = __builtin_add_overflow(a, b, &result);
        break;
    case '-':
        over = __builtin_sub_overflow(a, b, &result);
        break;
    case '*':
        over = __builtin_mul_overflow(a, b, &result);
        break;
    case JINJA_OP2('*', '*'):
        return b >= 0 ? integer_power(r, a, b) : jinja_float(pow((double)a, (double)b));
    default:
        if (b == 0)
            return jinja_fail(r, "division by zero");
        if (op == '/')
            return jinja_float((double)a / (double)b);
        if (b == -1) { // INT64_MIN / -1 would trap
            over = op != '%' && __builtin_sub_overflow(0, a, &result);
            break;
        }
        result = op == '%' ? a % b : a / b; // rounded down, as the remainder has the divisor's sign
        if (a % b != 0 && (a < 0) != (b < 0))
            result += op == '%' ? b : -1;
    }
    return over ? jinja_fail(r, "an integer past 64 bits") : jinja_int(result);
}

static struct jinja_value float_op(struct jinja_run *r, int op, double a, double b) {
    switch (op) {
    case '+':
        return jinja_float(a + b);
    case '-':
        return jinja_float(a - b);
    case '*':
        return jinja_float(a * b);
    case JINJA_OP2('*', '*'):
        return jinja_float(pow(a, b));
    default:
        break;
    }
    if (b == 0)
        return jinja_fail(r, "division by zero");
    if (op == '/')
        return jinja_float(a / b);
    double rest = fmod(a, b);
    if (rest != 0 && (rest < 0) != (b < 0))
        rest += b;
    return jinja_float(op == '%' ? rest : floor((a - rest) / b + 0.5));
}

// Where one of the two is safe, the other is made so.
static struct jinja_value join_texts(struct jinja_run *r, struct jinja_text a, struct jinja_text b) {
    struct jinja_out o;
    bool is_safe = a.is_safe || b.is_safe;
    jinja_out_init(&o, r);
    (is_safe ? jinja_out_escaped : jinja_out_add)(&o, a);
    (is_safe ? jinja_out_escaped : jinja_out_add)(&o, b);
    struct jinja_text joined = jinja_out_text(&o);
    joined.is_safe = is_safe;
    return jinja_text_value(r, joined);
}

static struct jinja_value join_lists(struct jinja_run *r, const struct jinja_list *a,
                                     const struct jinja_list *b) {
    struct jinja_value list = jinja_list_of(r, a->kind);
    for (size_t i = 0; i < a->n + b->n && !r->failed; i++)
        jinja_list_add(r, list, i < a->n ? a->items[i] : b->items[i - a->n]);
    return list;
}

static struct jinja_value repeat(struct jinja_run *r, struct jinja_value v, int64_t times) {
    if (v.type == JINJA_STRING) {
        struct jinja_out o;
        jinja_out_init(&o, r);
        for (int64_t i = 0; i < times && v.as.string->len && !r->failed; i++) {
            jinja_charge(r, 1);
            jinja_out_add(&o, *v.as.string);
        }
        return jinja_out_value(&o);
    }
    struct jinja_value list = jinja_list_of(r, v.as.list->kind);
    for (int64_t i = 0; i < times && v.as.list->n && !r->failed; i++)
        for (size_t k = 0; k < v.as.list->n && !r->failed; k++)
            jinja_list_add(r, list, v.as.list->items[k]);
    return list;
}

static bool is_sequence(struct jinja_value v) {
    return v.type == JINJA_STRING || (v.type == JINJA_LIST && v.as.list->kind <= LIST_TUPLE);
}

static bool is_integer(struct jinja_value v) {
    return v.type == JINJA_INT || v.type == JINJA_BOOL;
}

struct jinja_value jinja_binary(struct jinja_run *r, int op, struct jinja_value a, struct jinja_value b) {
    if (r->failed)
        return undefined();
    if (jinja_is_number(a) && jinja_is_number(b)) {
        if (a.type == JINJA_FLOAT || b.type == JINJA_FLOAT)
            return float_op(r, op, jinja_as_double(a), jinja_as_double(b));
        return integer_op(r, op, jinja_as_int(a), jinja_as_int(b));
    }
    if (op == '+' && a.type == JINJA_STRING && b.type == JINJA_STRING)
        return join_texts(r, *a.as.string, *b.as.string);
    if (op == '+' && is_sequence(a) && is_sequence(b) && a.type == b.type &&
        a.as.list->kind == b.as.list->kind)
        return join_lists(r, a.as.list, b.as.list);
    if (op == '*' && is_sequence(a) && is_integer(b))
        return repeat(r, a, jinja_as_int(b));
    if (op == '*' && is_sequence(b) && is_integer(a))
        return repeat(r, b, jinja_as_int(a));
    return fail_operands(r, op, a, b);
}

static bool compare_op(struct jinja_run *r, int op, struct jinja_value a, struct jinja_value b) {
    char name[3];
    switch (op) {
    case JINJA_OP2('=', '='):
        return jinja_equal(r, a, b);
    case JINJA_OP2('!', '='):
        return !jinja_equal(r, a, b);
    case JINJA_OP_IN:
        return jinja_contains(r, b, a);
    case JINJA_OP_NOT_IN:
        return !jinja_contains(r, b, a);
    default:
        break;
    }
    int order = jinja_compare(r, a, b, op_name(op, name));
    switch (op) {
    case '<':
        return order < 0;
    case '>':
        return order > 0;
    case JINJA_OP2('<', '='):
        return order <= 0;
    default:
        return order >= 0;
    }
}

static struct jinja_value eval_compare(struct jinja_run *r, const struct jinja_node *n) {
    struct jinja_value left = jinja_eval(r, n->a);
    for (const struct jinja_node *o = n->b; o && !r->failed; o = o->next) {
        struct jinja_value right = jinja_eval(r, o->a);
        if (r->failed || !compare_op(r, o->op, left, right))
            return jinja_bool(false);
        left = right;
    }
    return jinja_bool(true);
}

static struct jinja_value eval_chain(struct jinja_run *r, const struct jinja_node *n) {
    struct jinja_value left = jinja_eval(r, n->a);
    for (const struct jinja_node *o = n->b; o && !r->failed; o = o->next) {
        struct jinja_value right = jinja_eval(r, o->a);
        r->line = o->line;
        left = jinja_binary(r, o->op, left, right);
    }
    return left;
}

static struct jinja_value eval_concat(struct jinja_run *r, const struct jinja_node *n) {
    struct jinja_out o;
    jinja_out_init(&o, r);
    for (const struct jinja_node *part = n->a; part && !r->failed; part = part->next)
        jinja_print(&o, jinja_eval(r, part));
    return jinja_out_value(&o);
}

// The first operand that decides, as Python gives it.
static struct jinja_value eval_logic(struct jinja_run *r, const struct jinja_node *n) {
    struct jinja_value v = undefined();
    for (const struct jinja_node *part = n->a; part && !r->failed; part = part->next) {
        v = jinja_eval(r, part);
        if (jinja_truth(v) == (n->kind == NODE_OR))
            break;
    }
    return v;
}

static struct jinja_value eval_items(struct jinja_run *r, const struct jinja_node *n) {
    struct jinja_value list = jinja_list_of(r, n->kind == NODE_TUPLE ? LIST_TUPLE : LIST_PLAIN);
    for (const struct jinja_node *item = n->a; item && !r->failed; item = item->next)
        jinja_list_add(r, list, jinja_eval(r, item));
    return list;
}

static struct jinja_value eval_dict(struct jinja_run *r, const struct jinja_node *n) {
    struct jinja_value dict = jinja_dict(r);
    for (const struct jinja_node *pair = n->a; pair && !r->failed; pair = pair->next) {
        struct jinja_value key = jinja_eval(r, pair->a), value = jinja_eval(r, pair->b);
        if (!r->failed)
            jinja_dict_put(r, dict.as.dict, key, value);
    }
    return dict;
}

static struct jinja_value eval_slice(struct jinja_run *r, const struct jinja_node *n) {
    struct jinja_value v = jinja_eval(r, n->a), bound[3];
    const struct jinja_node *nodes[3] = {n->b, n->c, n->d};
    for (size_t i = 0; i < 3; i++)
        bound[i] = nodes[i] ? jinja_eval(r, nodes[i]) : jinja_none();
    r->line = n->line;
    return r->failed ? undefined() : jinja_slice(r, v, bound);
}

static void eval_args(struct jinja_run *r, const struct jinja_node *n, struct jinja_args *args) {
    size_t n_all = 0;
    *args = (struct jinja_args){0};
    for (const struct jinja_node *arg = n; arg; arg = arg->next)
        n_all++;
    if (n_all == 0)
        return;
    args->items = jinja_alloc(r, n_all * sizeof *args->items);
    args->named = jinja_alloc(r, n_all * sizeof *args->named);
    for (const struct jinja_node *arg = n; arg && !r->failed; arg = arg->next) {
        struct jinja_value v = jinja_eval(r, arg->a);
        if (arg->text.data)
            args->named[args->n_named++] = (struct jinja_variable){arg->text, v};
        else
            args->items[args->n++] = v;
    }
}

static struct jinja_value call_value(struct jinja_run *r, struct jinja_value f,
                                     const struct jinja_args *args) {
    switch (f.type) {
    case JINJA_MACRO:
        return jinja_call_macro(r, f.as.macro, args);
    case JINJA_FUNCTION:
        return jinja_builtin_call(r, f.as.function->builtin, f.as.function->self, args);
    case JINJA_LOOP:
        return jinja_call_loop(r, f.as.loop, args);
    case JINJA_UNDEFINED:
        return jinja_fail_undefined(r, f);
    default:
        return jinja_fail(r, "'%s' object is not callable", jinja_type_name(f));
    }
}

static struct jinja_value eval_call(struct jinja_run *r, const struct jinja_node *n) {
    struct jinja_args args;
    struct jinja_value f = jinja_eval(r, n->a);
    eval_args(r, n->b, &args);
    r->line = n->line;
    return r->failed ? undefined() : call_value(r, f, &args);
}

static struct jinja_value eval_builtin(struct jinja_run *r, const struct jinja_node *n) {
    struct jinja_args args;
    struct jinja_value v = jinja_eval(r, n->a);
    eval_args(r, n->b, &args);
    r->line = n->line;
    if (r->failed)
        return undefined();
    return n->kind == NODE_TEST ? jinja_bool(jinja_test(r, n->text, v, &args))
                                : jinja_filter(r, n->text, v, &args);
}

static struct jinja_value eval_sign(struct jinja_run *r, const struct jinja_node *n) {
    struct jinja_value v = jinja_eval(r, n->a);
    if (!r->failed && !jinja_is_number(v))
        return v.type == JINJA_UNDEFINED ? jinja_fail_undefined(r, v)
                                         : jinja_fail(r, "bad operand type for unary %s: '%s'",
                                                      n->kind == NODE_NEGATE ? "-" : "+", jinja_type_name(v));
    struct jinja_value zero = v.type == JINJA_FLOAT ? jinja_float(-0.0) : jinja_int(0);
    return jinja_binary(r, n->kind == NODE_NEGATE ? '-' : '+', zero, v);
}

static struct jinja_value eval_cond(struct jinja_run *r, const struct jinja_node *n) {
    if (jinja_truth(jinja_eval(r, n->a)))
        return r->failed ? undefined() : jinja_eval(r, n->b);
    return n->c && !r->failed ? jinja_eval(r, n->c) : undefined();
}

static struct jinja_value eval_node(struct jinja_run *r, const struct jinja_node *n) {
    struct jinja_value v;
    switch (n->kind) {
    case NODE_CONST:
        return n->value;
    case NODE_NAME:
        return jinja_lookup(r, n->text);
    case NODE_LIST:
    case NODE_TUPLE:
        return eval_items(r, n);
    case NODE_DICT:
        return eval_dict(r, n);
    case NODE_ATTR:
        v = jinja_eval(r, n->a);
        r->line = n->line;
        return r->failed ? v : jinja_attribute(r, v, n->text);
    case NODE_ITEM: {
        struct jinja_value key;
        v = jinja_eval(r, n->a);
        key = jinja_eval(r, n->b);
        r->line = n->line;
        return r->failed ? v : jinja_item(r, v, key);
    }
    case NODE_SLICE:
        return eval_slice(r, n);
    case NODE_CALL:
        return eval_call(r, n);
    case NODE_FILTER:
    case NODE_TEST:
        return eval_builtin(r, n);
    case NODE_PIPED:
        return r->piped;
    case NODE_CHAIN:
        return eval_chain(r, n);
    case NODE_COMPARE:
        return eval_compare(r, n);
    case NODE_CONCAT:
        return eval_concat(r, n);
    case NODE_AND:
    case NODE_OR:
        return eval_logic(r, n);
    case NODE_NOT:
        return jinja_bool(!jinja_truth(jinja_eval(r, n->a)));
    case NODE_NEGATE:
    case NODE_PLUS:
        return eval_sign(r, n);
    case NODE_COND:
        return eval_cond(r, n);
    default:
        return jinja_fail(r, "a statement in the place of an expression");
    }
}

struct jinja_value jinja_eval(struct jinja_run *r, const struct jinja_node *n) {
    if (!jinja_enter(r))
        return undefined();
    r->line = n->line;
    struct jinja_value v = eval_node(r, n);
    r->depth--;
    return v;
}
