// Takes logits [n_vocab], gives a token id. In this order, as llama.cpp's chain, unless the caller sets another:
//
//   logit bias, grammar, penalties, DRY, top-n-sigma, top-k, typical, top-p, min-p, XTC, temperature, draw
//
//   repeat      l > 0 ? l / repeat_penalty : l * repeat_penalty, for tokens among the last penalty_last_n
//   frequency   l -= count * frequency_penalty        presence   l -= presence_penalty
//   draw        by softmax; temperature 0: the first of the largest
//
// The filters are sampler_chain.c's, DRY is sampler_dry.c's. With mirostat only bias, grammar, temperature
// and its own truncation work; after each draw its mu moves by eta * (tau - the surprise of what was drawn).
// A grammar first looks at what would be chosen without it and narrows the candidates only where it refuses
// that: where nothing else truncates, both together draw by the narrowed distribution.
//
// Penalties and DRY look back on what this sampler has seen (the prompt) and chosen. Random numbers are PCG32's
// (O'Neill 2014, XSH-RR), two a number, so a seed means the same tokens on every machine.
#include "base/mem.h"
#include "llm/grammar.h"
#include "llm/model.h"
#include "llm/prompt.h"
#include "llm/sampler_chain.h"
#include "llm/sampler_dry.h"

#include <math.h>
#include <stdlib.h>

static const enum llm_sampler_stage default_stages[] = {
    LLM_STAGE_PENALTIES, LLM_STAGE_DRY,   LLM_STAGE_TOP_N_SIGMA, LLM_STAGE_TOP_K,       LLM_STAGE_TYPICAL_P,
    LLM_STAGE_TOP_P,     LLM_STAGE_MIN_P, LLM_STAGE_XTC,         LLM_STAGE_TEMPERATURE, LLM_STAGE_END,
};

struct llm_sampler {
    struct llm_sampling s;
    const enum llm_sampler_stage *stages; // up to LLM_STAGE_END
    const struct tokenizer *tokenizer;    // for ignore_eos
    size_t n_vocab;
    struct candidate *candidates; // [n_vocab]
    uint32_t *counts;             // [n_vocab] how often a token is in `recent`
    int32_t *recent;              // [penalty_last_n] ring
    size_t n_recent, next_recent;
    struct dry *dry;         // NULL: off
    struct matcher *matcher; // NULL: no grammar
    double mu;               // of mirostat
    bool is_greedy;          // nothing but the best candidate matters
    uint64_t state;          // of the random numbers
};

struct llm_sampling llm_sampling_default(void) {
    static const char *const breakers[] = {"\n", ":", "\"", "*"};
    return (struct llm_sampling){
        .temperature = 0.8f,
        .top_k = 40,
        .top_p = 0.95f,
        .min_p = 0.05f,
        .typical_p = 1,
        .dynatemp_exponent = 1,
        .xtc_threshold = 0.1f,
        .repeat_penalty = 1,
        .penalty_last_n = 64,
        .dry_base = 1.75f,
        .dry_allowed_length = 2,
        .dry_penalty_last_n = -1,
        .dry_breakers = breakers,
        .n_dry_breakers = sizeof breakers / sizeof *breakers,
        .mirostat_tau = 5,
        .mirostat_eta = 0.1f,
    };
}

bool llm_sampler_stage_find(const char *name, enum llm_sampler_stage *stage) {
    static const struct {
        const char *name;
        enum llm_sampler_stage stage;
    } names[] = {
        {"penalties", LLM_STAGE_PENALTIES},
        {"dry", LLM_STAGE_DRY},
        {"top_k", LLM_STAGE_TOP_K},
        {"top_n_sigma", LLM_STAGE_TOP_N_SIGMA},
        {"typ_p", LLM_STAGE_TYPICAL_P},
        {"typical_p", LLM_STAGE_TYPICAL_P},
        {"top_p", LLM_STAGE_TOP_P},
        {"min_p", LLM_STAGE_MIN_P},
        {"xtc", LLM_STAGE_XTC},
        {"temperature", LLM_STAGE_TEMPERATURE},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i].name) == 0) {
            *stage = names[i].stage;
            return true;
        }
    return false;
}

