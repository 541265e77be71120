// Attention in 8 bits beside plain C in floats: near it for any sizes, also where keys share a large part and where a
// few keys take all; the same for a row alone and for any number of threads.
#include "kernel_check.h"

struct int8_case {
    size_t n_rows, n_keys, n_head, head_dim;
    float scale;  // of scores
    float shared; // added to each key, another value for each column
    double limit; // NMSE
};

static void check_case(struct ops *ref, const char *isa, const struct int8_case *c) {
    struct ops *one = open_isa(isa, 1), *three = open_isa(isa, 3);
    if (!one)
        return;
    size_t width = c->n_head * c->head_dim, n = c->n_rows * width;
    float *q = random_floats(n), *k = random_floats(c->n_keys * width), *v = random_floats(c->n_keys * width);
    float *column = random_floats(width), *whole = random_floats(n), *rows = random_floats(n),
          *want = random_floats(n);
    for (size_t i = 0; i < c->n_keys * width; i++)
        k[i] += c->shared * column[i % width];
    struct attn_part part = {.q = q,
                             .out = want,
                             .k = k,
                             .v = v,
                             .q_stride = width,
                             .out_stride = width,
                             .kv_stride = width,
                             .n_rows = c->n_rows,
                             .n_keys = c->n_keys};
    struct attn a = {.n_head = c->n_head,
                     .n_head_kv = c->n_head,
                     .head_dim = c->head_dim,
                     .scale = c->scale,
                     .parts = &part,
                     .n_parts = 1};
    ref->attention(ref, &a);
    a.int8 = true;
    part.out = whole;
    three->attention(three, &a);
    part.n_rows = 1;
    for (size_t r = 0; r < c->n_rows; r++) {
        part.q = q + r * width;
        part.out = rows + r * width;
        one->attention(one, &a);
    }
    double nmse = check_nmse(whole, want, n);
    if (!(nmse < c->limit) || memcmp(whole, rows, n * sizeof *rows) != 0) {
        printf("%s: %zu rows, %zu keys, %zu heads of %zu, scale %g, shared %g: nmse %g, want below %g\n",
               one->name, c->n_rows, c->n_keys, c->n_head, c->head_dim, (double)c->scale, (double)c->shared,
               nmse, c->limit);
        check_failed++;
    }
    free(q);
    free(k);
    free(v);
    free(column);
    free(whole);
    free(rows);
    free(want);
    one->close(one);
    three->close(three);
}

int main(void) {
    static const struct int8_case cases[] = {
        {1, 1, 1, 4, 1, 0, 4e-4},        {7, 15, 2, 30, 0.2f, 0, 4e-4},    {50, 65, 3, 64, 0.125f, 0, 4e-4},
        {31, 577, 1, 80, 0.1f, 0, 4e-4}, {300, 129, 2, 72, 0.1f, 0, 4e-4}, {25, 128, 1, 96, 0.1f, 0, 4e-4},
        {5, 400, 1, 128, 0.1f, 0, 4e-4}, {3, 130, 1, 256, 0.06f, 0, 4e-4}, {9, 40, 1, 260, 0.06f, 0, 4e-4},
        {40, 577, 2, 64, 2, 0, 1e-3},    {40, 577, 2, 64, 1, 30, 1e-3},    {600, 200, 3, 72, 0.5f, 10, 1e-3},
    };
    struct ops *ref = open_isa("ref", 1);
    static const char *const isas[] = {"avx2", "avx512"};
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++)
        for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
            check_case(ref, isas[i], &cases[c]);
    ref->close(ref);
    return check_result();
}
