// Mixtures of experts and norms by head, against the same in double; a row is the same beside any others.
#include "kernel_check.h"

enum { N_ROWS = 40, N_EXPERT = 6, N_USED = 3, N_IN = 64, N_OUT = 24 };

struct mixture {
    int32_t ids[N_ROWS * N_USED];
    float weights[N_ROWS * N_USED];
};

static struct experts experts_of(struct mixture *m) {
    return (struct experts){m->ids, m->weights, N_EXPERT, N_USED};
}

static void test_route(struct ops *o) {
    static const float logits[3][N_EXPERT] = {
        {0.5f, -1, 2, 2, 2.5f, 0},
        {1, 1, 1, 1, 1, 1},
        {NAN, -INFINITY, 3, NAN, -INFINITY, -1},
    };
    static const int32_t want[3][N_USED] = {{4, 2, 3}, {0, 1, 2}, {2, 5, 0}};
    struct mixture m;
    struct experts e = experts_of(&m);
    o->route(o, &e, logits[0], 3);
    CHECK(memcmp(m.ids, want, sizeof want) == 0);
    double sum = 1 + 2 * exp(-0.5);
    CHECK_NEAR(m.weights[0], 1 / sum, 1e-7);
    CHECK_NEAR(m.weights[1], exp(-0.5) / sum, 1e-7);
    CHECK(m.weights[2] == m.weights[1] && m.weights[3] == m.weights[4]);
    CHECK_NEAR(m.weights[5], 1.0 / 3, 1e-7);
}

// Experts of one tensor [N_EXPERT, N_OUT, n_in], each a weight of its own.
static void open_experts(struct ops *o, struct weight **w, enum tensor_type type, const char *data,
                         size_t expert_bytes, size_t n_in) {
    struct err err = {0};
    for (size_t i = 0; i < N_EXPERT; i++) {
        struct tensor t = {"e", type, 2, {n_in, N_OUT, 1, 1}, data + i * expert_bytes, expert_bytes};
        w[i] = o->weight_create(o, &t, WEIGHT_ROWS_ANY, &err);
        CHECK_STR(err.msg, "");
        o->weight_load(o, w[i]);
    }
}

static void close_experts(struct ops *o, struct weight **w) {
    for (size_t i = 0; i < N_EXPERT; i++)
        o->weight_release(o, w[i]);
}

// All rows at once and each alone, against cpu products of the same weight.
static void check_products(struct ops *o, struct weight **w, const struct mixture *m, bool each) {
    struct mixture copy = *m;
    struct experts e = experts_of(&copy);
    size_t x_rows = each ? N_USED : 1;
    float *x = random_floats(N_ROWS * N_USED * N_IN), *together = random_floats(N_ROWS * N_USED * N_OUT),
          *alone = random_floats(N_ROWS * N_USED * N_OUT), *want = random_floats(N_ROWS * N_USED * N_OUT);
    o->matmul_experts(o, together, w, &e, x, N_ROWS, each);
    for (size_t r = 0; r < N_ROWS; r++) {
        struct experts row = e;
        row.ids += r * N_USED;
        o->matmul_experts(o, alone + r * N_USED * N_OUT, w, &row, x + r * x_rows * N_IN, 1, each);
        for (size_t k = 0; k < N_USED; k++)
            o->matmul(o, want + (r * N_USED + k) * N_OUT, w[row.ids[k]], NULL,
                      x + (r * x_rows + (each ? k : 0)) * N_IN, 1, false);
    }
    CHECK(memcmp(together, want, N_ROWS * N_USED * N_OUT * sizeof *want) == 0);
    CHECK(memcmp(alone, want, N_ROWS * N_USED * N_OUT * sizeof *want) == 0);
    free(x);
    free(together);
    free(alone);
    free(want);
}

static void test_products(struct ops *o) {
    float *f32 = random_floats(N_EXPERT * N_OUT * N_IN);
    struct { // as block_q8_0
        uint16_t scale;
        int8_t values[32];
    } *q8 = malloc(N_EXPERT * N_OUT * (N_IN / 32) * sizeof *q8);
    for (size_t i = 0; i < N_EXPERT * N_OUT * (N_IN / 32); i++) {
        q8[i].scale = 0x2000; // 2^-7
        for (size_t k = 0; k < 32; k++)
            q8[i].values[k] = (int8_t)(random_u32() >> 24);
    }
    struct weight *w[N_EXPERT];
    struct mixture m;
    struct experts e = experts_of(&m);
    float *logits = random_floats(N_ROWS * N_EXPERT);
    for (size_t r = 0; r < N_ROWS; r++) { // one expert is chosen by one row only, one never
        logits[r * N_EXPERT] = r == 5 ? 9 : -9;
        logits[r * N_EXPERT + 4] = -10;
    }
    o->route(o, &e, logits, N_ROWS);
    for (int each = 0; each < 2; each++) {
        open_experts(o, w, TENSOR_F32, (const char *)f32, N_OUT * N_IN * sizeof *f32, N_IN);
        check_products(o, w, &m, each);
        close_experts(o, w);
        open_experts(o, w, TENSOR_Q8_0, (const char *)q8, N_OUT * (N_IN / 32) * sizeof *q8, N_IN);
        check_products(o, w, &m, each);
        close_experts(o, w);
    }
    free(f32);
    free(q8);
    free(logits);
}

static void test_mix(struct ops *o) {
    struct mixture m;
    struct experts e = experts_of(&m);
    float *x = random_floats(N_ROWS * N_USED * N_OUT), *weights = random_floats(N_ROWS * N_USED),
          *y = random_floats(N_ROWS * N_OUT);
    memcpy(m.weights, weights, sizeof m.weights);
    o->mix(o, y, &e, x, N_ROWS, N_OUT);
    for (size_t r = 0; r < N_ROWS; r++)
        for (size_t i = 0; i < N_OUT; i++) {
            double sum = 0;
            for (size_t k = 0; k < N_USED; k++)
                sum += (double)weights[r * N_USED + k] * x[(r * N_USED + k) * N_OUT + i];
            CHECK_NEAR(y[r * N_OUT + i], sum, 3e-6);
        }
    free(x);
    free(weights);
    free(y);
}

static void test_norm_heads(struct ops *o) {
    enum { HEADS = 3, DIM = 20 };
    float *x = random_floats(N_ROWS * HEADS * DIM), *y = malloc(N_ROWS * HEADS * DIM * sizeof *y),
          *w = random_floats(HEADS * DIM), *b = random_floats(HEADS * DIM), want[DIM];
    memcpy(y, x, N_ROWS * HEADS * DIM * sizeof *y);
    o->layer_norm_heads(o, y, w, b, 1e-5f, N_ROWS, HEADS, DIM);
    for (size_t i = 0; i < N_ROWS * HEADS; i++) {
        size_t head = i % HEADS;
        o->layer_norm(o, want, x + i * DIM, w + head * DIM, b + head * DIM, 1e-5f, 1, DIM);
        CHECK(memcmp(want, y + i * DIM, sizeof want) == 0);
    }
    free(x);
    free(y);
    free(w);
    free(b);
}

int main(void) {
    static const char *const isas[] = {"ref", "avx2", "avx512"};
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++)
        for (size_t n_threads = 1; n_threads <= 3; n_threads += 2) {
            struct ops *o = open_isa(isas[i], n_threads);
            if (!o)
                continue;
            test_route(o);
            test_products(o);
            test_mix(o);
            test_norm_heads(o);
            o->close(o);
        }
    return check_result();
}
