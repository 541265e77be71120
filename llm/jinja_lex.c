// Takes a template's text, gives its tokens one at a time.
//
//   data {{ expression }} data {% statement %} data {# comment #} data {% raw %} data {% endraw %}
//
// White space as jinja2 with trim_blocks and lstrip_blocks: the line break behind a block or comment goes, so
// does what is blank before it on its line; "-" inside a tag's bracket takes all white space on that side,
// "+" keeps it. One line break at the end of the template goes.
#include "llm/jinja_ast.h"

#include "base/utf8.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool lex_fail(const struct jinja_lexer *l, struct err *err, const char *what) {
    return err_set(err, ERR_MODEL, "line %u: %s", (unsigned)l->line, what);
}

bool jinja_lexer_init(struct jinja_lexer *l, struct jinja_arena *arena, const char *text, size_t len,
                      struct err *err) {
    *l = (struct jinja_lexer){.arena = arena, .line = 1};
    if (len > JINJA_TEMPLATE_MAX)
        return err_set(err, ERR_MODEL, "a template of %zu bytes, want at most %d", len, JINJA_TEMPLATE_MAX);
    char *copy = jinja_arena_alloc(arena, len + 1);
    if (!copy)
        return err_set(err, ERR_NOMEM, "no memory for a template of %zu bytes", len);
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\r' && i + 1 < len && text[i + 1] == '\n')
            continue;
        copy[l->len++] = text[i] == '\r' ? '\n' : text[i];
    }
    if (l->len > 0 && copy[l->len - 1] == '\n')
        l->len--;
    l->text = copy;
    return true;
}

static bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || is_digit(c) ||
           (unsigned char)c >= 0x80;
}

static char char_at(const struct jinja_lexer *l, size_t at) {
    return at < l->len ? l->text[at] : 0;
}

static void advance(struct jinja_lexer *l, size_t to) {
    for (; l->at < to; l->at++)
        l->line += l->text[l->at] == '\n';
}

static void skip_space(struct jinja_lexer *l) {
    size_t to = l->at;
    while (to < l->len && is_space(l->text[to]))
        to++;
    advance(l, to);
}

// Past the closing bracket that begins at l->at with its sign: what the sign and trim_blocks take goes too.
static void pass_end(struct jinja_lexer *l, bool trim_newline) {
    char sign = char_at(l, l->at);
    bool has_sign = sign == '-' || sign == '+';
    advance(l, l->at + 2 + has_sign);
    if (sign == '-')
        skip_space(l);
    else if (sign != '+' && trim_newline && char_at(l, l->at) == '\n')
        advance(l, l->at + 1);
}

// Whether a closing bracket `end` begins here, with or without a sign.
static bool is_end(const struct jinja_lexer *l, size_t at, const char *end, bool plus) {
    char sign = char_at(l, at);
    at += sign == '-' || (plus && sign == '+');
    return char_at(l, at) == end[0] && char_at(l, at + 1) == end[1];
}

// Where the data that begins at `from` ends, before a tag at `tag`.
static size_t data_end(const struct jinja_lexer *l, size_t from, size_t tag) {
    char kind = l->text[tag + 1], sign = char_at(l, tag + 2);
    size_t end = tag;
    if (sign == '-') {
        while (end > from && is_space(l->text[end - 1]))
            end--;
        return end;
    }
    if (sign == '+' || kind == '{')
        return tag;
    while (end > from && l->text[end - 1] != '\n' && is_space(l->text[end - 1]))
        end--;
    bool begins_line = end == 0 || l->text[end - 1] == '\n';
    return begins_line ? end : tag;
}

// The place behind a tag that holds one word, such as {%- raw %}, or 0: a sign may follow each bracket.
static size_t word_tag(const struct jinja_lexer *l, size_t at, const char *word) {
    if (char_at(l, at) != '{' || char_at(l, at + 1) != '%')
        return 0;
    at += 2;
    at += char_at(l, at) == '-' || char_at(l, at) == '+';
    while (at < l->len && is_space(l->text[at]))
        at++;
    size_t n = strlen(word);
    if (l->len - at < n || memcmp(l->text + at, word, n) != 0)
        return 0;
    at += n;
    while (at < l->len && is_space(l->text[at]))
        at++;
    return is_end(l, at, "%}", true) ? at : 0;
}

static bool lex_comment(struct jinja_lexer *l, struct err *err) {
    size_t begin = l->at + 2, end;
    begin += char_at(l, begin) == '-' || char_at(l, begin) == '+';
    for (end = begin; end < l->len && !is_end(l, end, "#}", true); end++) {
    }
    if (end >= l->len)
        return lex_fail(l, err, "a comment without its end \"#}\"");
    advance(l, end);
    pass_end(l, true);
    return true;
}

