#include "base/buf.h"
#include "base/mem.h"

#include <stdint.h>

#include <stdlib.h>

void buf_init(struct buf *b, size_t limit) {
    *b = (struct buf){.limit = limit};
}

void buf_clear(struct buf *b) {
    free(b->data);
    buf_init(b, b->limit);
}

bool buf_reserve(struct buf *b, size_t n, struct err *err) {
    size_t need;
    if (!size_add(b->len, n, &need) || need == SIZE_MAX)
        return err_set(err, ERR_NOMEM, "buffer: %zu + %zu bytes overflow", b->len, n);
    if (b->limit && need > b->limit)
        return err_set(err, ERR_MESSAGE_TOO_BIG, "%zu bytes, limit %zu", need, b->limit);
    if (need + 1 <= b->cap)
        return true;
    size_t cap = b->cap ? b->cap : 64;
    while (cap < need + 1)
        cap = cap > SIZE_MAX / 2 ? need + 1 : cap * 2;
    char *p = realloc(b->data, cap);
    if (!p)
        return err_set(err, ERR_NOMEM, "buffer: no memory for %zu bytes", cap);
    b->data = p;
    b->cap = cap;
    return true;
}

bool buf_append(struct buf *b, const void *data, size_t n, struct err *err) {
    if (!buf_reserve(b, n, err))
        return false;
    if (n)
        memcpy(b->data + b->len, data, n);
    b->len += n;
    b->data[b->len] = 0;
    return true;
}

bool buf_append_str(struct buf *b, const char *s, struct err *err) {
    return buf_append(b, s, strlen(s), err);
}

char *buf_take(struct buf *b, size_t *len) {
    char *data = b->data;
    *len = b->len;
    buf_init(b, b->limit);
    return data;
}
