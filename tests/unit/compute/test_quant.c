// Types of weights: conversions bit by bit, dequantised values against the golden ones, activations, and dot
// products against exact sums.
#include "check.h"
#include "compute/gguf.h"
#include "compute/quant.h"

static uint32_t f32_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

// The value of f16 bits by the definition of the format.
static double f16_value(uint16_t bits) {
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    double magnitude = exponent == 0 ? ldexp(fraction, -24) : ldexp(1024 + fraction, exponent - 25);
    return bits & 0x8000 ? -magnitude : magnitude;
}

static void test_f16(void) {
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        float value = f16_to_f32((uint16_t)bits);
        if ((bits & 0x7fff) > 0x7c00) {
            CHECK(isnan(value) && isnan(f16_to_f32(f32_to_f16(value))));
            continue;
        }
        if ((bits & 0x7fff) == 0x7c00)
            CHECK(isinf(value) && !signbit(value) == (bits >> 15 == 0));
        else
            CHECK((double)value == f16_value((uint16_t)bits) && !signbit(value) == (bits >> 15 == 0));
        CHECK(f32_to_f16(value) == bits);
        // Halfway to the next half goes to the even one; a step to either side goes to its own.
        if ((bits & 0x7fff) >= 0x7bff)
            continue;
        float next = f16_to_f32((uint16_t)(bits + 1)), middle = (value + next) / 2;
        CHECK(f32_to_f16(middle) == (bits & 1 ? bits + 1 : bits));
        CHECK(f32_to_f16(nextafterf(middle, value)) == bits);
        CHECK(f32_to_f16(nextafterf(middle, next)) == bits + 1);
    }
    CHECK(f32_to_f16(65519.996f) == 0x7bff && f32_to_f16(65520) == 0x7c00 && f32_to_f16(-1e30f) == 0xfc00);
    CHECK(f32_to_f16(0x1p-25f) == 0 && f32_to_f16(0x1.000002p-25f) == 1 && f32_to_f16(-0x1p-149f) == 0x8000);
}

static void test_traits(void) {
    static const struct {
        enum tensor_type type;
        const char *name;
        size_t n, bytes;
    } types[] = {
        {TENSOR_F32, "f32", 3, 12},
        {TENSOR_F16, "f16", 3, 6},
        {TENSOR_BF16, "bf16", 3, 6},
        {TENSOR_Q8_0, "q8_0", 64, 68},
        {TENSOR_Q4_0, "q4_0", 64, 36},
        {TENSOR_Q4_1, "q4_1", 64, 40},
        {TENSOR_Q5_0, "q5_0", 64, 44},
        {TENSOR_Q5_1, "q5_1", 64, 48},
        {TENSOR_IQ4_NL, "iq4_nl", 64, 36},
        {TENSOR_MXFP4, "mxfp4", 64, 34},
        {TENSOR_Q2_K, "q2_K", 512, 168},
        {TENSOR_Q3_K, "q3_K", 512, 220},
        {TENSOR_Q4_K, "q4_K", 512, 288},
        {TENSOR_Q5_K, "q5_K", 512, 352},
        {TENSOR_Q6_K, "q6_K", 512, 420},
        {TENSOR_IQ4_XS, "iq4_xs", 512, 272},
        {TENSOR_IQ2_XXS, "iq2_xxs", 512, 132},
        {TENSOR_IQ2_XS, "iq2_xs", 512, 148},
        {TENSOR_IQ2_S, "iq2_s", 512, 164},
        {TENSOR_IQ3_XXS, "iq3_xxs", 512, 196},
        {TENSOR_IQ3_S, "iq3_s", 512, 220},
        {TENSOR_IQ1_S, "iq1_s", 512, 100},
        {TENSOR_IQ1_M, "iq1_m", 512, 112},
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        const struct quant_traits *traits = quant_traits(types[i].type);
        size_t bytes = 0;
        CHECK_STR(traits->name, types[i].name);
        CHECK_STR(quant_type_name(types[i].type), types[i].name);
        CHECK(quant_row_bytes(types[i].type, types[i].n, &bytes) && bytes == types[i].bytes);
        if (traits->block_n > 1)
            CHECK(!quant_row_bytes(types[i].type, types[i].n - 1, &bytes));
    }
    size_t bytes;
    CHECK(!quant_row_bytes(TENSOR_F32, SIZE_MAX / 2, &bytes));
    CHECK(!quant_row_bytes((enum tensor_type)9, 32, &bytes));
    CHECK(!quant_traits((enum tensor_type)9) && !quant_traits((enum tensor_type)31));
    CHECK(!quant_traits((enum tensor_type)UINT32_MAX));
    CHECK_STR(quant_type_name((enum tensor_type)9), "q8_1");
    CHECK_STR(quant_type_name((enum tensor_type)UINT32_MAX), "unknown");
    char list[QUANT_TYPE_LIST_SIZE];
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        CHECK(strstr(quant_type_list(list), types[i].name));
}

