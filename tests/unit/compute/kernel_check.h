// Shared by the tests of the CPU backend: random data, and the backend opened for each instruction set.
#ifndef TESTS_KERNEL_CHECK_H
#define TESTS_KERNEL_CHECK_H

#include "check.h"
#include "compute/ops.h"
#include "compute/quant.h"

static uint32_t random_state = 1;

static inline uint32_t random_u32(void) { // xorshift
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state;
}

// About normal, mean 0, deviation 1.
static inline float random_f32(void) {
    float sum = 0;
    for (int i = 0; i < 6; i++)
        sum += (float)(random_u32() >> 8) / (float)(1 << 24);
    return (sum - 3) * 1.41421356f;
}

static inline float *random_floats(size_t n) {
    float *p = malloc((n ? n : 1) * sizeof *p);
    for (size_t i = 0; i < n; i++)
        p[i] = random_f32();
    return p;
}

// NULL where this machine lacks the instruction set.
static inline struct ops *open_isa(const char *isa, size_t n_threads) {
    struct err err = {0};
    struct ops *o = cpu_open(&(struct cpu_options){.n_threads = n_threads, .isa = isa}, &err);
    if (!o)
        CHECK(err.code == ERR_INVALID_VALUE && strstr(err.msg, "not in this machine"));
    return o;
}

#endif
