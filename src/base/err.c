#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>

bool err_set(struct err *err, enum err_code code, const char *fmt, ...) {
    if (!err || err->code != ERR_NONE)
        return false;
    err->code = code;
    va_list args;
    va_start(args, fmt);
    vsnprintf(err->msg, sizeof err->msg, fmt, args);
    va_end(args);
    return false;
}

bool err_set_param(struct err *err, const char *fmt, ...) {
    if (!err || err->param[0])
        return false;
    va_list args;
    va_start(args, fmt);
    vsnprintf(err->param, sizeof err->param, fmt, args);
    va_end(args);
    return false;
}

const char *err_code_name(enum err_code code) {
    switch (code) {
    case ERR_INVALID_JSON:
        return "invalid_json";
    case ERR_JSON_TOO_DEEP:
        return "json_too_deep";
    case ERR_INVALID_VALUE:
        return "invalid_value";
    case ERR_UNKNOWN_TYPE:
        return "unknown_type";
    case ERR_INVALID_BASE64:
        return "invalid_base64";
    case ERR_IMAGE_TRUNCATED:
        return "image_truncated";
    case ERR_IMAGE_UNSUPPORTED:
        return "image_unsupported";
    case ERR_IMAGE_TOO_LARGE:
        return "image_too_large";
    case ERR_IMAGE_UNKNOWN:
        return "image_unknown";
    case ERR_TOO_MANY_IMAGES:
        return "too_many_images";
    case ERR_CONTEXT_EXCEEDED:
        return "context_exceeded";
    case ERR_UPLOAD_UNKNOWN:
        return "upload_unknown";
    case ERR_UPLOAD_OUT_OF_ORDER:
        return "upload_out_of_order";
    case ERR_MESSAGE_TOO_BIG:
        return "message_too_big";
    case ERR_MODEL_NOT_FOUND:
        return "model_not_found";
    case ERR_BUSY:
        return "busy";
    case ERR_NONE:
    case ERR_MODEL:
    case ERR_IO:
    case ERR_NOMEM:
    case ERR_CANCELLED:
    case ERR_INTERNAL:
        break;
    }
    return "internal";
}
