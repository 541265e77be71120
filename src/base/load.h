// How model files come into memory; every layer that opens one hands these through.
#ifndef BASE_LOAD_H
#define BASE_LOAD_H

#include <stdbool.h>
#include <stddef.h>

struct load_options {
    bool no_mmap; // read the file into memory instead of mapping it
    bool mlock;   // keep what is used of it in memory; where that is not allowed, a warning
    // Called now and then while a file is read, from the thread that opens it; NULL: nobody asks.
    void (*progress)(void *ctx, const char *path, size_t done_bytes, size_t total_bytes);
    void *ctx;
};

#endif
