#include "fuzz/vocabulary.h"

#include "fuzz/fuzz.h"
#include "unit/llm/gguf_writer.h"

enum { N_BYTES = 256 };

// The first three are control tokens; 2 is the end.
static const char *const words[] = {
    "<unk>",   "<s>",  "</s>", "\xe2\x96\x81", "\xe2\x96\x81\xe2\x96\x81", "\":", "{\"", "\"}", "\",",
    "true",    "null", "],",   "[[",           "\xe2\x96\x81the",          "ab",  "abc", "1",   "12",
    "\xc3\xa9"};
enum { N_WORDS = sizeof words / sizeof *words };

static struct tokenizer *vocabulary;
static struct gguf *g; // which it borrows

static void close_vocabulary(void) {
    tokenizer_close(vocabulary);
    gguf_close(g);
}

const struct tokenizer *fuzz_vocabulary(void) {
    static char bytes[N_BYTES][8];
    const char *texts[N_BYTES + N_WORDS];
    int32_t types[N_BYTES + N_WORDS];
    float scores[N_BYTES + N_WORDS];
    char path[64];
    if (vocabulary)
        return vocabulary;
    for (size_t i = 0; i < N_BYTES + N_WORDS; i++) {
        scores[i] = -(float)i;
        types[i] = i < 3 ? TOKEN_CONTROL : i < N_WORDS ? TOKEN_NORMAL : TOKEN_BYTE;
        texts[i] = i < N_WORDS ? words[i] : bytes[i - N_WORDS];
        if (i >= N_WORDS)
            snprintf(bytes[i - N_WORDS], sizeof *bytes, "<0x%02X>", (unsigned)(i - N_WORDS));
    }
    struct gguf_writer w;
    writer_init(&w);
    writer_string(&w, "tokenizer.ggml.model", "llama");
    writer_strings(&w, "tokenizer.ggml.tokens", texts, N_BYTES + N_WORDS);
    writer_array(&w, "tokenizer.ggml.scores", GGUF_F32, scores, N_BYTES + N_WORDS, sizeof *scores);
    writer_array(&w, "tokenizer.ggml.token_type", GGUF_I32, types, N_BYTES + N_WORDS, sizeof *types);
    writer_save(&w, path, sizeof path);
    g = gguf_open(path, NULL);
    vocabulary = g ? tokenizer_open(g, NULL) : NULL;
    FUZZ_CHECK(vocabulary && atexit(close_vocabulary) == 0);
    writer_clear(&w);
    return vocabulary;
}
