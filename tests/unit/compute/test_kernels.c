// Products with weights: every type and instruction set against plain C and against exact sums, and the
// promise that a result does not depend on what is computed beside it.
#include "kernel_check.h"

static const char *const isas[] = {"ref", "avx2", "avx512"};
enum { N_ISAS = sizeof isas / sizeof *isas };

// NMSE limits: against cpu_ref, whose activations are the same 8-bit values, and against the dequantised
// weights times the f32 activations.
static const struct type_case {
    enum tensor_type type;
    double ref_limit, exact_limit;
    size_t n_in[2];
} types[] = {
    {TENSOR_F32, 1e-12, 1e-12, {37, 261}},     {TENSOR_F16, 1e-12, 1e-12, {37, 261}},
    {TENSOR_BF16, 1e-12, 1e-12, {37, 261}},    {TENSOR_Q8_0, 1e-11, 1e-4, {32, 352}},
    {TENSOR_Q4_0, 1e-11, 1e-4, {32, 352}},     {TENSOR_Q4_1, 1e-11, 1e-4, {32, 352}},
    {TENSOR_Q5_0, 1e-11, 1e-4, {32, 352}},     {TENSOR_Q5_1, 1e-11, 1e-4, {32, 352}},
    {TENSOR_IQ4_NL, 1e-11, 1e-4, {32, 352}},   {TENSOR_MXFP4, 1e-11, 1e-4, {32, 352}},
    {TENSOR_Q2_K, 1e-11, 2e-4, {256, 768}},    {TENSOR_Q3_K, 1e-11, 1e-4, {256, 768}},
    {TENSOR_Q4_K, 1e-11, 2e-4, {256, 768}},    {TENSOR_Q5_K, 1e-11, 1e-4, {256, 768}},
    {TENSOR_Q6_K, 1e-11, 2e-4, {256, 768}},    {TENSOR_IQ4_XS, 1e-11, 1e-4, {256, 768}},
    {TENSOR_IQ2_XXS, 1e-11, 2e-4, {256, 768}}, {TENSOR_IQ2_XS, 1e-11, 1e-4, {256, 768}},
    {TENSOR_IQ2_S, 1e-11, 2e-4, {256, 768}},   {TENSOR_IQ3_XXS, 1e-11, 1e-4, {256, 768}},
    {TENSOR_IQ3_S, 1e-11, 2e-4, {256, 768}},   {TENSOR_IQ1_S, 1e-11, 1e-4, {256, 768}},
    {TENSOR_IQ1_M, 1e-11, 2e-4, {256, 768}},
};
enum { N_TYPES = sizeof types / sizeof *types };

static const size_t counts[] = {1, 3, 17, 44, 47};
enum { N_COUNTS = sizeof counts / sizeof *counts, MAX_COUNT = 47 };

static uint16_t random_f16_bits(void) { // magnitudes 2^-7 .. 2^-2
    return (uint16_t)((random_u32() & 0x8000) | (0x2000 + random_u32() % 0x1400));
}

static void set_f16(uint8_t *at, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint16_t bits = random_f16_bits();
        memcpy(at + 2 * i, &bits, sizeof bits);
    }
}

// Gives a block small finite numbers where it holds floating-point ones.
static void set_scales(enum tensor_type type, uint8_t *block) {
    uint8_t *end = block + quant_traits(type)->block_bytes;
    float f = random_f32();
    uint16_t bits = random_f16_bits();
    switch (type) {
    case TENSOR_F32:
        memcpy(block, &f, sizeof f);
        break;
    case TENSOR_BF16:
        memcpy(block, (const char *)&f + 2, 2);
        break;
    case TENSOR_MXFP4: // e8m0
        *block = (uint8_t)(118 + random_u32() % 8);
        break;
    case TENSOR_IQ1_M: // 4 bits in each of the last 4 u16
        for (size_t i = 0; i < 4; i++)
            end[2 * i - 7] = (uint8_t)((end[2 * i - 7] & 15) | (bits >> (4 * i) & 15) << 4);
        break;
    case TENSOR_Q2_K:
        set_f16(end - 4, 2);
        break;
    case TENSOR_Q3_K:
    case TENSOR_Q6_K:
        set_f16(end - 2, 1);
        break;
    case TENSOR_Q4_1:
    case TENSOR_Q5_1:
    case TENSOR_Q4_K:
    case TENSOR_Q5_K:
        set_f16(block, 2);
        break;
    default:
        set_f16(block, 1);
    }
}

