// The tokenizer on the demo model's vocabulary and on vocabularies that lie.
#include "check.h"
#include "gguf_writer.h"

#include "base/clock.h"
#include "llm/tokenizer.h"

#define DEMO "samples/demo/demo-llm-f16.gguf"

static struct gguf *file;
static struct tokenizer *tok;

static bool open_vocab(const char *path, struct err *err) {
    file = gguf_open(path, err);
    tok = file ? tokenizer_open(file, err) : NULL;
    return tok != NULL;
}

static void close_vocab(void) {
    tokenizer_close(tok);
    gguf_close(file);
    tok = NULL;
    file = NULL;
}

// Prints both lists where they differ.
static bool ids_equal(const char *text, const struct token_ids *got, const int32_t *want, size_t n_want) {
    if (got->n == n_want && (n_want == 0 || memcmp(got->ids, want, n_want * sizeof *want) == 0))
        return true;
    printf("\"%s\":\n  got ", text);
    for (size_t i = 0; i < got->n; i++)
        printf(" %d", got->ids[i]);
    printf("\n  want");
    for (size_t i = 0; i < n_want; i++)
        printf(" %d", want[i]);
    printf("\n");
    return false;
}

static void check_ids(const char *text, size_t len, bool parse_special, const int32_t *want, size_t n_want) {
    struct token_ids got = {0};
    CHECK(tokenizer_encode(tok, text, len, parse_special, &got, NULL));
    CHECK(ids_equal(text, &got, want, n_want));
    token_ids_clear(&got);
}

#define IDS(...) ((const int32_t[]){__VA_ARGS__}), sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t)

// Expected ids come from the tokenizer that trained the demo model.
static void check_demo_vocabulary(void) {
    struct err err = {0};
    if (!open_vocab(DEMO, &err)) {
        printf("%s\n", err.msg);
        CHECK(tok != NULL);
        return close_vocab();
    }
    CHECK(tokenizer_n_vocab(tok) == 1536);
    CHECK(tokenizer_bos(tok) == 1 && tokenizer_eos(tok) == 2);
    CHECK(tokenizer_adds_bos(tok) && !tokenizer_adds_eos(tok) && tokenizer_adds_space(tok));
    CHECK(tokenizer_is_end(tok, 2) && !tokenizer_is_end(tok, 1) && !tokenizer_is_end(tok, 300));
    CHECK(!tokenizer_is_end(tok, -1) && !tokenizer_is_end(tok, 1536));
    CHECK(tokenizer_find_special(tok, "</s>") == 2);
    CHECK(tokenizer_find_special(tok, "<|im_start|>") == TOKEN_NONE);
#define SYSTEM "A chat between a curious user and an artificial intelligence assistant. USER: "
    check_ids(SYSTEM, strlen(SYSTEM), false,
              IDS(264, 628, 637, 282, 635, 630, 342, 427, 642, 633, 621, 1454, 263, 1535));
#define QUESTION "\nCan you describe this photo? ASSISTANT:"
    check_ids(QUESTION, strlen(QUESTION), false, IDS(1535, 13, 618, 318, 593, 375, 506, 1471, 273));
    check_ids("Hello world", 11, false, IDS(788, 1245));
    check_ids(" Hello", 6, false, IDS(1535, 788));
    check_ids("  two  spaces ", 14, false, IDS(1535, 1535, 495, 1535, 1330, 327, 320, 1535));
    check_ids("What does it say? It says \042ZOO\042.", 32, false,
              IDS(325, 468, 397, 514, 1471, 387, 584, 274, 1498, 1487, 1487, 275));
    check_ids(
        "F\303\274hrer \360\237\230\200 \344\275\240\345\245\275", 19, false,
        IDS(954, 198, 191, 1512, 280, 1522, 1535, 243, 162, 155, 131, 1535, 231, 192, 163, 232, 168, 192));
    check_ids("tab\011new\012line", 12, false, IDS(276, 1505, 1506, 12, 1518, 1509, 1527, 13, 1516, 795));
    check_ids("12345", 5, false, IDS(1535, 1457, 1458, 1459, 1460, 1461));
    check_ids("aaaaaaaaaaaa", 12, false,
              IDS(282, 1505, 1505, 1505, 1505, 1505, 1505, 1505, 1505, 1505, 1505, 1505));
    check_ids("\342\226\201", 3, false, IDS(1535, 1535));
    check_ids(" ", 1, false, IDS(1535, 1535));
    check_ids("USER: ASSISTANT:", 16, false, IDS(263, 273));
    check_ids("There are three circles, two squares and one star.", 50, false,
              IDS(389, 333, 535, 663, 1452, 495, 672, 342, 414, 361, 1454));
    check_ids("", 0, false, NULL, 0);
    check_ids("\0", 1, false, IDS(1535, 3));
    check_ids("\xff\xc3", 2, false, IDS(1535, 3 + 0xff, 3 + 0xc3));
    check_ids("\xe2\x96", 2, false, IDS(1535, 3 + 0xe2, 3 + 0x96));
    check_ids("</s>", 4, true, IDS(2));
    check_ids("USER:</s>USER:", 14, true, IDS(263, 2, 263));
    struct token_ids got = {0};
    CHECK(tokenizer_encode(tok, "</s><s>", 7, false, &got, NULL));
    for (size_t i = 0; i < got.n; i++)
        CHECK(got.ids[i] > 2);
    token_ids_clear(&got);
    close_vocab();
}