static uint32_t random_u32(struct llm_sampler *s) {
    uint64_t old = s->state;
    s->state = old * 6364136223846793005u + 1442695040888963407u;
    uint32_t x = (uint32_t)(((old >> 18) ^ old) >> 27), turn = (uint32_t)(old >> 59);
    return (x >> turn) | (x << (-turn & 31));
}

// In [0, 1), 53 bits.
static double random_unit(struct llm_sampler *s) {
    uint64_t high = random_u32(s), low = random_u32(s);
    return (double)((high << 32 | low) >> 11) * 0x1p-53;
}

static bool penalises(const struct llm_sampling *s) {
    return s->penalty_last_n > 0 &&
           (s->repeat_penalty != 1 || s->presence_penalty != 0 || s->frequency_penalty != 0);
}

static bool has_stage(const struct llm_sampler *s, enum llm_sampler_stage stage) {
    for (const enum llm_sampler_stage *p = s->stages; *p != LLM_STAGE_END; p++)
        if (*p == stage)
            return true;
    return false;
}

// At temperature 0 only what may drop the best candidate, or hide penalties from a filter, needs the chain.
static bool is_greedy(const struct llm_sampler *s) {
    const struct llm_sampling *o = &s->s;
    if (o->temperature > 0 || o->dynatemp_range > 0)
        return false;
    return o->mirostat ||
           (!o->stages_set && o->xtc_probability <= 0 && !(o->typical_p > 0 && o->typical_p < 1));
}

struct llm_sampler *llm_sampler_create(const struct llm *m, const struct llm_sampling *sampling,
                                       struct err *err) {
    struct llm_sampler *s = xcalloc(1, sizeof *s);
    s->s = *sampling;
    s->stages = s->s.stages_set ? s->s.stages : default_stages;
    s->tokenizer = m->tokenizer;
    s->n_vocab = m->n_vocab;
    s->candidates = xcalloc(m->n_vocab, sizeof *s->candidates);
    if (s->s.penalty_last_n > m->n_ctx) // a sequence cannot be longer
        s->s.penalty_last_n = m->n_ctx;
    if (penalises(&s->s) && !s->s.mirostat && has_stage(s, LLM_STAGE_PENALTIES)) {
        s->counts = xcalloc(m->n_vocab, sizeof *s->counts);
        s->recent = xcalloc(s->s.penalty_last_n, sizeof *s->recent);
    }
    if (!s->s.mirostat && has_stage(s, LLM_STAGE_DRY))
        s->dry = dry_create(m, sampling);
    if (s->s.grammar) {
        s->matcher = matcher_create(s->s.grammar, m->tokenizer, shared_order_get(m->order, m->tokenizer),
                                    tokenizer_adds_space(m->tokenizer), err);
        if (!s->matcher) {
            llm_sampler_destroy(s);
            return NULL;
        }
    }
    s->is_greedy = is_greedy(s);
    s->mu = 2.0 * s->s.mirostat_tau;
    random_u32(s);
    s->state += sampling->seed;
    random_u32(s);
    return s;
}

void llm_sampler_destroy(struct llm_sampler *s) {
    if (!s)
        return;
    dry_destroy(s->dry);
    matcher_destroy(s->matcher);
    free(s->candidates);
    free(s->counts);
    free(s->recent);
    free(s);
}

static void remember(struct llm_sampler *s, int32_t id) {
    if (s->dry)
        dry_accept(s->dry, id);
    if (!s->recent)
        return;
    if (s->n_recent == s->s.penalty_last_n)
        s->counts[s->recent[s->next_recent]]--;
    else
        s->n_recent++;
    s->recent[s->next_recent] = id;
    s->counts[id]++;
    s->next_recent = (s->next_recent + 1) % s->s.penalty_last_n;
}

void llm_sampler_see(struct llm_sampler *s, const struct llm_prompt *p) {
    for (size_t i = 0; i < p->n_rows; i++)
        if (p->ids[i] != PROMPT_IMAGE_ROW)
            remember(s, p->ids[i]);
}