// Random blocks: any other bits are legal weights.
static struct tensor random_weight(enum tensor_type type, size_t n_in, size_t n_out) {
    const struct quant_traits *traits = quant_traits(type);
    struct tensor t = {.type = type, .n_dims = 2, .ne = {n_in, n_out, 1, 1}};
    snprintf(t.name, sizeof t.name, "test.%s", traits->name);
    size_t n_blocks = n_in / traits->block_n * n_out;
    t.size_bytes = n_blocks * traits->block_bytes;
    uint8_t *data = malloc(t.size_bytes);
    for (size_t i = 0; i < t.size_bytes; i++)
        data[i] = (uint8_t)(random_u32() >> 11);
    for (size_t i = 0; i < n_blocks; i++)
        set_scales(type, data + i * traits->block_bytes);
    t.data = data;
    return t;
}

// y = x w^T + bias in double, w dequantised.
static void exact_matmul(struct ops *o, float *y, const struct weight *w, const float *bias, const float *x,
                         size_t n_rows) {
    size_t n_in = weight_n_in(w), n_out = weight_n_out(w);
    float *row = malloc(n_in * sizeof *row);
    for (int32_t out = 0; out < (int32_t)n_out; out++) {
        o->get_rows(o, row, w, &out, 1);
        for (size_t r = 0; r < n_rows; r++) {
            double sum = bias[out];
            for (size_t i = 0; i < n_in; i++)
                sum += (double)x[r * n_in + i] * row[i];
            y[r * n_out + (size_t)out] = (float)sum;
        }
    }
    free(row);
}

static struct weight *weight_of(struct ops *o, const struct tensor *t, enum weight_rows rows) {
    struct err err = {0};
    struct weight *w = o->weight_create(o, t, rows, &err);
    if (!w) {
        printf("weight_create: %s\n", err.msg);
        exit(1);
    }
    o->weight_load(o, w);
    return w;
}

// The error of the first n_rows beside the power of all n_all rows: a value alone may be near 0 by cancelling.
static void check_limit(const char *what, const struct ops *o, const struct tensor *t, size_t n_rows,
                        size_t n_all, const float *got, const float *want, double limit) {
    double power = 0, error = 0;
    for (size_t i = 0; i < n_all * t->ne[1]; i++)
        power += (double)want[i] * want[i] / (double)n_all;
    for (size_t i = 0; i < n_rows * t->ne[1]; i++)
        error += ((double)got[i] - want[i]) * ((double)got[i] - want[i]) / (double)n_rows;
    double nmse = error / power;
    if (!(nmse <= limit)) {
        printf("%s, %s %s, %zu rows of %zu, %zu outputs: nmse %g, limit %g\n", o->name, t->name, what, n_rows,
               t->ne[0], t->ne[1], nmse, limit);
        check_failed++;
    }
}

// What is looked up is the same whatever a backend made of the weight.
static void check_rows(struct ops *ref, const struct weight *w_ref, struct ops *o, const struct weight *w) {
    size_t n_in = weight_n_in(w);
    float *want = random_floats(n_in), *got = random_floats(n_in);
    for (int32_t out = 0; out < (int32_t)weight_n_out(w); out++) {
        ref->get_rows(ref, want, w_ref, &out, 1);
        o->get_rows(o, got, w, &out, 1);
        CHECK(memcmp(want, got, n_in * sizeof *want) == 0);
    }
    free(want);
    free(got);
}

