// Takes bytes, tells whether a text of the grammar may go on so; takes a vocabulary, gives the mask of the tokens
// that may come next.
//
// A place is an element of the grammar that the next byte is held against, with what is left to do behind it:
// the place to return to, and so on (a stack, shared with others). Within a character it also knows the bytes
// read so far. A state is the set of all places where the text may be; place 0 is its end. Places, states and
// the steps from state to state are remembered: the vocabulary is walked in the order of its bytes, each common
// prefix once, at the price of a look-up a byte. All that has fixed room; when it is full, what can still
// be reached is kept and the rest forgotten.
#include "base/mem.h"
#include "base/utf8.h"
#include "llm/grammar.h"

#include <stdlib.h>

enum {
    PLACES_MAX = 1 << 14,
    STATES_MAX = 1 << 10,
    MEMBERS_MAX = 1 << 16,
    MASKS_MAX = 16,
    WORK_MAX = 1 << 20, // places looked at for one token: some 30 ms
    ANY = 7,            // for the length of a character: whatever comes, it is one of those wanted
    DEAD = 0,           // the state without places
    UNKNOWN = 0xffff,   // a step not yet made
};

struct place {
    uint32_t at;      // element
    uint32_t parent;  // place to return to; 0: none, the text is over
    uint32_t partial; // of a character: code point bits, bytes left << 21, its length or ANY << 24
    uint32_t next;    // of the same hash
};

struct state {
    uint32_t first, n; // members
    uint32_t next;     // of the same hash
};

struct pool {             // places and states; there are two, so that one can be cleaned into the other
    struct place *places; // [PLACES_MAX]
    struct state *states; // [STATES_MAX]
    uint32_t *members;    // [MEMBERS_MAX] places
    size_t n_places, n_states, n_members;
};

struct kept_mask {
    uint32_t state; // DEAD: none
    uint64_t *bits;
};

struct matcher {
    const struct llm_grammar *g;
    const struct tokenizer *tokenizer;
    const struct token_order *order;
    bool drops_space; // only until the first token
    struct pool pool, spare;
    uint16_t *steps;                     // [STATES_MAX, 256] state
    uint32_t *place_heads, *state_heads; // [PLACES_MAX], [STATES_MAX] by hash; 0: none
    uint32_t *marks;                     // [PLACES_MAX] epoch in which a place was reached
    uint32_t *todo, *found;              // [PLACES_MAX] of the step under way
    uint32_t *moved;                     // [PLACES_MAX] old place -> new
    size_t n_todo, n_found;
    size_t n_work;      // of this token
    size_t n_forgotten; // times that states got other numbers
    uint32_t epoch;
    bool is_full;
    uint32_t *stack; // [n_stack] states: where the text is, then behind each byte of a token
    size_t n_stack;
    size_t n_words; // of a mask
    struct kept_mask masks[MASKS_MAX];
    size_t next_mask;
};

bool grammar_set_meets(const struct llm_grammar *g, uint32_t set, uint32_t lo, uint32_t hi, bool *all) {
    const struct code_range *r = g->ranges + g->sets[set].first;
    size_t from = 0, to = g->sets[set].n;
    while (from < to) { // the first range that does not end before lo
        size_t middle = (from + to) / 2;
        if (r[middle].hi < lo)
            from = middle + 1;
        else
            to = middle;
    }
    *all = from < g->sets[set].n && r[from].lo <= lo && r[from].hi >= hi;
    return from < g->sets[set].n && r[from].lo <= hi;
}

// ---- places ----

static uint32_t intern_place(struct matcher *m, uint32_t at, uint32_t parent, uint32_t partial) {
    uint32_t hash = (at * 2654435761u ^ parent * 2246822519u ^ partial * 3266489917u) >> 7;
    uint32_t *head = &m->place_heads[hash % PLACES_MAX];
    for (uint32_t i = *head; i; i = m->pool.places[i].next) {
        const struct place *p = &m->pool.places[i];
        if (p->at == at && p->parent == parent && p->partial == partial)
            return i;
    }
    if (m->pool.n_places == PLACES_MAX) {
        m->is_full = true;
        return 0;
    }
    uint32_t place = (uint32_t)m->pool.n_places++;
    m->pool.places[place] = (struct place){at, parent, partial, *head};
    m->marks[place] = 0;
    *head = place;
    return place;
}

static void reach(struct matcher *m, uint32_t place) {
    if (m->is_full || m->marks[place] == m->epoch)
        return;
    m->marks[place] = m->epoch;
    m->todo[m->n_todo++] = place;
}

