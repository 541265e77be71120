// UTF-8 as RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF.
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool utf8_is_valid(const char *s, size_t len);

// Decodes one code point at s (len >= 1 bytes left): its length in bytes and the code point; 0 when the
// bytes are not valid, or when they are the start of a sequence that `len` cuts short.
size_t utf8_decode(const char *s, size_t len, uint32_t *code_point);

// Length of the sequence that the first byte announces: 1-4, or 0 for a byte that cannot start one.
size_t utf8_length(unsigned char first);

// How many bytes at the end of s are the start of a sequence still incomplete (0-3).
size_t utf8_incomplete_tail(const char *s, size_t len);

// Writes the code point (at most U+10FFFF), returns its length 1-4.
size_t utf8_encode(uint32_t code_point, char out[4]);

#endif
