// Distributions worked out by hand, the order of the filters, penalties, seeds and bad logits.
#include "check.h"
#include "compute/ops.h"
#include "llm/model.h"
#include "llm/prompt.h"
#include "llm/sampler_chain.h"

enum { N_VOCAB = 5, N_DRAWS = 20000 };

static const struct llm model = {.n_vocab = N_VOCAB, .n_ctx = 64};
// Probabilities 0.5, 0.25, 0.125, 0.0625, 0.0625.
static const float logits[N_VOCAB] = {-0.693147f, -1.386294f, -2.079442f, -2.772589f, -2.772589f};

static struct llm_sampling plain(void) {
    return (struct llm_sampling){.temperature = 1, .top_p = 1, .repeat_penalty = 1, .seed = 7};
}

static void check_distribution(const struct llm_sampling *sampling, const double want[N_VOCAB]) {
    struct err err = {0};
    struct llm_sampler *s = llm_sampler_create(&model, sampling, &err);
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
    struct llm_sampler *s = llm_sampler_create(&model, &sampling, &err);
    int32_t id = -1;
    CHECK(llm_sampler_next(s, logits, &id, &err) && id == 3);
    llm_sampler_destroy(s);
}

// Greedy with these settings must give these ids from equal logits each time.
static void check_greedy(const struct llm_sampling *sampling, const float *values, const int32_t *want,
                         size_t n) {
    struct err err = {0};
    struct llm_sampler *s = llm_sampler_create(&model, sampling, &err);
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
    struct llm_sampler *a = llm_sampler_create(&model, &sampling, &err),
                       *b = llm_sampler_create(&model, &sampling, &err);
    sampling.seed++;
    struct llm_sampler *c = llm_sampler_create(&model, &sampling, &err);
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
    struct llm_sampler *s = llm_sampler_create(&model, &sampling, NULL);
    for (size_t i = 0; i < 3; i++) {
        struct err err = {0};
        float values[N_VOCAB] = {0, 1, 2, bad[i], 4};
        int32_t id;
        CHECK(!llm_sampler_next(s, values, &id, &err));
        CHECK_ERR(&err, ERR_INTERNAL, "token 3");
    }
    llm_sampler_destroy(s);
}

enum { N_WIDE = 8 };
static const struct llm wide = {.n_vocab = N_WIDE, .n_ctx = 64};
static const float wide_logits[N_WIDE] = {2, 1.5f, 0.5f, 0.25f, -0.5f, -1, -1.25f, -3};

// Numbers of tests/reference/sampling.py.
static void check_wide(const char *name, const struct llm_sampling *sampling, const double want[N_WIDE]) {
    struct err err = {0};
    struct llm_sampler *s = llm_sampler_create(&wide, sampling, &err);
    size_t counts[N_WIDE] = {0};
    for (size_t i = 0; i < N_DRAWS; i++) {
        int32_t id = 0;
        CHECK(llm_sampler_next(s, wide_logits, &id, &err));
        counts[id]++;
    }
    for (size_t i = 0; i < N_WIDE; i++) {
        double share = (double)counts[i] / N_DRAWS;
        if (fabs(share - want[i]) > 0.015 || (want[i] == 0 && counts[i] > 0)) {
            printf("%s: token %zu drawn %g, want %g\n", name, i, share, want[i]);
            check_failed++;
        }
    }
    llm_sampler_destroy(s);
}

static void test_filters(void) {
    struct llm_sampling s = plain();
    s.temperature = 0.7f;
    check_wide("temperature", &s,
               (const double[]){0.57430, 0.28114, 0.06738, 0.04714, 0.01615, 0.00790, 0.00553, 0.00045});
    s = plain();
    s.dynatemp_range = 0.75f;
    s.dynatemp_exponent = 1;
    check_wide("dynamic temperature", &s,
               (const double[]){0.38499, 0.26161, 0.12080, 0.09958, 0.05578, 0.03791, 0.03125, 0.00808});
    s.temperature = 0.5f; // from 0, not from -0.5
    s.dynatemp_range = 1;
    s.dynatemp_exponent = 2;
    check_wide("dynamic temperature from 0", &s,
               (const double[]){0.56171, 0.28233, 0.07132, 0.05057, 0.01802, 0.00906, 0.00642, 0.00058});
    s = plain();
    s.typical_p = 0.5f;
    check_wide("typical", &s, (const double[]){0.62246, 0.37754, 0, 0, 0, 0, 0, 0});
    s.typical_p = 0.2f; // the best one is not the most typical
    check_wide("typical without the best", &s, (const double[]){0, 1, 0, 0, 0, 0, 0, 0});
    s = plain();
    s.top_n_sigma = 1;
    check_wide("top-n-sigma 1", &s, (const double[]){0.54655, 0.33150, 0.12195, 0, 0, 0, 0, 0});
    s.top_n_sigma = 0.5f;
    check_wide("top-n-sigma 0.5", &s, (const double[]){0.62246, 0.37754, 0, 0, 0, 0, 0, 0});
    s = plain();
    s.xtc_probability = 1;
    s.xtc_threshold = 0.1f;
    check_wide("xtc", &s, (const double[]){0, 0, 0.38853, 0.30259, 0.14293, 0.08669, 0.06752, 0.01173});
    s.xtc_threshold = 0.3f; // only one is above: it stays
    check_wide("xtc of one", &s,
               (const double[]){0.45854, 0.27812, 0.10231, 0.07968, 0.03764, 0.02283, 0.01778, 0.00309});
    s.xtc_threshold = 0.1f;
    s.top_k = 2; // comes before: of two above the threshold one stays
    check_wide("top-k, xtc", &s, (const double[]){0, 1, 0, 0, 0, 0, 0, 0});
}