static void reach_new(struct matcher *m, uint32_t at, uint32_t parent, uint32_t partial) {
    uint32_t place = intern_place(m, at, parent, partial);
    if (!m->is_full)
        reach(m, place);
}

// From the places reached on to those that wait for a byte.
static void follow(struct matcher *m) {
    const struct llm_grammar *g = m->g;
    for (size_t i = 0; i < m->n_todo && !m->is_full; i++) {
        m->n_work++;
        uint32_t id = m->todo[i];
        struct place p = m->pool.places[id];
        struct element e = g->elements[p.at];
        if (id == 0 || e.type == ELEMENT_CHAR || e.type == ELEMENT_SET) {
            m->found[m->n_found++] = id;
        } else if (e.type == ELEMENT_END) {
            struct place back = m->pool.places[p.parent];
            if (p.parent == 0)
                reach(m, 0);
            else
                reach_new(m, back.at, back.parent, 0);
        } else {
            // The last of an alternative returns where the alternative does: lists do not grow the stack.
            bool is_last = g->elements[p.at + 1].type == ELEMENT_END;
            uint32_t parent = is_last ? p.parent : intern_place(m, p.at + 1, p.parent, 0);
            for (int32_t a = g->rules[e.value].first; a != GRAMMAR_NONE && !m->is_full;
                 a = g->alternatives[a].next)
                reach_new(m, g->alternatives[a].start, parent, 0);
        }
    }
}

// ---- states ----

static uint32_t intern_state(struct matcher *m) {
    struct pool *pool = &m->pool;
    uint32_t hash = 0;
    for (size_t i = 0; i < m->n_found; i++)
        hash = hash * 31 + m->found[i] * 2654435761u;
    uint32_t *head = &m->state_heads[(hash >> 5) % STATES_MAX];
    if (m->n_found == 0)
        return DEAD;
    for (uint32_t i = *head; i; i = pool->states[i].next) {
        const struct state *s = &pool->states[i];
        if (s->n == m->n_found && memcmp(pool->members + s->first, m->found, s->n * sizeof *m->found) == 0)
            return i;
    }
    if (pool->n_states == STATES_MAX || pool->n_members + m->n_found > MEMBERS_MAX) {
        m->is_full = true;
        return DEAD;
    }
    uint32_t state = (uint32_t)pool->n_states++;
    pool->states[state] = (struct state){(uint32_t)pool->n_members, (uint32_t)m->n_found, *head};
    memcpy(pool->members + pool->n_members, m->found, m->n_found * sizeof *m->found);
    pool->n_members += m->n_found;
    *head = state;
    memset(m->steps + 256 * (size_t)state, 0xff, 256 * sizeof *m->steps);
    return state;
}

static void begin_step(struct matcher *m) {
    if (++m->epoch == 0) {
        memset(m->marks, 0, PLACES_MAX * sizeof *m->marks);
        m->epoch = 1;
    }
    m->n_todo = m->n_found = 0;
}

// Holds one byte against a place that waits for one.
static void step_place(struct matcher *m, struct place p, unsigned char byte) {
    uint32_t value = byte, left = 0, len = 1;
    if (p.partial) {
        if ((byte & 0xc0) != 0x80)
            return;
        value = (p.partial & 0x1fffff) << 6 | (byte & 0x3f);
        left = (p.partial >> 21 & 7) - 1;
        len = p.partial >> 24;
    } else if (byte >= 0x80) {
        len = (uint32_t)utf8_length(byte);
        if (len < 2)
            return;
        value = byte & (0x7fu >> len);
        left = len - 1;
    }
    bool all = len == ANY;
    if (!all) {
        // All code points that may still come of it; the shortest form only.
        static const uint32_t lowest[] = {0, 0, 0x80, 0x800, 0x10000};
        uint32_t from = value << 6 * left, hi = from | ((1u << 6 * left) - 1);
        uint32_t lo = from < lowest[len] ? lowest[len] : from;
        struct element e = m->g->elements[p.at];
        bool fits = lo <= hi && (e.type == ELEMENT_CHAR ? e.value >= lo && e.value <= hi
                                                        : grammar_set_meets(m->g, e.value, lo, hi, &all));
        if (!fits)
            return;
        all = all && lo == from;
    }
    if (left == 0)
        reach_new(m, p.at + 1, p.parent, 0);
    else // what has been read no longer matters where all of it is wanted: such places are the same
        reach_new(m, p.at, p.parent, all ? left << 21 | ANY << 24 : value | left << 21 | len << 24);
}

