// Monotonic time: every timer and duration in the program uses it, never the wall clock.
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t clock_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static inline double clock_ms(void) {
    return (double)clock_us() / 1000.0;
}

#endif
