// Values as text: str() and repr() of Python, and JSON as json.dumps writes it.
#include "llm/jinja_value.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PRINT_DEPTH_MAX = 80, NUMBER_MAX = 40 };

// The shortest decimal that reads back as the same double, in Python's form.
static void format_double(double x, char out[NUMBER_MAX]) {
    if (isnan(x) || isinf(x)) {
        snprintf(out, NUMBER_MAX, "%s", isnan(x) ? "nan" : x > 0 ? "inf" : "-inf");
        return;
    }
    char digits[NUMBER_MAX];
    int precision = 0;
    do
        snprintf(digits, sizeof digits, "%.*e", precision, x);
    while (strtod(digits, NULL) != x && ++precision < 17);
    int exponent = atoi(strchr(digits, 'e') + 1);
    if (exponent < -4 || exponent >= 16) { // 1.5e-07, 1e+16: as printf has it
        snprintf(out, NUMBER_MAX, "%s", digits);
        return;
    }
    int decimals = precision > exponent ? precision - exponent : 0;
    snprintf(out, NUMBER_MAX, "%.*f", decimals ? decimals : 1, x);
}

static void print_scalar(struct jinja_out *o, struct jinja_value v) {
    char number[NUMBER_MAX];
    if (v.type == JINJA_INT)
        snprintf(number, sizeof number, "%" PRId64, v.as.integer);
    else
        format_double(v.as.real, number);
    jinja_out_str(o, number);
}

static void print_repr_text(struct jinja_out *o, struct jinja_text t) {
    char quote = t.len && memchr(t.data, '\'', t.len) && !memchr(t.data, '"', t.len) ? '"' : '\'';
    jinja_out_char(o, (uint32_t)quote, false);
    for (size_t at = 0, n; at < t.len && !o->r->failed; at += n) {
        uint32_t c;
        n = jinja_char_len(t, at, &c);
        char escape[8] = {'\\', (char)c, 0};
        if (c == '\n' || c == '\r' || c == '\t')
            escape[1] = c == '\n' ? 'n' : c == '\r' ? 'r' : 't';
        else if (c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0xAD)
            snprintf(escape, sizeof escape, "\\x%02x", (unsigned)c & 0xFF);
        else if (c != '\\' && c != (uint32_t)quote) {
            jinja_out_add(o, jinja_text_part(t, at, at + n));
            continue;
        }
        for (const char *s = escape; *s; s++)
            jinja_out_char(o, (unsigned char)*s, t.is_input && t.is_input[at]);
    }
    jinja_out_char(o, (uint32_t)quote, false);
}

static void print_list(struct jinja_out *o, const struct jinja_list *l, size_t depth) {
    if (l->kind == LIST_GENERATOR) {
        jinja_out_str(o, "<generator>");
        return;
    }
    if (l->kind == LIST_VIEW)
        jinja_out_str(o, "dict_view(");
    jinja_out_str(o, l->kind == LIST_TUPLE ? "(" : "[");
    for (size_t i = 0; i < l->n && !o->r->failed; i++) {
        if (i)
            jinja_out_str(o, ", ");
        jinja_print_repr(o, l->items[i], depth + 1);
    }
    jinja_out_str(o, l->kind != LIST_TUPLE ? "]" : l->n == 1 ? ",)" : ")");
    if (l->kind == LIST_VIEW)
        jinja_out_str(o, ")");
}

static void print_dict(struct jinja_out *o, const struct jinja_dict *d, size_t depth) {
    jinja_out_str(o, "{");
    for (size_t i = 0; i < d->n && !o->r->failed; i++) {
        if (i)
            jinja_out_str(o, ", ");
        jinja_print_repr(o, d->pairs[i].key, depth + 1);
        jinja_out_str(o, ": ");
        jinja_print_repr(o, d->pairs[i].value, depth + 1);
    }
    jinja_out_str(o, "}");
}

void jinja_print_repr(struct jinja_out *o, struct jinja_value v, size_t depth) {
    jinja_charge(o->r, 1);
    if (depth > PRINT_DEPTH_MAX)
        jinja_fail(o->r, "a value of more than %d levels to print", PRINT_DEPTH_MAX);
    if (o->r->failed)
        return;
    switch (v.type) {
    case JINJA_STRING:
        print_repr_text(o, *v.as.string);
        break;
    case JINJA_NONE:
        jinja_out_str(o, "None");
        break;
    case JINJA_BOOL:
        jinja_out_str(o, v.as.truth ? "True" : "False");
        break;
    case JINJA_INT:
    case JINJA_FLOAT:
        print_scalar(o, v);
        break;
    case JINJA_LIST:
        print_list(o, v.as.list, depth);
        break;
    case JINJA_DICT:
        print_dict(o, v.as.dict, depth);
        break;
    default:
        jinja_out_str(o, v.type == JINJA_UNDEFINED ? "Undefined" : "<");
        if (v.type != JINJA_UNDEFINED) {
            jinja_out_str(o, jinja_type_name(v));
            jinja_out_str(o, ">");
        }
    }
}

void jinja_print(struct jinja_out *o, struct jinja_value v) {
    if (v.type == JINJA_STRING)
        jinja_out_add(o, *v.as.string);
    else if (v.type != JINJA_UNDEFINED && v.type != JINJA_ABSENT)
        jinja_print_repr(o, v, 0);
}

struct jinja_text jinja_str(struct jinja_run *r, struct jinja_value v) {
    if (v.type == JINJA_STRING)
        return *v.as.string;
    struct jinja_out o;
    jinja_out_init(&o, r);
    jinja_print(&o, v);
    return jinja_out_text(&o);
}

// ---- JSON ----

