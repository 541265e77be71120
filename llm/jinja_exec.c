// Statements: scopes, loops, macros, and what a template writes.
//
// A loop's body, a macro's, and a "with" block have a scope each; "if" has none. An assignment goes to the
// innermost scope, so a loop keeps nothing but what a namespace holds.
#include "llm/jinja_ast.h"

#include <string.h>

enum flow { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE };

static enum flow exec_list(struct jinja_run *r, const struct jinja_node *n);

bool jinja_enter(struct jinja_run *r) {
    jinja_charge(r, 1);
    if (r->depth >= JINJA_DEPTH_MAX)
        jinja_fail(r, "the template nests too deep (a macro that calls itself?)");
    if (!r->failed)
        r->depth++;
    return !r->failed;
}

// ---- variables ----

static struct jinja_variable *scope_find(struct jinja_run *r, const struct jinja_scope *s,
                                         struct jinja_text name) {
    jinja_charge(r, s->n / 32);
    for (size_t i = 0; i < s->n; i++)
        if (jinja_text_equal(s->variables[i].name, name))
            return &s->variables[i];
    return NULL;
}

struct jinja_value jinja_lookup(struct jinja_run *r, struct jinja_text name) {
    for (const struct jinja_scope *s = r->scope; s; s = s->parent) {
        const struct jinja_variable *v = scope_find(r, s, name);
        if (v)
            return v->value;
    }
    const struct jinja_builtin *b = jinja_builtin_find(jinja_globals, name);
    struct jinja_function *f = b ? jinja_alloc(r, sizeof *f) : NULL;
    if (!f)
        return jinja_undefined_of(r, NULL, name);
    f->builtin = b;
    f->self = jinja_none();
    return (struct jinja_value){.type = JINJA_FUNCTION, .as.function = f};
}

static void scope_put(struct jinja_run *r, struct jinja_scope *s, struct jinja_text name,
                      struct jinja_value value) {
    struct jinja_variable *v = scope_find(r, s, name);
    if (v) {
        v->value = value;
        return;
    }
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 4;
        struct jinja_variable *copy = jinja_alloc(r, cap * sizeof *copy);
        if (!copy)
            return;
        if (s->n)
            memcpy(copy, s->variables, s->n * sizeof *copy);
        s->variables = copy;
        s->cap = cap;
    }
    s->variables[s->n++] = (struct jinja_variable){name, value};
}

void jinja_set(struct jinja_run *r, const char *name, struct jinja_value value) {
    struct jinja_value key = jinja_string(r, name, strlen(name), 0);
    if (!r->failed)
        scope_put(r, r->scope, *key.as.string, value);
}

// Makes a scope inside `parent` the current one. Returns the one that was, to be put back.
static struct jinja_scope *scope_open(struct jinja_run *r, struct jinja_scope *parent) {
    struct jinja_scope *was = r->scope, *s = jinja_alloc(r, sizeof *s);
    if (s) {
        s->parent = parent;
        r->scope = s;
    }
    return was;
}

static void assign(struct jinja_run *r, const struct jinja_node *target, struct jinja_value v) {
    if (!jinja_enter(r))
        return;
    if (target->kind == NODE_NAME) {
        scope_put(r, r->scope, target->text, v);
    } else if (target->kind == NODE_ATTR) {
        struct jinja_value space = jinja_lookup(r, target->a->text);
        if (space.type == JINJA_NAMESPACE)
            jinja_dict_put(r, space.as.dict, jinja_text_value(r, target->text), v);
        else if (space.type == JINJA_UNDEFINED)
            jinja_fail_undefined(r, space);
        else
            jinja_fail(r, "cannot assign attribute on non-namespace object");
    } else {
        const struct jinja_list *items = jinja_iterate(r, v);
        const struct jinja_node *t = target->a;
        size_t i = 0;
        for (; t && i < items->n && !r->failed; t = t->next)
            assign(r, t, items->items[i++]);
        if (t || i < items->n)
            jinja_fail(r, "%s values to unpack", t ? "not enough" : "too many");
    }
    r->depth--;
}

// ---- what is written ----

// Runs a body with its output kept as a string.
static struct jinja_value capture(struct jinja_run *r, const struct jinja_node *body, enum flow *flow) {
    struct jinja_out out, *was = r->out;
    jinja_out_init(&out, r);
    r->out = &out;
    enum flow f = exec_list(r, body);
    r->out = was;
    if (flow)
        *flow = f;
    return jinja_out_value(&out);
}

static struct jinja_value piped(struct jinja_run *r, struct jinja_value v, const struct jinja_node *filters) {
    struct jinja_value was = r->piped;
    r->piped = v;
    v = jinja_eval(r, filters);
    r->piped = was;
    return v;
}

