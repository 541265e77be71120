// How a response is sampled: temperature and the rest, biases, grammar, text.format.
#ifndef MESSAGE_SAMPLING_H
#define MESSAGE_SAMPLING_H

#include "assistant.h"
#include "base/json.h"

// Fills r->sampling and what it points to. Errors name the field in err->param.
bool message_sampling(json_t *root, struct request *r, struct err *err);

#endif
