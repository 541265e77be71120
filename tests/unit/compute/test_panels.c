// Memory that the panels of several weights share.
#include "check.h"
#include "compute/cpu_panels.h"

#include <string.h>

static bool all_are(const uint8_t *p, size_t n, uint8_t value) {
    for (size_t i = 0; i < n; i++)
        if (p[i] != value)
            return false;
    return true;
}

static void test_sharing(void) {
    enum { N = 5 };
    static const size_t sizes[N] = {1, 100, 3 << 20, 65 << 20,
                                    64}; // the fourth needs more than a common arena
    struct panel_arena *newest = NULL, *arenas[N];
    uint8_t *pieces[N];
    for (size_t i = 0; i < N; i++) {
        pieces[i] = panels_take(&newest, sizes[i]);
        arenas[i] = newest;
        CHECK(pieces[i] && (uintptr_t)pieces[i] % 64 == 0);
        CHECK(all_are(pieces[i], sizes[i], 0));
        memset(pieces[i], (int)i + 1, sizes[i]);
    }
    CHECK(arenas[0] == arenas[1] && arenas[1] == arenas[2] && arenas[2] != arenas[3]);
    for (size_t i = 0; i < N; i++) { // in any order, and after the backend has gone
        size_t k = (i * 2 + 3) % N;
        CHECK(all_are(pieces[k], sizes[k], (uint8_t)(k + 1)));
        panels_give(arenas[k]);
        if (i == 1)
            panels_give(newest);
    }
}

static void test_no_memory(void) {
    struct panel_arena *newest = NULL;
    uint8_t *piece = panels_take(&newest, 1);
    struct panel_arena *arena = newest;
    CHECK(!panels_take(&newest, SIZE_MAX) && !panels_take(&newest, SIZE_MAX / 4));
    CHECK(newest == arena && *piece == 0);
    panels_give(arena);
    panels_give(newest);
    panels_give(NULL);
}

int main(void) {
    test_sharing();
    test_no_memory();
    return check_result();
}
