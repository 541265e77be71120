// Conversations by response id: what was said, so that a later request can go on from there. In memory, the
// least recently used first out.
#ifndef STORE_H
#define STORE_H

#include "assistant.h"

struct store;

// One answered request and what it answered. Immutable, reference-counted.
struct history {
    char response_id[RESPONSE_ID_SIZE];
    struct history *previous; // a reference, or NULL
    struct request_turn *turns;
    size_t n_turns; // pictures by image_id
    char *answer;
    size_t answer_len;
    int32_t *answer_ids; // the ids generated, NULL when the text is not exactly theirs
    size_t n_answer_ids;
    // {store lock}
    size_t n_refs;
    struct store *owner;
    struct history *newer, *older;
};

struct store *store_create(size_t max_responses);
void store_destroy(struct store *s); // nobody may hold references any more

// All below: any thread.

// Remembers an answer. Takes the request's turns (their image references are released, the ids stay), answer
// and answer_ids (malloc'd, may be NULL).
void store_put(struct store *s, struct request *r, char *answer, size_t answer_len, int32_t *answer_ids,
               size_t n_answer_ids);
// A reference, or NULL with ERR_INVALID_VALUE.
struct history *store_find(struct store *s, const char *response_id, struct err *err);
void history_release(struct history *h); // NULL is legal

#endif
