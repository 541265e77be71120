// Takes the rules of a parsed grammar -> refuses left recursion, which a matcher could follow without end.
//
// A rule's left neighbours are the rules that it can begin with: those behind nothing but rules that may be
// empty. A circle of them grows the matcher's stack unless each rule in it is the last of its alternative,
// whose return is never stacked. Circles are strongly connected components (Tarjan 1972, without recursion).
#include "base/mem.h"
#include "llm/grammar.h"

#include <stdlib.h>

struct check {
    const struct llm_grammar *g;
    bool *may_be_empty; // [n_rules]
    uint32_t *owners;   // [n_alternatives] rule
    uint32_t *at;       // [n_alternatives] first element that is not known to be empty
    int32_t *watchers;  // [n_rules] first alternative that waits for the rule, or GRAMMAR_NONE
    int32_t *next;      // [n_alternatives] of those that wait for the same
    // Tarjan's, [n_rules]
    uint32_t *order, *low, *component, *stack, *path;
    struct edge *edges; // where each rule of the path is
    uint32_t n_seen, n_stack, n_components;
};

struct edge { // a left neighbour
    int32_t alternative;
    uint32_t element;
};

static bool rule_end(const struct check *k, uint32_t element) {
    return k->g->elements[element].type == ELEMENT_END;
}

// Moves an alternative on to the first rule that is not known to be empty. True: it is all empty.
static bool watch(struct check *k, int32_t alternative) {
    for (uint32_t *at = &k->at[alternative];; ++*at) {
        struct element e = k->g->elements[*at];
        if (e.type == ELEMENT_END)
            return true;
        if (e.type != ELEMENT_RULE)
            return false;
        if (!k->may_be_empty[e.value]) {
            k->next[alternative] = k->watchers[e.value];
            k->watchers[e.value] = alternative;
            return false;
        }
    }
}

static void find_empty(struct check *k) {
    const struct llm_grammar *g = k->g;
    uint32_t n_known = 0, *known = k->path;
    for (uint32_t i = 0; i < g->n_rules; i++)
        for (int32_t a = g->rules[i].first; a != GRAMMAR_NONE; a = g->alternatives[a].next) {
            k->owners[a] = i;
            k->at[a] = g->alternatives[a].start;
        }
    for (size_t i = 0; i < g->n_rules; i++)
        k->watchers[i] = GRAMMAR_NONE;
    for (size_t a = 0; a < g->n_alternatives; a++)
        if (watch(k, (int32_t)a) && !k->may_be_empty[k->owners[a]]) {
            k->may_be_empty[k->owners[a]] = true;
            known[n_known++] = k->owners[a];
        }
    while (n_known > 0)
        for (int32_t a = k->watchers[known[--n_known]], after; a != GRAMMAR_NONE; a = after) {
            after = k->next[a];
            if (watch(k, a) && !k->may_be_empty[k->owners[a]]) {
                k->may_be_empty[k->owners[a]] = true;
                known[n_known++] = k->owners[a];
            }
        }
}

static struct edge edge_of_alternative(const struct check *k, int32_t alternative) {
    return (struct edge){alternative,
                         alternative == GRAMMAR_NONE ? 0 : k->g->alternatives[alternative].start};
}

// Moves e to the next left neighbour of its rule, itself included; false: there is none.
static bool edge_find(const struct check *k, struct edge *e) {
    while (e->alternative != GRAMMAR_NONE) {
        if (k->g->elements[e->element].type == ELEMENT_RULE)
            return true;
        *e = edge_of_alternative(k, k->g->alternatives[e->alternative].next);
    }
    return false;
}

static void edge_next(const struct check *k, struct edge *e) {
    if (k->may_be_empty[k->g->elements[e->element].value])
        e->element++;
    else
        *e = edge_of_alternative(k, k->g->alternatives[e->alternative].next);
}

static void enter(struct check *k, uint32_t rule, uint32_t *n_path) {
    k->order[rule] = k->low[rule] = ++k->n_seen;
    k->stack[k->n_stack++] = rule;
    k->path[*n_path] = rule;
    k->edges[(*n_path)++] = edge_of_alternative(k, k->g->rules[rule].first);
}

static void leave(struct check *k, uint32_t rule) {
    if (k->low[rule] != k->order[rule])
        return;
    k->n_components++;
    for (uint32_t member = rule + 1; member != rule;) {
        member = k->stack[--k->n_stack];
        k->component[member] = k->n_components;
    }
}

static void find_components(struct check *k, uint32_t from) {
    uint32_t n_path = 0;
    enter(k, from, &n_path);
    while (n_path > 0) {
        uint32_t rule = k->path[n_path - 1];
        struct edge *e = &k->edges[n_path - 1];
        if (!edge_find(k, e)) {
            leave(k, rule);
            if (--n_path > 0) {
                uint32_t before = k->path[n_path - 1];
                k->low[before] = k->low[rule] < k->low[before] ? k->low[rule] : k->low[before];
            }
            continue;
        }
        uint32_t to = k->g->elements[e->element].value;
        edge_next(k, e);
        if (k->order[to] == 0)
            enter(k, to, &n_path);
        else if (k->component[to] == 0 && k->order[to] < k->low[rule])
            k->low[rule] = k->order[to];
    }
}

static bool check_rule(const struct check *k, uint32_t rule, const char *text, struct err *err) {
    struct edge e = edge_of_alternative(k, k->g->rules[rule].first);
    for (; edge_find(k, &e); edge_next(k, &e)) {
        uint32_t to = k->g->elements[e.element].value;
        if (k->component[to] != k->component[rule] || rule_end(k, e.element + 1))
            continue;
        const struct rule *r = &k->g->rules[k->g->rules[rule].name_len ? rule : to];
        if (r->name_len == 0)
            return err_set(err, ERR_INVALID_VALUE, "grammar: left recursion in a group");
        return err_set(err, ERR_INVALID_VALUE,
                       "grammar: rule \"%.*s\" can begin with itself (left recursion)",
                       r->name_len < 60 ? (int)r->name_len : 60, text + r->name);
    }
    return true;
}

bool grammar_check_recursion(const struct llm_grammar *g, const char *text, struct err *err) {
    size_t n = g->n_rules + 1, n_alternatives = g->n_alternatives + 1;
    struct check k = {
        .g = g,
        .may_be_empty = xcalloc(n, sizeof *k.may_be_empty),
        .owners = xcalloc(n_alternatives, sizeof *k.owners),
        .at = xcalloc(n_alternatives, sizeof *k.at),
        .watchers = xcalloc(n, sizeof *k.watchers),
        .next = xcalloc(n_alternatives, sizeof *k.next),
        .order = xcalloc(n, sizeof *k.order),
        .low = xcalloc(n, sizeof *k.low),
        .component = xcalloc(n, sizeof *k.component),
        .stack = xcalloc(n, sizeof *k.stack),
        .path = xcalloc(n, sizeof *k.path),
        .edges = xcalloc(n, sizeof *k.edges),
    };
    find_empty(&k);
    for (uint32_t i = 0; i < g->n_rules; i++)
        if (k.order[i] == 0)
            find_components(&k, i);
    bool ok = true;
    for (uint32_t i = 0; ok && i < g->n_rules; i++)
        ok = check_rule(&k, i, text, err);
    free(k.may_be_empty);
    free(k.owners);
    free(k.at);
    free(k.watchers);
    free(k.next);
    free(k.order);
    free(k.low);
    free(k.component);
    free(k.stack);
    free(k.path);
    free(k.edges);
    return ok;
}
