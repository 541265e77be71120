// Takes the tokens chosen so far, newest first t[0], t[1], ...; for each earlier place i the longest run
//
//   z[i] = max l: t[i .. i + l) = t[0 .. l), within what follows the last sequence breaker
//
// says that t[i - 1] came next when the text last read as it reads now: it is penalised for the longest such
// run of allowed_length or more. The runs are found in linear time (Gusfield 1997, the Z algorithm).
//
// A breaker is found in the text, however tokens cut it: a token in which one ends stops runs. A token that
// holds a whole one is never penalised.
#include "llm/sampler_dry.h"

#include "base/mem.h"
#include "llm/model.h"

#include <math.h>
#include <stdlib.h>

struct dry {
    const struct tokenizer *tokenizer;
    double multiplier, base;
    size_t allowed, cap;
    int32_t *ids; // [2 * cap], the newest last
    size_t n_end; // in ids
    size_t n;     // that are looked back on, at most cap
    size_t n_unbroken;
    size_t *z;         // [cap]
    uint32_t *longest; // [n_vocab] run that a token would prolong; zero between calls
    char **breakers;
    size_t n_breakers;
    char *text; // the last max_breaker - 1 bytes, then one piece
    size_t n_text, max_breaker;
};

struct dry *dry_create(const struct llm *m, const struct llm_sampling *s) {
    size_t cap = s->dry_penalty_last_n < 0 || (size_t)s->dry_penalty_last_n > m->n_ctx
                     ? m->n_ctx
                     : (size_t)s->dry_penalty_last_n;
    if (s->dry_multiplier == 0 || s->dry_base < 1 || cap == 0)
        return NULL;
    struct dry *d = xcalloc(1, sizeof *d);
    d->tokenizer = m->tokenizer;
    d->multiplier = s->dry_multiplier;
    d->base = s->dry_base;
    d->allowed = s->dry_allowed_length;
    d->cap = cap;
    d->ids = xcalloc(2 * cap, sizeof *d->ids);
    d->z = xcalloc(cap, sizeof *d->z);
    d->longest = xcalloc(m->n_vocab, sizeof *d->longest);
    d->breakers = xcalloc(s->n_dry_breakers + 1, sizeof *d->breakers);
    for (size_t i = 0; i < s->n_dry_breakers; i++) {
        size_t len = strlen(s->dry_breakers[i]);
        if (len == 0)
            continue;
        d->breakers[d->n_breakers++] = xstrdup(s->dry_breakers[i]);
        d->max_breaker = len > d->max_breaker ? len : d->max_breaker;
    }
    if (d->n_breakers > 0)
        d->text = xcalloc(d->max_breaker + tokenizer_longest_piece(d->tokenizer), 1);
    return d;
}

void dry_destroy(struct dry *d) {
    if (!d)
        return;
    free(d->ids);
    free(d->z);
    free(d->longest);
    for (size_t i = 0; i < d->n_breakers; i++)
        free(d->breakers[i]);
    free(d->breakers);
    free(d->text);
    free(d);
}

static bool text_holds(const char *text, size_t len, const char *part, size_t n_part) {
    for (size_t i = 0; i + n_part <= len; i++)
        if (memcmp(text + i, part, n_part) == 0)
            return true;
    return false;
}

// Does a breaker end in the last n_piece of the len bytes?
static bool breaks(const struct dry *d, const char *text, size_t len, size_t n_piece) {
    for (size_t i = 0; i < d->n_breakers; i++) {
        size_t n = strlen(d->breakers[i]), n_seen = n_piece + n - 1 < len ? n_piece + n - 1 : len;
        if (text_holds(text + len - n_seen, n_seen, d->breakers[i], n))
            return true;
    }
    return false;
}

static bool holds_breaker(const struct dry *d, int32_t id) {
    if (d->n_breakers == 0)
        return false;
    size_t len;
    enum token_type type;
    const char *piece = tokenizer_piece(d->tokenizer, id, &len, &type);
    return breaks(d, piece, len, len);
}

void dry_accept(struct dry *d, int32_t id) {
    if (d->n_end == 2 * d->cap) {
        memmove(d->ids, d->ids + d->cap + 1, (d->cap - 1) * sizeof *d->ids);
        d->n_end = d->cap - 1;
    }
    d->ids[d->n_end++] = id;
    d->n += d->n < d->cap;
    d->n_unbroken++;
    if (d->n_breakers == 0)
        return;
    size_t len;
    enum token_type type;
    const char *piece = tokenizer_piece(d->tokenizer, id, &len, &type);
    memcpy(d->text + d->n_text, piece, len);
    d->n_text += len;
    if (len > 0 && breaks(d, d->text, d->n_text, len))
        d->n_unbroken = 0;
    size_t n_kept = d->n_text < d->max_breaker - 1 ? d->n_text : d->max_breaker - 1;
    memmove(d->text, d->text + d->n_text - n_kept, n_kept);
    d->n_text = n_kept;
}

static int32_t newest(const struct dry *d, size_t i) {
    return d->ids[d->n_end - 1 - i];
}

// Fills z[1 .. n).
static void find_runs(struct dry *d) {
    for (size_t i = 1, left = 0, right = 0; i < d->n; i++) { // t[left .. right) = t[0 .. right - left)
        size_t l = i < right ? (d->z[i - left] < right - i ? d->z[i - left] : right - i) : 0;
        while (i + l < d->n && newest(d, l) == newest(d, i + l))
            l++;
        d->z[i] = l;
        if (i + l > right) {
            left = i;
            right = i + l;
        }
    }
}

void dry_apply(struct dry *d, struct chain *ch) {
    if (d->n_unbroken < d->allowed || d->n <= d->allowed)
        return;
    find_runs(d);
    bool any = false;
    for (size_t i = 1; i < d->n; i++) {
        size_t l = d->z[i] < d->n_unbroken ? d->z[i] : d->n_unbroken;
        uint32_t *longest = &d->longest[newest(d, i - 1)];
        // One more than the run, so that 0 means none even where none is allowed.
        if (l >= d->allowed && l + 1 > *longest) {
            *longest = (uint32_t)l + 1;
            any = true;
        }
    }
    if (!any)
        return;
    for (size_t i = ch->first; i < ch->end; i++) {
        struct candidate *c = &ch->c[i];
        uint32_t l = d->longest[c->id];
        if (l > 0 && !holds_breaker(d, c->id))
            c->logit -= (float)fmin(d->multiplier * pow(d->base, (double)(l - 1 - d->allowed)), 1e30);
    }
    for (size_t i = 1; i < d->n; i++)
        d->longest[newest(d, i - 1)] = 0;
    chain_unsort(ch);
}