static void test_shape(struct ops *ref, struct ops *const *threads, const struct type_case *c, size_t n_in,
                       size_t n_out) {
    struct tensor t = random_weight(c->type, n_in, n_out);
    float *x = random_floats(MAX_COUNT * n_in), *bias = random_floats(n_out);
    size_t size = MAX_COUNT * n_out * sizeof(float);
    float *want = malloc(size), *exact = malloc(size), *y = malloc(size), *one = malloc(size);
    struct weight *w = weight_of(ref, &t, WEIGHT_ROWS_ANY);
    ref->matmul(ref, want, w, bias, x, MAX_COUNT, false);
    exact_matmul(ref, exact, w, bias, x, MAX_COUNT);
    check_limit("against the exact sum", ref, &t, MAX_COUNT, MAX_COUNT, want, exact, c->exact_limit);
    for (size_t i = 0; i < 3; i++) { // 1, 2 and 3 threads
        struct ops *o = threads[i];
        struct weight *own = weight_of(o, &t, WEIGHT_ROWS_ANY);
        check_rows(ref, w, o, own);
        for (size_t n = 0; n < N_COUNTS; n++) {
            size_t n_rows = counts[n];
            memset(y, 0xff, size);
            o->matmul(o, y, own, bias, x, n_rows, false);
            check_limit("against ref", o, &t, n_rows, MAX_COUNT, y, want, c->ref_limit);
            if (n == 0 && i == 0)
                for (size_t r = 0; r < MAX_COUNT; r++)
                    o->matmul(o, one + r * n_out, own, bias, x + r * n_in, 1, false);
            CHECK(memcmp(y, one, n_rows * n_out * sizeof(float)) == 0);
        }
        // A residual: y + (x w^T + bias).
        memcpy(y, x, n_out < n_in ? n_out * sizeof(float) : 0);
        o->matmul(o, y, own, bias, x, 1, true);
        for (size_t k = 0; k < n_out && n_out < n_in; k++)
            CHECK(y[k] == x[k] + one[k]);
        o->weight_release(o, own);
    }
    ref->weight_release(ref, w);
    free((void *)t.data);
    free(x);
    free(bias);
    free(want);
    free(exact);
    free(y);
    free(one);
}

static void test_matmul(struct ops *ref, const char *isa) {
    struct ops *threads[3] = {open_isa(isa, 1), open_isa(isa, 2), open_isa(isa, 3)};
    for (size_t i = 0; threads[0] && i < N_TYPES; i++)
        for (size_t k = 0; k < N_COUNTS; k++)
            test_shape(ref, threads, &types[i], types[i].n_in[k % 2], counts[k]);
    for (size_t i = 0; threads[0] && i < 3; i++)
        threads[i]->close(threads[i]);
}

// Enough work to be cut into chunks and shared out: the small shapes above run on the caller.
static void test_large(const char *isa) {
    struct ops *one = open_isa(isa, 1), *three = open_isa(isa, 3);
    for (size_t i = 0; one && i < N_TYPES; i++) {
        enum { N_IN = 256, N_OUT = 301, N_ROWS = 70 };
        struct tensor t = random_weight(types[i].type, N_IN, N_OUT);
        struct weight *w = weight_of(one, &t, WEIGHT_ROWS_ANY), *w3 = weight_of(three, &t, WEIGHT_ROWS_ANY);
        float *x = random_floats(N_ROWS * N_IN), *bias = random_floats(N_OUT);
        float *a = random_floats(N_ROWS * N_OUT), *b = random_floats(N_ROWS * N_OUT);
        for (size_t r = 0; r < N_ROWS; r++)
            one->matmul(one, a + r * N_OUT, w, bias, x + r * N_IN, 1, false);
        three->matmul(three, b, w3, bias, x, N_ROWS, false);
        CHECK(memcmp(a, b, N_ROWS * N_OUT * sizeof(float)) == 0);
        one->weight_release(one, w);
        three->weight_release(three, w3);
        free((void *)t.data);
        free(x);
        free(bias);
        free(a);
        free(b);
    }
    if (one) {
        one->close(one);
        three->close(three);
    }
}

