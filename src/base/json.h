// jansson with limits: a body can cost 77 times its size in memory, so every parse has a byte budget.
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "base/err.h"

#include <jansson.h>
#include <stddef.h>

enum { JSON_DEPTH_MAX = 64 };

// Installs the counting allocator. Once, before any other jansson call and before threads start.
void json_setup(void);

// Parses one JSON text. Returns new reference, or NULL with ERR_INVALID_JSON (line, column, reason),
// ERR_JSON_TOO_DEEP past 64 levels, or ERR_MESSAGE_TOO_BIG when the values would take more than
// budget_bytes. Duplicate keys are refused. Any thread.
json_t *json_parse(const char *text, size_t len, size_t budget_bytes, struct err *err);

#endif
