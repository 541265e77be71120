// The forward pass against float64 logits; chunks, neighbours, truncation and cancelling change nothing.
#include "base/json.h"
#include "check.h"
#include "compute/ops.h"
#include "llm/llm.h"

enum { N_IDS = 24, N_VOCAB = 381 };

static struct ops *ops;
static int32_t ids[N_IDS];

static struct llm *open_model(const char *path, const struct llm_options *options) {
    struct err err = {0};
    struct llm *m = llm_open(path, ops, options, &err);
    if (!m) {
        printf("%s: %s\n", path, err.msg);
        exit(1);
    }
    return m;
}

static struct llm_prompt *prompt_of(const struct llm *m, size_t n) {
    struct err err = {0};
    struct llm_prompt *p = llm_prompt_raw(m, ids, n, NULL, 0, &err);
    CHECK_STR(err.msg, "");
    return p;
}

// Rows first .. first + n_rows - 1 of the prompt, all logits copied to out.
static void feed(struct llm *m, struct llm_seq *seq, const struct llm_prompt *p, size_t first, size_t n_rows,
                 float *out) {
    struct err err = {0};
    struct llm_rows rows = {.seq = seq, .prompt = p, .first = first, .n_rows = n_rows, .all_logits = true};
    CHECK(llm_forward(m, &rows, 1, NULL, NULL, &err));
    CHECK_STR(err.msg, "");
    if (err.code == ERR_NONE)
        memcpy(out, rows.logits, n_rows * N_VOCAB * sizeof *out);
}

static void test_golden(const char *type) {
    char path[128];
    size_t size;
    struct err err = {0};
    const char *root = check_text_cases(type);
    if (!root)
        return;
    snprintf(path, sizeof path, "%s/tiny-%s/case.json", root, type);
    char *text = check_read_file(path, &size);
    json_t *json = json_parse(text, size, 1 << 20, &err);
    json_t *tokens = json_object_get(json, "tokens");
    CHECK(json_array_size(tokens) == N_IDS);
    for (size_t i = 0; i < N_IDS; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(tokens, i));
    double max_nmse = json_number_value(json_object_get(json, "max_nmse"));
    snprintf(path, sizeof path, "%s/tiny-%s/logits.f32", root, type);
    float *want = check_read_file(path, &size);
    CHECK(size == sizeof(float) * N_IDS * N_VOCAB);
    snprintf(path, sizeof path, "%s/tiny-%s/model.gguf", root, type);
    struct llm *m = open_model(path, &(struct llm_options){.kv_type = LLM_KV_F32});
    struct llm_seq *seq = llm_seq_create(m, &err);
    struct llm_prompt *p = prompt_of(m, N_IDS);
    static float got[N_IDS * N_VOCAB];
    feed(m, seq, p, 0, N_IDS, got);
    double nmse = check_nmse(got, want, N_IDS * N_VOCAB);
    printf("tiny-%s: NMSE %.3g, at most %.3g\n", type, nmse, max_nmse);
    CHECK(max_nmse > 0 && nmse <= max_nmse);
    llm_prompt_destroy(p);
    llm_seq_destroy(seq);
    llm_close(m);
    json_decref(json);
    free(want);
    free(text);
}

static void test_chunks(struct llm *m) {
    static float whole[N_IDS * N_VOCAB], chunked[N_IDS * N_VOCAB];
    struct err err = {0};
    struct llm_prompt *p = prompt_of(m, N_IDS);
    struct llm_seq *seq = llm_seq_create(m, &err);
    feed(m, seq, p, 0, N_IDS, whole);
    for (size_t chunk = 1; chunk <= 7; chunk += chunk == 1 ? 2 : 4) { // 1, 3, 7
        llm_seq_truncate(seq, 0);
        memset(chunked, 0, sizeof chunked);
        for (size_t i = 0; i < N_IDS; i += chunk)
            feed(m, seq, p, i, N_IDS - i < chunk ? N_IDS - i : chunk, chunked + i * N_VOCAB);
        CHECK(memcmp(whole, chunked, sizeof whole) == 0);
    }
    llm_seq_truncate(seq, 10);
    CHECK(llm_seq_n_past(seq) == 10 && llm_seq_match(seq, p) == 10);
    feed(m, seq, p, 10, N_IDS - 10, chunked + 10 * N_VOCAB);
    CHECK(memcmp(whole, chunked, sizeof whole) == 0);
    CHECK(llm_seq_match(seq, p) == N_IDS - 1);
    llm_seq_destroy(seq);
    llm_prompt_destroy(p);
}