// Several products at once are those one by one: of weights that share activations, of others, and of floats.
static void test_many(const char *isa) {
    static const enum tensor_type sets[][3] = {{TENSOR_Q4_K, TENSOR_Q4_K, TENSOR_Q6_K},
                                               {TENSOR_Q8_0, TENSOR_Q4_0, TENSOR_Q8_0},
                                               {TENSOR_Q8_0, TENSOR_F32, TENSOR_F16}};
    static const size_t n_outs[] = {301, 64, 7}, n_rows[] = {1, 2, 8, 70, 130};
    enum { N_IN = 512, N_ROWS = 130, N_OUT = 301 };
    struct ops *o = open_isa(isa, 3);
    for (size_t i = 0; o && i < 3; i++) {
        struct tensor t[3];
        struct weight *w[3];
        float *want[3], *got[3], *x = random_floats(N_ROWS * N_IN), *bias = random_floats(N_OUT);
        for (size_t k = 0; k < 3; k++) {
            t[k] = random_weight(sets[i][k], N_IN, n_outs[k]);
            w[k] = weight_of(o, &t[k], WEIGHT_ROWS_ANY);
            want[k] = random_floats(N_ROWS * N_OUT);
            got[k] = random_floats(N_ROWS * N_OUT);
        }
        for (size_t r = 0; r < sizeof n_rows / sizeof *n_rows; r++) {
            const struct product all[] = {{got[0], w[0], bias}, {got[1], w[1], NULL}, {got[2], w[2], bias}};
            o->matmul_many(o, all, 3, x, n_rows[r]);
            for (size_t k = 0; k < 3; k++) {
                o->matmul(o, want[k], w[k], all[k].bias, x, n_rows[r], false);
                CHECK(memcmp(want[k], got[k], n_rows[r] * n_outs[k] * sizeof(float)) == 0);
            }
        }
        for (size_t k = 0; k < 3; k++) {
            o->weight_release(o, w[k]);
            free((void *)t[k].data);
            free(want[k]);
            free(got[k]);
        }
        free(x);
        free(bias);
    }
    if (o)
        o->close(o);
}

// Vision weights: by OpenBLAS where there is one, in fixed panels, so that threads change nothing.
static void test_fixed(struct ops *ref, const char *isa) {
    struct ops *one = open_isa(isa, 1), *three = open_isa(isa, 3);
    static const enum tensor_type fixed_types[] = {TENSOR_F32, TENSOR_F16, TENSOR_Q8_0};
    for (size_t i = 0; one && i < 3; i++) {
        enum { N_IN = 96, N_OUT = 300, N_ROWS = 65 };
        struct tensor t = random_weight(fixed_types[i], N_IN, N_OUT);
        struct weight *w = weight_of(one, &t, WEIGHT_ROWS_FIXED);
        float *x = random_floats(N_ROWS * N_IN), *bias = random_floats(N_OUT);
        size_t n = N_ROWS * N_OUT;
        float *want = malloc(n * sizeof *want), *a = random_floats(n), *b = malloc(n * sizeof *b);
        float *start = malloc(n * sizeof *start);
        memcpy(start, a, n * sizeof *a);
        memcpy(b, a, n * sizeof *a);
        exact_matmul(ref, want, w, bias, x, N_ROWS);
        for (size_t k = 0; k < n; k++)
            want[k] += start[k];
        one->matmul(one, a, w, bias, x, N_ROWS, true);
        struct weight *w3 = weight_of(three, &t, WEIGHT_ROWS_FIXED);
        three->matmul(three, b, w3, bias, x, N_ROWS, true);
        three->weight_release(three, w3);
        check_limit("of fixed rows", one, &t, N_ROWS, N_ROWS, a, want,
                    fixed_types[i] == TENSOR_Q8_0 ? 1e-4 : 1e-10);
        CHECK(memcmp(a, b, n * sizeof *a) == 0);
        one->weight_release(one, w);
        free((void *)t.data);
        free(x);
        free(bias);
        free(want);
        free(a);
        free(b);
        free(start);
    }
    if (one) {
        one->close(one);
        three->close(three);
    }
}

