// Log probabilities of tokens -> JSON, in the form of the Responses API and with llama-server's `id`.
#ifndef LOGPROBS_H
#define LOGPROBS_H

#include "assistant.h"
#include "base/buf.h"

enum { LOGPROBS_ITEM_MAX = 12 << 10 }; // bytes of one token's JSON

// Appends {"id", "token", "bytes", "logprob", "top_logprobs": [...]}, at most LOGPROBS_ITEM_MAX long: top tokens that
// would pass that are left out, and a token of more than 512 bytes is cut and has "bytes": null.
bool logprobs_append(struct buf *out, const struct event_token *t, struct err *err);

#endif