static bool lex_raw(struct jinja_lexer *l, size_t end_of_begin, struct jinja_token *t, struct err *err) {
    size_t tag, end = 0;
    advance(l, end_of_begin);
    pass_end(l, false);
    size_t from = l->at;
    for (tag = from; tag < l->len && !end; tag++)
        end = word_tag(l, tag, "endraw");
    if (!end)
        return lex_fail(l, err, "a raw block without its end \"{% endraw %}\"");
    *t = (struct jinja_token){.kind = LEX_DATA, .line = l->line};
    t->text = jinja_text_of(l->text + from, data_end(l, from, tag - 1) - from);
    advance(l, end);
    pass_end(l, true);
    return true;
}

// Data, or the begin of a tag. Comments leave nothing, so several may pass.
static bool lex_data(struct jinja_lexer *l, struct jinja_token *t, struct err *err) {
    for (;;) {
        if (l->mode == IN_DATA) {
            size_t tag = l->at, from = l->at;
            while (tag < l->len && !(l->text[tag] == '{' && tag + 1 < l->len && l->text[tag + 1] &&
                                     strchr("{%#", l->text[tag + 1])))
                tag++;
            size_t end = tag < l->len ? data_end(l, from, tag) : l->len;
            *t = (struct jinja_token){.kind = end > from ? LEX_DATA : LEX_END, .line = l->line};
            t->text = jinja_text_of(l->text + from, end - from);
            advance(l, tag);
            l->mode = tag < l->len ? AT_TAG : IN_DATA;
            if (end > from || tag >= l->len)
                return true;
        }
        l->mode = IN_DATA;
        char kind = l->text[l->at + 1];
        size_t raw = word_tag(l, l->at, "raw");
        if (raw)
            return lex_raw(l, raw, t, err);
        if (kind != '#') {
            l->mode = kind == '%' ? IN_BLOCK : IN_PRINT;
            *t = (struct jinja_token){.line = l->line};
            t->kind = kind == '%' ? LEX_BLOCK_BEGIN : LEX_PRINT_BEGIN;
            char sign = char_at(l, l->at + 2);
            advance(l, l->at + 2 + (sign == '-' || sign == '+'));
            l->n_open = 0;
            return true;
        }
        if (!lex_comment(l, err))
            return false;
    }
}

static bool is_number_part(char c, int base) {
    return base == 16 ? is_digit(c) || ((c | 32) >= 'a' && (c | 32) <= 'f') : c >= '0' && c < '0' + base;
}

// Digits with "_" between them, copied to out without these. Returns the place behind them.
static size_t copy_digits(const struct jinja_lexer *l, size_t at, int base, char *out, size_t *n,
                          size_t max) {
    while (is_number_part(char_at(l, at), base) ||
           (char_at(l, at) == '_' && is_number_part(char_at(l, at + 1), base))) {
        if (l->text[at] != '_' && *n < max)
            out[(*n)++] = l->text[at];
        at++;
    }
    return at;
}

static bool lex_number(struct jinja_lexer *l, struct jinja_token *t, struct err *err) {
    char digits[80];
    size_t n = 0, max = sizeof digits - 1, at = l->at;
    int base = 10;
    char letter = (char)(char_at(l, at + 1) | 32);
    if (l->text[at] == '0' && (letter == 'x' || letter == 'o' || letter == 'b')) {
        base = letter == 'x' ? 16 : letter == 'o' ? 8 : 2;
        at += 2;
    }
    at = copy_digits(l, at, base, digits, &n, max);
    t->kind = LEX_INT;
    bool follows_dot = l->at > 0 && l->text[l->at - 1] == '.'; // foo.0.1 has no number with a fraction
    if (base == 10 && !follows_dot) {
        if (char_at(l, at) == '.' && is_digit(char_at(l, at + 1)) && n < max) {
            t->kind = LEX_FLOAT;
            digits[n++] = '.';
            at = copy_digits(l, at + 1, 10, digits, &n, max);
        }
        size_t sign = char_at(l, at + 1) == '+' || char_at(l, at + 1) == '-';
        if ((char_at(l, at) | 32) == 'e' && is_digit(char_at(l, at + 1 + sign)) && n + 2 < max) {
            t->kind = LEX_FLOAT;
            digits[n++] = 'e';
            if (sign)
                digits[n++] = l->text[at + 1];
            at = copy_digits(l, at + 1 + sign, 10, digits, &n, max);
        }
    }
    digits[n] = 0;
    errno = 0;
    if (t->kind == LEX_INT)
        t->integer = strtoll(digits, NULL, base);
    else
        t->real = strtod(digits, NULL);
    if (n == 0 || n == max || (errno && t->kind == LEX_INT))
        return lex_fail(l, err, "a number that is no integer of 64 bits");
    advance(l, at);
    return true;
}