static void test_stages(void) {
    struct llm_sampling s = plain();
    s.xtc_probability = 1;
    s.xtc_threshold = 0.1f;
    s.top_k = 2;
    s.min_p = 0.9f; // not in the list, so off
    s.stages_set = true;
    s.stages[0] = LLM_STAGE_XTC;
    s.stages[1] = LLM_STAGE_TOP_K;
    check_wide("xtc, top-k", &s, (const double[]){0, 0, 0.56218, 0.43782, 0, 0, 0, 0});
    s = plain();
    s.temperature = 3;
    s.min_p = 0.4f;
    s.stages_set = true;
    s.stages[0] = LLM_STAGE_TEMPERATURE;
    s.stages[1] = LLM_STAGE_MIN_P;
    check_wide("temperature, min-p", &s,
               (const double[]){0.29022, 0.24567, 0.17603, 0.16195, 0.12613, 0, 0, 0});
    enum llm_sampler_stage stage = LLM_STAGE_END;
    CHECK(llm_sampler_stage_find("typ_p", &stage) && stage == LLM_STAGE_TYPICAL_P);
    CHECK(!llm_sampler_stage_find("tail_free", &stage));
}

static void test_mirostat(void) {
    struct llm_sampling s = plain();
    s.mirostat = 1;
    s.mirostat_tau = 1; // with eta 0 mu stays at 2
    s.top_k = 1;        // mirostat goes without it
    check_wide("mirostat 1", &s, (const double[]){0.62246, 0.37754, 0, 0, 0, 0, 0, 0});
    s.mirostat = 2;
    check_wide("mirostat 2", &s, (const double[]){0.62246, 0.37754, 0, 0, 0, 0, 0, 0});
    s.mirostat_tau = 0.2f;
    check_wide("mirostat 2 of one", &s, (const double[]){1, 0, 0, 0, 0, 0, 0, 0});
    // With eta the mean surprise comes to tau, between those of two candidates (0.956) and of three (1.37).
    struct err err = {0};
    s.mirostat_tau = 1.2f;
    s.mirostat_eta = 0.1f;
    struct llm_sampler *sampler = llm_sampler_create(&wide, &s, &err);
    size_t n_of_two = 0;
    for (size_t i = 0; i < N_DRAWS; i++) {
        int32_t id = 0;
        CHECK(llm_sampler_next(sampler, wide_logits, &id, &err));
        n_of_two += id < 2;
    }
    CHECK(n_of_two > N_DRAWS / 2 && n_of_two < N_DRAWS);
    llm_sampler_destroy(sampler);
}

// What is chosen greedily when a leads b and all others are far behind.
static int32_t of_two(struct llm_sampler *s, size_t n_vocab, int32_t a, float lead, int32_t b) {
    struct err err = {0};
    int32_t got = -1;
    float *values = calloc(n_vocab, sizeof *values);
    values[b] = 50;
    values[a] = 50 + lead;
    CHECK(llm_sampler_next(s, values, &got, &err));
    free(values);
    return got;
}

static void say(struct llm_sampler *s, size_t n_vocab, const int32_t *ids, size_t n) {
    for (size_t i = 0; i < n; i++)
        CHECK(of_two(s, n_vocab, ids[i], 1000, ids[i]) == ids[i]);
}

