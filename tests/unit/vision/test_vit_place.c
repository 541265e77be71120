// Buckets of positions: which row of its table a patch takes, where the rounding of torch's f32 arange moves it.
#include "check.h"

#include "vision/vit_place.h"

enum { SIDE_MAX = 70 };

// The row of a table of `side` lines that each of n lines takes.
static void find_buckets(size_t side, size_t n, size_t got[SIDE_MAX]) {
    static float table[SIDE_MAX * SIDE_MAX], out[SIDE_MAX];
    size_t order[SIDE_MAX];
    struct vision_model m = {
        .hp = {.family = vision_family_find((struct gguf_string){"idefics3", 8}, (struct gguf_string){"", 0}),
               .n_embd = 1,
               .table_side = side},
        .position_table = table};
    for (size_t i = 0; i < side * side; i++)
        table[i] = (float)(i / side); // each line holds its own number
    for (size_t i = 0; i < n; i++)
        order[i] = i; // a tile of one column
    vit_place_embed(&m, 1, n, order, out);
    for (size_t i = 0; i < n; i++)
        got[i] = (size_t)out[i];
}

// Lines that are not in the row that they are in by exact fractions.
static size_t count_slips(size_t side, size_t n) {
    size_t got[SIDE_MAX], n_slips = 0;
    find_buckets(side, n, got);
    for (size_t i = 0; i < n; i++) {
        n_slips += got[i] != i * side / n;
        CHECK(got[i] == i * side / n || got[i] + 1 == i * side / n);
    }
    return n_slips;
}

// SmolVLM and Idefics3: as many patches a side as the table has.
static void test_equal_sides(void) {
    static const size_t without[] = {4, 8, 26, 32};
    for (size_t i = 0; i < sizeof without / sizeof *without; i++)
        CHECK(count_slips(without[i], without[i]) == 0);
    size_t got[SIDE_MAX];
    find_buckets(27, 27, got);
    CHECK(count_slips(27, 27) == 1 && got[10] == 9);
}

// MiniCPM-V: 70 rows for tiles of any size.
static void test_70_rows(void) {
    for (size_t n = 1; n <= SIDE_MAX; n++) {
        bool slips = n == 25 || n == 49 || n == 50 || n == 55;
        size_t n_slips = count_slips(70, n);
        if ((n_slips > 0) != slips) {
            printf("%zu patches: %zu in another row\n", n, n_slips);
            check_failed++;
        }
    }
}

int main(void) {
    test_equal_sides();
    test_70_rows();
    return check_result();
}
