// Every family's golden model: how a prompt is cut into steps, and what runs beside it, changes no bit of its
// logits. The prompt is longer than the windows of the models that have some, and than any chunk.
#define _XOPEN_SOURCE 700 // scandir
#include "check.h"
#include "compute/ops.h"
#include "llm/llm.h"

#include <dirent.h>

#define GOLDEN "tests/golden/text"

enum { N_ROWS = 70, N_OTHER = 9, N_VOCAB_MAX = 400, FIRST_ID = 3 };

static struct ops *ops;

static struct llm_prompt *prompt_of(const struct llm *m, size_t n, uint32_t seed) {
    struct err err = {0};
    int32_t ids[N_ROWS];
    size_t n_ids = llm_n_vocab(m) - FIRST_ID;
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525U + 1013904223U;
        ids[i] = (int32_t)(FIRST_ID + (seed >> 8) % n_ids);
    }
    struct llm_prompt *p = llm_prompt_raw(m, ids, n, NULL, 0, &err);
    CHECK_STR(err.msg, "");
    return p;
}

// The logits [n_rows, n_vocab] of rows of a prompt; with `others` these run in the same step, wanting none.
static void feed(struct llm *m, struct llm_seq *seq, const struct llm_prompt *p, size_t first, size_t n_rows,
                 float *out, struct llm_rows *others, size_t n_others) {
    struct err err = {0};
    struct llm_rows rows[4] = {{0}};
    for (size_t i = 0; i < n_others; i++)
        rows[i] = others[i];
    rows[n_others] =
        (struct llm_rows){.seq = seq, .prompt = p, .first = first, .n_rows = n_rows, .all_logits = true};
    CHECK(llm_forward(m, rows, n_others + 1, NULL, NULL, &err));
    CHECK_STR(err.msg, "");
    if (err.code == ERR_NONE)
        memcpy(out, rows[n_others].logits, n_rows * llm_n_vocab(m) * sizeof *out);
}

static void check_same(const char *name, const char *how, size_t n, const float *want, const float *got,
                       size_t n_values) {
    if (memcmp(want, got, n_values * sizeof *want) == 0)
        return;
    printf("%s: %s of %zu: other logits, NMSE %g\n", name, how, n, check_nmse(got, want, n_values));
    check_failed++;
}

static void test_chunks(struct llm *m, const char *name, const struct llm_prompt *p, const float *whole) {
    static float got[N_ROWS * N_VOCAB_MAX];
    static const size_t chunks[] = {1, 7, 32};
    size_t n_vocab = llm_n_vocab(m);
    struct err err = {0};
    struct llm_seq *seq = llm_seq_create(m, &err);
    for (size_t c = 0; c < sizeof chunks / sizeof *chunks; c++) {
        llm_seq_truncate(seq, 0);
        memset(got, 0, sizeof got);
        for (size_t i = 0, n; i < N_ROWS; i += n) {
            n = N_ROWS - i < chunks[c] ? N_ROWS - i : chunks[c];
            feed(m, seq, p, i, n, got + i * n_vocab, NULL, 0);
        }
        check_same(name, "chunks", chunks[c], whole, got, N_ROWS * n_vocab);
    }
    llm_seq_destroy(seq);
}

// Beside a prompt and a sequence that decodes: in one step, and in chunks of 7.
static void test_neighbours(struct llm *m, const char *name, const struct llm_prompt *p, const float *whole) {
    static float got[N_ROWS * N_VOCAB_MAX], past[N_OTHER * N_VOCAB_MAX];
    static const size_t chunks[] = {7, N_ROWS};
    size_t n_vocab = llm_n_vocab(m);
    struct err err = {0};
    struct llm_prompt *other = prompt_of(m, N_OTHER, 99);
    struct llm_seq *seq = llm_seq_create(m, &err), *prefilling = llm_seq_create(m, &err),
                   *decoding = llm_seq_create(m, &err);
    feed(m, decoding, other, 0, N_OTHER, past, NULL, 0);
    for (size_t c = 0; c < sizeof chunks / sizeof *chunks; c++) {
        llm_seq_truncate(seq, 0);
        memset(got, 0, sizeof got);
        for (size_t i = 0, n; i < N_ROWS; i += n) {
            n = N_ROWS - i < chunks[c] ? N_ROWS - i : chunks[c];
            llm_seq_truncate(prefilling, 0);
            struct llm_rows others[] = {
                {.seq = prefilling, .prompt = other, .n_rows = N_OTHER},
                {.seq = decoding, .id = (int32_t)(FIRST_ID + i), .n_rows = 1, .want_logits = true},
            };
            feed(m, seq, p, i, n, got + i * n_vocab, others, 2);
        }
        check_same(name, "beside others, chunks", chunks[c], whole, got, N_ROWS * n_vocab);
    }
    llm_seq_destroy(seq);
    llm_seq_destroy(prefilling);
    llm_seq_destroy(decoding);
    llm_prompt_destroy(other);
}

static void test_family(const char *name) {
    static float whole[N_ROWS * N_VOCAB_MAX];
    struct err err = {0};
    char path[512];
    snprintf(path, sizeof path, GOLDEN "/%s/model.gguf", name);
    struct llm *m = llm_open(path, ops, &(struct llm_options){0}, &err);
    CHECK_STR(err.msg, "");
    if (!m)
        return;
    CHECK(llm_n_vocab(m) <= N_VOCAB_MAX);
    struct llm_prompt *p = prompt_of(m, N_ROWS, 1);
    struct llm_seq *seq = llm_seq_create(m, &err);
    feed(m, seq, p, 0, N_ROWS, whole, NULL, 0);
    test_chunks(m, name, p, whole);
    test_neighbours(m, name, p, whole);
    llm_seq_destroy(seq);
    llm_prompt_destroy(p);
    llm_close(m);
}

static int is_case(const struct dirent *entry) {
    return strncmp(entry->d_name, "tiny-", 5) == 0;
}

int main(void) {
    struct err err = {0};
    struct dirent **entries;
    int n = scandir(GOLDEN, &entries, is_case, alphasort);
    CHECK(n >= 20);
    ops = cpu_open(&(struct cpu_options){.n_threads = 2}, &err);
    CHECK(ops != NULL);
    for (int i = 0; i < n; i++) {
        if (ops)
            test_family(entries[i]->d_name);
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
    if (ops)
        ops->close(ops);
    printf("%d families\n", n);
    return check_result();
}
