// Errors: a code for the program at the other end, a message for the person.
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdbool.h>

// The first group is the client's to mend and goes over the wire under err_code_name().
enum err_code {
    ERR_NONE = 0,
    ERR_INVALID_JSON,
    ERR_JSON_TOO_DEEP,
    ERR_INVALID_VALUE,
    ERR_UNKNOWN_TYPE,
    ERR_INVALID_BASE64,
    ERR_IMAGE_TRUNCATED,
    ERR_IMAGE_UNSUPPORTED,
    ERR_IMAGE_TOO_LARGE,
    ERR_IMAGE_UNKNOWN,
    ERR_TOO_MANY_IMAGES,
    ERR_CONTEXT_EXCEEDED,
    ERR_UPLOAD_UNKNOWN,
    ERR_UPLOAD_OUT_OF_ORDER,
    ERR_MESSAGE_TOO_BIG,
    ERR_MODEL_NOT_FOUND,
    ERR_BUSY,
    // Ours: named "internal" over the wire.
    ERR_MODEL, // a model file is refused
    ERR_IO,
    ERR_NOMEM,
    ERR_CANCELLED,
    ERR_INTERNAL,
};

struct err {
    enum err_code code;
    char msg[240];  // what, which object, expected, found
    char param[64]; // the request field at fault, such as "input[0].content[1]"; empty when none is
};

// Fills *err unless it already holds an error (the first one wins); err may be NULL.
// Always returns false, so a function can `return err_set(...)`.
bool err_set(struct err *err, enum err_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

// Names the request field at fault of an error just set, unless one is named already. Returns false.
bool err_set_param(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

// The protocol's name of a code, "internal" for all that are not the client's to mend.
const char *err_code_name(enum err_code code);

#endif
