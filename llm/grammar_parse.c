// Takes GBNF text, gives struct llm_grammar.
//
//   grammar      (name "::=" alternatives newline)*        comments: # to the end of the line
//   alternatives sequence ("|" sequence)*
//   sequence     (symbol ("*" | "+" | "?" | "{n}" | "{n,}" | "{n,m}")?)*
//   symbol       "literal" | [set] | [^set] | . | name | "(" alternatives ")"
//   escapes      \n \r \t \\ \" \[ \] \- \^ \xHH \uHHHH \UHHHHHHHH
//
// Groups and repetitions become rules of their own: x* is R ::= x R | nothing; x{0,2} is R2 ::= x R1 | nothing,
// R1 ::= x | nothing. Source: the description of GBNF in llama.cpp's grammars/README.md.
#include "base/mem.h"
#include "base/utf8.h"
#include "llm/grammar.h"

#include <stdlib.h>

enum {
    TEXT_MAX = 256 << 10,
    DEPTH_MAX = 64,
    ITEMS_MAX = 1 << 16, // elements, ranges, sets, alternatives, rules: of each
    REPEAT_MAX = 10000,
    CODE_POINT_MAX = 0x10ffff,
};

struct parser {
    const char *text;
    size_t len, at;
    struct llm_grammar *g;
    struct element *scratch; // sequences not yet finished, the outer ones first
    size_t n_scratch;
    size_t cap_elements, cap_ranges, cap_sets, cap_alternatives, cap_rules, cap_scratch;
    int32_t *slots; // [N_SLOTS] hash table of named rules
    struct err *err;
};

enum { N_SLOTS = 2 * ITEMS_MAX };

static void place(const char *text, size_t at, size_t *line, size_t *column) {
    *line = *column = 1;
    for (size_t i = 0; i < at; i++) {
        *column += ((unsigned char)text[i] & 0xc0) != 0x80;
        if (text[i] == '\n') {
            *column = 1;
            ++*line;
        }
    }
}

static bool fail(struct parser *p, const char *expected) {
    size_t line, column;
    uint32_t code_point;
    place(p->text, p->at, &line, &column);
    size_t n = p->at < p->len ? utf8_decode(p->text + p->at, p->len - p->at, &code_point) : 0;
    if (p->at == p->len)
        return err_set(p->err, ERR_INVALID_VALUE, "grammar line %zu, column %zu: expected %s, found the end",
                       line, column, expected);
    if (p->text[p->at] == '\n')
        return err_set(p->err, ERR_INVALID_VALUE,
                       "grammar line %zu, column %zu: expected %s, found the end of the line", line, column,
                       expected);
    return err_set(p->err, ERR_INVALID_VALUE, "grammar line %zu, column %zu: expected %s, found '%.*s'", line,
                   column, expected, (int)n, p->text + p->at);
}

// Room for one more item; `list` is the address of a pointer, which moves.
static bool grow(struct parser *p, void *list, size_t n, size_t *cap, size_t size_bytes) {
    if (n < *cap)
        return true;
    if (n >= ITEMS_MAX) {
        size_t line, column;
        place(p->text, p->at, &line, &column);
        return err_set(p->err, ERR_INVALID_VALUE,
                       "grammar line %zu, column %zu: too large, more than %d symbols when spelt out", line,
                       column, ITEMS_MAX);
    }
    size_t wanted = *cap ? 2 * *cap : 64;
    void *items;
    memcpy(&items, list, sizeof items);
    void *grown = realloc(items, wanted * size_bytes);
    if (!grown)
        return err_set(p->err, ERR_NOMEM, "grammar: no memory for %zu items", wanted);
    memcpy(list, &grown, sizeof grown);
    *cap = wanted;
    return true;
}

// `list` of p->g and its capacity, with room for one more.
#define GROW(list) grow(p, &p->g->list, p->g->n_##list, &p->cap_##list, sizeof *p->g->list)

