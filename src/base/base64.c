#include "base/base64.h"
#include "base/mem.h"

#include <openssl/evp.h>
#include <stdlib.h>

static bool base64_is_digit(unsigned char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
}

// EVP_DecodeBlock skips white space and takes padding anywhere, so the text is checked before it.
static bool base64_check(const char *text, size_t len, size_t n_pad, const char *what, struct err *err) {
    if (len % 4 != 0)
        return err_set(err, ERR_INVALID_BASE64, "%s: base64 of %zu characters, want a multiple of 4", what,
                       len);
    for (size_t i = 0; i < len - n_pad; i++) {
        unsigned char c = (unsigned char)text[i];
        if (base64_is_digit(c))
            continue;
        if (c > 0x20 && c < 0x7f)
            return err_set(err, ERR_INVALID_BASE64, "%s: character '%c' at position %zu is not base64", what,
                           c, i);
        return err_set(err, ERR_INVALID_BASE64, "%s: byte 0x%02x at position %zu is not base64", what, c, i);
    }
    return true;
}

uint8_t *base64_decode(const char *text, size_t len, const char *what, size_t *size_bytes, struct err *err) {
    size_t n_pad = 0;
    while (n_pad < 2 && n_pad < len && text[len - 1 - n_pad] == '=')
        n_pad++;
    if (!base64_check(text, len, n_pad, what, err))
        return NULL;
    uint8_t *out = try_malloc(len / 4 * 3 + 1, what, err);
    if (!out)
        return NULL;
    size_t n = 0;
    const size_t block = (size_t)1 << 20; // EVP counts in int
    for (size_t at = 0; at < len; at += block) {
        size_t part = len - at < block ? len - at : block;
        int got = EVP_DecodeBlock(out + n, (const unsigned char *)text + at, (int)part);
        if (got < 0) {
            free(out);
            err_set(err, ERR_INVALID_BASE64, "%s: not base64 near position %zu", what, at);
            return NULL;
        }
        n += (size_t)got;
    }
    *size_bytes = n - n_pad;
    return out;
}
