// Stop strings: met inside a piece, across pieces, held back, let go.
#include "check.h"

#include "llm/llm.h"

#include <stdint.h>

static char shown[256];

// Feeds the text in pieces of `step` bytes; fills shown. *stopped tells whether a string was met.
static void feed(const char *const *strings, size_t n, const char *text, size_t step, bool *stopped) {
    struct llm_stops *s = llm_stops_create(strings, n);
    size_t len = strlen(text), n_shown = 0, n_out;
    const char *out;
    *stopped = false;
    for (size_t i = 0; i < len; i += step) {
        out = llm_stops_put(s, text + i, len - i < step ? len - i : step, &n_out, stopped);
        memcpy(shown + n_shown, out, n_out);
        n_shown += n_out;
    }
    out = llm_stops_flush(s, &n_out);
    memcpy(shown + n_shown, out, n_out);
    n_shown += n_out;
    shown[n_shown] = 0;
    llm_stops_destroy(s);
}

// Whatever way the text is cut, the result is the same.
static void check_all_cuts(const char *const *strings, size_t n, const char *text, const char *want,
                           bool want_stopped) {
    for (size_t step = 1; step <= strlen(text) + 1; step++) {
        bool stopped;
        feed(strings, n, text, step, &stopped);
        CHECK(stopped == want_stopped);
        CHECK_STR(shown, want);
    }
}

#define STRINGS(...)                                                                                         \
    ((const char *const[]){__VA_ARGS__}), sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)

static void check_held_back(void) {
    struct llm_stops *s = llm_stops_create(STRINGS("USER:", "\n\n"));
    size_t n;
    bool stopped;
    const char *out = llm_stops_put(s, "It is red. US", 13, &n, &stopped);
    CHECK(n == 11 && memcmp(out, "It is red. ", 11) == 0 && !stopped); // "US" may become "USER:"
    out = llm_stops_put(s, "", 0, &n, &stopped);
    CHECK(n == 0 && !stopped);
    out = llm_stops_put(s, "A is", 4, &n, &stopped);
    CHECK(n == 6 && memcmp(out, "USA is", 6) == 0);
    out = llm_stops_put(s, "\nU", 2, &n, &stopped);
    CHECK(n == 1 && *out == '\n');
    out = llm_stops_put(s, "SER: more", 9, &n, &stopped);
    CHECK(n == 0 && stopped);
    out = llm_stops_put(s, "again", 5, &n, &stopped);
    CHECK(n == 0 && stopped);
    llm_stops_flush(s, &n);
    CHECK(n == 0);
    llm_stops_destroy(s);

    // a character is held back until it is whole
    s = llm_stops_create(STRINGS("x"));
    llm_stops_put(s, "\xc3", 1, &n, &stopped);
    CHECK(n == 0);
    out = llm_stops_put(s, "\xa9", 1, &n, &stopped);
    CHECK(n == 2 && memcmp(out, "\xc3\xa9", 2) == 0);
    llm_stops_destroy(s);
}

int main(void) {
    check_all_cuts(STRINGS("STOP"), "one two STOP three", "one two ", true);
    check_all_cuts(STRINGS("STOP"), "one two STO", "one two STO", false);
    check_all_cuts(STRINGS("STOP"), "SSTSTOSTOP", "SSTSTO", true);
    check_all_cuts(STRINGS("aab"), "aaaab", "aa", true);
    check_all_cuts(STRINGS("abab", "ac"), "ababac", "", true);
    check_all_cuts(STRINGS("abac"), "ababac", "ab", true);
    check_all_cuts(STRINGS("three", "two"), "one two three", "one ", true); // the first in the text
    check_all_cuts(STRINGS("wo", "two"), "one two", "one ", true);          // that end together: the longest
    check_all_cuts(STRINGS("abcd", "bc"), "xabcd", "xa", true);             // the first that is complete
    check_all_cuts(STRINGS("\xc3\xa9"), "caf\xc3\xa8 caf\xc3\xa9!", "caf\xc3\xa8 caf", true);
    check_all_cuts(STRINGS("", "z"), "abc", "abc", false);
    check_all_cuts(NULL, 0, "abc", "abc", false);
    check_held_back();
    return check_result();
}
