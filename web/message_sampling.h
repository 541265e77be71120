// How a response is sampled: temperature and the rest, biases, grammar, text.format.
#ifndef MESSAGE_SAMPLING_H
#define MESSAGE_SAMPLING_H

#include "assistant.h"
#include "base/json.h"

// What a request has that says nothing; seed -1 = the random one that it has.
void message_sampling_defaults(const struct llm_sampling *defaults, int seed, struct request *r);

// *format: new JSON of text.format where it is more than text, without its schema if that makes it too long.
bool message_echo_format(json_t *root, char **format, struct err *err);

// Fills r->sampling and what it points to. Errors name the field in err->param.
bool message_sampling(json_t *root, struct request *r, struct err *err);

#endif