// ---- loops ----

// The items a loop runs over: with a filter, those for which it holds.
static const struct jinja_list *loop_items(struct jinja_run *r, const struct jinja_node *n,
                                           struct jinja_value over) {
    const struct jinja_list *all = jinja_iterate(r, over);
    if (!n->c)
        return all;
    struct jinja_value kept = jinja_list(r);
    for (size_t i = 0; i < all->n && !r->failed; i++) {
        struct jinja_scope *was = scope_open(r, r->scope);
        assign(r, n->a, all->items[i]);
        if (!r->failed && jinja_truth(jinja_eval(r, n->c)))
            jinja_list_add(r, kept, all->items[i]);
        r->scope = was;
    }
    return r->failed ? all : kept.as.list;
}

static enum flow exec_loop(struct jinja_run *r, const struct jinja_node *n, struct jinja_value over,
                           size_t depth) {
    enum flow flow = FLOW_ON;
    const struct jinja_list *items = loop_items(r, n, over);
    struct jinja_scope *around = r->scope;
    if (r->failed)
        return FLOW_ON;
    if (items->n == 0)
        return n->e ? exec_list(r, n->e) : FLOW_ON;
    struct jinja_loop *loop = jinja_alloc(r, sizeof *loop);
    if (!loop)
        return FLOW_ON;
    *loop = (struct jinja_loop){.items = items, .depth = depth, .node = n->op ? n : NULL, .scope = around};
    for (; loop->i < items->n && flow != FLOW_BREAK && !r->failed; loop->i++) {
        scope_open(r, around);
        scope_put(r, r->scope, jinja_text_of("loop", 4),
                  (struct jinja_value){.type = JINJA_LOOP, .as.loop = loop});
        assign(r, n->a, items->items[loop->i]);
        flow = exec_list(r, n->d);
        r->scope = around;
    }
    return FLOW_ON;
}

struct jinja_value jinja_call_loop(struct jinja_run *r, const struct jinja_loop *loop,
                                   const struct jinja_args *args) {
    if (!loop->node || args->n != 1)
        return jinja_fail(r, "only a recursive loop can be called, with one value");
    struct jinja_out out, *out_was = r->out;
    struct jinja_scope *was = r->scope;
    if (!jinja_enter(r))
        return jinja_none();
    jinja_out_init(&out, r);
    r->out = &out;
    r->scope = loop->scope;
    exec_loop(r, loop->node, args->items[0], loop->depth + 1);
    r->scope = was;
    r->out = out_was;
    r->depth--;
    return jinja_out_value(&out);
}

// ---- macros ----

static struct jinja_value macro_of(struct jinja_run *r, const struct jinja_node *n) {
    struct jinja_macro *m = jinja_alloc(r, sizeof *m);
    if (!m)
        return jinja_none();
    m->node = n;
    m->scope = r->scope;
    return (struct jinja_value){.type = JINJA_MACRO, .as.macro = m};
}

static const struct jinja_variable *find_named(const struct jinja_args *args, struct jinja_text name) {
    for (size_t i = 0; i < args->n_named; i++)
        if (jinja_text_equal(args->named[i].name, name))
            return &args->named[i];
    return NULL;
}

static void bind_params(struct jinja_run *r, const struct jinja_node *macro, const struct jinja_args *args) {
    size_t i = 0, n_named = 0;
    int n = (int)(macro->text.len < 60 ? macro->text.len : 60);
    for (const struct jinja_node *p = macro->b; p && !r->failed; p = p->next, i++) {
        const struct jinja_variable *named = find_named(args, p->text);
        n_named += named != NULL;
        if (named && i < args->n)
            jinja_fail(r, "macro '%.*s' got two values for '%.*s'", n, macro->text.data,
                       (int)(p->text.len < 60 ? p->text.len : 60), p->text.data);
        struct jinja_value v = i < args->n ? args->items[i] : named ? named->value : jinja_none();
        if (i >= args->n && !named)
            v = p->a ? jinja_eval(r, p->a) : jinja_undefined_of(r, NULL, p->text);
        scope_put(r, r->scope, p->text, v);
    }
    struct jinja_text caller = jinja_text_of("caller", 6);
    const struct jinja_variable *given = find_named(args, caller);
    if (given && !scope_find(r, r->scope, caller)) {
        scope_put(r, r->scope, caller, given->value);
        n_named++;
    }
    if (i < args->n)
        jinja_fail(r, "macro '%.*s' takes not more than %zu arguments, found %zu", n, macro->text.data, i,
                   args->n);
    if (n_named < args->n_named)
        jinja_fail(r, "macro '%.*s' takes no argument of that name", n, macro->text.data);
}

