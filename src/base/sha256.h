// SHA-256 (OpenSSL EVP) in lower-case hexadecimal: the identity of images, models and projectors.
#ifndef BASE_SHA256_H
#define BASE_SHA256_H

#include <stddef.h>

enum { SHA256_HEX_SIZE = 65 }; // 64 digits and the NUL

void sha256_hex(const void *data, size_t size_bytes, char out[SHA256_HEX_SIZE]);

#endif