static void test_together(struct llm *m) {
    static float alone[N_VOCAB], other[5 * N_VOCAB];
    struct err err = {0};
    struct llm_prompt *p = prompt_of(m, N_IDS), *q = prompt_of(m, 5);
    struct llm_seq *a = llm_seq_create(m, &err), *b = llm_seq_create(m, &err);
    feed(m, b, q, 0, 5, other);
    static float past[12 * N_VOCAB];
    feed(m, a, p, 0, 12, past);
    feed(m, a, p, 12, 1, alone);
    llm_seq_truncate(a, 12);
    llm_seq_truncate(b, 0);
    struct llm_rows rows[] = {
        {.seq = b, .prompt = q, .n_rows = 5, .want_logits = true},
        {.seq = a, .id = ids[12], .n_rows = 1, .want_logits = true},
    };
    CHECK(llm_forward(m, rows, 2, NULL, NULL, &err));
    CHECK(memcmp(rows[0].logits, other + 4 * N_VOCAB, sizeof alone) == 0);
    CHECK(memcmp(rows[1].logits, alone, sizeof alone) == 0);
    CHECK(llm_seq_n_past(a) == 13 && llm_seq_n_past(b) == 5);
    llm_seq_destroy(a);
    llm_seq_destroy(b);
    llm_prompt_destroy(p);
    llm_prompt_destroy(q);
}

static bool cancel_second(void *ctx) {
    return ++*(int *)ctx == 2;
}

static void test_cancel(struct llm *m) {
    static float before[6 * N_VOCAB], after[2 * N_VOCAB], again[2 * N_VOCAB];
    struct err err = {0};
    struct llm_prompt *p = prompt_of(m, 8);
    struct llm_seq *seq = llm_seq_create(m, &err);
    feed(m, seq, p, 0, 6, before);
    feed(m, seq, p, 6, 2, after);
    llm_seq_truncate(seq, 6);
    int n_asked = 0;
    struct llm_rows rows = {.seq = seq, .prompt = p, .first = 6, .n_rows = 2, .want_logits = true};
    CHECK(!llm_forward(m, &rows, 1, cancel_second, &n_asked, &err));
    CHECK_ERR(&err, ERR_CANCELLED, "layer 1 of 2");
    CHECK(llm_seq_n_past(seq) == 6);
    feed(m, seq, p, 6, 2, again);
    CHECK(memcmp(after, again, sizeof after) == 0);
    llm_seq_destroy(seq);
    llm_prompt_destroy(p);
}

static struct llm_prompt *image_prompt(struct llm *m, const char *key, size_t n_tokens, const float *rows) {
    struct err err = {0};
    struct llm_prompt *p =
        llm_prompt_raw(m, ids, 6, &(struct llm_image){.key = key, .n_tokens = n_tokens}, 2, &err);
    llm_prompt_set_image_rows(p, 0, rows);
    return p;
}

