// One running response: its numbering, its item and its text, and what a scheduler event becomes in messages.
//
// Service thread only.
#ifndef RESPONSE_H
#define RESPONSE_H

#include "assistant.h"
#include "message_out.h"
#include "outbox.h"

#include <stdint.h>

// Most bytes that a text and its log probabilities may take in an event that repeats them, so that every message stays below 32 KiB.
enum { RESPONSE_TEXT_MAX = 22 << 10 };

struct response {
    uint64_t number; // this server's own name of it, never reused
    uint64_t job;    // the scheduler's
    char id[RESPONSE_ID_SIZE];
    char item_id[RESPONSE_ID_SIZE];
    char *stream_id, *previous_response_id, *metadata, *format; // the first two may be NULL
    struct message_response told;
    uint64_t sequence;
    bool has_item;
    struct buf text; // so far, while it may still be repeated
    size_t text_escaped_size;
    bool truncated;      // it may not
    struct buf logprobs; // JSON of its tokens, as long as they may be repeated
};

// Returns new. Copies what it needs of the request; takes stream_id, metadata and format (NULL: none).
struct response *response_create(uint64_t number, const struct request *request, const char *model,
                                 char *stream_id, char *metadata, char *format);
void response_destroy(struct response *r);

// The first two events. False without memory: the client then misses events and must be let go.
bool response_start(struct response *r, struct outbox *outbox, struct err *err);
// All that follows an event of the scheduler; after EVENT_DONE the response is over. False as above.
bool response_event(struct response *r, const struct event *event, struct outbox *outbox, struct err *err);

#endif
