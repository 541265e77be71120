// Memory: abort for what start-up needs, an error for what a client or a file sizes.
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include "base/err.h"

#include <stddef.h>
#include <string.h>

// Start-up and small fixed allocations: returns new zeroed memory or aborts. free() it.
void *xcalloc(size_t n, size_t size_bytes);
char *xstrdup(const char *s);

// Sized by a client or a file: returns new memory (not zeroed), or NULL with ERR_NOMEM naming `what`.
void *try_malloc(size_t size_bytes, const char *what, struct err *err);

// As try_malloc for n * size_bytes, also refusing a product that overflows.
void *try_malloc_array(size_t n, size_t size_bytes, const char *what, struct err *err);

// *out = a * b or a + b; false where it overflows.
static inline bool size_mul(size_t a, size_t b, size_t *out) {
    return !__builtin_mul_overflow(a, b, out);
}
static inline bool size_add(size_t a, size_t b, size_t *out) {
    return !__builtin_add_overflow(a, b, out);
}

// Marks the calling thread as inside code that must not allocate (the token loop). Nothing is checked in
// the program itself; tests link malloc wrapped by tests/mem_guard.c, which aborts inside a guard.
void mem_guard_begin(void);
void mem_guard_end(void);
bool mem_guard_active(void);

#endif