static bool push(struct parser *p, enum element_type type, uint32_t value) {
    if (!grow(p, &p->scratch, p->n_scratch, &p->cap_scratch, sizeof *p->scratch))
        return false;
    p->scratch[p->n_scratch++] = (struct element){(unsigned)type & 3, value & 0x3fffffff};
    return true;
}

static bool add_rule(struct parser *p, uint32_t *rule) {
    if (!GROW(rules))
        return false;
    *rule = (uint32_t)p->g->n_rules;
    p->g->rules[p->g->n_rules++] = (struct rule){.first = GRAMMAR_NONE, .last = GRAMMAR_NONE};
    return true;
}

// Moves scratch[from ..] into a new alternative of the rule.
static bool add_alternative(struct parser *p, uint32_t rule, size_t from) {
    struct llm_grammar *g = p->g;
    if (!GROW(alternatives))
        return false;
    int32_t alternative = (int32_t)g->n_alternatives++;
    g->alternatives[alternative] = (struct alternative){(uint32_t)g->n_elements, GRAMMAR_NONE};
    for (size_t i = from; i <= p->n_scratch; i++) {
        if (!GROW(elements))
            return false;
        g->elements[g->n_elements++] = i < p->n_scratch ? p->scratch[i] : (struct element){ELEMENT_END, 0};
    }
    p->n_scratch = from;
    struct rule *r = &g->rules[rule];
    if (r->first == GRAMMAR_NONE)
        r->first = alternative;
    else
        g->alternatives[r->last].next = alternative;
    r->last = alternative;
    return true;
}

// ---- characters ----

static bool is_name_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static char peek(const struct parser *p) {
    return p->at < p->len ? p->text[p->at] : 0;
}

// Blanks and comments; line breaks only where the rule cannot end.
static void skip_space(struct parser *p, bool lines) {
    for (;; p->at++) {
        char c = peek(p);
        if (c == '#')
            while (p->at + 1 < p->len && p->text[p->at + 1] != '\n')
                p->at++;
        else if (c != ' ' && c != '\t' && c != '\r' && !(lines && c == '\n'))
            return;
    }
}

static bool read_hex(struct parser *p, size_t n_digits, uint32_t *code_point) {
    *code_point = 0;
    for (size_t i = 0; i < n_digits; i++, p->at++) {
        char c = peek(p);
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return fail(p, "a hexadecimal digit");
        *code_point = *code_point << 4 | (uint32_t)digit;
    }
    if (*code_point > CODE_POINT_MAX || (*code_point >= 0xd800 && *code_point < 0xe000))
        return fail(p, "a code point before this");
    return true;
}

static bool read_char(struct parser *p, uint32_t *code_point) {
    if (p->at == p->len || peek(p) == '\n')
        return fail(p, "a character");
    if (peek(p) != '\\') {
        size_t n = utf8_decode(p->text + p->at, p->len - p->at, code_point);
        p->at += n;
        return n > 0 || fail(p, "UTF-8");
    }
    p->at++;
    static const char escapes[] = "nrt\\\"[]-^", values[] = "\n\r\t\\\"[]-^";
    char c = peek(p);
    const char *found = c ? strchr(escapes, c) : NULL;
    if (found) {
        p->at++;
        *code_point = (unsigned char)values[found - escapes];
        return true;
    }
    size_t n_digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (n_digits == 0)
        return fail(p, "one of n r t \\ \" [ ] - ^ x u U behind a backslash");
    p->at++;
    return read_hex(p, n_digits, code_point);
}

static bool read_literal(struct parser *p) {
    p->at++;
    while (peek(p) != '"') {
        uint32_t code_point;
        if (!read_char(p, &code_point) || !push(p, ELEMENT_CHAR, code_point))
            return false;
    }
    p->at++;
    return true;
}