static float penalise(const struct llm_sampling *s, float logit, uint32_t count) {
    logit = logit > 0 ? logit / s->repeat_penalty : logit * s->repeat_penalty;
    return logit - (float)count * s->frequency_penalty - s->presence_penalty;
}

static void apply_penalties(const struct llm_sampler *s, struct chain *ch) {
    if (!s->counts)
        return;
    for (size_t i = ch->first; i < ch->end; i++) {
        struct candidate *c = &ch->c[i];
        if (s->counts[c->id] > 0)
            c->logit = penalise(&s->s, c->logit, s->counts[c->id]);
    }
    chain_unsort(ch);
}

// The candidates lie in the order of their ids.
static struct candidate *find(struct candidate *c, size_t n, int32_t id) {
    size_t from = 0, to = n;
    while (from < to) {
        size_t middle = (from + to) / 2;
        if (c[middle].id < id)
            from = middle + 1;
        else
            to = middle;
    }
    return from < n && c[from].id == id ? &c[from] : NULL;
}

// Biases for the first n candidates; what follows goes on with these.
static void begin(struct llm_sampler *s, size_t n, struct chain *ch) {
    struct candidate *c = s->candidates;
    for (size_t i = 0; i < s->s.n_biases; i++) {
        struct candidate *biased = find(c, n, s->s.biases[i].id);
        if (biased)
            biased->logit += s->s.biases[i].bias;
    }
    for (size_t i = 0; s->s.ignore_eos && i < n; i++)
        if (tokenizer_is_end(s->tokenizer, c[i].id))
            c[i].logit = -INFINITY;
    chain_begin(ch, c, n);
}

// Fills the candidates in the order of their ids.
static bool prepare(struct llm_sampler *s, const float *logits, struct chain *ch, struct err *err) {
    for (size_t i = 0; i < s->n_vocab; i++) {
        if (!isfinite(logits[i]))
            return err_set(err, ERR_INTERNAL, "logit of token %zu: %g, want a finite number", i,
                           (double)logits[i]);
        s->candidates[i] = (struct candidate){logits[i], logits[i], (int32_t)i};
    }
    begin(s, s->n_vocab, ch);
    return true;
}

// The same with those whose bit is set; the logits have been looked at.
static bool prepare_masked(struct llm_sampler *s, const float *logits, const uint64_t *mask, struct chain *ch,
                           struct err *err) {
    size_t n = 0;
    for (size_t word = 0; word * 64 < s->n_vocab; word++)
        for (uint64_t left = mask[word]; left; left &= left - 1) {
            int32_t id = (int32_t)(word * 64) + __builtin_ctzll(left);
            s->candidates[n++] = (struct candidate){logits[id], logits[id], id};
        }
    begin(s, n, ch);
    return n > 0 || err_set(err, ERR_INVALID_VALUE, "grammar: no token of this model goes on from here");
}

static void apply_stage(struct llm_sampler *s, enum llm_sampler_stage stage, struct chain *ch) {
    const struct llm_sampling *o = &s->s;
    switch (stage) {
    case LLM_STAGE_PENALTIES:
        apply_penalties(s, ch);
        break;
    case LLM_STAGE_DRY:
        if (s->dry)
            dry_apply(s->dry, ch);
        break;
    case LLM_STAGE_TOP_N_SIGMA:
        chain_top_n_sigma(ch, o->top_n_sigma);
        break;
    case LLM_STAGE_TOP_K:
        chain_top_k(ch, o->top_k);
        break;
    case LLM_STAGE_TYPICAL_P:
        chain_typical(ch, o->typical_p);
        break;
    case LLM_STAGE_TOP_P:
        chain_top_p(ch, o->top_p);
        break;
    case LLM_STAGE_MIN_P:
        chain_min_p(ch, o->min_p);
        break;
    case LLM_STAGE_XTC:
        if (o->xtc_probability > 0 && o->xtc_threshold <= 0.5f && random_unit(s) < o->xtc_probability)
            chain_xtc(ch, o->xtc_threshold);
        break;
    case LLM_STAGE_TEMPERATURE:
        chain_temperature(ch, o->temperature, o->dynatemp_range, o->dynatemp_exponent);
        break;
    case LLM_STAGE_END:
        break;
    }
}

