// Damaged copies of a good file: each key and tensor that is wrong is refused by name.
#include "check.h"
#include "compute/ops.h"
#include "llm/llm.h"

#include <stdint.h>

static struct ops *ops;
static char *original;
static size_t size;

// Where the bytes of a name end in a copy of the file.
static char *find_name(char *data, const char *name) {
    size_t len = strlen(name);
    for (size_t i = 8; i + len <= size; i++) {
        uint64_t stored;
        memcpy(&stored, data + i - 8, sizeof stored);
        if (stored == len && memcmp(data + i, name, len) == 0)
            return data + i + len;
    }
    printf("%s is not in the file\n", name);
    exit(1);
}

static void check_refused(const char *data, const char *name) {
    struct err err = {0};
    char path[64];
    FILE *f = tmpfile();
    CHECK(f && fwrite(data, 1, size, f) == size && fflush(f) == 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fileno(f));
    struct llm *m = llm_open(path, ops, &(struct llm_options){0}, &err);
    CHECK(m == NULL);
    CHECK_ERR(&err, ERR_MODEL, name);
    llm_close(m);
    fclose(f);
}

static char *copy(void) {
    return memcpy(malloc(size), original, size);
}

// The value of an integer key becomes this one; the error names `blamed`.
static void check_value(const char *key, uint32_t value, const char *blamed) {
    char *data = copy();
    memcpy(find_name(data, key) + 4, &value, sizeof value);
    check_refused(data, blamed);
    free(data);
}

static void check_type(const char *key) {
    char *data = copy();
    uint32_t f32 = 6, u32 = 4, type;
    memcpy(&type, find_name(data, key), sizeof type);
    memcpy(find_name(data, key), type == f32 ? &u32 : &f32, sizeof type);
    check_refused(data, key);
    free(data);
}

static void check_missing(const char *name) {
    char *data = copy();
    find_name(data, name)[-1] = '~';
    check_refused(data, name);
    free(data);
}

static void test_keys(void) {
    static const char *const integers[] = {
        "llama.context_length",       "llama.embedding_length",     "llama.block_count",
        "llama.feed_forward_length",  "llama.attention.head_count", "llama.attention.head_count_kv",
        "llama.rope.dimension_count", "llama.vocab_size",
    };
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++) {
        check_value(integers[i], 0, integers[i]);
        check_value(integers[i], UINT32_MAX, integers[i]);
        check_type(integers[i]);
        if (i < 5)
            check_missing(integers[i]);
    }
    check_value("llama.attention.head_count", 7, "llama.attention.head_count");
    check_value("llama.attention.head_count_kv", 3, "llama.attention.head_count_kv: 3");
    check_value("llama.attention.head_count_kv", 2, "blk.0.attn_k.weight: shape [128, 256], want [64, 256]");
    check_value("llama.rope.dimension_count", 31, "llama.rope.dimension_count: 31");
    check_value("llama.rope.dimension_count", 34, "llama.rope.dimension_count");
    check_value("llama.block_count", 3, "blk.2.attn_norm.weight: tensor missing");
    check_value("llama.vocab_size", 380, "llama.vocab_size: 380, want 381");
    check_value("llama.rope.freq_base", 0, "llama.rope.freq_base");
    check_value("llama.rope.freq_base", 0x7fc00000, "llama.rope.freq_base"); // NaN
    check_missing("llama.attention.layer_norm_rms_epsilon");
    check_missing("general.architecture");
    char *data = copy();
    memcpy(find_name(data, "general.architecture") + 12, "mamba", 5);
    check_refused(data, "general.architecture: \"mamba\", want one of llama, qwen2, ");
    free(data);
}

static void test_tensors(void) {
    static const char *const names[] = {
        "token_embd.weight",        "blk.0.attn_norm.weight", "blk.0.attn_q.weight",   "blk.1.attn_k.weight",
        "blk.1.attn_v.weight",      "blk.0.ffn_norm.weight",  "blk.0.ffn_gate.weight", "blk.0.ffn_up.weight",
        "blk.0.attn_output.weight", "blk.1.ffn_down.weight",  "output_norm.weight",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        check_missing(names[i]);
    char *data = copy();
    uint64_t ne[] = {128, 512}; // of [256, 256]: as many bytes
    memcpy(find_name(data, "blk.0.attn_q.weight") + 4, ne, sizeof ne);
    check_refused(data, "blk.0.attn_q.weight: shape [512, 128], want [256, 256]");
    free(data);
}

static void test_good(void) {
    struct err err = {0};
    struct llm *m = llm_open("tests/golden/text/tiny-f16/model.gguf", ops, &(struct llm_options){0}, &err);
    CHECK_STR(err.msg, "");
    if (!m)
        return;
    CHECK_STR(llm_name(m), "forge-tiny");
    CHECK(llm_n_ctx(m) == 512 && llm_n_embd(m) == 256 && llm_n_vocab(m) == 381 && llm_n_rows_max(m) == 512);
    size_t done_bytes, total_bytes;
    llm_load_progress(m, &done_bytes, &total_bytes);
    CHECK(done_bytes == 0 && total_bytes > 0 && total_bytes < size);
    CHECK(!llm_load(m)); // all at once, it is so small
    llm_load_progress(m, &done_bytes, &total_bytes);
    CHECK(done_bytes == total_bytes && !llm_load(m));
    llm_close(m);
}

static void test_context_too_large(void) {
    struct err err = {0};
    struct llm_options options = {.n_ctx = INT32_MAX, .kv_type = LLM_KV_F32}; // 4 TiB of keys and values
    struct llm *m = llm_open("tests/golden/text/tiny-f16/model.gguf", ops, &options, &err);
    CHECK(m == NULL);
    CHECK_ERR(&err, ERR_INVALID_VALUE, "context of 2147483647 positions: its KV cache takes 4194304 MiB");
    llm_close(m);
}

int main(void) {
    struct err err = {0};
    ops = cpu_open(&(struct cpu_options){.n_threads = 1}, &err);
    CHECK(ops != NULL);
    if (!ops)
        return check_result();
    original = check_read_file("tests/golden/text/tiny-f16/model.gguf", &size);
    test_good();
    test_context_too_large();
    test_keys();
    test_tensors();
    free(original);
    ops->close(ops);
    return check_result();
}
