// Rows of pictures in a prompt, for models with M-RoPE, with deepstack, and with rows that see each other both ways
// (Gemma 3, further than its window): how the prompt is cut into steps, what runs beside it, what the cache
// already holds and tokens one at a time change no bit of the logits.
#include "check.h"

#include "compute/ops.h"
#include "llm/llm.h"

enum {
    N_BEFORE = 9,
    N_LINES = 3,
    N_COLS = 5,
    N_IMAGE = N_LINES * N_COLS,
    N_AFTER = 8,
    N_IDS = N_BEFORE + N_AFTER
};
enum { N_ROWS = N_IDS + N_IMAGE, N_ROWS_MAX = 160, N_VOCAB_MAX = 400, N_EMBD_MAX = 400, FIRST_ID = 3 };

static const struct family {
    const char *path;
    bool grid, both_ways;
} families[] = {
    {"tests/golden/text/tiny-gemma3/model.gguf", false, true},
    {"tests/golden/text/tiny-qwen2vl/model.gguf", true, false},
    {"tests/golden/vision-families/qwen2vl-mrope/model.gguf", true, false},
    {"tests/golden/vision-families/qwen3vl-mrope/model.gguf", true, false}, // deepstack
    {"tests/golden/text/tiny-f32/model.gguf", false, false},
};

static struct ops *ops;
static float images[2][N_IMAGE * N_EMBD_MAX];

struct setup {
    const struct family *family;
    struct llm *m;
    size_t n_vocab;
};

static void fill_random(float *x, size_t n, uint32_t seed) {
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525U + 1013904223U;
        x[i] = (float)(seed >> 8) / (1 << 23) - 1;
    }
}

static struct llm_image image_of(const struct family *f, const char *key) {
    return (struct llm_image){.key = key,
                              .n_tokens = N_IMAGE,
                              .grid_width = f->grid ? N_COLS : 0,
                              .grid_height = f->grid ? N_LINES : 0,
                              .both_ways = f->both_ways};
}

// N_BEFORE ids, the first picture, ids that hang on `seed`.
static struct llm_prompt *prompt_of(const struct setup *s, const char *key, uint32_t seed) {
    struct err err = {0};
    int32_t ids[N_IDS];
    for (size_t i = 0; i < N_IDS; i++)
        ids[i] = (int32_t)(FIRST_ID + (i * 37 + (i >= N_BEFORE ? seed * 11 : 0)) % (s->n_vocab - FIRST_ID));
    struct llm_image image = image_of(s->family, key);
    struct llm_prompt *p = llm_prompt_raw(s->m, ids, N_IDS, &image, N_BEFORE, &err);
    CHECK_STR(err.msg, "");
    CHECK(llm_prompt_n_rows(p) == N_ROWS);
    llm_prompt_set_image_rows(p, 0, images[0]);
    return p;
}

// Two pictures and some text between, by a template.
static struct llm_prompt *chat_of(const struct setup *s) {
    struct err err = {0};
    const struct llm_part parts[] = {
        {.image = image_of(s->family, "one")},
        {.text = "and", .len = 3},
        {.image = image_of(s->family, "two")},
        {.text = "differ how?", .len = 11},
    };
    const struct llm_message message = {.role = LLM_USER, .parts = parts, .n_parts = 4};
    struct llm_prompt *p = llm_prompt_chat(s->m, &message, 1, &err);
    CHECK_STR(err.msg, "");
    CHECK(p && llm_prompt_n_images(p) == 2 && llm_prompt_n_rows(p) <= N_ROWS_MAX);
    for (size_t i = 0; i < 2; i++)
        llm_prompt_set_image_rows(p, i, images[i]);
    return p;
}

static bool step(const struct setup *s, struct llm_rows *rows, size_t n) {
    struct err err = {0};
    bool ok = llm_forward(s->m, rows, n, NULL, NULL, &err);
    CHECK_STR(err.msg, "");
    return ok;
}

