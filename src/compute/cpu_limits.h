// What one core can do at most, written over the vector types of the including file: loops on registers alone,
// and one that only reads. The empty asm keeps the compiler from taking a loop's work out of it.
#ifndef COMPUTE_CPU_LIMITS_H
#define COMPUTE_CPU_LIMITS_H

#include "compute/cpu_kernels.h"

enum { LIMIT_SUMS = 10 }; // independent sums: more than latency times issue rate, fewer than 16 registers

static size_t limit_int8(size_t n_steps) {
    vi sums[LIMIT_SUMS], w = vi_set1_8(3), x = vi_set1_8(-5);
    for (int i = 0; i < LIMIT_SUMS; i++)
        sums[i] = vi_zero();
    for (size_t step = 0; step < n_steps; step++)
        for (int i = 0; i < LIMIT_SUMS; i++) {
            __asm__ volatile("" : "+x"(w));
            sums[i] = vi_step(sums[i], w, x, 15);
        }
    for (int i = 0; i < LIMIT_SUMS; i++)
        __asm__ volatile("" : "+x"(sums[i]));
    return n_steps * LIMIT_SUMS * VI_BYTES;
}

static size_t limit_f32(size_t n_steps) {
    vf sums[LIMIT_SUMS], a = vf_set1(0.5f), b = vf_set1(1);
    for (int i = 0; i < LIMIT_SUMS; i++)
        sums[i] = vf_set1(0);
    for (size_t step = 0; step < n_steps; step++)
        for (int i = 0; i < LIMIT_SUMS; i++) {
            __asm__ volatile("" : "+x"(a));
            sums[i] = vf_fma(sums[i], a, b);
        }
    for (int i = 0; i < LIMIT_SUMS; i++)
        __asm__ volatile("" : "+x"(sums[i]));
    return n_steps * LIMIT_SUMS * VF_N;
}

static void limit_read(const void *p, size_t size_bytes) {
    enum { STREAM = 8 };
    const char *bytes = p;
    vi sums[STREAM];
    for (int i = 0; i < STREAM; i++)
        sums[i] = vi_zero();
    for (size_t at = 0; at < size_bytes; at += STREAM * VI_BYTES)
        for (int i = 0; i < STREAM; i++)
            sums[i] = vi_xor(sums[i], vi_load(bytes + at + (size_t)i * VI_BYTES));
    for (int i = 0; i < STREAM; i++)
        __asm__ volatile("" : "+x"(sums[i]));
}

static void limit_kernels(struct cpu_kernels *k) {
    k->limit_int8 = limit_int8;
    k->limit_f32 = limit_f32;
    k->limit_read = limit_read;
}

#endif