// Against the values beside the model. Those of most types lie in the folder beside the repository.
static void test_golden(const char *type) {
    char path[128];
    const char *root = check_text_cases(type);
    if (!root)
        return;
    snprintf(path, sizeof path, "%s/tiny-%s/model.gguf", root, type);
    struct err err = {0};
    struct gguf *g = gguf_open(path, &err);
    CHECK_STR(err.msg, "");
    if (!g)
        return;
    const struct tensor *t = gguf_find_tensor(g, "blk.0.ffn_down.weight");
    size_t size, n = t->ne[0] * t->ne[1];
    snprintf(path, sizeof path, "%s/tiny-%s/blk.0.ffn_down.f32", root, type);
    float *want = check_read_file(path, &size), *got = malloc(n * sizeof *got);
    CHECK(size == n * sizeof *want);
    quant_traits(t->type)->dequantise(got, t->data, n);
    float worst = 0, largest = 0;
    for (size_t i = 0; i < n; i++) {
        worst = fmaxf(worst, fabsf(got[i] - want[i]));
        largest = fmaxf(largest, fabsf(want[i]));
    }
    CHECK(largest > 0);
    if (!(worst <= 1e-6f)) {
        printf("%s: worst difference %g, limit 1e-6\n", type, (double)worst);
        check_failed++;
    }

    // A row times activations: the dot product is the sum over both as they are dequantised.
    float x[512];
    for (size_t i = 0; i < 512; i++)
        x[i] = sinf((float)i) * (1 + (float)(i / 32));
    struct a32 x32[16];
    struct a256 x256[2];
    quant_a32(x32, x, 512);
    quant_a256(x256, x, 512);
    size_t block_n = quant_traits(t->type)->block_n, row_bytes = t->size_bytes / t->ne[1];
    for (size_t r = 0; r < t->ne[1]; r++) {
        double sum = 0, magnitude = 0;
        for (size_t i = 0; i < 512; i++) {
            double xi = x[i];
            if (block_n == 32)
                xi = (double)x32[i / 32].d * x32[i / 32].qs[i % 32];
            if (block_n == 256)
                xi = (double)x256[i / 256].d * x256[i / 256].qs[i % 256];
            sum += xi * want[r * 512 + i];
            magnitude += fabs(xi * want[r * 512 + i]);
        }
        const void *acts = block_n == 1 ? (const void *)x : block_n == 32 ? (const void *)x32 : x256;
        float dot = quant_dot(quant_traits(t->type), (const char *)t->data + r * row_bytes, acts, 512);
        CHECK_NEAR(dot, sum, 1e-6 * magnitude);
    }
    free(want);
    free(got);
    gguf_close(g);
}

// Against the values of tests/reference/weight_types.py, for the types that no golden model has.
static void test_blocks(enum tensor_type type) {
    const struct quant_traits *traits = quant_traits(type);
    char path[128];
    size_t blocks_size, want_size;
    snprintf(path, sizeof path, "tests/golden/blocks/%s.blocks", traits->name);
    void *blocks = check_read_file(path, &blocks_size);
    snprintf(path, sizeof path, "tests/golden/blocks/%s.f32", traits->name);
    float *want = check_read_file(path, &want_size);
    size_t n = blocks_size / traits->block_bytes * traits->block_n;
    CHECK(n > 0 && blocks_size % traits->block_bytes == 0 && want_size == n * sizeof *want);
    float *got = malloc(n * sizeof *got);
    traits->dequantise(got, blocks, n);
    size_t n_different = 0;
    for (size_t i = 0; i < n; i++) // exact, for every step of theirs is
        n_different += !(got[i] == want[i] || (isnan(got[i]) && isnan(want[i])));
    if (n_different > 0) {
        printf("%s: %zu of %zu values differ\n", traits->name, n_different, n);
        check_failed++;
    }
    free(got);
    free(want);
    free(blocks);
}

static void test_activations(void) {
    // 127 halves: d is exactly 0.5, so ties are exact and must go to the even integer.
    float x[256] = {63.5f, -63.5f, 0.25f, 0.75f, -0.25f, -0.75f, 1.25f, 0.26f, 0.24f};
    struct a32 a;
    struct a256 b;
    static const int8_t want[] = {127, -127, 0, 2, 0, -2, 2, 1, 0, 0};
    quant_a32(&a, x, 32);
    CHECK(a.d == 0.5f && memcmp(a.qs, want, sizeof want) == 0);
    x[255] = -10;
    quant_a256(&b, x, 256);
    CHECK(b.d == 0.5f && memcmp(b.qs, want, sizeof want) == 0 && b.qs[255] == -20);
    for (size_t i = 0; i < 256; i++)
        x[i] = -8;
    quant_a256(&b, x, 256);
    CHECK(b.qs[0] == -127 && b.qs[255] == -127);
    CHECK_NEAR(b.d * 127, 8, 1e-6);
    memset(x, 0, sizeof x);
    quant_a32(&a, x, 32);
    CHECK(a.d == 0 && a.qs[0] == 0 && a.qs[31] == 0);
    x[3] = 1e-40f; // 127 / x would overflow
    quant_a32(&a, x, 32);
    CHECK(isfinite(a.d) && a.qs[3] == 0);
    x[3] = 1e-31f; // every kernel counts so little as 0
    quant_a32(&a, x, 32);
    CHECK(a.qs[3] == 0);
    x[3] = NAN;
    x[4] = 2;
    quant_a32(&a, x, 32);
    CHECK(a.qs[3] == 0 && a.qs[4] == 127 && f32_bits(a.d) == f32_bits(2 / 127.0f));
}

int main(void) {
    test_f16();
    test_traits();
    static const char *const types[] = {"f16",    "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1",
                                        "iq4_nl", "q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "iq4_xs"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        test_golden(types[i]);
    static const enum tensor_type without_model[] = {
        TENSOR_MXFP4,   TENSOR_IQ2_XXS, TENSOR_IQ2_XS, TENSOR_IQ2_S,
        TENSOR_IQ3_XXS, TENSOR_IQ3_S,   TENSOR_IQ1_S,  TENSOR_IQ1_M,
    };
    for (size_t i = 0; i < sizeof without_model / sizeof *without_model; i++)
        test_blocks(without_model[i]);
    test_activations();
    return check_result();
}
