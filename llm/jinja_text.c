// Text of the interpreter: UTF-8 with, beside it, which bytes came from input. Parts share the bytes.
#include "llm/jinja_value.h"

#include "base/utf8.h"

#include <string.h>

bool jinja_text_is(struct jinja_text t, const char *s) {
    return strlen(s) == t.len && memcmp(t.data, s, t.len) == 0;
}

bool jinja_text_equal(struct jinja_text a, struct jinja_text b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

size_t jinja_text_find(struct jinja_run *r, struct jinja_text t, struct jinja_text part, size_t from) {
    if (part.len == 0)
        return from <= t.len ? from : SIZE_MAX;
    while (from + part.len <= t.len && !r->failed) {
        const char *at = memchr(t.data + from, part.data[0], t.len - from - part.len + 1);
        size_t here = at ? (size_t)(at - t.data) : t.len;
        jinja_charge(r, 1 + (here - from) / 64 + (at ? part.len / 64 : 0));
        if (!at)
            break;
        if (memcmp(at, part.data, part.len) == 0)
            return here;
        from = here + 1;
    }
    return SIZE_MAX;
}

size_t jinja_text_find_last(struct jinja_run *r, struct jinja_text t, struct jinja_text part) {
    if (part.len > t.len)
        return SIZE_MAX;
    for (size_t at = t.len - part.len + 1; at-- > 0 && !r->failed;) {
        if (at % 64 == 0)
            jinja_charge(r, 1);
        if (part.len && t.data[at] != part.data[0])
            continue;
        jinja_charge(r, 1 + part.len / 64);
        if (part.len == 0 || memcmp(t.data + at, part.data, part.len) == 0)
            return at;
    }
    return SIZE_MAX;
}

size_t jinja_char_len(struct jinja_text t, size_t at, uint32_t *code_point) {
    uint32_t c = 0;
    size_t n = utf8_decode(t.data + at, t.len - at, &c);
    if (code_point)
        *code_point = n ? c : 0xFFFD;
    return n ? n : 1;
}

size_t jinja_text_n_chars(struct jinja_run *r, struct jinja_text t) {
    size_t n = 0;
    for (size_t at = 0; at < t.len; at += jinja_char_len(t, at, NULL))
        n++;
    jinja_charge(r, n / 64);
    return n;
}

bool jinja_char_is_space(uint32_t c) {
    return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
           c == 0x3000;
}

// Where in pairs of neighbours the upper-case letter is the even one, or the odd one.
static bool is_even_pair(uint32_t c) {
    return (c >= 0x100 && c <= 0x137 && c != 0x130 && c != 0x131) || (c >= 0x14A && c <= 0x177) ||
           (c >= 0x1E00 && c <= 0x1E95) || (c >= 0x1EA0 && c <= 0x1EFF) || (c >= 0x460 && c <= 0x481) ||
           (c >= 0x48A && c <= 0x4BF) || (c >= 0x4D0 && c <= 0x52F);
}

static bool is_odd_pair(uint32_t c) {
    return (c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17E) || (c >= 0x4C1 && c <= 0x4CE);
}

// Latin, Greek, Cyrillic and Armenian letters that have one letter of the other case.
uint32_t jinja_char_lower(uint32_t c) {
    if ((c >= 'A' && c <= 'Z') || (c >= 0xC0 && c <= 0xDE && c != 0xD7) ||
        (c >= 0x391 && c <= 0x3A9 && c != 0x3A2) || (c >= 0x410 && c <= 0x42F))
        return c + 32;
    if (c >= 0x400 && c <= 0x40F)
        return c + 80;
    if (c >= 0x531 && c <= 0x556)
        return c + 48;
    return c == 0x178 ? 0xFF : (is_even_pair(c) && c % 2 == 0) || (is_odd_pair(c) && c % 2 == 1) ? c + 1 : c;
}

uint32_t jinja_char_upper(uint32_t c) {
    if ((c >= 'a' && c <= 'z') || (c >= 0xE0 && c <= 0xFE && c != 0xF7) ||
        (c >= 0x3B1 && c <= 0x3C9 && c != 0x3C2) || (c >= 0x430 && c <= 0x44F))
        return c - 32;
    if (c >= 0x450 && c <= 0x45F)
        return c - 80;
    if (c >= 0x561 && c <= 0x586)
        return c - 48;
    return c == 0xFF ? 0x178 : (is_even_pair(c) && c % 2 == 1) || (is_odd_pair(c) && c % 2 == 0) ? c - 1 : c;
}

static bool is_in_set(struct jinja_run *r, struct jinja_text t, size_t at, size_t n, struct jinja_text set) {
    uint32_t c;
    jinja_charge(r, 1);
    if (!set.data) {
        jinja_char_len(t, at, &c);
        return jinja_char_is_space(c);
    }
    jinja_charge(r, set.len / 64);
    for (size_t i = 0, k; i < set.len; i += k) {
        k = jinja_char_len(set, i, NULL);
        if (k == n && memcmp(set.data + i, t.data + at, n) == 0)
            return true;
    }
    return false;
}

// Length of the character that ends at `end`.
static size_t last_char_len(struct jinja_text t, size_t end) {
    for (size_t n = 2; n <= 4 && n <= end; n++)
        if (utf8_length((unsigned char)t.data[end - n]) == n && jinja_char_len(t, end - n, NULL) == n)
            return n;
    return 1;
}

struct jinja_text jinja_text_strip(struct jinja_run *r, struct jinja_text t, struct jinja_text set,
                                   int sides) {
    size_t from = 0, to = t.len, n;
    while ((sides & STRIP_LEFT) && from < to && !r->failed) {
        n = jinja_char_len(t, from, NULL);
        if (!is_in_set(r, t, from, n, set))
            break;
        from += n;
    }
    while ((sides & STRIP_RIGHT) && to > from && !r->failed) {
        n = last_char_len(t, to);
        if (!is_in_set(r, t, to - n, n, set))
            break;
        to -= n;
    }
    return jinja_text_part(t, from, to);
}

struct jinja_value jinja_text_case(struct jinja_run *r, struct jinja_text t, enum jinja_case how) {
    struct jinja_out out;
    jinja_out_init(&out, r);
    bool inside = false; // a word
    for (size_t at = 0, n; at < t.len && !r->failed; at += n) {
        uint32_t c;
        n = jinja_char_len(t, at, &c);
        bool raise = how == CASE_UPPER || (how == CASE_CAPITAL && at == 0) || (how == CASE_TITLE && !inside);
        uint32_t changed = raise ? jinja_char_upper(c) : jinja_char_lower(c);
        inside = jinja_char_upper(c) != jinja_char_lower(c);
        if (changed == c)
            jinja_out_add(&out, jinja_text_part(t, at, at + n));
        else
            jinja_out_char(&out, changed, t.is_input && t.is_input[at]);
    }
    struct jinja_text changed = jinja_out_text(&out);
    changed.is_safe = t.is_safe;
    return jinja_text_value(r, changed);
}

// ---- a text that grows ----

void jinja_out_init(struct jinja_out *o, struct jinja_run *r) {
    *o = (struct jinja_out){.r = r};
}

static bool out_reserve(struct jinja_out *o, size_t n, bool with_mask) {
    if (n > JINJA_TEXT_MAX - o->len) {
        jinja_fail(o->r, "a text of more than %d MiB", JINJA_TEXT_MAX >> 20);
        return false;
    }
    bool fits = o->len + n <= o->cap;
    if (fits && (o->is_input || !with_mask))
        return true;
    size_t cap = fits ? o->cap : 64;
    while (cap < o->len + n)
        cap *= 2;
    char *data = fits ? o->data : jinja_alloc(o->r, cap);
    uint8_t *mask = with_mask || o->is_input ? jinja_alloc(o->r, cap) : NULL;
    if (!data || (!mask && (with_mask || o->is_input)))
        return false;
    if (o->len && data != o->data)
        memcpy(data, o->data, o->len);
    if (o->len && o->is_input)
        memcpy(mask, o->is_input, o->len);
    o->data = data;
    o->is_input = mask;
    o->cap = cap;
    return true;
}

void jinja_out_add(struct jinja_out *o, struct jinja_text t) {
    jinja_charge(o->r, t.len / 64);
    if (t.len == 0 || o->r->failed || !out_reserve(o, t.len, t.is_input != NULL))
        return;
    memcpy(o->data + o->len, t.data, t.len);
    if (t.is_input)
        memcpy(o->is_input + o->len, t.is_input, t.len);
    o->len += t.len;
}

void jinja_out_str(struct jinja_out *o, const char *s) {
    jinja_out_add(o, jinja_text_of(s, strlen(s)));
}

void jinja_out_char(struct jinja_out *o, uint32_t code_point, bool is_input) {
    static const uint8_t all[] = {1, 1, 1, 1};
    char bytes[4];
    struct jinja_text t = {.data = bytes, .is_input = is_input ? all : NULL};
    t.len = utf8_encode(code_point, bytes);
    jinja_out_add(o, t);
}

void jinja_out_escaped(struct jinja_out *o, struct jinja_text t) {
    static const char letters[] = "&<>'\"";
    static const char *const names[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
    if (t.is_safe) {
        jinja_out_add(o, t);
        return;
    }
    size_t plain = 0;
    for (size_t i = 0; i < t.len && !o->r->failed; i++) {
        const char *letter = t.data[i] ? strchr(letters, t.data[i]) : NULL;
        if (!letter)
            continue;
        jinja_out_add(o, jinja_text_part(t, plain, i));
        for (const char *s = names[letter - letters]; *s; s++)
            jinja_out_char(o, (unsigned char)*s, t.is_input && t.is_input[i]);
        plain = i + 1;
    }
    jinja_out_add(o, jinja_text_part(t, plain, t.len));
}

struct jinja_text jinja_out_text(const struct jinja_out *o) {
    return (struct jinja_text){.data = o->data ? o->data : "", .is_input = o->is_input, .len = o->len};
}

struct jinja_value jinja_out_value(struct jinja_out *o) {
    return jinja_text_value(o->r, jinja_out_text(o));
}
