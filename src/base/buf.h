// A growing run of bytes with a hard limit.
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/err.h"

#include <stddef.h>

struct buf {
    char *data;
    size_t len, cap;
    size_t limit; // most bytes it may hold; 0 = no limit
};

void buf_init(struct buf *b, size_t limit);
void buf_clear(struct buf *b); // frees; the buf may be used again

// Appends n bytes and keeps a NUL behind them (not counted in len). False with ERR_MESSAGE_TOO_BIG
// past the limit, ERR_NOMEM without memory; the contents stay as they were.
bool buf_append(struct buf *b, const void *data, size_t n, struct err *err);
bool buf_append_str(struct buf *b, const char *s, struct err *err);

// Makes room for n more bytes; the caller writes them at data + len and adds to len.
bool buf_reserve(struct buf *b, size_t n, struct err *err);

// Gives the bytes away: returns new memory (NULL when empty) and leaves the buf empty.
char *buf_take(struct buf *b, size_t *len);

#endif
