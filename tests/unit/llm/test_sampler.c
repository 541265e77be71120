// Distributions worked out by hand, the order of the filters, penalties, seeds and bad logits.
#include "check.h"
#include "llm/model.h"

enum { N_VOCAB = 5, N_DRAWS = 20000 };

static const struct llm model = {.n_vocab = N_VOCAB, .n_ctx = 64};
// Probabilities 0.5, 0.25, 0.125, 0.0625, 0.0625.
static const float logits[N_VOCAB] = {-0.693147f, -1.386294f, -2.079442f, -2.772589f, -2.772589f};

static struct llm_sampling plain(void) {
    return (struct llm_sampling){.temperature = 1, .top_p = 1, .repeat_penalty = 1, .seed = 7};
}

static void check_distribution(const struct llm_sampling *sampling, const double want[N_VOCAB]) {
    struct err err = {0};
    struct llm_sampler *s = llm_sampler_create(&model, sampling);
    size_t counts[N_VOCAB] = {0};
    for (size_t i = 0; i < N_DRAWS; i++) {
        int32_t id = -1;
        CHECK(llm_sampler_next(s, logits, &id, &err));
        CHECK(id >= 0 && id < N_VOCAB);
        if (id >= 0 && id < N_VOCAB)
            counts[id]++;
    }
    for (size_t i = 0; i < N_VOCAB; i++) {
        CHECK_NEAR((double)counts[i] / N_DRAWS, want[i], 0.015);
        if (want[i] == 0)
            CHECK(counts[i] == 0);
    }
    llm_sampler_destroy(s);
}

static void test_distributions(void) {
    struct llm_sampling s = plain();
    check_distribution(&s, (const double[]){0.5, 0.25, 0.125, 0.0625, 0.0625});
    s.temperature = 0.5f; // squares: 64, 16, 4, 1, 1 of 86
    check_distribution(&s, (const double[]){0.7442, 0.1860, 0.0465, 0.0116, 0.0116});
    s = plain();
    s.top_k = 2;
    check_distribution(&s, (const double[]){2.0 / 3, 1.0 / 3, 0, 0, 0});
    s = plain();
    s.top_p = 0.7f; // 0.5 is less, 0.75 is enough
    check_distribution(&s, (const double[]){2.0 / 3, 1.0 / 3, 0, 0, 0});
    s = plain();
    s.top_k = 3; // 4/7, 2/7, 1/7: two reach 0.8, where without top-k it takes three
    s.top_p = 0.8f;
    check_distribution(&s, (const double[]){2.0 / 3, 1.0 / 3, 0, 0, 0});
    s = plain();
    s.min_p = 0.2f; // 0.1 and more of all
    check_distribution(&s, (const double[]){4.0 / 7, 2.0 / 7, 1.0 / 7, 0, 0});
    s.temperature = 100; // comes after the filters
    check_distribution(&s, (const double[]){0.336, 0.333, 0.331, 0, 0});
}

static void test_bias(void) {
    struct err err = {0};
    const struct llm_logit_bias bias = {3, 50};
    struct llm_sampling sampling = plain();
    sampling.temperature = 0;
    sampling.biases = &bias;
    sampling.n_biases = 1;
    struct llm_sampler *s = llm_sampler_create(&model, &sampling);
    int32_t id = -1;
    CHECK(llm_sampler_next(s, logits, &id, &err) && id == 3);
    llm_sampler_destroy(s);
}

// Greedy with these settings must give these ids from equal logits each time.
static void check_greedy(const struct llm_sampling *sampling, const float *values, const int32_t *want,
                         size_t n) {
    struct err err = {0};
    struct llm_sampler *s = llm_sampler_create(&model, sampling);
    for (size_t i = 0; i < n; i++) {
        int32_t id = -1;
        CHECK(llm_sampler_next(s, values, &id, &err));
        CHECK(id == want[i]);
    }
    llm_sampler_destroy(s);
}

static void test_penalties(void) {
    static const float values[N_VOCAB] = {2, 1.5f, 2, -1, -2};
    struct llm_sampling s = plain();
    s.temperature = 0;
    check_greedy(&s, values, (const int32_t[]){0, 0, 0}, 3); // the first of equals
    s.penalty_last_n = 8;
    s.repeat_penalty = 2; // 0 and 2 fall to 1, 1 to 0.75
    check_greedy(&s, values, (const int32_t[]){0, 2, 1, 0}, 4);
    s.penalty_last_n = 1; // only the last choice is held back
    check_greedy(&s, values, (const int32_t[]){0, 2, 0, 2}, 4);
    s = plain();
    s.temperature = 0;
    s.penalty_last_n = 8;
    s.presence_penalty = 1; // once, however often
    check_greedy(&s, values, (const int32_t[]){0, 2, 1, 0, 0}, 5);
    s.presence_penalty = 0;
    s.frequency_penalty = 0.4f; // 2, 1.6, 1.2 and so on
    check_greedy(&s, values, (const int32_t[]){0, 2, 0, 2, 1, 0}, 6);
    static const float negative[N_VOCAB] = {-1, -1.5f, -9, -9, -9};
    s.frequency_penalty = 0;
    s.repeat_penalty = 2; // -1 becomes -2, not -0.5
    check_greedy(&s, negative, (const int32_t[]){0, 1, 0}, 3);
}

static void test_seed(void) {
    struct err err = {0};
    struct llm_sampling sampling = plain();
    struct llm_sampler *a = llm_sampler_create(&model, &sampling), *b = llm_sampler_create(&model, &sampling);
    sampling.seed++;
    struct llm_sampler *c = llm_sampler_create(&model, &sampling);
    size_t n_other = 0;
    for (size_t i = 0; i < 100; i++) {
        int32_t x = -1, y = -2, z = -3;
        CHECK(llm_sampler_next(a, logits, &x, &err) && llm_sampler_next(b, logits, &y, &err) &&
              llm_sampler_next(c, logits, &z, &err));
        CHECK(x == y);
        n_other += x != z;
    }
    CHECK(n_other > 20);
    llm_sampler_destroy(a);
    llm_sampler_destroy(b);
    llm_sampler_destroy(c);
}

static void test_bad_logits(void) {
    const float bad[] = {NAN, INFINITY, -INFINITY};
    struct llm_sampling sampling = plain();
    struct llm_sampler *s = llm_sampler_create(&model, &sampling);
    for (size_t i = 0; i < 3; i++) {
        struct err err = {0};
        float values[N_VOCAB] = {0, 1, 2, bad[i], 4};
        int32_t id;
        CHECK(!llm_sampler_next(s, values, &id, &err));
        CHECK_ERR(&err, ERR_INTERNAL, "token 3");
    }
    llm_sampler_destroy(s);
}

int main(void) {
    test_distributions();
    test_bias();
    test_penalties();
    test_seed();
    test_bad_logits();
    return check_result();
}
