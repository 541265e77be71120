#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

static _Thread_local int guard_depth;

void *xcalloc(size_t n, size_t size_bytes) {
    void *p = calloc(n ? n : 1, size_bytes ? size_bytes : 1);
    if (!p) {
        fprintf(stderr, "out of memory: %zu x %zu bytes\n", n, size_bytes);
        abort();
    }
    return p;
}

char *xstrdup(const char *s) {
    size_t size = strlen(s) + 1;
    return memcpy(xcalloc(1, size), s, size);
}

void *try_malloc(size_t size_bytes, const char *what, struct err *err) {
    void *p = malloc(size_bytes ? size_bytes : 1);
    if (!p)
        err_set(err, ERR_NOMEM, "%s: no memory for %zu bytes", what, size_bytes);
    return p;
}

void *try_malloc_array(size_t n, size_t size_bytes, const char *what, struct err *err) {
    size_t total;
    if (!size_mul(n, size_bytes, &total)) {
        err_set(err, ERR_NOMEM, "%s: %zu items of %zu bytes overflow", what, n, size_bytes);
        return NULL;
    }
    return try_malloc(total, what, err);
}

void mem_guard_begin(void) {
    guard_depth++;
}

void mem_guard_end(void) {
    guard_depth--;
}

bool mem_guard_active(void) {
    return guard_depth > 0;
}