// After 1 2 3 4 1 2 3, a 4 would prolong a run of three.
static int32_t dry_choice(const struct llm_sampling *sampling, float lead) {
    struct err err = {0};
    static const int32_t said[] = {1, 2, 3, 4, 1, 2, 3};
    struct llm_sampler *s = llm_sampler_create(&wide, sampling, &err);
    say(s, N_WIDE, said, sizeof said / sizeof *said);
    int32_t id = of_two(s, N_WIDE, 4, lead, 5);
    llm_sampler_destroy(s);
    return id;
}

static struct llm_sampling dry(void) {
    struct llm_sampling s = plain();
    s.temperature = 0;
    s.dry_multiplier = 0.5f;
    s.dry_base = 3;
    s.dry_allowed_length = 1;
    s.dry_penalty_last_n = -1;
    return s;
}

static void test_dry(void) {
    struct llm_sampling s = dry();
    CHECK(dry_choice(&s, 4.4f) == 5); // 0.5 * 3^2 = 4.5
    CHECK(dry_choice(&s, 4.6f) == 4);
    s.dry_allowed_length = 4;
    CHECK(dry_choice(&s, 0.1f) == 4);
    s.dry_allowed_length = 1;
    s.dry_penalty_last_n = 6; // 2 3 4 1 2 3: a run of two
    CHECK(dry_choice(&s, 1.4f) == 5);
    CHECK(dry_choice(&s, 1.6f) == 4);
    s.dry_penalty_last_n = 3;
    CHECK(dry_choice(&s, 0.1f) == 4);
    s.dry_penalty_last_n = 0;
    CHECK(dry_choice(&s, 0.1f) == 4);
}

// A prompt with an image in its middle, then maybe a choice, then one draw; the numbers are sampling.py's.
static void check_seen(const char *name, struct llm_sampling sampling, bool chosen,
                       const double want[N_WIDE]) {
    static int32_t ids[] = {0, 1, 1, 5, PROMPT_IMAGE_ROW, PROMPT_IMAGE_ROW, 0, 2, 6, 0};
    static const struct llm_prompt prompt = {.n_rows = sizeof ids / sizeof *ids, .ids = ids};
    static const int32_t choice = 2;
    struct err err = {0};
    size_t counts[N_WIDE] = {0};
    for (size_t i = 0; i < N_DRAWS; i++) {
        sampling.seed = i;
        struct llm_sampler *s = llm_sampler_create(&wide, &sampling, &err);
        int32_t id = 0;
        llm_sampler_see(s, &prompt);
        if (chosen)
            say(s, N_WIDE, &choice, 1);
        CHECK(llm_sampler_next(s, wide_logits, &id, &err));
        counts[id]++;
        llm_sampler_destroy(s);
    }
    for (size_t i = 0; i < N_WIDE; i++)
        if (fabs((double)counts[i] / N_DRAWS - want[i]) > 0.015) {
            printf("%s: token %zu drawn %g, want %g\n", name, i, (double)counts[i] / N_DRAWS, want[i]);
            check_failed++;
        }
}

static void test_prompt(void) {
    struct llm_sampling s = plain();
    s.repeat_penalty = 1.3f;
    s.presence_penalty = 0.25f;
    s.frequency_penalty = 0.5f;
    s.penalty_last_n = 64;
    check_seen("penalties of the prompt", s, false,
               (const double[]){0.17696, 0.19860, 0.15172, 0.28074, 0.13261, 0.02815, 0.02034, 0.01089});
    s.penalty_last_n = 4;
    check_seen("of its last 4", s, false,
               (const double[]){0.14974, 0.50293, 0.07787, 0.14409, 0.06806, 0.04128, 0.01044, 0.00559});
    check_seen("of its last 3 and a choice", s, true,
               (const double[]){0.23149, 0.47157, 0.04429, 0.13511, 0.06382, 0.03871, 0.00979, 0.00524});
    s = dry();
    s.temperature = 1;
    s.dry_multiplier = 0.75f;
    s.dry_base = 2;
    check_seen("DRY of the prompt", s, false,
               (const double[]){0.57370, 0.16437, 0.06047, 0.09969, 0.04709, 0.02856, 0.02224, 0.00387});
    check_seen("DRY of the prompt and a choice", s, true,
               (const double[]){0.46497, 0.28202, 0.10375, 0.08080, 0.03817, 0.02315, 0.00402, 0.00313});
}

// The last of its tokens.
static int32_t id_of(const struct llm *m, const char *text) {
    struct err err = {0};
    size_t n = 0;
    int32_t *ids = llm_tokenize(m, text, strlen(text), false, 0, &n, &err);
    int32_t id = ids && n > 0 ? ids[n - 1] : -1;
    free(ids);
    return id;
}

