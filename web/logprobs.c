#include "logprobs.h"

#include "base/utf8.h"
#include "json_text.h"

#include <stdio.h>

enum { BYTES_MAX = 512 };

// What is no UTF-8 (part of a character) becomes U+FFFD.
static bool put_text(struct buf *out, const char *bytes, size_t len, struct err *err) {
    for (size_t i = 0; i < len;) {
        uint32_t code_point;
        size_t n = utf8_decode(bytes + i, len - i, &code_point);
        if (!(n > 0 ? json_text_escape(out, bytes + i, n, err)
                    : json_text_escape(out, "\xef\xbf\xbd", 3, err)))
            return false;
        i += n > 0 ? n : 1;
    }
    return true;
}

static bool put_bytes(struct buf *out, const char *bytes, size_t len, struct err *err) {
    char number[8];
    if (len > BYTES_MAX)
        return buf_append_str(out, "null", err);
    if (!buf_append_str(out, "[", err))
        return false;
    for (size_t i = 0; i < len; i++) {
        snprintf(number, sizeof number, i ? ",%u" : "%u", (unsigned)(unsigned char)bytes[i]);
        if (!buf_append_str(out, number, err))
            return false;
    }
    return buf_append_str(out, "]", err);
}

// Without the closing brace.
static bool put_token(struct buf *out, const struct token_logprob *t, struct err *err) {
    char logprob[32];
    size_t n_shown = t->n_bytes < BYTES_MAX ? t->n_bytes : BYTES_MAX;
    snprintf(logprob, sizeof logprob, "%.7g", (double)t->logprob);
    return json_text(out, err, "{'id':%d,'token':'", (int64_t)t->id) &&
           put_text(out, t->bytes, n_shown, err) && buf_append_str(out, "\",\"bytes\":", err) &&
           put_bytes(out, t->bytes, t->n_bytes, err) && json_text(out, err, ",'logprob':%r", logprob);
}

bool logprobs_append(struct buf *out, const struct event_token *t, struct err *err) {
    size_t begin = out->len;
    bool ok = put_token(out, &t->chosen, err) && buf_append_str(out, ",\"top_logprobs\":[", err);
    for (size_t i = 0; ok && i < t->n_top; i++) {
        size_t before = out->len;
        ok = (i == 0 || buf_append_str(out, ",", err)) && put_token(out, &t->top[i], err) &&
             buf_append_str(out, "}", err);
        if (ok && out->len - begin > LOGPROBS_ITEM_MAX - 2) {
            out->len = before;
            out->data[before] = 0;
            break;
        }
    }
    return ok && buf_append_str(out, "]}", err);
}
