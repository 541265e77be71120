// Takes values -> gives JSON text (RFC 8259; only what must be escaped is).
#include "json_text.h"

#include "base/mem.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

static size_t json_text_char_size(unsigned char c) {
    if (c == '"' || c == '\\' || c == '\n' || c == '\r' || c == '\t')
        return 2;
    return c < 0x20 || c == 0x7f ? 6 : 1;
}

size_t json_text_escaped_size(const char *text, size_t len) {
    size_t size = 0;
    for (size_t i = 0; i < len; i++)
        size += json_text_char_size((unsigned char)text[i]);
    return size;
}

static void json_text_write_escaped(char *out, unsigned char c) {
    static const char digits[] = "0123456789abcdef";
    out[0] = '\\';
    switch (c) {
    case '\n':
        out[1] = 'n';
        break;
    case '\r':
        out[1] = 'r';
        break;
    case '\t':
        out[1] = 't';
        break;
    case '"':
    case '\\':
        out[1] = (char)c;
        break;
    default:
        memcpy(out + 1, "u00", 3);
        out[4] = digits[c >> 4];
        out[5] = digits[c & 15];
    }
}

bool json_text_escape(struct buf *out, const char *text, size_t len, struct err *err) {
    if (!buf_reserve(out, json_text_escaped_size(text, len), err))
        return false;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        size_t size = json_text_char_size(c);
        if (size == 1)
            out->data[out->len] = (char)c;
        else
            json_text_write_escaped(out->data + out->len, c);
        out->len += size;
    }
    out->data[out->len] = 0;
    return true;
}

static bool json_text_string(struct buf *out, const char *s, struct err *err) {
    if (!s)
        return buf_append_str(out, "null", err);
    return buf_append(out, "\"", 1, err) && json_text_escape(out, s, strlen(s), err) &&
           buf_append(out, "\"", 1, err);
}

static bool json_text_real(struct buf *out, double value, struct err *err) {
    char digits[64];
    if (!isfinite(value) || fabs(value) > 1e15)
        return buf_append_str(out, "null", err);
    int n = snprintf(digits, sizeof digits, "%.3f", value);
    while (n > 0 && digits[n - 1] == '0')
        n--;
    if (n > 0 && digits[n - 1] == '.')
        n--;
    return buf_append(out, digits, (size_t)n, err);
}

// Appends what one conversion letter stands for.
static bool json_text_value(struct buf *out, char kind, va_list *args, struct err *err) {
    char digits[32];
    const char *raw;
    switch (kind) {
    case 's':
        return json_text_string(out, va_arg(*args, const char *), err);
    case 'r':
        raw = va_arg(*args, const char *);
        return buf_append_str(out, raw ? raw : "null", err);
    case 'u':
        snprintf(digits, sizeof digits, "%" PRIu64, va_arg(*args, uint64_t));
        return buf_append_str(out, digits, err);
    case 'd':
        snprintf(digits, sizeof digits, "%" PRId64, va_arg(*args, int64_t));
        return buf_append_str(out, digits, err);
    case 'f':
        return json_text_real(out, va_arg(*args, double), err);
    case 'b':
        return buf_append_str(out, va_arg(*args, int) ? "true" : "false", err);
    }
    return err_set(err, ERR_INTERNAL, "json_text: no conversion '%c'", kind);
}

bool json_text(struct buf *out, struct err *err, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    bool ok = true;
    for (const char *p = fmt; *p && ok; p++) {
        if (*p == '%')
            ok = json_text_value(out, *++p, &args, err);
        else if (*p == '\'')
            ok = buf_append(out, "\"", 1, err);
        else
            ok = buf_append(out, p, 1, err);
    }
    va_end(args);
    return ok;
}