// A long text is tokenized in a time that grows with its length, also when it is a single word.
static void check_speed(void) {
    if (!open_vocab(DEMO, NULL))
        return close_vocab();
    enum { LEN = 2 << 20 };
    static const char words[] = "How many blue circles are there on the left of the picture? ";
    char *text = malloc(LEN);
    for (int one_word = 0; one_word < 2; one_word++) {
        size_t len = one_word ? LEN / 4 : LEN;
        for (size_t i = 0; i < len; i++)
            text[i] = one_word && i % 3 ? "arest"[i * i % 5] : words[i % (sizeof words - 1)];
        for (size_t i = 0; one_word && i < len; i++)
            text[i] = text[i] == ' ' ? 'e' : text[i];
        struct token_ids got = {0};
        double begin = clock_ms();
        CHECK(tokenizer_encode(tok, text, len, false, &got, NULL));
        double ms = clock_ms() - begin;
        printf("%s: %zu bytes -> %zu tokens in %.0f ms, %.1f MB/s\n", one_word ? "one word" : "sentences",
               len, got.n, ms, (double)len / 1000 / ms);
        CHECK(ms < 20000); // quadratic time would take hours
        token_ids_clear(&got);
    }
    free(text);
    close_vocab();
}

// ---- vocabularies made here ----

struct vocab {
    const char *texts[16];
    float scores[16];
    int32_t types[16];
    size_t n;
};

static const struct vocab small = {
    .texts = {"<unk>", "<s>", "</s>", "a", "b", "ab", "ba", "\xe2\x96\x81", "<x>", "<xx>",
              "a\xe2\x96\x81"
              "b",
              "\xe2\x96\x81"
              "b"},
    .scores = {0, 0, 0, -5, -6, -1, -1, -7, 0, 0, -2, -3},
    .types = {2, 3, 3, 1, 1, 1, 1, 1, 4, 4, 1, 1},
    .n = 12,
};

static void write_vocab(struct gguf_writer *w, const struct vocab *v) {
    writer_string(w, "tokenizer.ggml.model", "llama");
    writer_strings(w, "tokenizer.ggml.tokens", v->texts, v->n);
    writer_array(w, "tokenizer.ggml.scores", GGUF_F32, v->scores, v->n, 4);
    writer_array(w, "tokenizer.ggml.token_type", GGUF_I32, v->types, v->n, 4);
}

static bool open_written(struct gguf_writer *w, struct err *err) {
    char path[64];
    writer_save(w, path, sizeof path);
    return open_vocab(path, err);
}

static void check_small_vocabulary(void) {
    struct gguf_writer w;
    struct err err = {0};
    writer_init(&w);
    write_vocab(&w, &small);
    writer_bool(&w, "tokenizer.ggml.add_space_prefix", false);
    CHECK(open_written(&w, &err));
    check_ids("aba", 3, false, IDS(5, 3));      // equal scores: the leftmost first
    check_ids("a b", 3, false, IDS(10));        // a piece across words: nothing may be cut at spaces
    check_ids("a<x>b", 5, false, IDS(3, 8, 4)); // user-defined tokens are always found
    check_ids("<xx><x", 6, false, IDS(9, 0));   // the longest first; no byte tokens: one <unk> for a run
    check_ids("</s>", 4, true, IDS(2));
    check_ids("<unk>", 5, true, IDS(0));
    close_vocab();
    writer_clear(&w);
}

// One broken thing a time: refused with these words, never a crash.
static void check_refused(struct gguf_writer *w, const char *part) {
    struct err err = {0};
    CHECK(!open_written(w, &err));
    CHECK_ERR(&err, ERR_MODEL, part);
    close_vocab();
    writer_clear(w);
}