static int compare_ranges(const void *a, const void *b) {
    const struct code_range *x = a, *y = b;
    return x->lo < y->lo ? -1 : x->lo > y->lo ? 1 : 0;
}

static bool add_range(struct parser *p, uint32_t lo, uint32_t hi) {
    if (lo > hi)
        return true;
    if (!GROW(ranges))
        return false;
    p->g->ranges[p->g->n_ranges++] = (struct code_range){lo, hi};
    return true;
}

static bool add_range_without_surrogates(struct parser *p, uint32_t lo, uint32_t hi) {
    return add_range(p, lo, hi < 0xd7ff ? hi : 0xd7ff) && add_range(p, lo > 0xe000 ? lo : 0xe000, hi);
}

// Makes a set of ranges[first ..], which are in any order and may overlap.
static bool finish_set(struct parser *p, size_t first, bool is_negated) {
    struct llm_grammar *g = p->g;
    size_t n = g->n_ranges - first, n_out = 0;
    if (n > 0)
        qsort(g->ranges + first, n, sizeof *g->ranges, compare_ranges);
    for (size_t i = first; i < first + n; i++) {
        struct code_range *last = n_out > 0 ? &g->ranges[first + n_out - 1] : NULL;
        struct code_range r = g->ranges[i];
        if (last && r.lo <= last->hi + 1)
            last->hi = r.hi > last->hi ? r.hi : last->hi;
        else
            g->ranges[first + n_out++] = r;
    }
    g->n_ranges = first + n_out;
    if (is_negated) { // the gaps, behind the ranges; then in their place
        uint32_t lo = 0;
        for (size_t i = first; i < first + n_out; i++) {
            struct code_range r = g->ranges[i];
            if (r.lo > lo && !add_range_without_surrogates(p, lo, r.lo - 1))
                return false;
            lo = r.hi + 1;
        }
        if (!add_range_without_surrogates(p, lo, CODE_POINT_MAX))
            return false;
        n = g->n_ranges - first - n_out;
        memmove(g->ranges + first, g->ranges + first + n_out, n * sizeof *g->ranges);
        g->n_ranges = first + n;
    }
    if (!GROW(sets))
        return false;
    g->sets[g->n_sets++] = (struct code_set){(uint32_t)first, (uint32_t)(g->n_ranges - first)};
    return push(p, ELEMENT_SET, (uint32_t)(g->n_sets - 1));
}

static bool read_set(struct parser *p) {
    size_t first = p->g->n_ranges;
    p->at++;
    bool is_negated = peek(p) == '^';
    p->at += is_negated;
    while (peek(p) != ']') {
        uint32_t lo, hi;
        if (!read_char(p, &lo))
            return false;
        hi = lo;
        if (peek(p) == '-' && p->at + 1 < p->len && p->text[p->at + 1] != ']') {
            p->at++;
            if (!read_char(p, &hi))
                return false;
        }
        if (hi < lo)
            return fail(p, "a range that ascends before this");
        if (!add_range_without_surrogates(p, lo, hi))
            return false;
    }
    p->at++;
    if (p->g->n_ranges == first && !is_negated)
        return fail(p, "a set that is not empty before this");
    return finish_set(p, first, is_negated);
}

// ---- rules ----

static bool find_rule(struct parser *p, size_t name, size_t len, uint32_t *rule) {
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)p->text[name + i]) * 16777619u;
    for (size_t slot = hash % N_SLOTS;; slot = (slot + 1) % N_SLOTS) {
        if (p->slots[slot] == 0) {
            if (!add_rule(p, rule))
                return false;
            p->g->rules[*rule].name = (uint32_t)name;
            p->g->rules[*rule].name_len = (uint32_t)len;
            p->slots[slot] = (int32_t)*rule + 1;
            return true;
        }
        const struct rule *r = &p->g->rules[p->slots[slot] - 1];
        if (r->name_len == len && memcmp(p->text + r->name, p->text + name, len) == 0) {
            *rule = (uint32_t)(p->slots[slot] - 1);
            return true;
        }
    }
}

