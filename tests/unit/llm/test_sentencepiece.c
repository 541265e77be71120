// SentencePiece's normaliser, Unigram and BPE against their plain reference (tests/reference/sentencepiece.py),
// and files whose rules lie.
#include "check.h"
#include "gguf_writer.h"
#include "vocab_check.h"

#include "base/clock.h"
#include "llm/tokenizer.h"

#include <jansson.h>

#define CASES    "tests/vocab/sentencepiece.json"
#define CHARSMAP "tokenizer.ggml.precompiled_charsmap"

enum { N_MAX = 1200, RULES_MAX = 1 << 16, TEXT_MAX = 4096 };

// The bytes written in hexadecimal; returns how many.
static size_t read_hex(const json_t *hex, unsigned char *out, size_t max) {
    const char *s = json_string_value(hex);
    size_t n = json_string_length(hex) / 2;
    CHECK(n <= max);
    for (size_t i = 0; i < n && i < max; i++) {
        char digits[3] = {s[i * 2], s[i * 2 + 1], 0};
        out[i] = (unsigned char)strtoul(digits, NULL, 16);
    }
    return n < max ? n : max;
}

static void write_set(struct gguf_writer *w, const json_t *set, const json_t *rules) {
    static const char *texts[N_MAX];
    static float scores[N_MAX];
    static int32_t types[N_MAX];
    static unsigned char bytes[RULES_MAX];
    size_t n = json_array_size(json_object_get(set, "tokens"));
    CHECK(n <= N_MAX);
    for (size_t i = 0; i < n && i < N_MAX; i++) {
        texts[i] = json_string_value(json_array_get(json_object_get(set, "tokens"), i));
        scores[i] = (float)json_number_value(json_array_get(json_object_get(set, "scores"), i));
        types[i] = (int32_t)json_integer_value(json_array_get(json_object_get(set, "types"), i));
    }
    writer_init(w);
    writer_string(w, "tokenizer.ggml.model", json_string_value(json_object_get(set, "model")));
    writer_strings(w, "tokenizer.ggml.tokens", texts, n);
    writer_array(w, "tokenizer.ggml.scores", GGUF_F32, scores, n, 4);
    writer_array(w, "tokenizer.ggml.token_type", GGUF_I32, types, n, 4);
    writer_u32(w, "tokenizer.ggml.unknown_token_id", 0);
    writer_u32(w, "tokenizer.ggml.eos_token_id", 2);
    writer_bool(w, "tokenizer.ggml.add_space_prefix", json_is_true(json_object_get(set, "add_space")));
    writer_bool(w, "tokenizer.ggml.remove_extra_whitespaces",
                json_is_true(json_object_get(set, "remove_spaces")));
    if (json_is_true(json_object_get(set, "has_rules")))
        writer_array(w, CHARSMAP, GGUF_U8, bytes, read_hex(rules, bytes, sizeof bytes), 1);
}

static struct tokenizer *open_written(struct gguf_writer *w, struct gguf **file, struct err *err) {
    char path[64];
    writer_save(w, path, sizeof path);
    *file = gguf_open(path, err);
    return *file ? tokenizer_open(*file, err) : NULL;
}

static void check_set(const json_t *set, const json_t *rules) {
    struct gguf_writer w;
    struct gguf *file;
    struct err err = {0};
    write_set(&w, set, rules);
    struct tokenizer *t = open_written(&w, &file, &err);
    CHECK_STR(err.msg, "");
    CHECK(t != NULL);
    bool is_unigram = strcmp(json_string_value(json_object_get(set, "model")), "t5") == 0;
    CHECK(tokenizer_adds_eos(t) == is_unigram && tokenizer_adds_bos(t) == !is_unigram);
    CHECK(tokenizer_is_end(t, 2) && !tokenizer_is_end(t, 1));
    CHECK(tokenizer_adds_space(t) == json_is_true(json_object_get(set, "add_space")));
    size_t i, n_ok = 0;
    json_t *entry, *cases = json_object_get(set, "cases");
    json_array_foreach(cases, i, entry) {
        unsigned char text[TEXT_MAX];
        size_t len = read_hex(json_array_get(entry, 0), text, sizeof text);
        struct token_ids got = {0};
        CHECK(tokenizer_encode(t, (const char *)text, len, false, &got, &err));
        if (vocab_ids_equal(&got, json_array_get(entry, 1)))
            n_ok++;
        else
            printf("case %zu differs: \"%.*s\"\n", i, (int)len, (const char *)text);
        token_ids_clear(&got);
    }
    printf("%s: %zu of %zu cases\n", json_string_value(json_object_get(set, "model")), n_ok,
           json_array_size(cases));
    CHECK(n_ok == json_array_size(cases) && n_ok > 0);
    tokenizer_close(t);
    gguf_close(file);
    writer_clear(&w);
}