static void check_hostile_vocabularies(void) {
    struct gguf_writer w;
    struct vocab v = small;

    writer_init(&w);
    writer_string(&w, "tokenizer.ggml.model", "rwkv");
    check_refused(&w, "tokenizer.ggml.model: \"rwkv\", want one of llama, gpt2, bert, t5");

    writer_init(&w);
    check_refused(&w, "tokenizer.ggml.model: missing");

    writer_init(&w);
    writer_string(&w, "tokenizer.ggml.model", "llama");
    check_refused(&w, "tokenizer.ggml.tokens: missing");

    writer_init(&w);
    writer_string(&w, "tokenizer.ggml.model", "llama");
    writer_array(&w, "tokenizer.ggml.tokens", GGUF_F32, v.scores, v.n, 4);
    check_refused(&w, "tokenizer.ggml.tokens");

    writer_init(&w);
    writer_string(&w, "tokenizer.ggml.model", "llama");
    writer_strings(&w, "tokenizer.ggml.tokens", v.texts, 0);
    check_refused(&w, "tokenizer.ggml.tokens: 0 tokens");

    writer_init(&w);
    writer_string(&w, "tokenizer.ggml.model", "llama");
    writer_strings(&w, "tokenizer.ggml.tokens", v.texts, v.n);
    writer_array(&w, "tokenizer.ggml.scores", GGUF_F32, v.scores, v.n - 1, 4);
    check_refused(&w, "tokenizer.ggml.scores: 11 items, want 12");

    writer_init(&w);
    writer_string(&w, "tokenizer.ggml.model", "llama");
    writer_strings(&w, "tokenizer.ggml.tokens", v.texts, v.n);
    writer_array(&w, "tokenizer.ggml.scores", GGUF_F32, v.scores, v.n, 4);
    writer_array(&w, "tokenizer.ggml.token_type", GGUF_I32, v.types, v.n + 1, 4);
    check_refused(&w, "tokenizer.ggml.token_type: 13 items");

    v.types[4] = 77;
    writer_init(&w);
    write_vocab(&w, &v);
    check_refused(&w, "tokenizer.ggml.token_type[4]: 77");

    writer_init(&w);
    write_vocab(&w, &small);
    writer_u32(&w, "tokenizer.ggml.eos_token_id", 12);
    check_refused(&w, "tokenizer.ggml.eos_token_id");

    writer_init(&w);
    write_vocab(&w, &small);
    writer_string(&w, "tokenizer.ggml.add_bos_token", "yes");
    check_refused(&w, "tokenizer.ggml.add_bos_token");
}

// Strange pieces are legal: empty ones, huge ones, byte tokens that are none, not a number for a score.
static void check_strange_pieces(void) {
    struct gguf_writer w;
    struct err err = {0};
    enum { HUGE_LEN = 1 << 20 };
    char *huge = malloc(HUGE_LEN + 2);
    memset(huge, 'a', HUGE_LEN + 1);
    huge[HUGE_LEN + 1] = 0;
    struct vocab v = {
        .texts = {"", "<0x-1>", "<0xZZ>", "<0x61>", huge + 1, "aa", "\xff", "\xe2\x96", "aaaa"},
        .scores = {0, 0, 0, 0, 5, NAN, 1, INFINITY, NAN},
        .types = {1, 6, 6, 6, 1, 1, 1, 1, 1},
        .n = 9,
    };
    writer_init(&w);
    write_vocab(&w, &v);
    CHECK(open_written(&w, &err));
    CHECK(tokenizer_longest_piece(tok) == HUGE_LEN);
    struct token_ids got = {0};
    CHECK(tokenizer_encode(tok, "aaaaab\xff\xe2\x96", 9, true, &got, &err));
    CHECK(got.n > 0);
    for (size_t i = 0; i < got.n; i++)
        CHECK(got.ids[i] >= 0 && got.ids[i] < 9);
    size_t len;
    enum token_type type;
    CHECK(*tokenizer_piece(tok, 3, &len, &type) == 'a' && len == 1 && type == TOKEN_BYTE);
    tokenizer_piece(tok, 1, &len, &type);
    CHECK(len == 6);
    token_ids_clear(&got);
    close_vocab();
    writer_clear(&w);

    v.texts[4] = huge;
    writer_init(&w);
    write_vocab(&w, &v);
    check_refused(&w, "tokenizer.ggml.tokens[4]: 1048577 bytes");

    huge[257] = 0;
    v = (struct vocab){.texts = {"a", huge}, .types = {1, 4}, .n = 2};
    writer_init(&w);
    write_vocab(&w, &v);
    check_refused(&w, "tokenizer.ggml.tokens[1]: a special token of 257 bytes, want at most 256");
    free(huge);

    v = (struct vocab){.texts = {"a"}, .types = {1}, .n = 1}; // no special token at all, no byte token
    writer_init(&w);
    write_vocab(&w, &v);
    CHECK(open_written(&w, &err));
    CHECK(!tokenizer_adds_bos(tok) && tokenizer_eos(tok) == TOKEN_NONE);
    check_ids("a", 1, false, IDS(0, 0));
    close_vocab();
    writer_clear(&w);
}

int main(void) {
    check_demo_vocabulary();
    check_speed();
    check_small_vocabulary();
    check_hostile_vocabularies();
    check_strange_pieces();
    return check_result();
}
