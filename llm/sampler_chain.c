// Takes candidates (logit, id), narrows them, draws one. With q = softmax(logit * scale) over what is left:
//
//   top-k        the k best
//   top-p        the fewest best whose q reach p                        (Holtzman 2019)
//   min-p        q at least p times the best one's                      (Nguyen 2024)
//   typical      the fewest whose q reach p, those first whose surprise -ln q is nearest to the entropy
//                                                                       (Meister 2022)
//   top-n-sigma  logit at least max - n * standard deviation of the logits   (Tang 2024)
//   xtc          drops all with q >= threshold but the least likely of them  (p-e-w 2024)
//   temperature  scale / T; dynamic: T = T0 - r + 2 r (entropy / ln n)^e     (kalomaze 2023)
//   mirostat 1   Zipf's exponent s of the 100 best -> k; mirostat 2: surprise at most mu   (Basu 2020)
//
// A heap gives the best one by one, so a vocabulary is never sorted whole for the few that matter. Of top-k's few
// the worst is a bar that nearly all others fail: most of a vocabulary is looked at once and stays in its place.
#include "llm/sampler_chain.h"

#include <math.h>

enum { MIROSTAT_N_BEST = 100 }; // that the exponent is estimated from

void chain_begin(struct chain *ch, struct candidate *c, size_t n) {
    *ch = (struct chain){.c = c, .mid = n, .end = n, .scale = 1};
}

size_t chain_n(const struct chain *ch) {
    return ch->end - ch->first;
}

void chain_unsort(struct chain *ch) {
    for (size_t i = ch->first; i < ch->end; i++)
        ch->c[i].key = ch->c[i].logit;
    ch->mid = ch->end;
    ch->is_heap = false;
}

static bool is_better(const struct candidate *a, const struct candidate *b) {
    return a->key > b->key || (a->key == b->key && a->id < b->id);
}

static bool is_worse(const struct candidate *a, const struct candidate *b) {
    return is_better(b, a);
}

// Of a heap whose top goes before all others.
static void sift_down(struct candidate *heap, size_t n, size_t i,
                      bool (*goes_before)(const struct candidate *a, const struct candidate *b)) {
    struct candidate moved = heap[i];
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && goes_before(&heap[child + 1], &heap[child]))
            child++;
        if (!goes_before(&heap[child], &moved))
            break;
        heap[i] = heap[child];
    }
    heap[i] = moved;
}

const struct candidate *chain_best(struct chain *ch, size_t i) {
    struct candidate *heap = ch->c + ch->first;
    if (ch->end - ch->mid <= i && !ch->is_heap) {
        size_t n = ch->mid - ch->first;
        for (size_t k = n / 2; k-- > 0;)
            sift_down(heap, n, k, is_better);
        ch->is_heap = true;
    }
    while (ch->end - ch->mid <= i) {
        size_t n = --ch->mid - ch->first;
        struct candidate top = heap[0];
        heap[0] = heap[n];
        if (n > 0)
            sift_down(heap, n, 0, is_better);
        heap[n] = top;
    }
    return &ch->c[ch->end - 1 - i];
}

// Forgets all but the n best, which are sorted already.
static void keep_sorted(struct chain *ch, size_t n) {
    ch->first = ch->mid = ch->end - n;
}

void chain_keep_from(struct chain *ch, double lowest) {
    size_t at = ch->mid;
    for (size_t i = ch->mid; i-- > ch->first;)
        if (ch->c[i].logit >= lowest)
            ch->c[--at] = ch->c[i];
    ch->first = at;
    ch->is_heap = false;
    if (at == ch->mid) { // the sorted ones are the better ones: only now may some of them fall
        while (ch->first + 1 < ch->end && !(ch->c[ch->first].logit >= lowest))
            ch->first++;
        ch->mid = ch->first;
    }
}

double chain_max(const struct chain *ch) {
    if (ch->mid < ch->end)
        return ch->c[ch->end - 1].logit;
    float max = ch->c[ch->first].logit;
    for (size_t i = ch->first + 1; i < ch->end; i++)
        if (ch->c[i].logit > max)
            max = ch->c[i].logit;
    return max;
}

double chain_weight(const struct chain *ch, const struct candidate *c, double max) {
    return exp((c->logit - max) * ch->scale);
}

// From the best on, so that the sum of many equals the sum of the few that follow one another.
double chain_total(const struct chain *ch, double max) {
    double total = 0;
    for (size_t i = ch->end; i-- > ch->first;)
        total += chain_weight(ch, &ch->c[i], max);
    return total;
}

double chain_entropy(const struct chain *ch) {
    double max = chain_max(ch), total = chain_total(ch, max), entropy = 0;
    for (size_t i = ch->first; i < ch->end; i++) {
        double p = chain_weight(ch, &ch->c[i], max) / total;
        if (p > 0)
            entropy -= p * log(p);
    }
    return entropy;
}

// Drops all but the n best of those that are not sorted. They make a heap with the worst of them on top, which
// few of the others beat.
static void keep_best_unsorted(struct chain *ch, size_t n) {
    struct candidate *heap = ch->c + ch->mid - n;
    for (size_t k = n / 2; k-- > 0;)
        sift_down(heap, n, k, is_worse);
    for (struct candidate *c = ch->c + ch->first; c < heap; c++)
        if (is_better(c, heap)) {
            *heap = *c;
            sift_down(heap, n, 0, is_worse);
        }
    ch->first = ch->mid - n;
    ch->is_heap = false;
}

