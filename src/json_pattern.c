// Takes a regular expression (ECMA 262, the part named in json_schema.h), gives GBNF. What JSON must escape in a
// string (" \ and control characters) is written escaped; in sets such characters are refused, but for \n, \r and
// \t, which no set of ours holds.
#include "json_schema.h"

#include "base/utf8.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATTERN_DEPTH_MAX = 32, PATTERN_REPEAT_MAX = 10000 };

struct pattern {
    const char *text, *at;
    struct buf *out;
    struct err *err;
};

static bool put(struct pattern *p, const char *text) {
    return buf_append_str(p->out, text, p->err);
}

static bool refuse(struct pattern *p, const char *what) {
    return err_set(p->err, ERR_INVALID_VALUE, "pattern, character %zu: %s", (size_t)(p->at - p->text) + 1,
                   what);
}

// One code point as it stands in a literal or a set of GBNF.
static bool put_code_point(struct pattern *p, uint32_t c) {
    char text[16];
    snprintf(text, sizeof text, "\\U%08X", (unsigned)c);
    return put(p, text);
}

static bool put_literal(struct pattern *p, uint32_t c) {
    char text[40];
    if (c == '"' || c == '\\')
        snprintf(text, sizeof text, "\"\\\\\\%c\" ", (int)c);
    else if (c < 0x20)
        snprintf(text, sizeof text, "\"\\\\u00%02x\" ", (unsigned)c);
    else
        snprintf(text, sizeof text, "\"\\U%08X\" ", (unsigned)c);
    return put(p, text);
}

// \d \w \s and their like: the inside of a set, or NULL.
static const char *class_of(char c) {
    return c == 'd' ? "0-9" : c == 'w' ? "0-9A-Za-z_" : c == 's' ? " " : NULL;
}

static bool read_escape(struct pattern *p, uint32_t *c) {
    static const char names[] = "nrtfv", values[] = "\n\r\t\f\v";
    char e = *p->at;
    const char *found = e ? strchr(names, e) : NULL;
    if (found) {
        *c = (unsigned char)values[found - names];
    } else if (e && strchr("^$\\.*+?()[]{}|/-\"'", e)) {
        *c = (unsigned char)e;
    } else if (e == 'u' || e == 'x') {
        size_t n = e == 'u' ? 4 : 2;
        *c = 0;
        for (size_t i = 0; i < n; i++) {
            char d = *++p->at;
            const char *hex = d ? strchr("0123456789abcdefABCDEF", d) : NULL;
            if (!hex)
                return refuse(p, "expected a hexadecimal digit");
            *c = *c << 4 | (d <= '9' ? (uint32_t)(d - '0') : (uint32_t)((d | 32) - 'a' + 10));
        }
        if (*c >= 0xd800 && *c < 0xe000)
            return refuse(p, "half a surrogate pair is not supported");
    } else {
        return refuse(p, "this escape is not supported");
    }
    p->at++;
    return true;
}

static bool read_code_point(struct pattern *p, uint32_t *c) {
    if (*p->at == '\\') {
        p->at++;
        return read_escape(p, c);
    }
    size_t n = utf8_decode(p->at, strlen(p->at), c);
    p->at += n;
    return n > 0 || refuse(p, "expected a character, found the end");
}

static bool put_set(struct pattern *p) {
    p->at++;
    bool is_negated = *p->at == '^';
    p->at += is_negated;
    if (!is_negated && *p->at == ']')
        return refuse(p, "a set that is empty");
    if (!put(p, is_negated ? "[^\\x00-\\x1f\\\"\\\\" : "["))
        return false;
    while (*p->at != ']') {
        const char *class = p->at[0] == '\\' ? class_of(p->at[1]) : NULL;
        uint32_t lo, hi;
        if (class) {
            p->at += 2;
            if (!put(p, class))
                return false;
            continue;
        }
        if (!read_code_point(p, &lo))
            return false;
        hi = lo;
        if (p->at[0] == '-' && p->at[1] && p->at[1] != ']') {
            p->at++;
            if (!read_code_point(p, &hi))
                return false;
        }
        if (hi < lo)
            return refuse(p, "expected a range that ascends before this");
        if (!is_negated && (lo < 0x20 || (lo <= '"' && hi >= '"') || (lo <= '\\' && hi >= '\\')))
            return refuse(p, "a set that holds \", \\ or a control character is not supported");
        if (!put_code_point(p, lo) || !put(p, "-") || !put_code_point(p, hi))
            return false;
    }
    p->at++;
    return put(p, "] ");
}

