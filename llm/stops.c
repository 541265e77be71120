// Takes text piece by piece, gives it on up to the first stop string.
//
// Each string keeps how much of it the text's end spells so far (Knuth, Morris, Pratt 1977); the longest of
// these is held back. The string that is complete first wins, the longest among those that end together, so
// the result does not depend on how the text was cut. A UTF-8 sequence is given whole or not yet.
#include "base/mem.h"
#include "base/utf8.h"
#include "llm/llm.h"

#include <stdlib.h>

struct stop {
    char *text;
    size_t len;
    size_t *borders; // [len] of each prefix: its longest proper prefix that is also its suffix
    size_t n_met;    // bytes of the string that end the text
};

struct llm_stops {
    struct stop *stops;
    size_t n_stops;
    char *buf; // what has been given and not yet forgotten, then what is held back
    size_t n_given, n_buf, cap;
    bool stopped;
};

static void stop_init(struct stop *s, const char *text) {
    s->text = xstrdup(text);
    s->len = strlen(text);
    s->borders = xcalloc(s->len, sizeof *s->borders);
    for (size_t i = 1, border = 0; i < s->len; i++) {
        while (border > 0 && text[i] != text[border])
            border = s->borders[border - 1];
        border += text[i] == text[border];
        s->borders[i] = border;
    }
}

struct llm_stops *llm_stops_create(const char *const *strings, size_t n_strings) {
    struct llm_stops *s = xcalloc(1, sizeof *s);
    s->stops = xcalloc(n_strings ? n_strings : 1, sizeof *s->stops);
    for (size_t i = 0; i < n_strings; i++)
        if (strings[i][0])
            stop_init(&s->stops[s->n_stops++], strings[i]);
    s->cap = 64;
    s->buf = xcalloc(s->cap, 1);
    return s;
}

void llm_stops_destroy(struct llm_stops *s) {
    if (!s)
        return;
    for (size_t i = 0; i < s->n_stops; i++) {
        free(s->stops[i].text);
        free(s->stops[i].borders);
    }
    free(s->stops);
    free(s->buf);
    free(s);
}

// Follows one byte of text. True when the string is complete.
static bool stop_follow(struct stop *s, char c) {
    while (s->n_met > 0 && c != s->text[s->n_met])
        s->n_met = s->borders[s->n_met - 1];
    s->n_met += c == s->text[s->n_met];
    return s->n_met == s->len;
}

// Forgets what was given and appends the new text.
static void buf_renew(struct llm_stops *s, const char *text, size_t len) {
    s->n_buf -= s->n_given;
    memmove(s->buf, s->buf + s->n_given, s->n_buf);
    s->n_given = 0;
    if (len > s->cap - s->n_buf) {
        s->cap = (s->n_buf + len) * 2;
        char *bigger = xcalloc(s->cap, 1);
        memcpy(bigger, s->buf, s->n_buf);
        free(s->buf);
        s->buf = bigger;
    }
    if (len > 0)
        memcpy(s->buf + s->n_buf, text, len);
    s->n_buf += len;
}

// Follows the bytes from `at` on. True when a string is complete: the text now ends before it.
static bool find_stop(struct llm_stops *s, size_t at) {
    for (; at < s->n_buf; at++) {
        size_t longest = 0;
        for (size_t i = 0; i < s->n_stops; i++)
            if (stop_follow(&s->stops[i], s->buf[at]) && s->stops[i].len > longest)
                longest = s->stops[i].len;
        if (longest > 0) {
            s->n_buf = at + 1 - longest;
            return true;
        }
    }
    return false;
}

// Bytes at the end of the text that may yet become a stop string.
static size_t held_back(const struct llm_stops *s) {
    size_t longest = 0;
    for (size_t i = 0; i < s->n_stops; i++)
        if (s->stops[i].n_met > longest)
            longest = s->stops[i].n_met;
    return longest;
}

const char *llm_stops_put(struct llm_stops *s, const char *text, size_t len, size_t *out_len, bool *stopped) {
    size_t n_old = s->n_buf - s->n_given;
    buf_renew(s, text, s->stopped ? 0 : len);
    if (!s->stopped)
        s->stopped = find_stop(s, n_old);
    s->n_given = s->n_buf - (s->stopped ? 0 : held_back(s));
    s->n_given -= utf8_incomplete_tail(s->buf, s->n_given);
    if (s->stopped) // half a character before the string will never be whole
        s->n_buf = s->n_given;
    *stopped = s->stopped;
    *out_len = s->n_given;
    return s->buf;
}

const char *llm_stops_flush(struct llm_stops *s, size_t *out_len) {
    buf_renew(s, NULL, 0);
    s->n_given = s->n_buf;
    *out_len = s->n_given;
    for (size_t i = 0; i < s->n_stops; i++)
        s->stops[i].n_met = 0;
    return s->buf;
}