static uint32_t make_step(struct matcher *m, uint32_t state, unsigned char byte) {
    struct state s = m->pool.states[state];
    begin_step(m);
    for (size_t i = 0; i < s.n && !m->is_full; i++) {
        m->n_work++;
        uint32_t place = m->pool.members[s.first + i];
        if (place != 0)
            step_place(m, m->pool.places[place], byte);
    }
    follow(m);
    uint32_t next = m->is_full ? DEAD : intern_state(m);
    if (!m->is_full)
        m->steps[256 * (size_t)state + byte] = (uint16_t)next;
    return next;
}

// ---- when the room is full ----

static void pool_reset(struct matcher *m) {
    struct pool full = m->pool;
    m->pool = m->spare;
    m->spare = full;
    m->pool.n_places = 1; // the end of the text
    m->pool.places[0] = (struct place){0};
    m->pool.n_states = 1; // the dead one
    m->pool.states[0] = (struct state){0};
    m->pool.n_members = 0;
    memset(m->place_heads, 0, PLACES_MAX * sizeof *m->place_heads);
    memset(m->state_heads, 0, STATES_MAX * sizeof *m->state_heads);
    memset(m->marks, 0, PLACES_MAX * sizeof *m->marks);
    memset(m->steps, 0, 256 * sizeof *m->steps); // all steps of the dead state
    m->epoch = 0;
    m->is_full = false;
    for (size_t i = 0; i < MASKS_MAX; i++)
        m->masks[i].state = DEAD;
}

static uint32_t move_place(struct matcher *m, uint32_t old) {
    size_t n = 0; // its stack down to what has been moved
    for (; old != 0 && m->moved[old] == 0; old = m->spare.places[old].parent)
        m->todo[n++] = old;
    uint32_t moved = old ? m->moved[old] : 0;
    while (n > 0) {
        const struct place *p = &m->spare.places[m->todo[--n]];
        moved = m->moved[m->todo[n]] = intern_place(m, p->at, moved, p->partial);
    }
    return moved;
}

// Keeps stack[0 .. n), renamed.
static void forget_others(struct matcher *m, size_t n) {
    pool_reset(m);
    m->n_forgotten++;
    m->n_work += PLACES_MAX; // what all that clearing takes
    memset(m->moved, 0, PLACES_MAX * sizeof *m->moved);
    for (size_t i = 0; i < n && !m->is_full; i++) {
        struct state s = m->spare.states[m->stack[i]];
        m->n_found = 0;
        for (size_t k = 0; k < s.n; k++)
            m->found[m->n_found++] = move_place(m, m->spare.members[s.first + k]);
        m->stack[i] = intern_state(m);
    }
}

// stack[depth + 1] = where the byte leads from stack[depth].
static bool step(struct matcher *m, size_t depth, unsigned char byte, struct err *err) {
    uint16_t known = m->steps[256 * (size_t)m->stack[depth] + byte];
    if (known != UNKNOWN) {
        m->stack[depth + 1] = known;
        return true;
    }
    if (m->n_work > WORK_MAX)
        return err_set(err, ERR_INVALID_VALUE,
                       "grammar: more than %d places looked at for one token, too ambiguous to follow",
                       WORK_MAX);
    m->stack[depth + 1] = make_step(m, m->stack[depth], byte);
    if (!m->is_full)
        return true;
    forget_others(m, depth + 1);
    if (!m->is_full)
        m->stack[depth + 1] = make_step(m, m->stack[depth], byte);
    return !m->is_full ||
           err_set(err, ERR_INVALID_VALUE,
                   "grammar: more than %d places at once, too deep or too ambiguous to follow", PLACES_MAX);
}

// ---- the matcher ----

static bool pool_create(struct pool *p, struct err *err) {
    return (p->places = try_malloc_array(PLACES_MAX, sizeof *p->places, "grammar: places", err)) &&
           (p->states = try_malloc_array(STATES_MAX, sizeof *p->states, "grammar: states", err)) &&
           (p->members = try_malloc_array(MEMBERS_MAX, sizeof *p->members, "grammar: members", err));
}

static void pool_destroy(struct pool *p) {
    free(p->places);
    free(p->states);
    free(p->members);
}

// 2 MB, of which a grammar touches little: nothing of it is cleared.
static bool take_memory(struct matcher *m, struct err *err) {
    uint32_t **const of_places[] = {&m->place_heads, &m->marks, &m->todo, &m->found, &m->moved};
    for (size_t i = 0; i < sizeof of_places / sizeof *of_places; i++)
        if (!(*of_places[i] = try_malloc_array(PLACES_MAX, sizeof **of_places[i], "grammar: places", err)))
            return false;
    return (m->state_heads = try_malloc_array(STATES_MAX, sizeof *m->state_heads, "grammar: states", err)) &&
           (m->steps = try_malloc_array(STATES_MAX * 256, sizeof *m->steps, "grammar: steps", err)) &&
           pool_create(&m->pool, err) && pool_create(&m->spare, err);
}

