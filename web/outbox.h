// What waits to be sent to one client: whole messages in order, each with the room that the socket library
// wants in front of it. Its owner holds producers back above OUTBOX_HIGH and lets them on below OUTBOX_LOW.
//
// Service thread only.
#ifndef OUTBOX_H
#define OUTBOX_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

enum {
    OUTBOX_HEADROOM = 64,          // bytes before each message
    OUTBOX_MESSAGE_MAX = 32 << 10, // a message stays below this
    OUTBOX_DELTA_MAX = 16 << 10,   // a joined delta too, by far
    OUTBOX_HIGH_BYTES = 256 << 10,
    OUTBOX_LOW_BYTES = 64 << 10,
};

struct outbox_item;

struct outbox {
    struct outbox_item *head, *tail;
    size_t n_bytes;
};

void outbox_init(struct outbox *o);
void outbox_clear(struct outbox *o);

// Copies a whole message. False without memory.
bool outbox_push(struct outbox *o, const char *text, size_t len, struct err *err);

// Pushes a message that ends in a JSON string: head is its text up to inside that string, then comes `text`
// escaped; the closing quote and brace follow when it is sent. Until then outbox_join_delta can lengthen it.
bool outbox_push_delta(struct outbox *o, uint64_t response, const char *head, const char *text, size_t len,
                       struct err *err);
// Joins text to the last delta of this response that still waits. False when there is none, when it would
// grow too long, or without memory.
bool outbox_join_delta(struct outbox *o, uint64_t response, const char *text, size_t len);

// The next message: OUTBOX_HEADROOM writable bytes lie before *data. False when empty.
bool outbox_front(struct outbox *o, unsigned char **data, size_t *len);
void outbox_pop(struct outbox *o);

#endif
