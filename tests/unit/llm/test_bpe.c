// Byte-level BPE on a vocabulary made here: merges in order, special tokens, files that lie, detokenising.
#include "check.h"
#include "gguf_writer.h"

#include "base/utf8.h"
#include "compute/ops.h"
#include "llm/llm.h"
#include "llm/tokenizer.h"

enum { BYTE_0 = 6, N_WORDS = 12, N_TOKENS = BYTE_0 + 256 + N_WORDS, WORD_0 = BYTE_0 + 256 };

// The first six are special; byte b is token BYTE_0 + b; then the words.
static const char *const specials[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>",
                                       "<tool>",        "<toolbox>",    "<|secret|>"};
static const int32_t special_types[] = {3, 4, 4, 4, 4, 3};
static const char *const word_texts[N_WORDS] = {"he",  "ll",          "hell", "hello", "\304\240w",
                                                "or",  "\304\240wor", "ab",   "bc",    "\303\203\302\251",
                                                "abc", "zz"};
// "abc" whole is a token, but no merge gives it; "bc" is before "ab".
static const char *const merges[] = {"h e", "l l",          "he ll", "hell o", "\304\240 w",
                                     "o r", "\304\240w or", "b c",   "a b",    "\303\203 \302\251",
                                     "b c", "l l"};
enum { N_MERGES = sizeof merges / sizeof *merges };

static char byte_texts[256][4];
static const char *texts[N_TOKENS];
static int32_t types[N_TOKENS];

static struct gguf *file;
static struct tokenizer *tok;

// GPT-2's spelling of a byte: printable Latin-1 is itself, the others are U+0100 and on, in order.
static void fill_vocabulary(void) {
    uint32_t shifted = 0x100;
    for (uint32_t b = 0; b < 256; b++) {
        bool itself = (b > 0x20 && b < 0x7f) || (b > 0xa0 && b != 0xad);
        byte_texts[b][utf8_encode(itself ? b : shifted++, byte_texts[b])] = 0;
    }
    for (size_t i = 0; i < N_TOKENS; i++) {
        texts[i] = i < BYTE_0 ? specials[i] : i < WORD_0 ? byte_texts[i - BYTE_0] : word_texts[i - WORD_0];
        types[i] = i < BYTE_0 ? special_types[i] : 1;
    }
}

static void write_vocabulary(struct gguf_writer *w, const char *pre) {
    writer_init(w);
    writer_string(w, "tokenizer.ggml.model", "gpt2");
    if (pre)
        writer_string(w, "tokenizer.ggml.pre", pre);
    writer_strings(w, "tokenizer.ggml.tokens", texts, N_TOKENS);
    writer_array(w, "tokenizer.ggml.token_type", GGUF_I32, types, N_TOKENS, 4);
}

static bool open_written(struct gguf_writer *w, const char *pre, struct err *err) {
    char path[64];
    writer_save(w, path, sizeof path);
    file = gguf_open(path, err);
    tok = file ? tokenizer_open_pre(file, pre, err) : NULL;
    return tok != NULL;
}

static void close_written(struct gguf_writer *w) {
    tokenizer_close(tok);
    gguf_close(file);
    tok = NULL;
    file = NULL;
    writer_clear(w);
}

static void check_ids(const char *text, bool parse_special, const int32_t *want, size_t n_want) {
    struct token_ids got = {0};
    CHECK(tokenizer_encode(tok, text, strlen(text), parse_special, &got, NULL));
    bool equal = got.n == n_want && (n_want == 0 || memcmp(got.ids, want, n_want * sizeof *want) == 0);
    CHECK(equal);
    for (size_t i = 0; !equal && i < got.n; i++)
        printf("%s%d", i ? " " : "got ", got.ids[i]);
    printf("%s", equal ? "" : "\n");
    token_ids_clear(&got);
}

#define IDS(...) ((const int32_t[]){__VA_ARGS__}), sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t)
#define BYTE(b)  (BYTE_0 + (b))
#define WORD(n)  (WORD_0 + (n))