struct matcher *matcher_create(const struct llm_grammar *g, const struct tokenizer *t,
                               const struct token_order *o, bool drops_space, struct err *err) {
    struct matcher *m = xcalloc(1, sizeof *m);
    m->g = g;
    m->tokenizer = t;
    m->order = o;
    m->drops_space = drops_space;
    if (!take_memory(m, err))
        goto fail;
    m->n_stack = 3 + (t ? tokenizer_longest_piece(t) : 0);
    m->stack = xcalloc(m->n_stack, sizeof *m->stack);
    m->n_words = t ? (tokenizer_n_vocab(t) + 63) / 64 : 0;
    for (size_t i = 0; i < MASKS_MAX; i++)
        m->masks[i].bits = xcalloc(m->n_words, sizeof *m->masks[i].bits);
    pool_reset(m);
    begin_step(m);
    for (int32_t a = g->rules[g->root].first; a != GRAMMAR_NONE; a = g->alternatives[a].next)
        reach_new(m, g->alternatives[a].start, 0, 0);
    follow(m);
    m->stack[0] = m->is_full ? DEAD : intern_state(m);
    if (!m->is_full)
        return m;
    err_set(err, ERR_INVALID_VALUE, "grammar: more than %d places at its beginning", PLACES_MAX);
fail:
    matcher_destroy(m);
    return NULL;
}

void matcher_destroy(struct matcher *m) {
    if (!m)
        return;
    pool_destroy(&m->pool);
    pool_destroy(&m->spare);
    free(m->steps);
    free(m->place_heads);
    free(m->state_heads);
    free(m->marks);
    free(m->todo);
    free(m->found);
    free(m->moved);
    free(m->stack);
    for (size_t i = 0; i < MASKS_MAX; i++)
        free(m->masks[i].bits);
    free(m);
}

// stack[1] = where the bytes lead, DEAD where they do not fit.
static bool look(struct matcher *m, const char *bytes, size_t n, struct err *err) {
    m->stack[1] = m->stack[0];
    for (size_t i = 0; i < n && m->stack[1] != DEAD; i++) {
        if (!step(m, 1, (unsigned char)bytes[i], err))
            return false;
        m->stack[1] = m->stack[2];
    }
    return true;
}

bool matcher_accept(struct matcher *m, const char *bytes, size_t n, bool *fits, struct err *err) {
    m->n_work = 0;
    if (!look(m, bytes, n, err))
        return false;
    *fits = m->stack[1] != DEAD;
    if (*fits)
        m->stack[0] = m->stack[1];
    return true;
}

bool matcher_may_end(const struct matcher *m) {
    const struct state *s = &m->pool.states[m->stack[0]];
    for (size_t i = 0; i < s->n; i++)
        if (m->pool.members[s->first + i] == 0)
            return true;
    return false;
}

// ---- tokens ----

bool matcher_accept_token(struct matcher *m, int32_t id, bool *fits, struct err *err) {
    if (tokenizer_is_end(m->tokenizer, id)) {
        *fits = matcher_may_end(m);
        return true;
    }
    size_t len;
    const char *bytes = token_order_text(m->tokenizer, id, m->drops_space, &len);
    *fits = false;
    if (bytes && !matcher_accept(m, bytes, len, fits, err))
        return false;
    if (*fits)
        m->drops_space = false;
    return true;
}

// ---- masks ----

static void set_bit(uint64_t *mask, int32_t id) {
    mask[id / 64] |= (uint64_t)1 << id % 64;
}

// The first bytes of wide characters of each length lead through the same states back to where they began.
static bool wide_loops(struct matcher *m, bool *loops, struct err *err) {
    static const unsigned char firsts[][2] = {{0xc2, 0xdf}, {0xe1, 0xef}, {0xf1, 0xf3}};
    uint32_t behind = m->stack[0]; // where the state is with one byte less to come
    size_t n_forgotten = m->n_forgotten;
    *loops = true;
    for (size_t i = 0; *loops && i < 3; i++) {
        uint32_t state = DEAD;
        for (unsigned byte = firsts[i][0]; *loops && byte <= firsts[i][1]; byte++) {
            if (token_order_byte_kind((unsigned char)byte) != KIND_WIDE)
                continue;
            if (!step(m, 0, (unsigned char)byte, err))
                return false;
            state = state == DEAD ? m->stack[1] : state;
            *loops = state == m->stack[1] && state != DEAD;
        }
        for (unsigned byte = 0x80; *loops && byte < 0xc0; byte++) {
            if (!step(m, 1, (unsigned char)byte, err))
                return false;
            *loops = m->stack[2] == behind;
        }
        *loops = *loops && m->n_forgotten == n_forgotten; // the states have other numbers now
        behind = state;
    }
    return true;
}

