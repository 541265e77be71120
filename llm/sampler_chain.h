// The candidates of one choice and the filters that narrow them: what sampler.c strings together.
#ifndef LLM_SAMPLER_CHAIN_H
#define LLM_SAMPLER_CHAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct candidate {
    float logit;
    float key; // what the order goes by: the logit, but within chain_typical
    int32_t id;
};

// c[first .. mid) are in no order (or a heap), c[mid .. end) ascend and none of them is worse than the others.
// What a temperature made of a logit is logit * scale.
struct chain {
    struct candidate *c; // borrowed, [n_vocab]
    size_t first, mid, end;
    bool is_heap;
    double scale;
};

void chain_begin(struct chain *ch, struct candidate *c, size_t n);
size_t chain_n(const struct chain *ch);
// After logits have changed: nothing is in order any more.
void chain_unsort(struct chain *ch);
// Keeps the candidates whose logit is at least `lowest`, which is at most the best one's.
void chain_keep_from(struct chain *ch, double lowest);
// The i-th best (0 = best, i < chain_n); sorts no more than that takes.
const struct candidate *chain_best(struct chain *ch, size_t i);
double chain_max(const struct chain *ch); // the best logit
// exp of the scaled logits relative to `max`, summed; max is finite.
double chain_weight(const struct chain *ch, const struct candidate *c, double max);
double chain_total(const struct chain *ch, double max);
// In nat, of the softmax of the scaled logits.
double chain_entropy(const struct chain *ch);

// ---- filters: each keeps at least one candidate ----

void chain_top_k(struct chain *ch, size_t k);
void chain_top_p(struct chain *ch, double p);
void chain_min_p(struct chain *ch, double p);
void chain_typical(struct chain *ch, double p);
void chain_top_n_sigma(struct chain *ch, double n);
void chain_xtc(struct chain *ch, double threshold);
void chain_temperature(struct chain *ch, double temperature, double range, double exponent);
// The truncations of mirostat 1 (n_vocab: of the model) and 2 at the surprise mu, in bit.
void chain_mirostat_1(struct chain *ch, double mu, size_t n_vocab);
void chain_mirostat_2(struct chain *ch, double mu);

// One candidate by its probability, for `random` in [0, 1); *p is the probability it had.
int32_t chain_draw(const struct chain *ch, double random, double *p);

#endif