// Rows from `first` on in steps of about `chunk` rows: logits [.., n_vocab] of each, at its place in `out`.
static void feed(const struct setup *s, struct llm_seq *seq, const struct llm_prompt *p, size_t first,
                 size_t chunk, float *out) {
    size_t n_rows = llm_prompt_n_rows(p);
    for (size_t i = first, n; i < n_rows; i += n) {
        n = llm_prompt_chunk(p, i, chunk);
        CHECK(n > 0 && n <= n_rows - i);
        struct llm_rows rows = {.seq = seq, .prompt = p, .first = i, .n_rows = n, .all_logits = true};
        if (!step(s, &rows, 1))
            return;
        memcpy(out + i * s->n_vocab, rows.logits, n * s->n_vocab * sizeof *out);
    }
}

static void check_same(const struct setup *s, const char *what, const float *want, const float *got,
                       size_t first, size_t n_rows) {
    size_t at = first * s->n_vocab, n = (n_rows - first) * s->n_vocab;
    if (memcmp(want + at, got + at, n * sizeof *want) == 0)
        return;
    printf("%s: %s: other logits, NMSE %g\n", s->family->path, what, check_nmse(got + at, want + at, n));
    check_failed++;
}

static struct llm_seq *new_seq(const struct setup *s) {
    struct err err = {0};
    struct llm_seq *seq = llm_seq_create(s->m, &err);
    CHECK(seq != NULL);
    return seq;
}

static void test_chunks(const struct setup *s, struct llm_prompt *p, const char *what) {
    static float whole[N_ROWS_MAX * N_VOCAB_MAX], got[N_ROWS_MAX * N_VOCAB_MAX];
    static const size_t chunks[] = {1, 2, 7, 20};
    size_t n_rows = llm_prompt_n_rows(p);
    struct llm_seq *seq = new_seq(s);
    feed(s, seq, p, 0, n_rows, whole);
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
        memset(got, 0, sizeof got);
        llm_seq_truncate(seq, 0);
        feed(s, seq, p, 0, chunks[i], got);
        check_same(s, what, whole, got, 0, n_rows);
    }
    llm_seq_destroy(seq);
}

// Beside another prompt with a picture and a sequence that decodes.
static void test_neighbours(const struct setup *s, struct llm_prompt *p, const float *whole) {
    static float got[N_ROWS * N_VOCAB_MAX];
    struct llm_prompt *other = prompt_of(s, "other", 5);
    struct llm_seq *seq = new_seq(s), *prefilling = new_seq(s), *decoding = new_seq(s);
    llm_prompt_set_image_rows(other, 0, images[1]);
    struct llm_rows start = {.seq = decoding, .prompt = other, .n_rows = N_ROWS};
    step(s, &start, 1);
    for (size_t i = 0, n; i < N_ROWS; i += n) {
        n = llm_prompt_chunk(p, i, 7);
        llm_seq_truncate(prefilling, 0);
        struct llm_rows rows[] = {
            {.seq = prefilling, .prompt = other, .n_rows = N_ROWS},
            {.seq = seq, .prompt = p, .first = i, .n_rows = n, .all_logits = true},
            {.seq = decoding, .id = (int32_t)(FIRST_ID + i), .n_rows = 1, .want_logits = true},
        };
        if (!step(s, rows, 3))
            break;
        memcpy(got + i * s->n_vocab, rows[1].logits, n * s->n_vocab * sizeof *got);
    }
    check_same(s, "beside others", whole, got, 0, N_ROWS);
    llm_seq_destroy(seq);
    llm_seq_destroy(prefilling);
    llm_seq_destroy(decoding);
    llm_prompt_destroy(other);
}