static bool read_name(struct parser *p, uint32_t *rule) {
    size_t name = p->at;
    while (is_name_char(peek(p)))
        p->at++;
    if (p->at == name)
        return fail(p, "the name of a rule");
    return find_rule(p, name, p->at - name, rule);
}

static bool read_number(struct parser *p, size_t *number) {
    size_t from = p->at;
    *number = 0;
    for (; peek(p) >= '0' && peek(p) <= '9'; p->at++) {
        *number = *number * 10 + (size_t)(peek(p) - '0');
        if (*number > REPEAT_MAX)
            return fail(p, "at most 10000 repetitions");
    }
    return p->at > from || fail(p, "a number");
}

// {n}, {n,}, {n,m}; *max SIZE_MAX: no end.
static bool read_counts(struct parser *p, size_t *min, size_t *max) {
    p->at++;
    if (!read_number(p, min))
        return false;
    *max = *min;
    if (peek(p) == ',') {
        p->at++;
        *max = SIZE_MAX;
        if (peek(p) != '}' && !read_number(p, max))
            return false;
    }
    if (peek(p) != '}')
        return fail(p, "'}'");
    if (*max < *min)
        return fail(p, "a range that ascends before this");
    p->at++;
    return true;
}

// The rules of what may be repeated on top of `min` times.
static bool add_optional(struct parser *p, struct element e, size_t n_more) {
    uint32_t rule = 0, before = 0;
    size_t n_rules = n_more == SIZE_MAX ? 1 : n_more;
    for (size_t i = 0; i < n_rules; i++, before = rule) {
        size_t from = p->n_scratch;
        if (!add_rule(p, &rule) || !push(p, (enum element_type)e.type, e.value))
            return false;
        if (n_more == SIZE_MAX ? !push(p, ELEMENT_RULE, rule) : i > 0 && !push(p, ELEMENT_RULE, before))
            return false;
        if (!add_alternative(p, rule, from) || !add_alternative(p, rule, from))
            return false;
    }
    return n_rules == 0 || push(p, ELEMENT_RULE, rule);
}

// Repeats the symbol scratch[from ..].
static bool repeat(struct parser *p, size_t from, size_t min, size_t max) {
    uint32_t rule;
    if (p->n_scratch == from) // an empty literal
        return true;
    if (p->n_scratch - from > 1) {
        if (!add_rule(p, &rule) || !add_alternative(p, rule, from) || !push(p, ELEMENT_RULE, rule))
            return false;
    }
    struct element e = p->scratch[--p->n_scratch];
    for (size_t i = 0; i < min; i++)
        if (!push(p, (enum element_type)e.type, e.value))
            return false;
    return add_optional(p, e, max == SIZE_MAX ? SIZE_MAX : max - min);
}

static bool read_alternatives(struct parser *p, uint32_t rule, size_t depth);

static bool read_group(struct parser *p, size_t depth) {
    uint32_t rule;
    if (depth == DEPTH_MAX)
        return fail(p, "at most 64 groups in one another");
    p->at++;
    skip_space(p, true);
    if (!add_rule(p, &rule) || !read_alternatives(p, rule, depth + 1))
        return false;
    if (peek(p) != ')')
        return fail(p, "')'");
    p->at++;
    return push(p, ELEMENT_RULE, rule);
}

static bool read_symbol(struct parser *p, size_t depth) {
    uint32_t rule;
    switch (peek(p)) {
    case '"':
        return read_literal(p);
    case '[':
        return read_set(p);
    case '(':
        return read_group(p, depth);
    case '.':
        p->at++;
        return finish_set(p, p->g->n_ranges, true);
    default:
        return read_name(p, &rule) && push(p, ELEMENT_RULE, rule);
    }
}