struct jinja_value jinja_call_macro(struct jinja_run *r, const struct jinja_macro *m,
                                    const struct jinja_args *args) {
    if (!jinja_enter(r))
        return jinja_none();
    struct jinja_scope *was = scope_open(r, m->scope);
    bind_params(r, m->node, args);
    struct jinja_value text = capture(r, m->node->d, NULL);
    r->scope = was;
    r->depth--;
    return text;
}

// The call's macro finds the block's body under the name "caller".
static void exec_call_block(struct jinja_run *r, const struct jinja_node *n) {
    struct jinja_node call = *n->a, argument = {.kind = NODE_ARG, .line = n->line}, body = {0};
    body = (struct jinja_node){.kind = NODE_CONST, .line = n->line, .value = macro_of(r, n->e)};
    argument.text = n->e->text;
    argument.a = &body;
    argument.next = call.b;
    call.b = &argument;
    struct jinja_value v = jinja_eval(r, &call);
    if (!r->failed)
        jinja_print(r->out, v);
}

// ---- statements ----

static enum flow exec_if(struct jinja_run *r, const struct jinja_node *n) {
    for (const struct jinja_node *branch = n->a; branch && !r->failed; branch = branch->next)
        if (!branch->a || jinja_truth(jinja_eval(r, branch->a)))
            return r->failed ? FLOW_ON : exec_list(r, branch->d);
    return FLOW_ON;
}

static enum flow exec_with(struct jinja_run *r, const struct jinja_node *n) {
    struct jinja_scope *was = scope_open(r, r->scope);
    for (const struct jinja_node *set = n->a; set && !r->failed; set = set->next) {
        struct jinja_scope *inner = r->scope;
        r->scope = was; // the values are those of outside
        struct jinja_value v = jinja_eval(r, set->b);
        r->scope = inner;
        assign(r, set->a, v);
    }
    enum flow flow = exec_list(r, n->d);
    r->scope = was;
    return flow;
}

// A body in a scope of its own, its text through the filters.
static struct jinja_value exec_captured(struct jinja_run *r, const struct jinja_node *n, enum flow *flow) {
    struct jinja_scope *was = scope_open(r, r->scope);
    struct jinja_value v = capture(r, n->d, flow);
    r->scope = was;
    return r->failed ? v : piped(r, v, n->b);
}

static enum flow exec_statement(struct jinja_run *r, const struct jinja_node *n) {
    enum flow flow = FLOW_ON;
    struct jinja_value v;
    switch (n->kind) {
    case NODE_TEXT:
        jinja_out_add(r->out, n->text);
        break;
    case NODE_PRINT:
        v = jinja_eval(r, n->a);
        if (!r->failed)
            jinja_print(r->out, v);
        break;
    case NODE_IF:
        return exec_if(r, n);
    case NODE_FOR:
        v = jinja_eval(r, n->b);
        return r->failed ? FLOW_ON : exec_loop(r, n, v, 1);
    case NODE_SET:
        v = jinja_eval(r, n->b);
        if (!r->failed)
            assign(r, n->a, v);
        break;
    case NODE_SET_BLOCK:
        v = exec_captured(r, n, &flow);
        if (!r->failed)
            assign(r, n->a, v);
        break;
    case NODE_FILTER_BLOCK:
        v = exec_captured(r, n, &flow);
        if (!r->failed)
            jinja_print(r->out, v);
        break;
    case NODE_MACRO:
        v = macro_of(r, n);
        scope_put(r, r->scope, n->text, v);
        break;
    case NODE_CALL_BLOCK:
        exec_call_block(r, n);
        break;
    case NODE_WITH:
        return exec_with(r, n);
    case NODE_BREAK:
        return FLOW_BREAK;
    case NODE_CONTINUE:
        return FLOW_CONTINUE;
    default:
        jinja_fail(r, "an expression in the place of a statement");
    }
    return flow;
}

static enum flow exec_list(struct jinja_run *r, const struct jinja_node *n) {
    enum flow flow = FLOW_ON;
    if (!jinja_enter(r))
        return flow;
    for (; n && flow == FLOW_ON && !r->failed; n = n->next) {
        jinja_charge(r, 1);
        r->line = n->line;
        flow = exec_statement(r, n);
    }
    r->depth--;
    return flow;
}

bool jinja_render(struct jinja_run *r, const struct jinja_template *t, struct jinja_text *out,
                  struct err *err) {
    struct jinja_out written;
    jinja_out_init(&written, r);
    r->out = &written;
    r->line = 0;
    if (!r->failed)
        exec_list(r, t->body);
    r->out = NULL;
    if (r->failed)
        return err_set(err, r->err.code, "%s", r->err.msg);
    *out = jinja_out_text(&written);
    return true;
}
