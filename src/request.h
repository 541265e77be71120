// Inside the app layer: the parts of a request that others take over.
#ifndef REQUEST_H
#define REQUEST_H

#include "assistant.h"

void request_turns_destroy(struct request_turn *turns, size_t n_turns);

#endif
