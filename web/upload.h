// Pictures that arrive in binary messages: announced by image.begin, then bytes in order without gaps.
//
//   message = version u8 = 1, kind u8 = 1, reserved u16 = 0, upload_id u32, offset u64 (little-endian), bytes
//
// Service thread only.
#ifndef UPLOAD_H
#define UPLOAD_H

#include "base/err.h"
#include "message_in.h"

#include <stddef.h>
#include <stdint.h>

enum { UPLOADS_MAX = 4, UPLOAD_HEADER_SIZE = 16 };

struct upload {
    bool used;
    uint32_t id;
    uint8_t *bytes; // [size_bytes]
    size_t size_bytes, n_received;
    char sha256[SHA256_HEX_SIZE]; // empty: not told
    char *event_id;               // or NULL
};

struct uploads { // of one connection
    struct upload items[UPLOADS_MAX];
};

void uploads_clear(struct uploads *u);

// Makes room for what an image.begin announces. ERR_INVALID_VALUE for an id in use, ERR_BUSY past
// UPLOADS_MAX.
bool uploads_begin(struct uploads *u, const struct message *begin, struct err *err);

// Takes in one binary message. *finished: the upload that it completed (upload_take it), else NULL;
// *upload_id: what it names, -1 when it names nothing. ERR_INVALID_VALUE for a header that is none,
// ERR_UPLOAD_UNKNOWN, ERR_UPLOAD_OUT_OF_ORDER: such a message changes nothing, the upload may go on at the
// right offset.
bool uploads_receive(struct uploads *u, const uint8_t *data, size_t len, struct upload **finished,
                     int64_t *upload_id, struct err *err);

// Gives the bytes (free them) away and frees the place.
uint8_t *upload_take(struct upload *upload);

#endif