static int32_t draw_mirostat(struct llm_sampler *s, struct chain *ch) {
    apply_stage(s, LLM_STAGE_TEMPERATURE, ch);
    if (s->s.mirostat == 1)
        chain_mirostat_1(ch, s->mu, s->n_vocab);
    else
        chain_mirostat_2(ch, s->mu);
    double p = 1;
    int32_t id = chain_draw(ch, random_unit(s), &p);
    s->mu += s->s.mirostat_eta * (s->s.mirostat_tau + log2(p));
    return id;
}

// The best of the candidates in the order of their ids: the first of equals.
static int32_t best_id(const struct chain *ch) {
    const struct candidate *best = &ch->c[ch->first];
    for (size_t i = ch->first + 1; i < ch->end; i++)
        if (ch->c[i].logit > best->logit)
            best = &ch->c[i];
    return best->id;
}

static bool choose(struct llm_sampler *s, struct chain *ch, int32_t *id, struct err *err) {
    double max = chain_max(ch);
    if (!isfinite(max))
        return err_set(err, ERR_INTERNAL, "best logit after biases: %g, want a finite number", max);
    if (s->is_greedy) {
        apply_penalties(s, ch);
        if (s->dry)
            dry_apply(s->dry, ch);
        *id = best_id(ch);
        return true;
    }
    chain_unsort(ch); // the biases count
    if (s->s.mirostat) {
        *id = draw_mirostat(s, ch);
        return true;
    }
    for (const enum llm_sampler_stage *stage = s->stages; *stage != LLM_STAGE_END; stage++)
        apply_stage(s, *stage, ch);
    double p;
    *id = chain_draw(ch, random_unit(s), &p);
    return true;
}

// What was chosen freely does not fit: chooses again among what does.
static bool choose_fitting(struct llm_sampler *s, const float *logits, int32_t *id, struct err *err) {
    struct chain ch;
    const uint64_t *mask;
    bool fits = false;
    if (!matcher_mask(s->matcher, &mask, err) || !prepare_masked(s, logits, mask, &ch, err))
        return false;
    if (!choose(s, &ch, id, err) || !matcher_accept_token(s->matcher, *id, &fits, err))
        return false;
    return fits || err_set(err, ERR_INTERNAL, "grammar: token %d is in the mask and does not fit", *id);
}

bool llm_sampler_next(struct llm_sampler *s, const float *logits, int32_t *id, struct err *err) {
    struct chain ch;
    double mu = s->mu;
    bool fits = true;
    if (!prepare(s, logits, &ch, err) || !choose(s, &ch, id, err))
        return false;
    if (s->matcher && !matcher_accept_token(s->matcher, *id, &fits, err))
        return false;
    if (!fits) {
        s->mu = mu; // what nobody sees surprises nobody
        if (!choose_fitting(s, logits, id, err))
            return false;
    }
    remember(s, *id);
    return true;
}

float llm_logprobs(const float *logits, size_t n_vocab, int32_t id, struct llm_logprob *top, size_t n_top) {
    size_t n = 0;
    float max = logits[0];
    for (size_t i = 0; i < n_vocab; i++) {
        max = logits[i] > max ? logits[i] : max;
        if (n == n_top && (n == 0 || !(logits[i] > top[n - 1].logprob)))
            continue;
        size_t at = n < n_top ? n++ : n - 1;
        for (; at > 0 && logits[i] > top[at - 1].logprob; at--)
            top[at] = top[at - 1];
        top[at] = (struct llm_logprob){(int32_t)i, logits[i]};
    }
    double total = 0;
    for (size_t i = 0; i < n_vocab; i++)
        total += exp((double)logits[i] - max);
    double log_total = max + log(total);
    for (size_t i = 0; i < n; i++)
        top[i].logprob = (float)(top[i].logprob - log_total);
    return (float)(logits[id] - log_total);
}
