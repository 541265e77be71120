// Small arithmetic of sizes.
#ifndef BASE_SIZES_H
#define BASE_SIZES_H

#include <stddef.h>

static inline size_t size_min(size_t a, size_t b) {
    return a < b ? a : b;
}
static inline size_t size_max(size_t a, size_t b) {
    return a > b ? a : b;
}
// a / b, rounded up; b > 0.
static inline size_t div_up(size_t a, size_t b) {
    return a / b + (a % b != 0);
}

#endif