static bool read_sequence(struct parser *p, size_t depth) {
    for (;;) {
        char c = peek(p);
        if (!is_name_char(c) && c != '"' && c != '[' && c != '(' && c != '.')
            return true;
        size_t from = p->n_scratch, min = 0, max = SIZE_MAX;
        if (!read_symbol(p, depth))
            return false;
        skip_space(p, depth > 0);
        c = peek(p);
        if (c != '*' && c != '+' && c != '?' && c != '{')
            continue;
        if (c == '{') {
            if (!read_counts(p, &min, &max))
                return false;
        } else {
            p->at++;
            min = c == '+';
            max = c == '?' ? 1 : SIZE_MAX;
        }
        if (!repeat(p, from, min, max))
            return false;
        skip_space(p, depth > 0);
    }
}

static bool read_alternatives(struct parser *p, uint32_t rule, size_t depth) {
    for (;;) {
        size_t from = p->n_scratch;
        if (!read_sequence(p, depth) || !add_alternative(p, rule, from))
            return false;
        if (peek(p) != '|')
            return true;
        p->at++;
        skip_space(p, true);
    }
}

static bool read_rule(struct parser *p) {
    uint32_t rule;
    size_t name = p->at;
    if (!read_name(p, &rule))
        return false;
    if (p->g->rules[rule].first != GRAMMAR_NONE) {
        p->at = name;
        return fail(p, "a rule that is not there yet");
    }
    skip_space(p, false);
    if (p->len - p->at < 3 || memcmp(p->text + p->at, "::=", 3) != 0)
        return fail(p, "\"::=\"");
    p->at += 3;
    skip_space(p, true);
    if (!read_alternatives(p, rule, 0))
        return false;
    if (p->at < p->len && peek(p) != '\n')
        return fail(p, "a symbol, '|' or the end of the rule");
    skip_space(p, true);
    return true;
}

static bool check_rules(struct parser *p) {
    for (size_t i = 0; i < p->g->n_rules; i++) {
        const struct rule *r = &p->g->rules[i];
        if (r->first != GRAMMAR_NONE)
            continue;
        size_t line, column;
        place(p->text, r->name, &line, &column);
        return err_set(p->err, ERR_INVALID_VALUE, "grammar line %zu, column %zu: no rule \"%.*s\"", line,
                       column, r->name_len < 60 ? (int)r->name_len : 60, p->text + r->name);
    }
    return grammar_check_recursion(p->g, p->text, p->err);
}

static bool find_root(struct parser *p) {
    for (uint32_t i = 0; i < p->g->n_rules; i++) {
        const struct rule *r = &p->g->rules[i];
        if (r->name_len == 4 && memcmp(p->text + r->name, "root", 4) == 0) {
            p->g->root = i;
            return true;
        }
    }
    return err_set(p->err, ERR_INVALID_VALUE, "grammar: no rule \"root\"");
}

struct llm_grammar *llm_grammar_parse(const char *text, size_t len, struct err *err) {
    if (len > TEXT_MAX) {
        err_set(err, ERR_INVALID_VALUE, "grammar: %zu bytes, limit %d", len, TEXT_MAX);
        return NULL;
    }
    struct parser p = {.text = text, .len = len, .g = xcalloc(1, sizeof *p.g), .err = err};
    p.slots = xcalloc(N_SLOTS, sizeof *p.slots);
    skip_space(&p, true);
    bool ok = true;
    while (ok && p.at < len)
        ok = read_rule(&p);
    ok = ok && check_rules(&p) && find_root(&p);
    free(p.scratch);
    free(p.slots);
    if (!ok) {
        llm_grammar_destroy(p.g);
        return NULL;
    }
    return p.g;
}

void llm_grammar_destroy(struct llm_grammar *g) {
    if (!g)
        return;
    free(g->elements);
    free(g->ranges);
    free(g->sets);
    free(g->alternatives);
    free(g->rules);
    free(g);
}
