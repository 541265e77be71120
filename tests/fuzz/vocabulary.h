// A small vocabulary for targets that need one: the 256 bytes and some pieces that JSON and words are made of.
#ifndef TESTS_FUZZ_VOCABULARY_H
#define TESTS_FUZZ_VOCABULARY_H

#include "llm/tokenizer.h"

const struct tokenizer *fuzz_vocabulary(void); // made once, lives on

#endif
