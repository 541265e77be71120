#include "base/sha256.h"

#include <openssl/evp.h>
#include <stdlib.h>

void sha256_hex(const void *data, size_t size_bytes, char out[SHA256_HEX_SIZE]) {
    static const char digits[] = "0123456789abcdef";
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned int n = 0;
    if (!EVP_Digest(data, size_bytes, hash, &n, EVP_sha256(), NULL) || n != 32)
        abort(); // only without memory
    for (size_t i = 0; i < 32; i++) {
        out[2 * i] = digits[hash[i] >> 4];
        out[2 * i + 1] = digits[hash[i] & 15];
    }
    out[64] = 0;
}
