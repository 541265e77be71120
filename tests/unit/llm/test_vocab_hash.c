// The table from text to token keeps its pace whatever texts a file chooses.
#define _GNU_SOURCE // memfd_create
#include "check.h"
#include "llm/vocab.h"

#include <sys/mman.h>
#include <unistd.h>

enum { N_TOKENS = 20000, LONGEST_RUN = 400 }; // of a table that is half full; by chance below 100

static void put_u32(FILE *f, uint32_t v) {
    fwrite(&v, sizeof v, 1, f);
}

static void put_u64(FILE *f, uint64_t v) {
    fwrite(&v, sizeof v, 1, f);
}

static void put_text(FILE *f, const char *s) {
    put_u64(f, strlen(s));
    fwrite(s, 1, strlen(s), f);
}

// 8 bytes each that differ in the last 4: without a key, or with one of 0, their hashes are one.
static void write_vocabulary(FILE *f) {
    fwrite("GGUF\3\0\0\0", 1, 8, f);
    put_u64(f, 0);
    put_u64(f, 3);
    put_text(f, "tokenizer.ggml.model");
    put_u32(f, GGUF_STRING);
    put_text(f, "llama");
    put_text(f, "tokenizer.ggml.tokens");
    put_u32(f, GGUF_ARRAY);
    put_u32(f, GGUF_STRING);
    put_u64(f, N_TOKENS);
    for (uint32_t i = 0; i < N_TOKENS; i++) {
        put_u64(f, 8);
        put_u32(f, 0x61616161);
        put_u32(f, i);
    }
    put_text(f, "tokenizer.ggml.scores");
    put_u32(f, GGUF_ARRAY);
    put_u32(f, GGUF_F32);
    put_u64(f, N_TOKENS);
    for (size_t i = 0; i < N_TOKENS; i++)
        put_u32(f, 0);
    fflush(f);
}

static size_t longest_run(const struct table *table) {
    size_t run = 0, longest = 0;
    for (size_t i = 0; i <= table->mask; i++) {
        run = table->slots[i].id1 ? run + 1 : 0;
        longest = run > longest ? run : longest;
    }
    return longest;
}

int main(void) {
    struct err err = {0};
    char path[64];
    FILE *f = fdopen(memfd_create("vocabulary", 0), "w+b");
    if (!f)
        return 1;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fileno(f));
    write_vocabulary(f);
    struct gguf *g = gguf_open(path, &err);
    struct tokenizer *t = g ? tokenizer_open(g, &err) : NULL, *other = g ? tokenizer_open(g, &err) : NULL;
    CHECK_STR(err.msg, "");
    if (t && other) {
        CHECK(longest_run(&t->pieces) < LONGEST_RUN);
        CHECK(t->hash_key != other->hash_key);
        const struct gguf_string *last = &t->texts[N_TOKENS - 1];
        CHECK(vocab_find(t, &t->pieces, last->data, last->len) == N_TOKENS - 1);
        CHECK(vocab_find(t, &t->pieces, "nowhere", 7) == TOKEN_NONE);
    }
    tokenizer_close(t);
    tokenizer_close(other);
    gguf_close(g);
    fclose(f);
    return check_result();
}