static void test_match_images(struct llm *m) {
    static float rows[4 * 256], out[10 * N_VOCAB];
    struct err err = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        rows[i] = (float)(i % 7) * 0.1f - 0.3f;
    struct llm_prompt *p = image_prompt(m, "a", 4, rows), *other = image_prompt(m, "b", 4, rows),
                      *shorter = image_prompt(m, "a", 3, rows);
    struct llm_seq *seq = llm_seq_create(m, &err);
    CHECK(llm_seq_match(seq, p) == 0);
    feed(m, seq, p, 0, 4, out); // half of the image
    CHECK(llm_seq_match(seq, p) == 2);
    feed(m, seq, p, 4, 6, out);
    CHECK(llm_seq_match(seq, p) == 9);
    CHECK(llm_seq_match(seq, other) == 2);
    CHECK(llm_seq_match(seq, shorter) == 2);
    llm_seq_truncate(seq, 6);
    CHECK(llm_seq_match(seq, p) == 6);
    llm_seq_truncate(seq, 5);
    CHECK(llm_seq_match(seq, p) == 2);
    llm_prompt_set_image_rows(p, 0, NULL);
    struct llm_rows bad = {.seq = seq, .prompt = p, .first = 5, .n_rows = 1, .want_logits = true};
    CHECK(!llm_forward(m, &bad, 1, NULL, NULL, &err));
    CHECK_ERR(&err, ERR_INTERNAL, "never set");
    CHECK(llm_seq_n_past(seq) == 5);
    llm_seq_destroy(seq);
    llm_prompt_destroy(p);
    llm_prompt_destroy(other);
    llm_prompt_destroy(shorter);
}

static void test_context_exceeded(void) {
    static float out[8 * N_VOCAB];
    struct err err = {0};
    struct llm *m = open_model("tests/golden/text/tiny-f32/model.gguf", &(struct llm_options){.n_ctx = 8});
    struct llm_prompt *p = prompt_of(m, 8);
    struct llm_seq *seq = llm_seq_create(m, &err);
    feed(m, seq, p, 0, 8, out);
    struct llm_rows rows = {.seq = seq, .id = 3, .n_rows = 1, .want_logits = true};
    CHECK(!llm_forward(m, &rows, 1, NULL, NULL, &err));
    CHECK_ERR(&err, ERR_CONTEXT_EXCEEDED, "8 positions");
    CHECK(llm_seq_n_past(seq) == 8);
    llm_seq_destroy(seq);
    llm_prompt_destroy(p);
    llm_close(m);
}

// What 8 bits a value cost; heads that are no whole blocks are refused.
static void test_kv_q8_0(void) {
    static float exact[N_IDS * N_VOCAB], stored[N_IDS * N_VOCAB];
    static const char path[] = "tests/golden/text/tiny-f32/model.gguf";
    struct err err = {0};
    for (size_t i = 0; i < 2; i++) {
        struct llm *m = open_model(path, &(struct llm_options){.kv_type = i ? LLM_KV_Q8_0 : LLM_KV_F16});
        struct llm_prompt *p = prompt_of(m, N_IDS);
        struct llm_seq *seq = llm_seq_create(m, &err);
        feed(m, seq, p, 0, N_IDS, i ? stored : exact);
        llm_seq_destroy(seq);
        llm_prompt_destroy(p);
        llm_close(m);
    }
    double nmse = check_nmse(stored, exact, N_IDS * N_VOCAB);
    printf("KV cache of q8_0: NMSE %.3g of one of f16\n", nmse);
    CHECK(nmse > 0 && nmse < 4e-5);
    CHECK(!llm_open("tests/golden/text/tiny-llama3/model.gguf", ops,
                    &(struct llm_options){.kv_type = LLM_KV_Q8_0}, &err));
    CHECK_ERR(&err, ERR_INVALID_VALUE, "q8_0: its blocks are 32 values, the model's heads 8");
}

int main(void) {
    static const char *const types[] = {"f32", "f16", "bf16", "q8_0", "q4_0", "q4_k", "q5_k", "q6_k"};
    struct err err = {0};
    ops = cpu_open(&(struct cpu_options){.n_threads = 2}, &err);
    CHECK(ops != NULL);
    if (!ops)
        return check_result();
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        test_golden(types[i]);
    static const char *const models[] = {"tests/golden/text/tiny-f32/model.gguf",
                                         "tests/golden/text/tiny-q4_k/model.gguf"};
    static const enum llm_kv_type kv_types[] = {LLM_KV_F16, LLM_KV_Q8_0};
    for (size_t i = 0; i < 4; i++) {
        struct llm *m = open_model(models[i / 2], &(struct llm_options){.kv_type = kv_types[i % 2]});
        test_chunks(m);
        test_together(m);
        test_cancel(m);
        test_match_images(m);
        llm_close(m);
    }
    test_context_exceeded();
    test_kv_q8_0();
    ops->close(ops);
    return check_result();
}
