// Writing quantised weights: as near to the original as the reference quantiser's own files, the mixes, the
// fallbacks by shape, and whole files.
#define _XOPEN_SOURCE 700 // mkdtemp, P_tmpdir
#include "base/mem.h"
#include "check.h"
#include "compute/quant.h"
#include "compute/quantise.h"
#include "compute/quantise_model.h"

#include <sys/stat.h>
#include <unistd.h>

#define GOLDEN "tests/golden/text"

static struct gguf *open_golden(const char *root, const char *name) {
    char path[128];
    struct err err = {0};
    snprintf(path, sizeof path, "%s/tiny-%s/model.gguf", root, name);
    struct gguf *g = gguf_open(path, &err);
    CHECK_STR(err.msg, "");
    if (!g)
        exit(1);
    return g;
}

static size_t n_values(const struct tensor *t) {
    return t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3];
}

static float *dequantise(enum tensor_type type, const void *data, size_t n) {
    float *x = xcalloc(n, sizeof *x);
    quant_traits(type)->dequantise(x, data, n);
    return x;
}

static double rmse(const float *a, const float *b, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    return sqrt(sum / (double)n);
}

static float *round_trip(enum tensor_type type, const float *x, size_t n) {
    void *blocks = xcalloc(n, sizeof(float));
    quantise_find(type)(blocks, x, n);
    float *y = dequantise(type, blocks, n);
    free(blocks);
    return y;
}

// Every tensor of a file that the reference quantiser made, against ours of the same type.
static void test_rmse(void) {
    static const char *const files[] = {"q8_0", "q4_0", "q4_k", "q5_k", "q6_k"};
    enum { PERCENT_MAX = 105 };
    struct gguf *source = open_golden(GOLDEN, "f32");
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        const char *root = check_text_cases(files[f]);
        if (!root)
            continue;
        struct gguf *g = open_golden(root, files[f]);
        double worst = 0;
        size_t n_compared = 0;
        for (size_t i = 0; i < gguf_n_tensors(g); i++) {
            const struct tensor *t = gguf_tensor_at(g, i), *from = gguf_find_tensor(source, t->name);
            if (quant_traits(t->type)->block_n == 1)
                continue;
            CHECK(from && from->type == TENSOR_F32 && n_values(from) == n_values(t));
            float *theirs = dequantise(t->type, t->data, n_values(t));
            float *ours = round_trip(t->type, from->data, n_values(t));
            double ratio = rmse(ours, from->data, n_values(t)) / rmse(theirs, from->data, n_values(t));
            worst = ratio > worst ? ratio : worst;
            n_compared++;
            free(theirs);
            free(ours);
        }
        printf("%s: at most %.4f of the reference's RMSE in %zu tensors\n", files[f], worst, n_compared);
        CHECK(n_compared > 10 && worst * 100 < PERCENT_MAX);
        gguf_close(g);
    }
    gguf_close(source);
}

// Types that no golden file is of: RMSE over that of q8_0, whose step is 16 times (q4) or 8 times (q5) finer
// for values that are spread evenly.
static void test_coarse_types(void) {
    struct gguf *source = open_golden(GOLDEN, "f32");
    const struct tensor *t = gguf_find_tensor(source, "blk.0.ffn_down.weight");
    static const struct {
        enum tensor_type type;
        double max; // of the values' own RMS
    } cases[] = {{TENSOR_Q5_0, 0.045}, {TENSOR_Q5_1, 0.045}, {TENSOR_BF16, 0.002}, {TENSOR_F16, 0.0003}};
    float *zeros = xcalloc(n_values(t), sizeof *zeros);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float *y = round_trip(cases[i].type, t->data, n_values(t));
        double relative = rmse(y, t->data, n_values(t)) / rmse(zeros, t->data, n_values(t));
        printf("%s: RMSE %.5f of the RMS\n", quant_type_name(cases[i].type), relative);
        CHECK(relative < cases[i].max && relative > cases[i].max / 4);
        free(y);
    }
    free(zeros);
    gguf_close(source);
}

