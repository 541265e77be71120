// Vocabularies and what they make of a text. Input: lines of which the first byte says what they are, so that
// mutations stay files that can be read:
//
//   mNAME        tokenizer.ggml.model          pNAME        tokenizer.ggml.pre
//   tTSTEXT      a token of type T (a digit) and score S (a byte)
//   B, G         256 tokens: <0x00> to <0xFF>, the characters that GPT-2 writes bytes as
//   gA B         a merge                       xTEXT        a text to tokenise
//   kKEY=N       tokenizer.ggml.KEY, a u32     bKEY=1       a bool
//   uKEY=BYTES   an array of u8
//
// \n, \\ and \xHH stand for bytes in all of them.
#include "fuzz/fuzz.h"

#include "base/log.h"
#include "base/utf8.h"
#include "compute/ops.h"
#include "llm/grammar.h"
#include "llm/model.h"

#include <string.h>

enum { FILE_MAX = 1 << 20, LINES_MAX = 4096 };

struct line {
    char kind;
    const char *text;
    size_t len;
};

struct input {
    char *text; // with its escapes undone
    struct line lines[LINES_MAX];
    size_t n;
};

struct file {
    uint8_t bytes[FILE_MAX];
    size_t size;
    uint64_t n_keys;
};

// ---- the input ----

static int hex_digit(uint8_t c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void read_input(struct input *in, const uint8_t *data, size_t size) {
    size_t n = 0, begin = 0;
    in->n = 0;
    for (size_t i = 0; i <= size && in->n < LINES_MAX; i++) {
        if (i == size || data[i] == '\n') {
            if (n > begin)
                in->lines[in->n++] = (struct line){in->text[begin], in->text + begin + 1, n - begin - 1};
            begin = n;
        } else if (data[i] == '\\' && i + 1 < size && (data[i + 1] == 'n' || data[i + 1] == '\\')) {
            in->text[n++] = data[++i] == 'n' ? '\n' : '\\';
        } else if (data[i] == '\\' && i + 3 < size && data[i + 1] == 'x' && hex_digit(data[i + 2]) >= 0 &&
                   hex_digit(data[i + 3]) >= 0) {
            in->text[n++] = (char)(hex_digit(data[i + 2]) * 16 + hex_digit(data[i + 3]));
            i += 3;
        } else {
            in->text[n++] = (char)data[i];
        }
    }
}

// ---- the file ----

static void put(struct file *f, const void *data, size_t size) {
    if (size > FILE_MAX - f->size)
        return; // the file is cut short: an input as good as any
    if (size > 0)
        memcpy(f->bytes + f->size, data, size);
    f->size += size;
}

static void put_number(struct file *f, uint64_t value, size_t size) {
    put(f, &value, size);
}

static void put_text(struct file *f, const char *text, size_t len) {
    put_number(f, len, 8);
    put(f, text, len);
}

static void put_key(struct file *f, const char *name, size_t len, enum gguf_type type) {
    static const char prefix[] = "tokenizer.ggml.";
    put_number(f, sizeof prefix - 1 + len, 8);
    put(f, prefix, sizeof prefix - 1);
    put(f, name, len);
    put_number(f, type, 4);
    f->n_keys++;
}

// The characters that GPT-2 writes bytes as, in UTF-8: the printable ones themselves, the others from U+0100 on.
static size_t byte_text(size_t byte, char out[8]) {
    bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xff && byte != 0xad);
    size_t c = byte;
    if (!printable) {
        c = 0x100;
        for (size_t i = 0; i < byte; i++)
            c += !((i >= '!' && i <= '~') || (i >= 0xa1 && i <= 0xff && i != 0xad));
    }
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    out[0] = (char)(0xc0 | c >> 6);
    out[1] = (char)(0x80 | (c & 0x3f));
    return 2;
}

enum column { TEXTS, TYPES, SCORES };

// One token, or the 256 of a line B or G, of one of the three arrays; returns how many.
static size_t put_token(struct file *f, const struct line *line, enum column column) {
    bool many = line->kind == 'B' || line->kind == 'G';
    for (size_t i = 0; i < (many ? 256 : 1); i++) {
        char text[8];
        size_t len =
            line->kind == 'G' ? byte_text(i, text) : (size_t)snprintf(text, sizeof text, "<0x%02zX>", i);
        float score = many || line->len < 2 ? -100 : (float)(signed char)line->text[1] / 4;
        if (column == TEXTS && many)
            put_text(f, text, len);
        else if (column == TEXTS)
            put_text(f, line->text + (line->len < 2 ? line->len : 2), line->len < 2 ? 0 : line->len - 2);
        else if (column == SCORES)
            put(f, &score, sizeof score);
        else
            put_number(f,
                       line->kind == 'B'        ? TOKEN_BYTE
                       : line->len == 0 || many ? 1
                                                : (uint64_t)line->text[0] - '0',
                       4);
    }
    return many ? 256 : 1;
}

static bool is_token(char kind) {
    return kind == 't' || kind == 'B' || kind == 'G';
}