// A long text takes a time that grows with its length; prints how much of English a second.
static void check_speed(const json_t *set, const json_t *rules) {
    enum { LEN = 1 << 20 };
    static const char sentence[] =
        "The people who made this found that it is only one way of many, 12 or 13. ";
    struct gguf_writer w;
    struct gguf *file;
    write_set(&w, set, rules);
    struct tokenizer *t = open_written(&w, &file, NULL);
    char *text = malloc(LEN);
    for (int one_word = 0; one_word < 2; one_word++) {
        for (size_t i = 0; i < LEN; i++)
            text[i] = one_word ? 'a' : sentence[i % (sizeof sentence - 1)];
        struct token_ids got = {0};
        double begin = clock_ms();
        CHECK(t && tokenizer_encode(t, text, LEN, false, &got, NULL));
        double ms = clock_ms() - begin;
        printf("unigram, %s: %.1f MB/s\n", one_word ? "one word" : "sentences", LEN / 1000 / ms);
        CHECK(got.n > 0 && ms < 20000); // quadratic time would take hours
        token_ids_clear(&got);
    }
    free(text);
    tokenizer_close(t);
    gguf_close(file);
    writer_clear(&w);
}

// ---- files that lie ----

enum { N_UNITS = 256 };

struct rules { // u32 size, the trie, the texts: as the file has them
    uint32_t size;
    uint32_t units[N_UNITS];
    char texts[64];
};

// 'a' becomes texts[at]: the root's offset is 1, so 'a' stands at 1 ^ 'a', and its end at that ^ offset.
static struct rules one_rule(uint32_t at) {
    enum { A = 1 ^ 'a', END = 2 };
    struct rules r = {.size = sizeof r.units};
    r.units[0] = 1 << 10;
    r.units[A] = 'a' | 1 << 8 | (A ^ END) << 10;
    r.units[END] = at | 1u << 31;
    memset(r.texts, 'b', sizeof r.texts - 1);
    return r;
}

static struct tokenizer *open_rules(struct gguf_writer *w, struct gguf **file, const void *rules, size_t size,
                                    const char *long_piece, struct err *err) {
    static const float scores[] = {0, -1, -2, -3};
    static const int32_t types[] = {2, 1, 1, 1};
    writer_init(w);
    writer_string(w, "tokenizer.ggml.model", "t5");
    writer_strings(w, "tokenizer.ggml.tokens", (const char *const[]){"<unk>", "a", "b", long_piece}, 4);
    writer_array(w, "tokenizer.ggml.scores", GGUF_F32, scores, 4, 4);
    writer_array(w, "tokenizer.ggml.token_type", GGUF_I32, types, 4, 4);
    writer_u32(w, "tokenizer.ggml.unknown_token_id", 0);
    writer_array(w, CHARSMAP, GGUF_I8, rules, size, 1);
    return open_written(w, file, err);
}

static void check_refused(const void *rules, size_t size, const char *long_piece, const char *part) {
    struct gguf_writer w;
    struct gguf *file;
    struct err err = {0};
    struct tokenizer *t = open_rules(&w, &file, rules, size, long_piece, &err);
    CHECK(t == NULL);
    CHECK_ERR(&err, ERR_MODEL, part);
    tokenizer_close(t);
    gguf_close(file);
    writer_clear(&w);
}

