// Embeddings: the hidden rows times the output matrix are the float64 golden logits, in whatever steps they come;
// pooling against the same rows; what a file may say of it.
#include "base/json.h"
#include "check.h"
#include "compute/gguf.h"
#include "compute/ops.h"
#include "gguf_writer.h"
#include "llm/model.h"

enum { N_IDS = 24, N_VOCAB = 381, N_EMBD_MAX = 1024 };

#define FOLDER "tests/golden/text/tiny-f32"

static int32_t ids[N_IDS];
static float hidden[N_IDS * N_EMBD_MAX]; // [N_IDS, n_embd]

static void read_ids(void) {
    size_t size;
    struct err err = {0};
    char *text = check_read_file(FOLDER "/case.json", &size);
    json_t *json = json_parse(text, size, 1 << 20, &err), *tokens = json_object_get(json, "tokens");
    CHECK(json_array_size(tokens) == N_IDS);
    for (size_t i = 0; i < N_IDS; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(tokens, i));
    json_decref(json);
    free(text);
}

// The prompt in steps of `chunk` rows beside a stream of another sequence; e (may be NULL) pools it.
static void feed(struct llm *m, size_t chunk, float *out, struct llm_embedding *e) {
    struct err err = {0};
    size_t n_embd = llm_n_embd(m);
    struct llm_prompt *p = llm_prompt_raw(m, ids, N_IDS, NULL, 0, &err);
    struct llm_seq *seq = llm_seq_create(m, &err), *stream = llm_seq_create(m, &err);
    for (size_t first = 0, n; first < N_IDS; first += n) {
        n = N_IDS - first < chunk ? N_IDS - first : chunk;
        struct llm_rows rows[] = {
            {.seq = stream, .id = 5, .n_rows = 1, .want_logits = true},
            {.seq = seq, .prompt = p, .first = first, .n_rows = n, .want_hidden = true},
        };
        CHECK(llm_forward(m, rows, 2, NULL, NULL, &err));
        CHECK(rows[0].logits && !rows[0].hidden && !rows[1].logits && rows[1].hidden);
        memcpy(out + first * n_embd, rows[1].hidden, n * n_embd * sizeof *out);
        if (e)
            llm_embedding_add(e, &rows[1]);
    }
    llm_seq_destroy(stream);
    llm_seq_destroy(seq);
    llm_prompt_destroy(p);
}

static void test_hidden(struct llm *m) {
    struct err err = {0};
    size_t size, n_embd = llm_n_embd(m);
    float *want = check_read_file(FOLDER "/logits.f32", &size);
    CHECK(size == sizeof(float) * N_IDS * N_VOCAB && n_embd <= N_EMBD_MAX);
    struct gguf *g = gguf_open(FOLDER "/model.gguf", &err);
    const struct tensor *output = gguf_find_tensor(g, "output.weight");
    CHECK(output && output->type == TENSOR_F32 && output->ne[0] == n_embd && output->ne[1] == N_VOCAB);
    feed(m, N_IDS, hidden, NULL);
    static float got[N_IDS * N_VOCAB];
    for (size_t i = 0; i < N_IDS; i++)
        for (size_t v = 0; v < N_VOCAB; v++) {
            const float *row = (const float *)output->data + v * n_embd;
            double sum = 0;
            for (size_t k = 0; k < n_embd; k++)
                sum += (double)row[k] * (double)hidden[i * n_embd + k];
            got[i * N_VOCAB + v] = (float)sum;
        }
    double nmse = check_nmse(got, want, N_IDS * N_VOCAB);
    printf("hidden rows: NMSE %.3g of the logits\n", nmse);
    CHECK(nmse < 1e-9);
    gguf_close(g);
    free(want);
}

static void test_pooling(struct llm *m) {
    static float again[N_IDS * N_EMBD_MAX], plain[N_EMBD_MAX], unit[N_EMBD_MAX];
    const enum llm_pooling poolings[] = {LLM_POOLING_MEAN, LLM_POOLING_CLS, LLM_POOLING_LAST};
    size_t n_embd = llm_n_embd(m);
    for (size_t i = 0; i < 3; i++)
        for (size_t chunk = 1; chunk <= 13; chunk += 6) { // 1, 7, 13
            struct err err = {0};
            struct llm_embedding *e = llm_embedding_create(m, poolings[i], N_IDS, &err);
            feed(m, chunk, again, e);
            CHECK(memcmp(hidden, again, N_IDS * n_embd * sizeof *again) == 0);
            CHECK(llm_embedding_finish(e, false, plain, &err) && llm_embedding_finish(e, true, unit, &err));
            double length = 0, dot = 0, plain_length = 0;
            for (size_t k = 0; k < n_embd; k++) {
                double mean = 0;
                for (size_t r = 0; r < N_IDS; r++)
                    mean += (double)hidden[r * n_embd + k] / N_IDS;
                double want = poolings[i] == LLM_POOLING_MEAN  ? mean
                              : poolings[i] == LLM_POOLING_CLS ? (double)hidden[k]
                                                               : (double)hidden[(N_IDS - 1) * n_embd + k];
                CHECK_NEAR((double)plain[k], want, 1e-6);
                length += (double)unit[k] * (double)unit[k];
                plain_length += (double)plain[k] * (double)plain[k];
                dot += (double)plain[k] * (double)unit[k];
            }
            CHECK_NEAR(length, 1, 1e-6);
            CHECK_NEAR(dot, sqrt(plain_length), 1e-5 * dot);
            llm_embedding_destroy(e);
        }
}

// What a file says of pooling.
static void test_file_pooling(void) {
    const struct {
        uint32_t type;
        enum llm_pooling want;
    } cases[] = {{0, LLM_POOLING_MEAN}, {1, LLM_POOLING_MEAN}, {2, LLM_POOLING_CLS}, {3, LLM_POOLING_LAST}};
    static const struct arch llama = {.name = "llama"};
    for (size_t i = 0; i <= 4; i++) {
        struct err err = {0};
        struct gguf_writer w;
        writer_init(&w);
        writer_u32(&w, "llama.pooling_type", i < 4 ? cases[i].type : 4);
        char path[64];
        writer_save(&w, path, sizeof path);
        struct llm m = {.gguf = gguf_open(path, &err), .arch = &llama, .name = "ranker"};
        enum llm_pooling pooling = LLM_POOLING_MEAN;
        if (i < 4)
            CHECK(llm_pooling(&m, &pooling, &err) && pooling == cases[i].want);
        else
            CHECK(!llm_pooling(&m, &pooling, &err));
        if (i == 4)
            CHECK_ERR(&err, ERR_MODEL, "ranker: key llama.pooling_type is 4, want 0 to 3");
        gguf_close(m.gguf);
        writer_clear(&w);
    }
}

int main(void) {
    struct err err = {0};
    struct ops *ops = cpu_open(&(struct cpu_options){.n_threads = 2}, &err);
    struct llm *m = llm_open(FOLDER "/model.gguf", ops, &(struct llm_options){.kv_type = LLM_KV_F32}, &err);
    CHECK_STR(err.msg, "");
    if (!m)
        return check_result();
    read_ids();
    test_hidden(m);
    test_pooling(m);
    enum llm_pooling pooling = LLM_POOLING_CLS;
    CHECK(llm_pooling(m, &pooling, &err) && pooling == LLM_POOLING_MEAN); // the file says nothing
    llm_close(m);
    test_file_pooling();
    ops->close(ops);
    return check_result();
}
