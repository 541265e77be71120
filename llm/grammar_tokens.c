// Takes a vocabulary, gives what a matcher walks it by: the text tokens in the order of their bytes, so that each
// common prefix is looked at once, and which kinds of characters each consists of.
#include "base/mem.h"
#include "base/utf8.h"
#include "llm/grammar.h"

#include <pthread.h>
#include <stdlib.h>

struct piece {
    const char *bytes;
    size_t len;
    int32_t id;
};

static int compare_pieces(const void *a, const void *b) {
    const struct piece *x = a, *y = b;
    int order = memcmp(x->bytes, y->bytes, x->len < y->len ? x->len : y->len);
    return order ? order : x->len < y->len ? -1 : x->len > y->len ? 1 : 0;
}

const char *token_order_text(const struct tokenizer *t, int32_t id, bool drops_space, size_t *len) {
    enum token_type type;
    const char *bytes = tokenizer_piece(t, id, len, &type);
    if (*len > 0 && drops_space && type == TOKEN_NORMAL && bytes[0] == ' ') {
        bytes++;
        --*len;
    }
    bool is_text = type == TOKEN_NORMAL || type == TOKEN_BYTE || type == TOKEN_USER_DEFINED;
    return is_text && *len > 0 && !tokenizer_is_end(t, id) ? bytes : NULL;
}

// E0, ED, F0 and F4 are odd: not every second byte goes with them. So are bytes that begin nothing.
enum char_kind token_order_byte_kind(unsigned char byte) {
    if (byte >= 0x80) {
        bool is_wide = utf8_length(byte) >= 2 && byte != 0xe0 && byte != 0xed && byte != 0xf0 && byte != 0xf4;
        return is_wide ? KIND_WIDE : KIND_ODD;
    }
    return byte < 0x20 || byte == 0x7f                                    ? KIND_CONTROL
           : byte == ' '                                                  ? KIND_SPACE
           : byte == '"' || byte == '\\'                                  ? KIND_QUOTE
           : byte >= 'a' && byte <= 'z'                                   ? KIND_LOWER
           : (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ? KIND_UPPER
                                                                          : KIND_SIGN;
}

static uint8_t kinds_of(const char *bytes, size_t len) {
    unsigned kinds = 0;
    for (size_t i = 0; i < len;) {
        uint32_t code_point;
        size_t n = utf8_decode(bytes + i, len - i, &code_point);
        kinds |= 1u << (n > 0 ? token_order_byte_kind((unsigned char)bytes[i]) : KIND_ODD);
        i += n > 0 ? n : 1;
    }
    return (uint8_t)kinds;
}

struct token_order *token_order_create(const struct tokenizer *t) {
    struct token_order *o = xcalloc(1, sizeof *o);
    size_t n_vocab = tokenizer_n_vocab(t), n_bytes = 0;
    struct piece *pieces = xcalloc(n_vocab, sizeof *pieces);
    o->ends = xcalloc(n_vocab, sizeof *o->ends);
    for (int32_t id = 0; (size_t)id < n_vocab; id++) {
        size_t len;
        const char *bytes = token_order_text(t, id, false, &len);
        if (tokenizer_is_end(t, id))
            o->ends[o->n_ends++] = id;
        if (!bytes)
            continue;
        pieces[o->n++] = (struct piece){bytes, len, id};
        n_bytes += len;
    }
    qsort(pieces, o->n, sizeof *pieces, compare_pieces);
    o->ids = xcalloc(o->n, sizeof *o->ids);
    o->starts = xcalloc(o->n + 1, sizeof *o->starts);
    o->common = xcalloc(o->n, sizeof *o->common);
    o->kinds = xcalloc(o->n, sizeof *o->kinds);
    o->bytes = xcalloc(n_bytes + 1, 1);
    for (size_t i = 0; i < o->n; i++) {
        const struct piece *p = &pieces[i], *before = i > 0 ? p - 1 : NULL;
        size_t n = 0;
        while (before && n < p->len && n < before->len && n < UINT16_MAX && p->bytes[n] == before->bytes[n])
            n++;
        o->common[i] = (uint16_t)n;
        o->kinds[i] = kinds_of(p->bytes, p->len);
        o->firsts[(unsigned char)p->bytes[0] + 1] = (uint32_t)i + 1;
        o->ids[i] = p->id;
        memcpy(o->bytes + o->starts[i], p->bytes, p->len);
        o->starts[i + 1] = o->starts[i] + (uint32_t)p->len;
    }
    for (size_t byte = 0; byte < 256; byte++) // where no token begins with it, it begins where it ends
        if (o->firsts[byte + 1] < o->firsts[byte])
            o->firsts[byte + 1] = o->firsts[byte];
    free(pieces);
    return o;
}

void token_order_destroy(struct token_order *o) {
    if (!o)
        return;
    free(o->ids);
    free(o->starts);
    free(o->common);
    free(o->kinds);
    free(o->bytes);
    free(o->ends);
    free(o);
}

// ---- shared ----

struct shared_order {
    pthread_mutex_t lock;
    struct token_order *order; // {lock}
};

struct shared_order *shared_order_create(void) {
    struct shared_order *s = xcalloc(1, sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    return s;
}

void shared_order_destroy(struct shared_order *s) {
    if (!s)
        return;
    pthread_mutex_destroy(&s->lock);
    token_order_destroy(s->order);
    free(s);
}

const struct token_order *shared_order_get(struct shared_order *s, const struct tokenizer *t) {
    pthread_mutex_lock(&s->lock);
    if (!s->order)
        s->order = token_order_create(t);
    const struct token_order *order = s->order;
    pthread_mutex_unlock(&s->lock);
    return order;
}