static void put_tokens(struct file *f, const struct input *in) {
    static const struct {
        const char *name;
        enum gguf_type type;
    } columns[] = {{"tokens", GGUF_STRING}, {"token_type", GGUF_I32}, {"scores", GGUF_F32}};
    uint64_t n = 0;
    for (size_t i = 0; i < in->n; i++)
        n += !is_token(in->lines[i].kind) ? 0 : in->lines[i].kind == 't' ? 1 : 256;
    for (size_t c = 0; c < 3; c++) {
        put_key(f, columns[c].name, strlen(columns[c].name), GGUF_ARRAY);
        put_number(f, columns[c].type, 4);
        put_number(f, n, 8);
        for (size_t i = 0; i < in->n; i++)
            if (is_token(in->lines[i].kind))
                put_token(f, &in->lines[i], (enum column)c);
    }
}

static void put_merges(struct file *f, const struct input *in) {
    uint64_t n = 0;
    for (size_t i = 0; i < in->n; i++)
        n += in->lines[i].kind == 'g';
    put_key(f, "merges", 6, GGUF_ARRAY);
    put_number(f, GGUF_STRING, 4);
    put_number(f, n, 8);
    for (size_t i = 0; i < in->n; i++)
        if (in->lines[i].kind == 'g')
            put_text(f, in->lines[i].text, in->lines[i].len);
}

static void put_line(struct file *f, const struct line *line) {
    const char *equals = memchr(line->text, '=', line->len);
    size_t name_len = equals ? (size_t)(equals - line->text) : line->len;
    size_t len = equals ? line->len - name_len - 1 : 0;
    const char *value = line->text + line->len - len;
    char number[16];
    snprintf(number, sizeof number, "%.*s", (int)(len < 15 ? len : 15), value);
    switch (line->kind) {
    case 'm':
    case 'p':
        put_key(f, line->kind == 'm' ? "model" : "pre", line->kind == 'm' ? 5 : 3, GGUF_STRING);
        put_text(f, line->text, line->len);
        break;
    case 'k':
        put_key(f, line->text, name_len, GGUF_U32);
        put_number(f, strtoul(number, NULL, 10), 4);
        break;
    case 'b':
        put_key(f, line->text, name_len, GGUF_BOOL);
        put_number(f, len > 0 && value[0] == '1', 1);
        break;
    case 'u':
        put_key(f, line->text, name_len, GGUF_ARRAY);
        put_number(f, GGUF_U8, 4);
        put_number(f, len, 8);
        put(f, value, len);
        break;
    default:
        break;
    }
}

static void make_file(struct file *f, const struct input *in) {
    f->size = 0;
    f->n_keys = 0;
    put(f, "GGUF\3\0\0\0\0\0\0\0\0\0\0\0", 16); // version 3, no tensors
    put_number(f, 0, 8);
    put_tokens(f, in);
    put_merges(f, in);
    for (size_t i = 0; i < in->n; i++)
        put_line(f, &in->lines[i]);
    memcpy(f->bytes + 16, &f->n_keys, 8);
}

// ---- the vocabulary ----

static void tokenize(const struct llm *m, const struct line *line, bool parse_special) {
    struct err err = {0};
    size_t n, len;
    int32_t *ids = llm_tokenize(m, line->text, line->len, parse_special, -1, &n, &err);
    FUZZ_CHECK((ids != NULL) == (err.code == ERR_NONE));
    struct llm_detok *d = llm_detok_create(m, parse_special);
    for (size_t i = 0; ids && i < n; i++) {
        FUZZ_CHECK(ids[i] >= 0 && (size_t)ids[i] < llm_n_vocab(m));
        const char *text = llm_detok_put(d, ids[i], &len);
        FUZZ_CHECK(utf8_is_valid(text, len));
    }
    const char *text = llm_detok_flush(d, &len);
    FUZZ_CHECK(utf8_is_valid(text, len));
    llm_detok_destroy(d);
    free(ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct ops *ops;
    static struct input in;
    static struct file file;
    struct err err = {0};
    if (!ops) {
        ops = cpu_open(&(struct cpu_options){.n_threads = 1}, &err);
        log_set_level(LOG_LEVEL_ERROR);
    }
    in.text = malloc(size + 1);
    FUZZ_CHECK(ops && in.text);
    read_input(&in, data, size);
    make_file(&file, &in);
    const char *path = fuzz_file(0, 1, file.bytes, file.size);
    // A text may become 16 times as long when it is normalised, and one long word takes 32 bytes a byte.
    fuzz_begin(fuzz_largest(file.size) + 16 * 32 * size, FUZZ_MIB + 64 * file.size + 16 * 64 * size);
    struct llm *m = llm_open_vocabulary(path, ops, NULL, &err);
    FUZZ_CHECK((m != NULL) == (err.code == ERR_NONE));
    for (size_t i = 0; m && i < in.n; i++)
        if (in.lines[i].kind == 'x') {
            tokenize(m, &in.lines[i], true);
            tokenize(m, &in.lines[i], false);
        }
    if (m)
        token_order_destroy(token_order_create(m->tokenizer));
    llm_close(m);
    FUZZ_CHECK(fuzz_bytes_live() == 0);
    fuzz_end();
    free(in.text);
    return 0;
}
