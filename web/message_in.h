// One message of a client: JSON text -> typed values (PROTOCOL.md, client to server).
#ifndef MESSAGE_IN_H
#define MESSAGE_IN_H

#include "assistant.h"
#include "base/sha256.h"
#include "message_out.h"

#include <stddef.h>
#include <stdint.h>

enum {
    MESSAGE_ID_MAX = 128,        // bytes of an event_id, a stream_id or a response_id
    MESSAGE_METADATA_MAX = 2048, // bytes of metadata as JSON
    MESSAGE_FORMAT_MAX = 3072,   // bytes of text.format that are given back
    MESSAGE_STOPS_MAX = 16,
    MESSAGE_BIASES_MAX = 1024,
    MESSAGE_BREAKERS_MAX = 16,
};

enum message_type {
    MESSAGE_RESPONSE_CREATE,
    MESSAGE_RESPONSE_CANCEL,
    MESSAGE_IMAGE_PUT,
    MESSAGE_IMAGE_BEGIN
};

struct message { // all pointers are owned by it; unused ones are NULL
    enum message_type type;
    char *event_id, *stream_id;   // also known of a message that is refused for another field
    struct request *request;      // response.create
    char *metadata;               // response.create: a JSON object
    char *format;                 // response.create: text.format as JSON, NULL: text
    char *response_id;            // response.cancel; NULL: all of this connection
    uint8_t *bytes;               // image.put, base64 undone
    size_t size_bytes;            // image.put, image.begin
    uint32_t upload_id;           // image.begin
    char sha256[SHA256_HEX_SIZE]; // image.begin, empty: not told
};

// Any thread; may take long for a long text. Fills *out, which message_clear empties after success and
// failure. Errors: ERR_INVALID_JSON, ERR_JSON_TOO_DEEP, ERR_UNKNOWN_TYPE, ERR_INVALID_VALUE and others that
// name the field in err->param.
bool message_parse(const char *text, size_t len, const struct message_limits *limits, struct message *out,
                   struct err *err);
void message_clear(struct message *m);

#endif
