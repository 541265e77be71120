// The detokeniser on the demo model's vocabulary, where byte b is token 3 + b.
#include "check.h"

#include "llm/model.h"
#include "llm/tokenizer.h"

static struct llm model;
static struct {
    char data[256];
    size_t len;
} text;

static void add(const char *s, size_t len) {
    CHECK(text.len + len < sizeof text.data);
    memcpy(text.data + text.len, s, len);
    text.len += len;
    text.data[text.len] = 0;
}

static void put(struct llm_detok *d, int32_t id) {
    size_t len;
    const char *s = llm_detok_put(d, id, &len);
    add(s, len);
}

// The whole text of the ids, flushed.
static const char *detok(const int32_t *ids, size_t n, bool show_special) {
    struct llm_detok *d = llm_detok_create(&model, show_special);
    text.len = 0;
    text.data[0] = 0;
    for (size_t i = 0; i < n; i++)
        put(d, ids[i]);
    size_t len;
    const char *s = llm_detok_flush(d, &len);
    add(s, len);
    llm_detok_destroy(d);
    return text.data;
}

#define IDS(...) ((const int32_t[]){__VA_ARGS__}), sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t)
#define FFFD     "\xef\xbf\xbd"

static void check_texts(void) {
    CHECK_STR(detok(IDS(788, 1245), false), "Hello world");
    CHECK_STR(detok(IDS(1535, 788), false), " Hello"); // only the prefix goes
    CHECK_STR(detok(IDS(1, 788, 2), false), "Hello");
    CHECK_STR(detok(IDS(788, 2), true), "Hello</s>");
    CHECK_STR(detok(IDS(1, 788), true), "<s> Hello");
    CHECK_STR(detok(IDS(-1, 1536, 788), false), "Hello");
    CHECK_STR(detok(IDS(3 + ' ', 788), false), "  Hello"); // a byte token is no prefix
    CHECK_STR(detok(NULL, 0, false), "");
}

static void check_bytes(void) {
    // U+1F600 byte by byte: nothing until it is whole
    struct llm_detok *d = llm_detok_create(&model, false);
    static const unsigned char face[] = {0xf0, 0x9f, 0x98, 0x80};
    for (size_t i = 0; i < 4; i++) {
        text.len = 0;
        put(d, 3 + face[i]);
        CHECK(text.len == (i == 3 ? 4 : 0));
    }
    CHECK(memcmp(text.data, face, 4) == 0);
    size_t len;
    llm_detok_flush(d, &len);
    CHECK(len == 0);
    llm_detok_destroy(d);

    CHECK_STR(detok(IDS(3 + 0xf0, 3 + 0x9f, 3 + 0x98), false), FFFD);           // cut short: one part
    CHECK_STR(detok(IDS(3 + 0xf0, 3 + 0x9f, 1505), false), FFFD "a");           // broken off by a letter
    CHECK_STR(detok(IDS(3 + 0xff, 3 + 0xc0, 1505), false), FFFD FFFD "a");      // bytes that begin nothing
    CHECK_STR(detok(IDS(3 + 0xed, 3 + 0xa0, 3 + 0x80), false), FFFD FFFD FFFD); // a surrogate: three parts
    CHECK_STR(detok(IDS(3 + 0xc3, 3 + 0xc3, 3 + 0xa9), false), FFFD "\xc3\xa9");
}

int main(void) {
    struct err err = {0};
    model.gguf = gguf_open("samples/demo/demo-llm-f16.gguf", &err);
    model.tokenizer = model.gguf ? tokenizer_open(model.gguf, &err) : NULL;
    if (!model.tokenizer) {
        printf("%s\n", err.msg);
        return 1;
    }
    check_texts();
    check_bytes();
    tokenizer_close(model.tokenizer);
    gguf_close(model.gguf);
    return check_result();
}