static bool put_alternatives(struct pattern *p, size_t depth);

static bool put_atom(struct pattern *p, size_t depth) {
    uint32_t c;
    switch (*p->at) {
    case '[':
        return put_set(p);
    case '.':
        p->at++;
        return put(p, "[^\\x00-\\x1f\\\"\\\\] ");
    case '(':
        p->at++;
        if (p->at[0] == '?') {
            if (p->at[1] != ':')
                return refuse(p, "looking ahead or behind and named groups are not supported");
            p->at += 2;
        }
        if (depth == PATTERN_DEPTH_MAX)
            return refuse(p, "groups nested more than 32 deep");
        if (!put(p, "(") || !put_alternatives(p, depth + 1))
            return false;
        if (*p->at != ')')
            return refuse(p, "expected ')'");
        p->at++;
        return put(p, ") ");
    case '*':
    case '+':
    case '?':
    case '{':
        return refuse(p, "nothing to repeat");
    case '^':
    case '$':
        return refuse(p, "^ and $ are supported at the ends only");
    case '\\':
        if (class_of(p->at[1])) {
            p->at++;
            return put(p, "[") && put(p, class_of(*p->at++)) && put(p, "] ");
        }
        break;
    default:
        break;
    }
    return read_code_point(p, &c) && put_literal(p, c);
}

static bool put_counts(struct pattern *p) {
    size_t n = strcspn(p->at, "}");
    if (!p->at[n] || n > 15 || strspn(p->at + 1, "0123456789,") != n - 1)
        return refuse(p, "expected {n}, {n,} or {n,m}");
    const char *second = p->at + 1;
    char *end;
    unsigned long min = strtoul(second, &end, 10), max = min;
    bool ok = end > second;
    if (*end == ',') {
        second = end + 1;
        max = strtoul(second, &end, 10);
        max = end > second ? max : ULONG_MAX;
    }
    if (!ok || *end != '}')
        return refuse(p, "expected {n}, {n,} or {n,m}");
    if (min > PATTERN_REPEAT_MAX || (max > PATTERN_REPEAT_MAX && max < ULONG_MAX))
        return refuse(p, "expected at most 10000 repetitions");
    if (max < min)
        return refuse(p, "expected counts that ascend");
    p->out->len -= p->out->data[p->out->len - 1] == ' ';
    ok = buf_append(p->out, p->at, n + 1, p->err);
    p->at += n + 1;
    return ok && put(p, " ");
}

static bool put_repetition(struct pattern *p) {
    char sign[3] = {*p->at, ' ', 0};
    if (*p->at == '{') {
        if (!put_counts(p))
            return false;
    } else if (*p->at == '*' || *p->at == '+' || *p->at == '?') {
        p->at++;
        if (!put(p, sign))
            return false;
    } else {
        return true;
    }
    p->at += *p->at == '?'; // lazy: the same texts
    return true;
}

static bool put_alternatives(struct pattern *p, size_t depth) {
    for (;;) {
        size_t n = 0;
        for (; *p->at && *p->at != '|' && *p->at != ')' && !(p->at[0] == '$' && !p->at[1]); n++)
            if (!put_atom(p, depth) || !put_repetition(p))
                return false;
        if (n == 0 && !put(p, "\"\" "))
            return false;
        if (*p->at != '|')
            return true;
        p->at++;
        if (!put(p, "| "))
            return false;
    }
}

bool json_pattern_to_gbnf(const char *pattern, struct buf *out, struct err *err) {
    struct pattern p = {.text = pattern, .at = pattern, .out = out, .err = err};
    size_t len = strlen(pattern);
    bool from_start = *p.at == '^', to_end = len > 0 && pattern[len - 1] == '$';
    static const char any[] = "[^\\x00-\\x1f\\\"\\\\]* ";
    p.at += from_start;
    if ((!from_start && !put(&p, any)) || !put(&p, "(") || !put_alternatives(&p, 0) || !put(&p, ") "))
        return false;
    p.at += *p.at == '$';
    if (*p.at)
        return refuse(&p, "expected the end");
    return to_end || put(&p, any);
}