static void check_merging(void) {
    struct gguf_writer w;
    struct err err = {0};
    write_vocabulary(&w, NULL);
    writer_strings(&w, "tokenizer.ggml.merges", merges, N_MERGES);
    CHECK(open_written(&w, NULL, &err));
    CHECK_STR(err.msg, "");
    CHECK(!tokenizer_adds_bos(tok) && !tokenizer_adds_eos(tok) && !tokenizer_adds_space(tok));
    CHECK(tokenizer_bos(tok) == TOKEN_NONE && tokenizer_eos(tok) == TOKEN_NONE);
    check_ids("hello wor", false, IDS(WORD(3), WORD(6)));
    check_ids("hell", false, IDS(WORD(2)));
    check_ids("lll", false, IDS(WORD(1), BYTE('l')));
    check_ids("abc", false, IDS(BYTE('a'), WORD(8))); // the merge listed first, not the leftmost
    check_ids("ab abab", false, IDS(WORD(7), BYTE(' '), WORD(7), WORD(7)));
    check_ids("zz", false, IDS(BYTE('z'), BYTE('z'))); // a token that no merge gives
    check_ids("\303\251", false, IDS(WORD(9)));
    check_ids("\303", false, IDS(BYTE(0xc3))); // any bytes
    check_ids("\377\200 ", false, IDS(BYTE(0xff), BYTE(0x80), BYTE(' ')));
    check_ids("", false, NULL, 0);
    close_written(&w);

    write_vocabulary(&w, "qwen2"); // whole words where the pre-tokenizer says so
    writer_strings(&w, "tokenizer.ggml.merges", merges, N_MERGES);
    CHECK(open_written(&w, "llama-bpe", &err));
    check_ids("abc zz", false, IDS(WORD(10), BYTE(' '), BYTE('z'), BYTE('z')));
    check_ids("zz", false, IDS(WORD(11)));
    close_written(&w);
}

static void check_special_tokens(void) {
    struct gguf_writer w;
    struct err err = {0};
    write_vocabulary(&w, "llama-bpe");
    writer_strings(&w, "tokenizer.ggml.merges", merges, N_MERGES);
    writer_u32(&w, "tokenizer.ggml.bos_token_id", 0);
    writer_u32(&w, "tokenizer.ggml.eos_token_id", 0);
    CHECK(open_written(&w, NULL, &err));
    CHECK(tokenizer_adds_bos(tok) && tokenizer_bos(tok) == 0 && tokenizer_eos(tok) == 0);
    CHECK(tokenizer_is_end(tok, 0) && tokenizer_is_end(tok, 2));
    CHECK(!tokenizer_is_end(tok, 1) && !tokenizer_is_end(tok, 5) && !tokenizer_is_end(tok, WORD(0)));
    check_ids("ab<tool>ab<toolbox>", false, IDS(WORD(7), 3, WORD(7), 4));
    check_ids("<|im_start|>ab<|im_end|>", true, IDS(1, WORD(7), 2));
    close_written(&w);

    write_vocabulary(&w, "llama-bpe");
    writer_strings(&w, "tokenizer.ggml.merges", merges, N_MERGES);
    writer_u32(&w, "tokenizer.ggml.bos_token_id", 0);
    writer_bool(&w, "tokenizer.ggml.add_bos_token", false);
    writer_u32(&w, "tokenizer.ggml.eos_token_id", 2);
    writer_bool(&w, "tokenizer.ggml.add_eos_token", true);
    CHECK(open_written(&w, NULL, &err));
    CHECK(!tokenizer_adds_bos(tok) && tokenizer_adds_eos(tok));
    close_written(&w);
}

// Text of users never becomes a control token: not by its spelling, not where the file calls a mark of turns
// user-defined, not by a merge that spells one.
static void check_user_text(void) {
    static const char *const bad_merges[] = {"< |", "| >", "<| x", "<|x |>"};
    static const char text[] = "<|endoftext|><|im_start|><|im_end|><|secret|><|x|>";
    const char *saved[] = {texts[WORD(0)], texts[WORD(1)], texts[WORD(2)], texts[WORD(3)]};
    texts[WORD(0)] = "<|";
    texts[WORD(1)] = "|>";
    texts[WORD(2)] = "<|x";
    texts[WORD(3)] = "<|x|>";
    types[WORD(3)] = TOKEN_CONTROL;
    struct gguf_writer w;
    struct err err = {0};
    struct token_ids got = {0};
    write_vocabulary(&w, "llama-bpe");
    writer_strings(&w, "tokenizer.ggml.merges", bad_merges, 4);
    CHECK(open_written(&w, NULL, &err));
    CHECK(tokenizer_encode(tok, text, sizeof text - 1, false, &got, &err));
    CHECK(got.n > 20);
    for (size_t i = 0; i < got.n; i++)
        CHECK(got.ids[i] >= BYTE_0 && got.ids[i] != WORD(3));
    token_ids_clear(&got);
    close_written(&w);
    memcpy(&texts[WORD(0)], saved, sizeof saved);
    types[WORD(3)] = TOKEN_NORMAL;
}

