// Aborts where a thread allocates between mem_guard_begin and mem_guard_end. Linked with --wrap for each of
// these functions, so it sees the calls of the program's own objects.
#include "base/mem.h"

#include <stdlib.h>
#include <unistd.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
int __real_posix_memalign(void **p, size_t alignment, size_t size);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
int __wrap_posix_memalign(void **p, size_t alignment, size_t size);

static void refuse_inside_guard(void) {
    static const char message[] = "allocation inside mem_guard\n";
    if (!mem_guard_active())
        return;
    ssize_t written = write(STDERR_FILENO, message, sizeof message - 1);
    (void)written;
    abort();
}

void *__wrap_malloc(size_t size) {
    refuse_inside_guard();
    return __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size) {
    refuse_inside_guard();
    return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size) {
    refuse_inside_guard();
    return __real_realloc(p, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size) {
    refuse_inside_guard();
    return __real_aligned_alloc(alignment, size);
}

int __wrap_posix_memalign(void **p, size_t alignment, size_t size) {
    refuse_inside_guard();
    return __real_posix_memalign(p, alignment, size);
}