// Blocks on which a search could go astray: each must come back within the step of its own range, or within
// what the smallest f16 scale says: 2^-25 off, times the 128 and 32 of q6_K.
static void test_odd_blocks(void) {
    static const double tiny = 128 * 32 * 0x1p-25;
    static const enum tensor_type types[] = {TENSOR_Q8_0, TENSOR_Q4_0, TENSOR_Q5_0, TENSOR_Q5_1,
                                             TENSOR_Q4_K, TENSOR_Q5_K, TENSOR_Q6_K};
    static const float scales[] = {0, 1e-38F, 1e-5F, 0.05F, 1, QUANTISE_MAX};
    for (size_t k = 0; k < sizeof types / sizeof *types; k++)
        for (size_t s = 0; s < sizeof scales / sizeof *scales; s++)
            for (int shape = 0; shape < 5; shape++) {
                float x[256];
                for (int i = 0; i < 256; i++) {
                    float ramp = (float)i / 255.0F;
                    const float shapes[] = {1, -1, ramp, -ramp, i == 100 ? 1 : 0};
                    x[i] = scales[s] * shapes[shape];
                }
                float *y = round_trip(types[k], x, 256);
                for (size_t i = 0; i < 256; i++)
                    CHECK_NEAR(y[i], x[i], 0.08 * (double)scales[s] + tiny);
                free(y);
            }
}

static enum tensor_type type_of(const char *mix, const char *name, size_t n_in, size_t n_out,
                                size_t n_expert) {
    struct tensor t = {.type = TENSOR_BF16, .n_dims = n_out ? 2 : 1, .ne = {n_in, n_out ? n_out : 1, 1, 1}};
    snprintf(t.name, sizeof t.name, "%s", name);
    struct quantise_context c = {.n_layer = 32, .n_expert = n_expert};
    return quantise_type(quantise_mix_find(mix), &t, &c);
}

static void test_types(void) {
    static const struct {
        const char *mix, *name;
        size_t n_in, n_out, n_expert;
        enum tensor_type want;
    } cases[] = {
        {"q4_0", "blk.0.attn_q.weight", 512, 512, 0, TENSOR_Q4_0},
        {"q4_0", "output.weight", 512, 512, 0, TENSOR_Q6_K},
        {"q8_0", "output.weight", 512, 512, 0, TENSOR_Q8_0},
        {"Q4_K_M", "token_embd.weight", 512, 512, 0, TENSOR_Q4_K},
        {"q4_k_m", "blk.3.attn_v.weight", 512, 512, 0, TENSOR_Q6_K}, // the first eighth
        {"q4_k_m", "blk.4.attn_v.weight", 512, 512, 0, TENSOR_Q4_K},
        {"q4_k_m", "blk.6.ffn_down.weight", 512, 512, 0, TENSOR_Q6_K}, // every third
        {"q4_k_m", "blk.27.ffn_down.weight", 512, 512, 0, TENSOR_Q6_K},
        {"q5_k_m", "blk.28.ffn_down.weight", 512, 512, 0, TENSOR_Q6_K}, // the last eighth
        {"q5_k_m", "blk.7.ffn_down.weight", 512, 512, 0, TENSOR_Q5_K},
        {"q4_k_m", "blk.7.attn_qkv.weight", 512, 512, 0, TENSOR_Q5_K},
        {"q5_k_m", "blk.7.attn_qkv.weight", 512, 512, 0, TENSOR_Q6_K},
        {"q4_k_m", "blk.7.attn_k.weight", 512, 512, 8, TENSOR_Q8_0},
        {"q4_k_m", "blk.7.attn_output.weight", 512, 512, 8, TENSOR_Q5_K},
        {"q4_k_m", "blk.7.ffn_gate_inp.weight", 512, 8, 8, TENSOR_BF16},
        {"q4_k_m", "blk.7.attn_q.weight", 288, 512, 0, TENSOR_Q5_0}, // no multiple of 256
        {"q5_k_m", "blk.7.attn_q.weight", 288, 512, 0, TENSOR_Q5_1},
        {"q6_k", "blk.7.attn_q.weight", 288, 512, 0, TENSOR_Q8_0},
        {"q4_0", "blk.7.attn_q.weight", 48, 512, 0, TENSOR_F16}, // no multiple of 32
        {"q8_0", "blk.7.attn_norm.weight", 512, 0, 0, TENSOR_F32},
        {"q8_0", "blk.7.attn_q.bias", 512, 0, 0, TENSOR_F32},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        enum tensor_type got =
            type_of(cases[i].mix, cases[i].name, cases[i].n_in, cases[i].n_out, cases[i].n_expert);
        if (got != cases[i].want)
            printf("%s of %s: %s, want %s\n", cases[i].name, cases[i].mix, quant_type_name(got),
                   quant_type_name(cases[i].want));
        CHECK(got == cases[i].want);
    }
    CHECK(!quantise_mix_find("q4_k") && !quantise_mix_find("") && !quantise_mix_find("q4_k_mm"));
}