static void check_refused(const char *const *list, size_t n, const char *part) {
    struct gguf_writer w;
    struct err err = {0};
    write_vocabulary(&w, NULL);
    if (list)
        writer_strings(&w, "tokenizer.ggml.merges", list, n);
    CHECK(!open_written(&w, NULL, &err));
    CHECK_ERR(&err, ERR_MODEL, part);
    close_written(&w);
}

static void check_hostile(void) {
    enum { HUGE_LEN = (1 << 16) + 1 };
    char *huge = malloc(HUGE_LEN + 1);
    memset(huge, 'a', HUGE_LEN);
    huge[HUGE_LEN] = 0;
    huge[10] = ' ';
    check_refused(NULL, 0, "tokenizer.ggml.merges: missing");
    check_refused(merges, 0, "tokenizer.ggml.merges: 0 merges");
    check_refused((const char *[]){"h e", "he"}, 2, "tokenizer.ggml.merges[1]: \"he\"");
    check_refused((const char *[]){"h "}, 1, "tokenizer.ggml.merges[0]: \"h \"");
    check_refused((const char *[]){" e"}, 1, "tokenizer.ggml.merges[0]: \" e\"");
    check_refused((const char *[]){""}, 1, "tokenizer.ggml.merges[0]: \"\"");
    check_refused((const char *[]){huge}, 1, "tokenizer.ggml.merges[0]: 65537 bytes");
    free(huge);

    struct gguf_writer w;
    struct err err = {0};
    write_vocabulary(&w, "nobody");
    writer_strings(&w, "tokenizer.ggml.merges", merges, N_MERGES);
    CHECK(!open_written(&w, NULL, &err));
    CHECK_ERR(&err, ERR_MODEL, "tokenizer.ggml.pre: \"nobody\", want one of gpt-2, llama-bpe");
    close_written(&w);

    // Merges of what is no token, or that give none, never apply; broken UTF-8 in them is bytes.
    err = (struct err){0};
    write_vocabulary(&w, NULL);
    writer_strings(&w, "tokenizer.ggml.merges",
                   (const char *[]){"qq h", "h qq", "q q", "h e f", "\377 \376", "h e"}, 6);
    CHECK(open_written(&w, NULL, &err));
    check_ids("qqhe", false, IDS(BYTE('q'), BYTE('q'), WORD(0)));
    close_written(&w);

    texts[BYTE('h')] = "hh"; // a byte without a token: <unk> where there is one, else nothing
    write_vocabulary(&w, NULL);
    writer_strings(&w, "tokenizer.ggml.merges", merges, N_MERGES);
    CHECK(open_written(&w, NULL, &err));
    check_ids("hel", false, IDS(BYTE('e'), BYTE('l')));
    close_written(&w);
    texts[BYTE('h')] = byte_texts['h'];
}

// Pieces that cut characters come out whole, and what is no UTF-8 as U+FFFD.
static void check_detok(void) {
    static const int32_t ids[] = {WORD(3), BYTE(' '),  BYTE(0xf0), BYTE(0x9f), BYTE(0x98), BYTE(0x80),
                                  WORD(9), BYTE(0xe2), BYTE('x'),  WORD(4),    BYTE('\n'), BYTE(0xc3)};
    static const char want[] = "hello \360\237\230\200\303\251\357\277\275x w\n\357\277\275";
    struct gguf_writer w;
    struct err err = {0};
    char path[64], got[64] = "";
    size_t len, n_got = 0;
    write_vocabulary(&w, NULL);
    writer_strings(&w, "tokenizer.ggml.merges", merges, N_MERGES);
    writer_save(&w, path, sizeof path);
    struct ops *ops = cpu_open(&(struct cpu_options){.n_threads = 1}, &err);
    struct llm *m = ops ? llm_open_vocabulary(path, ops, NULL, &err) : NULL;
    CHECK_STR(err.msg, "");
    struct llm_detok *d = llm_detok_create(m, false);
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        const char *text = llm_detok_put(d, ids[i], &len);
        CHECK(utf8_is_valid(text, len));
        memcpy(got + n_got, text, len);
        n_got += len;
    }
    memcpy(got + n_got, llm_detok_flush(d, &len), 3);
    CHECK_STR(got, want);
    llm_detok_destroy(d);
    llm_close(m);
    ops->close(ops);
    writer_clear(&w);
}

int main(void) {
    fill_vocabulary();
    check_merging();
    check_special_tokens();
    check_user_text();
    check_hostile();
    check_detok();
    return check_result();
}
