// Inside the parser: the conversation that a response.create brings.
#ifndef MESSAGE_INPUT_H
#define MESSAGE_INPUT_H

#include "assistant.h"
#include "message_out.h"

#include <jansson.h>

// Appends the turns of "input": a string, or an array of items. Errors name the item or part. Any thread.
bool message_input(json_t *input, const struct message_limits *limits, struct request *r, struct err *err);

// base64 of a picture, its length held to max_image_bytes before it is decoded. Any thread.
bool message_base64(const char *text, size_t len, const char *param, const struct message_limits *limits,
                    uint8_t **bytes, size_t *size_bytes, struct err *err);

// ERR_INVALID_VALUE: "param: expected want, found (the type of) found"; NULL: nothing. Returns false.
bool message_invalid(struct err *err, const char *param, const char *want, const json_t *found);

const char *message_json_type(const json_t *value); // "an object", ...

#endif
