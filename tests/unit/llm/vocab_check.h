// What the tests of vocabularies share.
#ifndef TESTS_VOCAB_CHECK_H
#define TESTS_VOCAB_CHECK_H

#include "llm/tokenizer.h"

#include <jansson.h>

static inline bool vocab_ids_equal(const struct token_ids *got, const json_t *want) {
    if (got->n != json_array_size(want))
        return false;
    for (size_t i = 0; i < got->n; i++)
        if (got->ids[i] != json_integer_value(json_array_get(want, i)))
            return false;
    return true;
}

#endif
