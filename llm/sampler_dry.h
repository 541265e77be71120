// DRY ("don't repeat yourself", p-e-w 2024): tokens that would prolong a repetition lose
// multiplier * base^(length of the repetition - allowed length).
#ifndef LLM_SAMPLER_DRY_H
#define LLM_SAMPLER_DRY_H

#include "llm/llm.h"
#include "llm/sampler_chain.h"

struct dry; // what has been chosen, and where sequence breakers ended in its text

// Returns new; NULL when DRY is off. Copies the breakers. An n_ctx of m bounds what it looks back on.
struct dry *dry_create(const struct llm *m, const struct llm_sampling *s);
void dry_destroy(struct dry *d);                 // NULL is fine
void dry_apply(struct dry *d, struct chain *ch); // no allocation, as the next
void dry_accept(struct dry *d, int32_t id);

#endif