void chain_top_k(struct chain *ch, size_t k) {
    if (k == 0 || k >= chain_n(ch))
        return;
    if (k > ch->end - ch->mid)
        keep_best_unsorted(ch, k - (ch->end - ch->mid));
    chain_best(ch, k - 1);
    keep_sorted(ch, k);
}

void chain_top_p(struct chain *ch, double p) {
    if (p >= 1)
        return;
    size_t n = chain_n(ch), n_kept = 0;
    double max = chain_max(ch), total = chain_total(ch, max), sum = 0;
    while (n_kept < n && (n_kept == 0 || sum < p * total))
        sum += chain_weight(ch, chain_best(ch, n_kept++), max);
    keep_sorted(ch, n_kept);
}

void chain_min_p(struct chain *ch, double p) {
    if (p > 0)
        chain_keep_from(ch, chain_max(ch) + log(fmin(p, 1)) / ch->scale);
}

void chain_typical(struct chain *ch, double p) {
    if (p <= 0 || p >= 1)
        return;
    double max = chain_max(ch), total = chain_total(ch, max), entropy = chain_entropy(ch), sum = 0;
    chain_unsort(ch);
    for (size_t i = ch->first; i < ch->end; i++) {
        double surprise = log(total) - (ch->c[i].logit - max) * ch->scale;
        ch->c[i].key = (float)-fabs(surprise - entropy);
    }
    size_t n = chain_n(ch), n_kept = 0;
    while (n_kept < n && (n_kept == 0 || sum < p * total))
        sum += chain_weight(ch, chain_best(ch, n_kept++), max);
    keep_sorted(ch, n_kept);
    chain_unsort(ch);
}

void chain_top_n_sigma(struct chain *ch, double n) {
    if (n <= 0)
        return;
    double sum = 0, squares = 0;
    size_t n_finite = 0;
    for (size_t i = ch->first; i < ch->end; i++)
        if (isfinite(ch->c[i].logit)) {
            sum += ch->c[i].logit;
            n_finite++;
        }
    double mean = sum / (double)n_finite;
    for (size_t i = ch->first; i < ch->end; i++)
        if (isfinite(ch->c[i].logit))
            squares += (ch->c[i].logit - mean) * (ch->c[i].logit - mean);
    chain_keep_from(ch, chain_max(ch) - n * sqrt(squares / (double)n_finite));
}

void chain_xtc(struct chain *ch, double threshold) {
    size_t n = chain_n(ch), n_above = 0;
    double max = chain_max(ch), lowest = threshold * chain_total(ch, max);
    while (n_above < n && chain_weight(ch, chain_best(ch, n_above), max) >= lowest)
        n_above++;
    if (n_above > 1)
        ch->end -= n_above - 1;
}

void chain_temperature(struct chain *ch, double temperature, double range, double exponent) {
    if (range > 0 && chain_n(ch) > 1) {
        double low = fmax(temperature - range, 0), high = temperature + range;
        double evenness = chain_entropy(ch) / log((double)chain_n(ch));
        temperature = low + (high - low) * pow(evenness, exponent);
    }
    if (temperature > 0)
        ch->scale /= temperature;
    else
        chain_top_k(ch, 1);
}

void chain_mirostat_1(struct chain *ch, double mu, size_t n_vocab) {
    size_t n = chain_n(ch) < MIROSTAT_N_BEST ? chain_n(ch) : MIROSTAT_N_BEST;
    double sum_tb = 0, sum_tt = 0;
    for (size_t i = 0; i + 1 < n; i++) {
        double next = chain_best(ch, i + 1)->logit;
        if (!isfinite(next))
            break;
        double t = log((double)(i + 2) / (double)(i + 1));
        sum_tb += t * (chain_best(ch, i)->logit - next) * ch->scale;
        sum_tt += t * t;
    }
    if (sum_tb <= 0) // one candidate, or as likely as one another: no tail to cut
        return;
    double s = sum_tb / sum_tt, epsilon = s - 1;
    // epsilon / (1 - N^-epsilon), whose limit at 0 is 1 / ln N
    double factor =
        fabs(epsilon) < 1e-6 ? 1 / log((double)n_vocab) : epsilon / (1 - pow((double)n_vocab, -epsilon));
    double k = pow(factor * exp2(mu), 1 / s);
    chain_top_k(ch, k < 1 ? 1 : k < (double)chain_n(ch) ? (size_t)k : chain_n(ch));
}

void chain_mirostat_2(struct chain *ch, double mu) {
    size_t n = chain_n(ch), n_kept = 1;
    double max = chain_max(ch), total = chain_total(ch, max);
    chain_best(ch, 0);
    while (n_kept < n && log2(total / chain_weight(ch, chain_best(ch, n_kept), max)) <= mu)
        n_kept++;
    keep_sorted(ch, n_kept);
}

int32_t chain_draw(const struct chain *ch, double random, double *p) {
    double max = chain_max(ch), total = chain_total(ch, max), left = random * total;
    int32_t id = -1;
    for (size_t i = ch->end; i-- > ch->first;) {
        double weight = chain_weight(ch, &ch->c[i], max);
        if (weight <= 0)
            continue;
        id = ch->c[i].id; // the last possible one takes what rounding leaves
        *p = weight / total;
        if (left < weight)
            break;
        left -= weight;
    }
    return id;
}