// The value of up to max_digits digits of a base at `at`; *n is how many there are.
static uint32_t escape_digits(const struct jinja_lexer *l, size_t at, int base, size_t max_digits,
                              size_t *n) {
    uint32_t value = 0;
    for (*n = 0; *n < max_digits && is_number_part(char_at(l, at + *n), base); (*n)++) {
        char c = l->text[at + *n];
        value = value * (uint32_t)base + (uint32_t)(is_digit(c) ? c - '0' : (c | 32) - 'a' + 10);
    }
    return value;
}

// One escape at l->at (behind the backslash) to `out`, at most 4 bytes; l->at moves behind it.
static bool lex_escape(struct jinja_lexer *l, char *out, size_t *n, struct err *err) {
    static const char letters[] = "abfnrtv\\'\"", values[] = "\a\b\f\n\r\t\v\\'\"";
    char c = l->text[l->at];
    const char *letter = c ? strchr(letters, c) : NULL;
    size_t n_digits = 0, want = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    uint32_t value = 0;
    if (letter) {
        out[(*n)++] = values[letter - letters];
        advance(l, l->at + 1);
        return true;
    }
    if (c == '\n') {
        advance(l, l->at + 1);
        return true;
    }
    if (c >= '0' && c <= '7') {
        value = escape_digits(l, l->at, 8, 3, &n_digits);
        advance(l, l->at + n_digits);
    } else if (want) {
        value = escape_digits(l, l->at + 1, 16, want, &n_digits);
        if (n_digits < want || value > 0x10FFFF || (value >= 0xD800 && value < 0xE000))
            return lex_fail(l, err, "an escape in a string that names no character");
        advance(l, l->at + 1 + want);
    } else { // no escape: the backslash stays
        out[(*n)++] = '\\';
        return true;
    }
    *n += utf8_encode(value, out + *n);
    return true;
}

static bool lex_string(struct jinja_lexer *l, struct jinja_token *t, struct err *err) {
    char quote = l->text[l->at];
    size_t n = 0, end = l->at + 1;
    while (end < l->len && l->text[end] != quote)
        end += 1 + (l->text[end] == '\\');
    if (end >= l->len)
        return lex_fail(l, err, "a string without its closing quote");
    char *out = jinja_arena_alloc(l->arena, end - l->at); // no escape is shorter than what it stands for
    if (!out)
        return lex_fail(l, err, "the template takes too much memory");
    advance(l, l->at + 1);
    while (l->at < end) {
        if (l->text[l->at] != '\\') {
            out[n++] = l->text[l->at];
            advance(l, l->at + 1);
            continue;
        }
        advance(l, l->at + 1);
        if (!lex_escape(l, out, &n, err))
            return false;
    }
    advance(l, end + 1);
    t->kind = LEX_STRING;
    t->text = jinja_text_of(out, n);
    return true;
}

static bool lex_operator(struct jinja_lexer *l, struct jinja_token *t, struct err *err) {
    static const char *const pairs[] = {"//", "**", "==", "!=", ">=", "<="};
    char c = l->text[l->at], next = char_at(l, l->at + 1);
    t->kind = LEX_OP;
    t->op = c;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (c == pairs[i][0] && next == pairs[i][1])
            t->op = JINJA_OP2(c, next);
    if (c == 0 || !strchr("+-/*%~[](){}<>=.:|,;!", c) || t->op == '!') {
        char what[] = "unexpected character \" \"";
        what[sizeof what - 3] = (unsigned char)c >= 0x20 && (unsigned char)c < 0x7F ? c : '?';
        return lex_fail(l, err, what);
    }
    if (strchr("([{", c))
        l->n_open++;
    else if (strchr(")]}", c)) {
        if (l->n_open == 0)
            return lex_fail(l, err, "a closing bracket without its opening one");
        l->n_open--;
    }
    advance(l, l->at + (t->op == c ? 1 : 2));
    return true;
}

bool jinja_lexer_next(struct jinja_lexer *l, struct jinja_token *t, struct err *err) {
    if (l->mode == IN_DATA || l->mode == AT_TAG)
        return lex_data(l, t, err);
    skip_space(l);
    *t = (struct jinja_token){.line = l->line};
    if (l->at >= l->len)
        return lex_fail(l, err,
                        l->mode == IN_BLOCK ? "a block without its end \"%}\""
                                            : "an expression without its end \"}}\"");
    bool block = l->mode == IN_BLOCK;
    if (l->n_open == 0 && is_end(l, l->at, block ? "%}" : "}}", block)) {
        t->kind = block ? LEX_BLOCK_END : LEX_PRINT_END;
        l->mode = IN_DATA;
        pass_end(l, block);
        return true;
    }
    char c = l->text[l->at];
    if (is_digit(c))
        return lex_number(l, t, err);
    if (c == '"' || c == '\'')
        return lex_string(l, t, err);
    if (!is_word(c))
        return lex_operator(l, t, err);
    size_t end = l->at;
    while (end < l->len && is_word(l->text[end]))
        end++;
    t->kind = LEX_NAME;
    t->text = jinja_text_of(l->text + l->at, end - l->at);
    l->at = end;
    return true;
}