static void print_json_escape(struct jinja_out *o, uint32_t c, bool is_input) {
    static const char from[] = "\"\\\n\r\t\b\f", to[] = "\"\\nrtbf";
    char escape[16];
    const char *letter = c ? strchr(from, (int)(c & 0x7F)) : NULL;
    if (c < 0x80 && letter)
        snprintf(escape, sizeof escape, "\\%c", to[letter - from]);
    else if (c < 0x10000)
        snprintf(escape, sizeof escape, "\\u%04x", (unsigned)c);
    else
        snprintf(escape, sizeof escape, "\\u%04x\\u%04x", 0xD7C0 + (unsigned)(c >> 10),
                 0xDC00 + (unsigned)(c & 0x3FF));
    for (const char *s = escape; *s; s++)
        jinja_out_char(o, (unsigned char)*s, is_input);
}

static void print_json_text(struct jinja_out *o, struct jinja_text t, bool ascii) {
    jinja_out_str(o, "\"");
    size_t plain = 0, at = 0;
    for (size_t n; at < t.len && !o->r->failed; at += n) {
        uint32_t c;
        n = jinja_char_len(t, at, &c);
        if (c >= 0x20 && c != '"' && c != '\\' && !(ascii && c >= 0x80))
            continue;
        jinja_out_add(o, jinja_text_part(t, plain, at));
        print_json_escape(o, c, t.is_input && t.is_input[at]);
        plain = at + n;
    }
    if (plain < at)
        jinja_out_add(o, jinja_text_part(t, plain, at));
    jinja_out_str(o, "\"");
}

static void print_json_break(struct jinja_out *o, const struct jinja_json *how, size_t depth) {
    if (!how->indent)
        return;
    jinja_out_str(o, "\n");
    for (size_t i = 0; i < depth; i++)
        jinja_out_add(o, *how->indent);
}

static void print_json_key(struct jinja_out *o, struct jinja_value key, const struct jinja_json *how) {
    if (key.type == JINJA_STRING) {
        print_json_text(o, *key.as.string, how->ascii);
        return;
    }
    if (key.type != JINJA_NONE && !jinja_is_number(key)) {
        jinja_fail(o->r, "keys must be str, int, float, bool or None, not %s", jinja_type_name(key));
        return;
    }
    jinja_out_str(o, "\"");
    jinja_print_json(o, key, how, 0);
    jinja_out_str(o, "\"");
}

static int compare_pairs(const void *a, const void *b) {
    const struct jinja_pair *x = a, *y = b;
    if (x->key.type != JINJA_STRING || y->key.type != JINJA_STRING)
        return 0;
    const struct jinja_text *s = x->key.as.string, *t = y->key.as.string;
    int order = memcmp(s->data, t->data, s->len < t->len ? s->len : t->len);
    return order ? order : s->len < t->len ? -1 : s->len > t->len;
}

static void print_json_dict(struct jinja_out *o, const struct jinja_dict *d, const struct jinja_json *how,
                            size_t depth) {
    struct jinja_pair *pairs = d->pairs;
    if (how->sort_keys && d->n > 1) {
        pairs = jinja_alloc(o->r, d->n * sizeof *pairs);
        if (!pairs)
            return;
        memcpy(pairs, d->pairs, d->n * sizeof *pairs);
        qsort(pairs, d->n, sizeof *pairs, compare_pairs);
    }
    jinja_out_str(o, "{");
    for (size_t i = 0; i < d->n && !o->r->failed; i++) {
        if (i)
            jinja_out_add(o, how->item_separator);
        print_json_break(o, how, depth + 1);
        print_json_key(o, pairs[i].key, how);
        jinja_out_add(o, how->key_separator);
        jinja_print_json(o, pairs[i].value, how, depth + 1);
    }
    if (d->n)
        print_json_break(o, how, depth);
    jinja_out_str(o, "}");
}

static void print_json_list(struct jinja_out *o, const struct jinja_list *l, const struct jinja_json *how,
                            size_t depth) {
    jinja_out_str(o, "[");
    for (size_t i = 0; i < l->n && !o->r->failed; i++) {
        if (i)
            jinja_out_add(o, how->item_separator);
        print_json_break(o, how, depth + 1);
        jinja_print_json(o, l->items[i], how, depth + 1);
    }
    if (l->n)
        print_json_break(o, how, depth);
    jinja_out_str(o, "]");
}

void jinja_print_json(struct jinja_out *o, struct jinja_value v, const struct jinja_json *how, size_t depth) {
    jinja_charge(o->r, 1);
    if (depth > PRINT_DEPTH_MAX)
        jinja_fail(o->r, "a value of more than %d levels to print as JSON", PRINT_DEPTH_MAX);
    if (o->r->failed)
        return;
    if (v.type == JINJA_STRING)
        print_json_text(o, *v.as.string, how->ascii);
    else if (v.type == JINJA_NONE)
        jinja_out_str(o, "null");
    else if (v.type == JINJA_BOOL)
        jinja_out_str(o, v.as.truth ? "true" : "false");
    else if (v.type == JINJA_FLOAT && !isfinite(v.as.real))
        jinja_out_str(o, isnan(v.as.real) ? "NaN" : v.as.real > 0 ? "Infinity" : "-Infinity");
    else if (v.type == JINJA_INT || v.type == JINJA_FLOAT)
        print_scalar(o, v);
    else if (v.type == JINJA_DICT)
        print_json_dict(o, v.as.dict, how, depth);
    else if (v.type == JINJA_LIST && v.as.list->kind <= LIST_TUPLE)
        print_json_list(o, v.as.list, how, depth);
    else
        jinja_fail(o->r, "Object of type %s is not JSON serializable", jinja_type_name(v));
}
