// Strict base64 (RFC 4648 section 4): padding required, nothing but the alphabet, no line breaks.
#ifndef BASE_BASE64_H
#define BASE_BASE64_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

// Returns new bytes (free them) and their number; NULL with ERR_INVALID_BASE64 naming the offending
// position and character, or ERR_NOMEM. `what` names the field in messages.
uint8_t *base64_decode(const char *text, size_t len, const char *what, size_t *size_bytes, struct err *err);

#endif
