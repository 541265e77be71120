#include "base/utf8.h"

size_t utf8_length(unsigned char first) {
    if (first < 0x80)
        return 1;
    if (first >= 0xc2 && first <= 0xdf)
        return 2;
    if (first >= 0xe0 && first <= 0xef)
        return 3;
    if (first >= 0xf0 && first <= 0xf4)
        return 4;
    return 0;
}

size_t utf8_decode(const char *s, size_t len, uint32_t *code_point) {
    const unsigned char *p = (const unsigned char *)s;
    size_t n = utf8_length(p[0]);
    if (n == 0 || n > len)
        return 0;
    static const unsigned char first_bits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t c = p[0] & first_bits[n];
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3f);
    }
    if (c < smallest[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return 0;
    *code_point = c;
    return n;
}

bool utf8_is_valid(const char *s, size_t len) {
    for (size_t i = 0; i < len;) {
        uint32_t c;
        size_t n = utf8_decode(s + i, len - i, &c);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

// True when the n bytes at p are a proper prefix of some valid sequence.
static bool utf8_is_prefix(const unsigned char *p, size_t n) {
    if (utf8_length(p[0]) <= n)
        return false;
    if (n >= 2) {
        if ((p[1] & 0xc0) != 0x80 || (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
            (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
            return false;
    }
    return n < 3 || (p[2] & 0xc0) == 0x80;
}

size_t utf8_incomplete_tail(const char *s, size_t len) {
    const unsigned char *p = (const unsigned char *)s;
    for (size_t n = 1; n <= 3 && n <= len; n++)
        if ((p[len - n] & 0xc0) != 0x80)
            return utf8_is_prefix(p + len - n, n) ? n : 0;
    return 0;
}

size_t utf8_encode(uint32_t c, char out[4]) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char marks[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (c & 0x3f));
        c >>= 6;
    }
    out[0] = (char)(marks[n] | c);
    return n;
}