static bool stop_at_half(void *ctx, size_t done, size_t total) {
    (void)ctx;
    return done < total / 2;
}

static void check_copy(const struct gguf *from, const struct gguf *to) {
    uint64_t file_type = 0, version = 0;
    CHECK(gguf_get_uint(to, "general.file_type", 0, 99, &file_type, NULL, NULL) && file_type == 15);
    CHECK(gguf_get_uint(to, "general.quantization_version", 0, 99, &version, NULL, NULL) && version == 2);
    const struct gguf_key *a = gguf_find_key(from, "tokenizer.ggml.tokens"),
                          *b = gguf_find_key(to, "tokenizer.ggml.tokens");
    CHECK(a && b && a->n == b->n);
    for (size_t i = 0; a && b && i < a->n; i++)
        CHECK(a->strings[i].len == b->strings[i].len &&
              memcmp(a->strings[i].data, b->strings[i].data, a->strings[i].len) == 0);
    CHECK(gguf_n_tensors(from) == gguf_n_tensors(to));
    for (size_t i = 0; i < gguf_n_tensors(to); i++) {
        const struct tensor *t = gguf_tensor_at(to, i);
        float *x = dequantise(TENSOR_F32, gguf_find_tensor(from, t->name)->data, n_values(t));
        float *y = dequantise(t->type, t->data, n_values(t)), *once = round_trip(t->type, x, n_values(t));
        CHECK(memcmp(y, once, n_values(t) * sizeof *y) == 0); // the rows are where they belong
        free(x);
        free(y);
        free(once);
    }
}

static void test_file(void) {
    const char *folder = getenv("TMPDIR");
    char dir[512], path[sizeof dir + 8], part[sizeof path + 8];
    snprintf(dir, sizeof dir, "%s/test_quantise.XXXXXX", folder ? folder : P_tmpdir);
    CHECK(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/m.gguf", dir);
    snprintf(part, sizeof part, "%s.part", path);
    const struct quantise_mix *mix = quantise_mix_find("q4_k_m");
    struct gguf *g = open_golden(GOLDEN, "f32");
    struct pool *pool = pool_create(2);
    struct err err = {0};
    CHECK(!quantise_model(g, path, mix, pool, stop_at_half, NULL, &err));
    CHECK_ERR(&err, ERR_CANCELLED, "interrupted");
    CHECK(access(path, F_OK) != 0 && access(part, F_OK) != 0);
    err = (struct err){0};
    CHECK(quantise_model(g, path, mix, pool, NULL, NULL, &err));
    CHECK_STR(err.msg, "");
    CHECK(access(part, F_OK) != 0);
    struct gguf *made = gguf_open(path, &err);
    CHECK_STR(err.msg, "");
    if (made) {
        check_copy(g, made);
        err = (struct err){0};
        CHECK(!quantise_model(made, path, mix, pool, NULL, NULL, &err));
        CHECK_ERR(&err, ERR_INVALID_VALUE, "is the file to read");
        err = (struct err){0};
        CHECK(!quantise_model(made, part, quantise_mix_find("q8_0"), pool, NULL, NULL, &err));
        CHECK_ERR(&err, ERR_MODEL, "want f32, f16 or bf16 to quantise from");
    }
    gguf_close(made);
    gguf_close(g);
    pool_destroy(pool);
    unlink(path);
    rmdir(dir);
}

int main(void) {
    test_rmse();
    test_coarse_types();
    test_odd_blocks();
    test_types();
    test_file();
    return check_result();
}
