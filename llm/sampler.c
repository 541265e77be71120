// Takes logits [n_vocab], gives a token id. In this order, as llama.cpp's default chain:
//
//   logit bias, penalties, top-k, top-p, min-p, temperature, draw
//
//   repeat      l > 0 ? l / repeat_penalty : l * repeat_penalty, for tokens among the last penalty_last_n
//   frequency   l -= count * frequency_penalty        presence   l -= presence_penalty
//   top-p       the fewest best tokens whose probabilities (at temperature 1, among the top k) reach top_p
//   min-p       tokens at least min_p times as probable as the best
//   draw        by softmax(l / temperature); temperature 0: the first of the largest
//
// The penalties look back on what this sampler chose, not on the prompt. Random numbers are PCG32's (O'Neill
// 2014, XSH-RR), two a token, so a seed means the same tokens on every machine.
#include "base/mem.h"
#include "llm/model.h"

#include <math.h>
#include <stdlib.h>

struct candidate {
    float logit;
    int32_t id;
};

struct llm_sampler {
    struct llm_sampling s;
    size_t n_vocab;
    struct candidate *candidates; // [n_vocab]
    uint32_t *counts;             // [n_vocab] how often a token is in `recent`
    int32_t *recent;              // [penalty_last_n] ring
    size_t n_recent, next_recent;
    uint64_t state; // of the random numbers
};

struct llm_sampling llm_sampling_default(void) {
    return (struct llm_sampling){
        .temperature = 0.8f,
        .top_k = 40,
        .top_p = 0.95f,
        .min_p = 0.05f,
        .repeat_penalty = 1,
        .penalty_last_n = 64,
    };
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

struct llm_sampler *llm_sampler_create(const struct llm *m, const struct llm_sampling *sampling) {
    struct llm_sampler *s = xcalloc(1, sizeof *s);
    s->s = *sampling;
    s->n_vocab = m->n_vocab;
    s->candidates = xcalloc(m->n_vocab, sizeof *s->candidates);
    if (s->s.penalty_last_n > m->n_ctx) // a sequence cannot be longer
        s->s.penalty_last_n = m->n_ctx;
    if (penalises(&s->s)) {
        s->counts = xcalloc(m->n_vocab, sizeof *s->counts);
        s->recent = xcalloc(s->s.penalty_last_n, sizeof *s->recent);
    }
    random_u32(s);
    s->state += sampling->seed;
    random_u32(s);
    return s;
}

void llm_sampler_destroy(struct llm_sampler *s) {
    if (!s)
        return;
    free(s->candidates);
    free(s->counts);
    free(s->recent);
    free(s);
}

static void remember(struct llm_sampler *s, int32_t id) {
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

static float penalise(const struct llm_sampling *s, float logit, uint32_t count) {
    logit = logit > 0 ? logit / s->repeat_penalty : logit * s->repeat_penalty;
    return logit - (float)count * s->frequency_penalty - s->presence_penalty;
}

// Fills the candidates in the order of their ids; *best is the first with the largest logit.
static bool prepare(struct llm_sampler *s, const float *logits, size_t *best, struct err *err) {
    struct candidate *c = s->candidates;
    for (size_t i = 0; i < s->n_vocab; i++) {
        if (!isfinite(logits[i]))
            return err_set(err, ERR_INTERNAL, "logit of token %zu: %g, want a finite number", i,
                           (double)logits[i]);
        c[i] = (struct candidate){logits[i], (int32_t)i};
    }
    for (size_t i = 0; i < s->s.n_biases; i++) {
        const struct llm_logit_bias *b = &s->s.biases[i];
        if (b->id >= 0 && (size_t)b->id < s->n_vocab)
            c[b->id].logit += b->bias;
    }
    for (size_t i = 0; s->counts && i < s->n_vocab; i++)
        if (s->counts[i] > 0)
            c[i].logit = penalise(&s->s, c[i].logit, s->counts[i]);
    *best = 0;
    for (size_t i = 1; i < s->n_vocab; i++)
        if (c[i].logit > c[*best].logit)
            *best = i;
    if (!isfinite(c[*best].logit))
        return err_set(err, ERR_INTERNAL, "best logit after biases and penalties: %g, want a finite number",
                       (double)c[*best].logit);
    return true;
}

static bool is_better(const struct candidate *a, const struct candidate *b) {
    return a->logit > b->logit || (a->logit == b->logit && a->id < b->id);
}

static void sift_down(struct candidate *heap, size_t n, size_t i) {
    struct candidate moved = heap[i];
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && is_better(&heap[child + 1], &heap[child]))
            child++;
        if (!is_better(&heap[child], &moved))
            break;
        heap[i] = heap[child];
    }
    heap[i] = moved;
}

// Moves the best of heap[0 .. n) to heap[n - 1].
static const struct candidate *heap_pop(struct candidate *heap, size_t n) {
    struct candidate top = heap[0];
    heap[0] = heap[n - 1];
    sift_down(heap, n - 1, 0);
    heap[n - 1] = top;
    return &heap[n - 1];
}

// Top-k and top-p: a heap gives the best one by one, so a vocabulary is never sorted whole. What stays lies
// at the end of the array, best last; returns its number.
static size_t select_best(struct llm_sampler *s, double max) {
    struct candidate *c = s->candidates;
    size_t n = s->n_vocab, k = s->s.top_k > 0 && s->s.top_k < n ? s->s.top_k : n, n_kept = 0;
    if (k == n && s->s.top_p >= 1)
        return n;
    for (size_t i = n / 2; i-- > 0;)
        sift_down(c, n, i);
    double total = 0, sum = 0;
    if (k < n) {
        while (n_kept < k)
            total += exp(heap_pop(c, n - n_kept++)->logit - max);
        if (s->s.top_p >= 1)
            return k;
        for (n_kept = 0; n_kept < k && (n_kept == 0 || sum < s->s.top_p * total); n_kept++)
            sum += exp(c[n - 1 - n_kept].logit - max);
        return n_kept;
    }
    for (size_t i = 0; i < n; i++)
        total += exp(c[i].logit - max);
    while (n_kept < n && (n_kept == 0 || sum < s->s.top_p * total))
        sum += exp(heap_pop(c, n - n_kept++)->logit - max);
    return n_kept;
}

static int32_t draw(struct llm_sampler *s, size_t n_kept, double max) {
    const struct candidate *c = s->candidates + (s->n_vocab - n_kept);
    double lowest = s->s.min_p > 0 ? max + log(fmin(s->s.min_p, 1)) : -INFINITY;
    double scale = 1.0 / s->s.temperature, total = 0;
    for (size_t i = 0; i < n_kept; i++)
        if (c[i].logit >= lowest)
            total += exp((c[i].logit - max) * scale);
    double left = random_unit(s) * total;
    int32_t id = -1;
    for (size_t i = n_kept; i-- > 0;) {
        double weight = c[i].logit >= lowest ? exp((c[i].logit - max) * scale) : 0;
        if (weight <= 0)
            continue;
        id = c[i].id; // the last possible one takes what rounding leaves
        if (left < weight)
            break;
        left -= weight;
    }
    return id;
}

bool llm_sampler_next(struct llm_sampler *s, const float *logits, int32_t *id, struct err *err) {
    size_t best = 0;
    if (!prepare(s, logits, &best, err))
        return false;
    *id = (int32_t)best;
    if (s->s.temperature > 0) {
        double max = s->candidates[best].logit;
        *id = draw(s, select_best(s, max), max);
    }
    remember(s, *id);
    return true;
}
