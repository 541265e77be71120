// What the fuzz targets share. A target is one function of libFuzzer; clang's driver feeds it mutated inputs
// (preset fuzz), tests/fuzz/replay.c the committed ones (every other preset).
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FUZZ_MIB = 1 << 20 };

// What one allocation may take for an input of so many bytes.
static inline size_t fuzz_largest(size_t size) {
    return FUZZ_MIB + 16 * size;
}

// What untrusted input may cost. Between fuzz_begin and fuzz_end the program stops with a word where one
// allocation is larger than largest_bytes, where all that live together take more than total_bytes, or where the
// CPU time is over (a second; more in a slowed-down build). Calls of the program's own objects count, what a
// library allocates within itself does not.
void fuzz_begin(size_t largest_bytes, size_t total_bytes);
void fuzz_end(void);
size_t fuzz_bytes_live(void); // of all allocations since fuzz_begin

// Where file maps come from: files mapped under the guard are copies on the heap, so that a sanitizer sees a
// byte read past their end. Part `part` (below FUZZ_PARTS) of n of an input as a file; the path is borrowed.
// Part 0 of 1 has a name of its own, the others are NAME-00001-of-0000N.gguf.
enum { FUZZ_PARTS = 3 };
const char *fuzz_file(size_t part, size_t n_parts, const void *data, size_t size);

// A line that may be part of an input: splits data in two at the first one, which belongs to neither; the
// second is empty without one. Returns the length of the first.
size_t fuzz_split(const uint8_t *data, size_t size, const char *line, const uint8_t **rest,
                  size_t *rest_size);

// What must hold for any input.
#define FUZZ_CHECK(cond)                                                                                     \
    do {                                                                                                     \
        if (!(cond)) {                                                                                       \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #cond);                               \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

#endif
