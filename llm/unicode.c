// Takes bytes of text, gives characters with their class. A byte that is not valid UTF-8 is a character.
#include "llm/unicode.h"

#include "base/utf8.h"
#include "llm/unicode_tables.h"

#include <stdbool.h>

enum { N_RUNS = sizeof unicode_runs / sizeof *unicode_runs, N_ASCII = 128, CLASS_BITS = 10 };

unsigned unicode_class(uint32_t code_point) {
    size_t low = 0, high = N_RUNS; // the run is in [low, high)
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (unicode_runs[middle] >> CLASS_BITS <= code_point)
            low = middle;
        else
            high = middle;
    }
    return unicode_runs[low] & ((1u << CLASS_BITS) - 1);
}

// Hangul syllables decompose by arithmetic (Unicode 14, section 3.12).
static size_t hangul_bare(uint32_t code_point, uint32_t out[3]) {
    uint32_t index = code_point - 0xac00, tail = index % 28;
    out[0] = 0x1100 + index / (21 * 28);
    out[1] = 0x1161 + index % (21 * 28) / 28;
    out[2] = 0x11a7 + tail;
    return tail > 0 ? 3 : 2;
}

static uint32_t bits(uint64_t v, unsigned shift, unsigned n) {
    return (uint32_t)(v >> shift & ((UINT64_C(1) << n) - 1));
}

size_t unicode_bare(uint32_t code_point, uint32_t out[3]) {
    if (code_point >= 0xac00 && code_point <= 0xd7a3)
        return hangul_bare(code_point, out);
    if (unicode_class(code_point) & UNICODE_ACCENT)
        return 0;
    for (size_t i = 0; i < sizeof unicode_bare_longer / sizeof *unicode_bare_longer; i++) {
        if (unicode_bare_longer[i][0] != code_point)
            continue;
        size_t n = 0;
        for (; n < 3 && unicode_bare_longer[i][n + 1]; n++)
            out[n] = unicode_bare_longer[i][n + 1];
        return n;
    }
    size_t low = 0, high = sizeof unicode_bare_runs / sizeof *unicode_bare_runs; // the run is in [low, high)
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (bits(unicode_bare_runs[middle], 43, 21) <= code_point)
            low = middle;
        else
            high = middle;
    }
    uint64_t run = unicode_bare_runs[low];
    uint32_t first = bits(run, 43, 21), last = bits(run, 22, 21), step = bits(run, 21, 1) + 1;
    bool is_in = code_point >= first && code_point <= last && (code_point - first) % step == 0;
    out[0] = is_in ? bits(run, 0, 21) + (code_point - first) : code_point;
    return 1;
}

// Most text is ASCII: what unicode_class says, without a search.
static unsigned ascii_class(unsigned char c) {
    if ((c >= 'a' && c <= 'z'))
        return UNICODE_LOWER | UNICODE_CASED;
    if ((c >= 'A' && c <= 'Z'))
        return UNICODE_UPPER | UNICODE_CASED;
    if (c >= '0' && c <= '9')
        return UNICODE_NUMBER;
    if (c == ' ')
        return UNICODE_SPACE;
    return unicode_class(c);
}

struct character character_at(const char *s, size_t len, size_t at) {
    if (at >= len)
        return (struct character){0};
    unsigned char first = (unsigned char)s[at];
    if (first < N_ASCII)
        return (struct character){first, 1, ascii_class(first)};
    struct character c = {0};
    c.len = (uint32_t)utf8_decode(s + at, len - at, &c.code_point);
    if (c.len == 0)
        return (struct character){0xfffd, 1, 0};
    c.class = unicode_class(c.code_point);
    return c;
}