// Floats in 8 bits: rows of any length, each the same in any batch, and near the exact product.
static void test_int8(struct ops *ref, const char *isa) {
    static const enum tensor_type float_types[] = {TENSOR_F32, TENSOR_F16, TENSOR_BF16};
    static const size_t lengths[] = {1, 32, 37, 300, 588};
    struct ops *one = open_isa(isa, 1), *three = open_isa(isa, 3);
    for (size_t i = 0; one && i < 15; i++) {
        enum { N_OUT = 53, N_ROWS = 40 };
        size_t n_in = lengths[i % 5], n = N_ROWS * N_OUT;
        struct tensor t = random_weight(float_types[i / 5], n_in, N_OUT);
        struct weight *floats = weight_of(ref, &t, WEIGHT_ROWS_ANY);
        struct weight *plain = weight_of(ref, &t, WEIGHT_ROWS_INT8),
                      *w = weight_of(one, &t, WEIGHT_ROWS_INT8);
        CHECK(weight_n_in(w) == n_in && weight_n_out(w) == N_OUT);
        float *x = random_floats(N_ROWS * n_in), *bias = random_floats(N_OUT);
        float *exact = random_floats(n), *want = random_floats(n), *y = random_floats(n),
              *row = random_floats(n);
        exact_matmul(ref, exact, floats, bias, x, N_ROWS);
        ref->matmul(ref, want, plain, bias, x, N_ROWS, false);
        three->matmul(three, y, w, bias, x, N_ROWS, false);
        check_limit("in 8 bits against the exact sum", one, &t, N_ROWS, N_ROWS, y, exact, 1e-4);
        check_limit("in 8 bits against ref", one, &t, N_ROWS, N_ROWS, y, want, 1e-11);
        for (size_t r = 0; r < N_ROWS; r++)
            one->matmul(one, row + r * N_OUT, w, bias, x + r * n_in, 1, false);
        CHECK(memcmp(y, row, n * sizeof *y) == 0);
        ref->weight_release(ref, floats);
        ref->weight_release(ref, plain);
        one->weight_release(one, w);
        free((void *)t.data);
        free(x);
        free(bias);
        free(exact);
        free(want);
        free(y);
        free(row);
    }
    float bad[64] = {[40] = NAN};
    struct tensor t = {
        .type = TENSOR_F32, .n_dims = 2, .ne = {32, 2, 1, 1}, .data = bad, .size_bytes = sizeof bad};
    snprintf(t.name, sizeof t.name, "bad.weight");
    struct err err = {0};
    CHECK(!one || !one->weight_create(one, &t, WEIGHT_ROWS_INT8, &err));
    CHECK(!one || (err.code == ERR_MODEL && strstr(err.msg, "bad.weight: a value that is not a number")));
    if (one) {
        one->close(one);
        three->close(three);
    }
}

// The largest magnitudes that the integer kernels can meet: sums of pairs must not saturate.
static void test_extremes(struct ops *ref, const char *isa) {
    struct ops *o = open_isa(isa, 1);
    for (size_t i = 0; o && i < N_TYPES; i++) {
        enum { N_IN = 256 };
        if (quant_traits(types[i].type)->block_n == 1)
            continue;
        struct tensor t = random_weight(types[i].type, N_IN, 1);
        uint8_t *data = (uint8_t *)(uintptr_t)t.data;
        for (int pattern = 0; pattern < 3; pattern++) {
            static const uint8_t fills[] = {0x80, 0x7f, 0xff};
            const struct quant_traits *traits = quant_traits(t.type);
            memset(data, fills[pattern], t.size_bytes);
            for (size_t b = 0; b < t.size_bytes; b += traits->block_bytes)
                set_scales(t.type, data + b);
            float x[N_IN], got, want;
            for (int sign = -1; sign <= 1; sign += 2) {
                for (size_t k = 0; k < N_IN; k++)
                    x[k] = (float)sign * 3;
                struct weight *w = weight_of(o, &t, WEIGHT_ROWS_ANY),
                              *w_ref = weight_of(ref, &t, WEIGHT_ROWS_ANY);
                o->matmul(o, &got, w, NULL, x, 1, false);
                ref->matmul(ref, &want, w_ref, NULL, x, 1, false);
                CHECK_NEAR(got, want, 1e-5 * fabs(want));
                o->weight_release(o, w);
                ref->weight_release(ref, w_ref);
            }
        }
        free(data);
    }
    if (o)
        o->close(o);
}

int main(void) {
    struct ops *ref = open_isa("ref", 1);
    for (size_t i = 0; i < N_ISAS; i++) {
        test_matmul(ref, isas[i]);
        test_large(isas[i]);
        test_many(isas[i]);
        test_fixed(ref, isas[i]);
        test_int8(ref, isas[i]);
        test_extremes(ref, isas[i]);
    }
    ref->close(ref);
    return check_result();
}
