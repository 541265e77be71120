// Models of a vocabulary only, conversations in C, and prompts spelled out.
#ifndef TESTS_CHAT_MODEL_H
#define TESTS_CHAT_MODEL_H

#include "check.h"
#include "gguf_writer.h"

#include "llm/chat.h"
#include "llm/model.h"
#include "llm/prompt.h"

static struct llm model;
static struct gguf_writer writer;

// format: a built-in one or a file's, NULL: the model file's own.
static inline bool open_model(const char *path, const char *format) {
    struct err err = {0};
    model = (struct llm){.n_ctx = 1024, .n_embd = 256};
    model.gguf = gguf_open(path, &err);
    model.tokenizer = model.gguf ? tokenizer_open(model.gguf, &err) : NULL;
    model.chat = model.tokenizer ? chat_open(model.gguf, model.tokenizer, format, &err) : NULL;
    if (!model.chat) {
        printf("%s\n", err.msg);
        return false;
    }
    model.n_vocab = tokenizer_n_vocab(model.tokenizer);
    return true;
}

static inline void close_model(void) {
    chat_close(model.chat);
    tokenizer_close(model.tokenizer);
    gguf_close(model.gguf);
}

// ---- messages ----

static inline struct llm_part text_part(const char *s) {
    return (struct llm_part){.text = s, .len = strlen(s)};
}

static inline struct llm_part image_part(const char *key, size_t n_tokens) {
    return (struct llm_part){.image = {.key = key, .n_tokens = n_tokens}};
}

static inline struct llm_part ids_part(const char *s, const int32_t *ids, size_t n_ids) {
    return (struct llm_part){.text = s, .len = strlen(s), .ids = ids, .n_ids = n_ids};
}

#define PARTS(...)                                                                                           \
    .parts = (const struct llm_part[]){__VA_ARGS__},                                                         \
    .n_parts = sizeof((const struct llm_part[]){__VA_ARGS__}) / sizeof(struct llm_part)
#define SYSTEM(...)                                                                                          \
    { .role = LLM_SYSTEM, PARTS(__VA_ARGS__) }
#define USER(...)                                                                                            \
    { .role = LLM_USER, PARTS(__VA_ARGS__) }
#define ASSISTANT(...)                                                                                       \
    { .role = LLM_ASSISTANT, PARTS(__VA_ARGS__) }
#define N(array) (sizeof(array) / sizeof *(array))

static inline struct llm_prompt *prompt(const struct llm_message *messages, size_t n) {
    struct err err = {0};
    struct llm_prompt *p = llm_prompt_chat(&model, messages, n, &err);
    if (!p) {
        printf("%s\n", err.msg);
        exit(1);
    }
    return p;
}

enum { N_SPECIALS_MAX = 16 };

// 0 <unk>, 1 <s>, 2 </s>, 3-258 bytes, then specials (up to NULL), user-defined as some converters write them.
static inline void write_byte_vocab(const char *chat_template, const char *const *specials) {
    static char byte_texts[256][8];
    const char *texts[259 + N_SPECIALS_MAX] = {"<unk>", "<s>", "</s>"};
    float scores[259 + N_SPECIALS_MAX] = {0};
    int32_t types[259 + N_SPECIALS_MAX] = {TOKEN_UNKNOWN, TOKEN_CONTROL, TOKEN_CONTROL};
    for (size_t i = 0; i < 256; i++) {
        snprintf(byte_texts[i], sizeof byte_texts[i], "<0x%02X>", (unsigned)i);
        texts[3 + i] = byte_texts[i];
        types[3 + i] = TOKEN_BYTE;
    }
    size_t n = 259;
    for (; specials && *specials; specials++, n++) {
        texts[n] = *specials;
        types[n] = TOKEN_USER_DEFINED;
    }
    writer_init(&writer);
    writer_string(&writer, "tokenizer.ggml.model", "llama");
    writer_strings(&writer, "tokenizer.ggml.tokens", texts, n);
    writer_array(&writer, "tokenizer.ggml.scores", GGUF_F32, scores, n, 4);
    writer_array(&writer, "tokenizer.ggml.token_type", GGUF_I32, types, n, 4);
    if (chat_template)
        writer_string(&writer, "tokenizer.chat_template", chat_template);
}

static const char *const chatml_tokens[] = {"<|im_start|>", "<|im_end|>", NULL}; // 259, 260

static inline bool open_written(const char *format) {
    char path[64];
    writer_save(&writer, path, sizeof path);
    bool ok = open_model(path, format);
    CHECK(ok);
    return ok;
}

static inline void close_written(void) {
    close_model();
    writer_clear(&writer);
}

// The prompt spelled out: special tokens in angle brackets as they are, image rows as "#", "▁" as "_".
static inline const char *spell(const struct llm_message *messages, size_t n) {
    static char out[2048];
    struct llm_prompt *p = prompt(messages, n);
    size_t len = 0;
    for (size_t i = 0; i < p->n_rows; i++) {
        size_t n_piece = 1;
        enum token_type type;
        const char *piece = "#";
        if (p->ids[i] != PROMPT_IMAGE_ROW)
            piece = tokenizer_piece(model.tokenizer, p->ids[i], &n_piece, &type);
        memcpy(out + len, piece, n_piece);
        len += n_piece;
        if (len >= 3 && memcmp(out + len - 3, "\xe2\x96\x81", 3) == 0) {
            len -= 3;
            out[len++] = '_';
        }
    }
    out[len] = 0;
    llm_prompt_destroy(p);
    return out;
}

#endif