// A breaker that spans two tokens of the run leaves only what is behind it.
static void test_dry_breakers(const struct llm *m) {
    struct err err = {0};
    const int32_t x = id_of(m, "#x"), y = id_of(m, "#y"), z = id_of(m, "#z"), end = id_of(m, "#!");
    static const char *const breakers[] = {"never", "xy"};
    const int32_t said[] = {x, y, z, end, x, y, z};
    struct llm_sampling sampling = dry();
    sampling.dry_breakers = breakers;
    for (size_t n = 1; n <= 2; n++) {
        float penalty = n == 1 ? 4.5f : 0.5f; // 0.5 * 3^2; behind "xy" 0.5 * 3^0
        sampling.n_dry_breakers = n;
        for (int less = 0; less < 2; less++) {
            struct llm_sampler *s = llm_sampler_create(m, &sampling, &err);
            say(s, llm_n_vocab(m), said, sizeof said / sizeof *said);
            float lead = penalty + (less ? -0.1f : 0.1f);
            CHECK(of_two(s, llm_n_vocab(m), end, lead, x) == (less ? x : end));
            llm_sampler_destroy(s);
        }
    }
}

static void test_ignore_eos(const struct llm *m) {
    struct err err = {0};
    int32_t stop = 0, x = id_of(m, "#x");
    while (!llm_token_is_end(m, stop))
        stop++;
    for (int ignored = 0; ignored < 2; ignored++) {
        struct llm_sampling sampling = plain();
        sampling.temperature = 0;
        sampling.ignore_eos = ignored;
        struct llm_sampler *s = llm_sampler_create(m, &sampling, &err);
        CHECK(of_two(s, llm_n_vocab(m), stop, 1, x) == (ignored ? x : stop));
        llm_sampler_destroy(s);
    }
}

static void test_with_vocabulary(void) {
    struct err err = {0};
    struct ops *ops = cpu_open(&(struct cpu_options){.n_threads = 1}, &err);
    struct llm *m = llm_open("samples/demo/demo-llm-f16.gguf", ops, &(struct llm_options){0}, &err);
    CHECK_STR(err.msg, "");
    if (!m)
        return;
    test_dry_breakers(m);
    test_ignore_eos(m);
    llm_close(m);
    ops->close(ops);
}

static void test_logprobs(void) {
    static const double want[N_WIDE] = {-0.779700, -1.279700, -2.279700, -2.529700,
                                        -3.279700, -3.779700, -4.029700, -5.779700};
    struct llm_logprob top[3] = {0};
    CHECK_NEAR(llm_logprobs(wide_logits, N_WIDE, 5, top, 3), want[5], 1e-5);
    for (int32_t i = 0; i < 3; i++) {
        CHECK(top[i].id == i);
        CHECK_NEAR(top[i].logprob, want[i], 1e-5);
    }
    static const float equal[4] = {1, 7, 7, 0};
    CHECK_NEAR(llm_logprobs(equal, 4, 1, top, 2), -0.694841, 1e-5); // -ln(2 + e^-6 + e^-7)
    CHECK(top[0].id == 1 && top[1].id == 2);
    CHECK_NEAR(llm_logprobs(equal, 4, 2, NULL, 0), -0.694841, 1e-5);
}

// The k best of many with equal ones among them, also where some have been put in order before.
static void test_top_k(void) {
    enum { N = 500 };
    static const size_t ks[] = {1, 2, 3, 40, N - 1}, n_sorted[] = {0, 2, 41};
    struct candidate c[N], all[N];
    for (size_t i = 0; i < N; i++) {
        float logit = (float)(i * 7919 % 101);
        all[i] = (struct candidate){logit, logit, (int32_t)i};
    }
    for (size_t t = 0; t < 15; t++) {
        size_t k = ks[t % 5], sorted = n_sorted[t / 5];
        struct chain ch;
        memcpy(c, all, sizeof c);
        chain_begin(&ch, c, N);
        if (sorted)
            chain_best(&ch, sorted - 1);
        chain_top_k(&ch, k);
        CHECK(chain_n(&ch) == k);
        for (size_t i = 0; i < k && chain_n(&ch) == k; i++) {
            const struct candidate *best = chain_best(&ch, i);
            size_t n_better = 0;
            for (size_t other = 0; other < N; other++)
                n_better += all[other].logit > best->logit ||
                            (all[other].logit >= best->logit && all[other].id < best->id);
            CHECK(n_better == i);
        }
    }
}

int main(void) {
    test_top_k();
    test_filters();
    test_stages();
    test_mirostat();
    test_dry();
    test_prompt();
    test_with_vocabulary();
    test_logprobs();
    test_distributions();
    test_bias();
    test_penalties();
    test_seed();
    test_bad_logits();
    return check_result();
}
