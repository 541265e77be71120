// What the unit tests share. A test program is a main() of checks; it exits with check_result().
#ifndef TESTS_CHECK_H
#define TESTS_CHECK_H

#include "base/err.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Whether a sanitizer is built in.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif
#else
enum { SANITIZED = 0 };
#endif

enum { CHECK_SKIPPED = 77 }; // exit code: what the test needs is not here, and it said so

static int check_failed;

#define CHECK(cond)                                                                                          \
    do {                                                                                                     \
        if (!(cond)) {                                                                                       \
            printf("%s:%d: failed: %s\n", __FILE__, __LINE__, #cond);                                        \
            check_failed++;                                                                                  \
        }                                                                                                    \
    } while (0)

#define CHECK_STR(got, want)                                                                                 \
    do {                                                                                                     \
        const char *got_ = (got), *want_ = (want);                                                           \
        if (!got_ || strcmp(got_, want_) != 0) {                                                             \
            printf("%s:%d: %s is \"%s\", want \"%s\"\n", __FILE__, __LINE__, #got, got_ ? got_ : "(null)",   \
                   want_);                                                                                   \
            check_failed++;                                                                                  \
        }                                                                                                    \
    } while (0)

#define CHECK_NEAR(got, want, tolerance)                                                                     \
    do {                                                                                                     \
        double got_ = (got), want_ = (want);                                                                 \
        if (!(fabs(got_ - want_) <= (tolerance))) {                                                          \
            printf("%s:%d: %s is %g, want %g within %g\n", __FILE__, __LINE__, #got, got_, want_,            \
                   (double)(tolerance));                                                                     \
            check_failed++;                                                                                  \
        }                                                                                                    \
    } while (0)

// The error must have this code and a message that contains `part`.
#define CHECK_ERR(error, want_code, part)                                                                    \
    do {                                                                                                     \
        const struct err *err_ = (error);                                                                    \
        if (err_->code != (want_code) || !strstr(err_->msg, (part))) {                                       \
            printf("%s:%d: error %d \"%s\", want %s with \"%s\"\n", __FILE__, __LINE__, (int)err_->code,     \
                   err_->msg, #want_code, part);                                                             \
            check_failed++;                                                                                  \
        }                                                                                                    \
    } while (0)

// NMSE = sum((a - b)^2) / sum(b^2), b the reference.
static inline double check_nmse(const float *a, const float *b, size_t n) {
    double diff = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        diff += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        norm += (double)b[i] * b[i];
    }
    return norm > 0 ? diff / norm : diff;
}

// A whole file as new memory; exits where it cannot be read.
static inline void *check_read_file(const char *path, size_t *size_bytes) {
    FILE *f = fopen(path, "rb");
    if (!f) {
        printf("cannot open %s\n", path);
        exit(1);
    }
    fseek(f, 0, SEEK_END);
    long size = ftell(f);
    fseek(f, 0, SEEK_SET);
    char *data = malloc((size_t)size + 1);
    if (!data || fread(data, 1, (size_t)size, f) != (size_t)size) {
        printf("cannot read %s\n", path);
        exit(1);
    }
    fclose(f);
    data[size] = 0;
    *size_bytes = (size_t)size;
    return data;
}

// The folder with the golden text case tiny-NAME: in the tree, or beside the repository, where further types of
// weights lie. NULL, with a word, where it is in neither.
static inline const char *check_text_cases(const char *name) {
    static const char *const folders[] = {"tests/golden/text", "../shared/golden/text"};
    char path[256];
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/tiny-%s/case.json", folders[i], name);
        if (access(path, R_OK) == 0)
            return folders[i];
    }
    printf("tiny-%s: not here, left out\n", name);
    return NULL;
}

static inline int check_result(void) {
    if (check_failed)
        printf("%d checks failed\n", check_failed);
    return check_failed ? 1 : 0;
}

#endif