// What is in the cache serves another prompt up to the first difference; a picture counts whole or not at all.
static void test_match(const struct setup *s, struct llm_prompt *p, const float *whole) {
    static float got[N_ROWS * N_VOCAB_MAX];
    struct llm_prompt *similar = prompt_of(s, "one", 2), *other = prompt_of(s, "two", 1);
    struct llm_seq *seq = new_seq(s);
    llm_prompt_set_image_rows(other, 0, images[1]);
    feed(s, seq, similar, 0, 7, got);
    CHECK(llm_seq_match(seq, p) == N_BEFORE + N_IMAGE);
    CHECK(llm_seq_match(seq, other) == N_BEFORE);
    llm_seq_truncate(seq, N_BEFORE + N_IMAGE);
    feed(s, seq, p, N_BEFORE + N_IMAGE, 3, got);
    check_same(s, "after a match", whole, got, N_BEFORE + N_IMAGE, N_ROWS);

    llm_seq_truncate(seq, N_BEFORE + 4); // in the middle of the picture
    size_t n_past = llm_seq_match(seq, p);
    CHECK(n_past == N_BEFORE);
    llm_seq_truncate(seq, n_past);
    feed(s, seq, p, n_past, 4, got);
    check_same(s, "after a cut in the picture", whole, got, n_past, N_ROWS);
    llm_seq_destroy(seq);
    llm_prompt_destroy(similar);
    llm_prompt_destroy(other);
}

// The ids behind the picture as a sampler brings them: one at a time; then some forgotten and said anew.
static void test_decode(const struct setup *s, struct llm_prompt *p, const float *whole) {
    static float got[N_ROWS * N_VOCAB_MAX];
    struct llm_seq *seq = new_seq(s);
    struct llm_rows start = {.seq = seq, .prompt = p, .n_rows = N_BEFORE + N_IMAGE};
    step(s, &start, 1);
    for (size_t turn = 0; turn < 2; turn++) {
        size_t first = N_BEFORE + N_IMAGE + 3 * turn;
        llm_seq_truncate(seq, first);
        for (size_t i = first; i < N_ROWS; i++) {
            size_t at = i - N_IMAGE;
            struct llm_rows rows = {.seq = seq, .n_rows = 1, .want_logits = true};
            rows.id = (int32_t)(FIRST_ID + (at * 37 + 11) % (s->n_vocab - FIRST_ID)); // as prompt_of(.., 1)
            if (!step(s, &rows, 1))
                break;
            memcpy(got + i * s->n_vocab, rows.logits, s->n_vocab * sizeof *got);
        }
        check_same(s, "token by token", whole, got, first, N_ROWS);
    }
    llm_seq_destroy(seq);
}

static void test_family(const struct family *family) {
    static float whole[N_ROWS * N_VOCAB_MAX];
    struct err err = {0};
    struct llm_options options = {.chat_template = "chatml"};
    struct setup s = {.family = family, .m = llm_open(family->path, ops, &options, &err)};
    CHECK_STR(err.msg, "");
    if (!s.m)
        return;
    s.n_vocab = llm_n_vocab(s.m);
    CHECK(llm_n_embd_image(s.m) <= N_EMBD_MAX && s.n_vocab <= N_VOCAB_MAX);
    struct llm_prompt *p = prompt_of(&s, "one", 1), *two = chat_of(&s);
    struct llm_seq *seq = new_seq(&s);
    feed(&s, seq, p, 0, N_ROWS, whole);
    llm_seq_destroy(seq);
    test_chunks(&s, p, "chunks");
    test_chunks(&s, two, "chunks of two pictures");
    test_neighbours(&s, p, whole);
    test_match(&s, p, whole);
    test_decode(&s, p, whole);
    llm_prompt_destroy(p);
    llm_prompt_destroy(two);
    llm_close(s.m);
}

int main(void) {
    struct err err = {0};
    ops = cpu_open(&(struct cpu_options){.n_threads = 2}, &err);
    CHECK(ops != NULL);
    for (uint32_t i = 0; i < 2; i++)
        fill_random(images[i], N_IMAGE * N_EMBD_MAX, i);
    for (size_t i = 0; ops && i < sizeof families / sizeof *families; i++)
        test_family(&families[i]);
    if (ops)
        ops->close(ops);
    return check_result();
}