static void check_hostile_files(void) {
    struct rules r = one_rule(0);
    char long_piece[258];
    memset(long_piece, 'a', 257);
    long_piece[257] = 0;
    check_refused(&r, sizeof r, long_piece, "tokenizer.ggml.tokens[3]: 257 bytes, want at most 256");
    check_refused(&r, 3, "c", CHARSMAP ": a trie of 0 bytes in 3");
    check_refused(&r, sizeof r.size + sizeof r.units, "c", CHARSMAP ": a trie of 1024 bytes in 1028");
    check_refused(&r, sizeof r - 1, "c", CHARSMAP ": the last text has no end");
    r.size = 1023;
    check_refused(&r, sizeof r, "c", CHARSMAP ": a trie of 1023 bytes");
    r.size = 0xfffffffc;
    check_refused(&r, sizeof r, "c", CHARSMAP ": a trie of 4294967292 bytes");
    r = one_rule(64);
    check_refused(&r, sizeof r, "c", CHARSMAP ": unit 2 points to byte 64 of the texts, want one of 64");
    r = one_rule(0);
    r.units[1 ^ 'a'] |= 1 << 19;
    check_refused(&r, sizeof r, "c", CHARSMAP ": unit 96 points to unit 514, want one of 256");

    struct gguf_writer w;
    struct err err = {0};
    writer_init(&w);
    writer_string(&w, "tokenizer.ggml.model", "t5");
    writer_strings(&w, "tokenizer.ggml.tokens", (const char *const[]){"a"}, 1);
    writer_array(&w, "tokenizer.ggml.scores", GGUF_F32, &(float){0}, 1, 4);
    writer_u32(&w, CHARSMAP, 7);
    struct gguf *file;
    CHECK(open_written(&w, &file, &err) == NULL);
    CHECK_ERR(&err, ERR_MODEL, CHARSMAP ": value of type 4, want an array of u8 or i8");
    gguf_close(file);
    writer_clear(&w);
}

static void check_encoding(const struct rules *r, size_t len, bool ok, size_t n_ids) {
    struct gguf_writer w;
    struct gguf *file;
    struct err err = {0};
    struct token_ids got = {0};
    struct tokenizer *t = open_rules(&w, &file, r, sizeof *r, "c", &err);
    char *text = malloc(len);
    memset(text, 'a', len);
    CHECK(t != NULL);
    CHECK(tokenizer_encode(t, text, len, false, &got, &err) == ok);
    if (ok)
        CHECK(got.n == n_ids);
    else
        CHECK_ERR(&err, ERR_MODEL, CHARSMAP ": makes a text more than 16 times as long");
    token_ids_clear(&got);
    free(text);
    tokenizer_close(t);
    gguf_close(file);
    writer_clear(&w);
}

static void check_strange_rules(void) {
    struct rules r = one_rule(0);
    check_encoding(&r, 2, true, 2 * 63);
    check_encoding(&r, 1 << 12, false, 0); // 63 bytes for each of so many
    r.texts[1] = 0;
    check_encoding(&r, 1 << 12, true, 1 << 12);
    r.units[1 ^ 'a'] = 'a' | 'a' << 10; // its child by 'a' is itself
    check_encoding(&r, 1 << 20, true, 1 << 20);
    r.units[1 ^ 'a'] = 'a' | 0x1fffffu << 10 | 1 << 9; // far outside
    check_encoding(&r, 16, true, 16);
}

int main(int argc, char **argv) {
    json_t *all = json_load_file(argc > 1 ? argv[1] : CASES, 0, NULL);
    json_t *sets = json_object_get(all, "sets"), *rules = json_object_get(all, "charsmap");
    CHECK(json_array_size(sets) == 5);
    for (size_t i = 0; i < json_array_size(sets); i++)
        check_set(json_array_get(sets, i), rules);
    check_speed(json_array_get(sets, 0), rules);
    json_decref(all);
    check_hostile_files();
    check_strange_rules();
    return check_result();
}