// The kinds of characters of which any number may come and change nothing: a string's contents.
static bool find_loops(struct matcher *m, unsigned *kinds, struct err *err) {
    unsigned broken = 1u << KIND_ODD;
    for (unsigned byte = 0; byte < 0x80; byte++) {
        enum char_kind kind = token_order_byte_kind((unsigned char)byte);
        if (broken >> kind & 1)
            continue;
        if (!step(m, 0, (unsigned char)byte, err))
            return false;
        broken |= m->stack[1] == m->stack[0] ? 0 : 1u << kind;
    }
    bool loops = false;
    if (broken != (1u << N_KINDS) - 1 - (1u << KIND_WIDE) && !wide_loops(m, &loops, err))
        return false;
    broken |= loops ? 0 : 1u << KIND_WIDE;
    *kinds = ~broken & 0xff;
    return true;
}

// Tokens first .. last - 1, in the order of their bytes; stack[d] is the state behind d bytes of the one looked at
// before. Those that consist of what changes nothing fit and need no look.
static bool walk_range(struct matcher *m, size_t first, size_t last, unsigned loops, uint64_t *mask,
                       struct err *err) {
    const struct token_order *o = m->order;
    size_t alive = 0, common = 0; // bytes of that one that fit; bytes shared with it
    for (size_t i = first; i < last; i++) {
        common = o->common[i] < common ? o->common[i] : common;
        if ((o->kinds[i] & ~loops) == 0) {
            set_bit(mask, o->ids[i]);
            continue;
        }
        if (common > alive)
            continue;
        const char *bytes = o->bytes + o->starts[i];
        size_t len = o->starts[i + 1] - o->starts[i];
        for (alive = common; alive < len; alive++) {
            if (!step(m, alive, (unsigned char)bytes[alive], err))
                return false;
            if (m->stack[alive + 1] == DEAD)
                break;
        }
        if (alive == len)
            set_bit(mask, o->ids[i]);
        common = SIZE_MAX;
    }
    return true;
}

static bool walk(struct matcher *m, uint64_t *mask, struct err *err) {
    const struct token_order *o = m->order;
    unsigned loops;
    if (!find_loops(m, &loops, err))
        return false;
    for (size_t byte = 0; byte < 256; byte++) {
        if (o->firsts[byte] == o->firsts[byte + 1])
            continue;
        if (!step(m, 0, (unsigned char)byte, err))
            return false;
        if (m->stack[1] != DEAD && !walk_range(m, o->firsts[byte], o->firsts[byte + 1], loops, mask, err))
            return false;
    }
    return true;
}

// Of the first token: each on its own, since some lose their space.
static bool walk_first(struct matcher *m, uint64_t *mask, struct err *err) {
    const struct token_order *o = m->order;
    for (size_t i = 0; i < o->n; i++) {
        size_t len;
        const char *bytes = token_order_text(m->tokenizer, o->ids[i], true, &len);
        if (!bytes)
            continue;
        if (!look(m, bytes, len, err))
            return false;
        if (m->stack[1] != DEAD)
            set_bit(mask, o->ids[i]);
    }
    return true;
}

bool matcher_mask(struct matcher *m, const uint64_t **mask, struct err *err) {
    m->n_work = 0;
    for (size_t i = 0; i < MASKS_MAX && !m->drops_space; i++)
        if (m->masks[i].state == m->stack[0]) {
            *mask = m->masks[i].bits;
            return true;
        }
    struct kept_mask *kept = &m->masks[m->next_mask++ % MASKS_MAX];
    kept->state = DEAD;
    memset(kept->bits, 0, m->n_words * sizeof *kept->bits);
    if (!(m->drops_space ? walk_first(m, kept->bits, err) : walk(m, kept->bits, err)))
        return false;
    for (size_t i = 0; i < m->order->n_ends && matcher_may_end(m); i++)
        set_bit(kept->bits, m->order->ends[i]);
    if (!m->drops_space)
        kept->state = m->stack[0];
    *mask = kept->bits;
    return true;
}
