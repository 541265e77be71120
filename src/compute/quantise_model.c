// A model file -> the same with its weights quantised: rows in parallel, a piece of a tensor at a time.
//
// The mixes are those that people know by these names (llama.cpp's llama-quantize): the output matrix in
// q6_K; in q4_K_M and q5_K_M also attn_v and ffn_down of the first and last eighth of the blocks and of every
// third between. Vectors, norms, routers and position tables are no weights of a matrix product over tokens
// and stay as precise as they are.
#include "compute/quantise_model.h"
#include "base/mem.h"
#include "compute/gguf_write.h"
#include "compute/quant.h"
#include "compute/quantise.h"

#include <ctype.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum {
    CHUNK_VALUES = 1 << 16,
    CHUNKS_MAX = 256, // of a piece; a piece is quantised, then written
    QUANTIZATION_VERSION = 2,
    N_EXPERT_MANY = 8, // from here on attention is so small a part that it is kept precise
};

struct quantise_mix {
    const char *name;
    enum tensor_type type;
    uint32_t file_type; // of key general.file_type
    bool medium;        // some attn_v and ffn_down in q6_K
};

static const struct quantise_mix mixes[] = {
    {"q4_0", TENSOR_Q4_0, 2, false},   {"q8_0", TENSOR_Q8_0, 7, false},   {"q5_0", TENSOR_Q5_0, 8, false},
    {"q4_k_m", TENSOR_Q4_K, 15, true}, {"q5_k_m", TENSOR_Q5_K, 17, true}, {"q6_k", TENSOR_Q6_K, 18, false},
};

const struct quantise_mix *quantise_mix_find(const char *name) {
    for (size_t i = 0; i < sizeof mixes / sizeof *mixes; i++) {
        size_t k = 0;
        while (name[k] && tolower((unsigned char)name[k]) == mixes[i].name[k])
            k++;
        if (!name[k] && !mixes[i].name[k])
            return &mixes[i];
    }
    return NULL;
}

static bool ends_with(const char *s, const char *tail) {
    size_t len = strlen(s), tail_len = strlen(tail);
    return len >= tail_len && strcmp(s + len - tail_len, tail) == 0;
}

static bool is_matrix(const struct tensor *t) {
    return t->n_dims >= 2 && ends_with(t->name, "weight") && !strstr(t->name, "_norm.weight") &&
           !strstr(t->name, "ffn_gate_inp") && !strstr(t->name, "position_embd") &&
           !strstr(t->name, "token_types");
}

static bool wants_more_bits(size_t layer, size_t n_layer) {
    size_t eighth = n_layer / 8;
    return layer < eighth || layer >= 7 * n_layer / 8 || (layer - eighth) % 3 == 2;
}

static enum tensor_type mixed_type(const struct quantise_mix *mix, const char *name,
                                   const struct quantise_context *c) {
    unsigned layer = 0;
    bool in_layer = sscanf(name, "blk.%u.", &layer) == 1;
    bool is_output =
        strcmp(name, "output.weight") == 0 || (c->tied && strcmp(name, "token_embd.weight") == 0);
    if (is_output)
        return mix->type == TENSOR_Q8_0 ? TENSOR_Q8_0 : TENSOR_Q6_K;
    bool attn_v = strstr(name, "attn_v.weight"), many = c->n_expert >= N_EXPERT_MANY;
    if (many && (attn_v || strstr(name, "attn_k.weight")))
        return TENSOR_Q8_0;
    if (!mix->medium)
        return mix->type;
    if (many && strstr(name, "attn_output.weight"))
        return TENSOR_Q5_K;
    if (strstr(name, "attn_qkv.weight"))
        return mix->type == TENSOR_Q4_K ? TENSOR_Q5_K : TENSOR_Q6_K;
    if ((attn_v || strstr(name, "ffn_down")) && in_layer && wants_more_bits(layer, c->n_layer))
        return TENSOR_Q6_K;
    return mix->type;
}

enum tensor_type quantise_type(const struct quantise_mix *mix, const struct tensor *t,
                               const struct quantise_context *c) {
    if (t->n_dims == 1)
        return TENSOR_F32;
    if (!is_matrix(t))
        return t->type;
    enum tensor_type type = mixed_type(mix, t->name, c);
    if (t->ne[0] % 256 != 0) {
        if (type == TENSOR_Q4_K)
            type = TENSOR_Q5_0;
        else if (type == TENSOR_Q5_K)
            type = TENSOR_Q5_1;
        else if (type == TENSOR_Q6_K)
            type = TENSOR_Q8_0;
    }
    return t->ne[0] % 32 == 0 ? type : TENSOR_F16;
}

static bool read_context(const struct gguf *in, struct quantise_context *c, struct err *err) {
    struct gguf_string arch = {0};
    uint64_t n_layer = 0, n_expert = 0;
    char key[128];
    if (!gguf_get_string(in, "general.architecture", &arch, NULL, err))
        return false;
    int len = arch.len < 64 ? (int)arch.len : 64;
    snprintf(key, sizeof key, "%.*s.block_count", len, arch.data ? arch.data : "");
    if (!gguf_get_uint(in, key, 0, UINT32_MAX, &n_layer, NULL, err))
        return false;
    snprintf(key, sizeof key, "%.*s.expert_count", len, arch.data ? arch.data : "");
    if (!gguf_get_uint(in, key, 0, UINT32_MAX, &n_expert, NULL, err))
        return false;
    *c = (struct quantise_context){n_layer, n_expert, !gguf_find_tensor(in, "output.weight")};
    return true;
}

static bool check_path(const struct gguf *in, const char *path, struct err *err) {
    char part[4096];
    if ((size_t)snprintf(part, sizeof part, "%s.part", path) >= sizeof part)
        return err_set(err, ERR_INVALID_VALUE, "the name of the file to write is too long");
    const char *const outs[] = {path, part};
    for (size_t i = 0; i < gguf_n_parts(in); i++) {
        struct stat a, b;
        for (size_t k = 0; k < 2; k++)
            if (stat(gguf_part_path(in, i), &a) == 0 && stat(outs[k], &b) == 0 && a.st_dev == b.st_dev &&
                a.st_ino == b.st_ino)
                return err_set(err, ERR_INVALID_VALUE, "%s: is the file to read, want another to write",
                               outs[k]);
    }
    return true;
}

struct work {
    struct gguf_write *out;
    struct pool *pool;
    bool (*progress)(void *ctx, size_t done, size_t total);
    void *ctx;
    size_t done, total; // values

    // the piece at hand
    const struct tensor *from, *to;
    size_t row, n_rows;      // of the tensor
    size_t rows_chunk;       // rows of a chunk
    size_t row_bytes;        // of `to`
    float *scratch;          // [n_threads, ne[0]] f32
    uint8_t *blocks;         // [n_rows, row_bytes]
    atomic_size_t bad_value; // 1 + the index in the tensor of a value that no type can say
};

static void quantise_chunk(void *ctx, size_t chunk, size_t thread) {
    struct work *w = ctx;
    size_t n = w->from->ne[0], first = chunk * w->rows_chunk, last = first + w->rows_chunk;
    const struct quant_traits *traits = quant_traits(w->from->type);
    quantise_fn quantise = quantise_find(w->to->type);
    float *x = w->scratch + thread * n;
    for (size_t r = first; r < last && r < w->n_rows; r++) {
        traits->dequantise(x, (const uint8_t *)w->from->data + (w->row + r) * n * traits->block_bytes, n);
        for (size_t i = 0; i < n; i++)
            if (!(fabsf(x[i]) <= QUANTISE_MAX)) {
                atomic_store(&w->bad_value, (w->row + r) * n + i + 1);
                return;
            }
        quantise(w->blocks + r * w->row_bytes, x, n);
    }
}

static bool report(struct work *w, size_t n_values, struct err *err) {
    w->done += n_values;
    return !w->progress || w->progress(w->ctx, w->done, w->total) ||
           err_set(err, ERR_CANCELLED, "interrupted");
}

static size_t count_rows(const struct tensor *t) {
    return t->ne[1] * t->ne[2] * t->ne[3];
}

static bool copy_tensor(struct work *w, struct err *err) {
    const struct tensor *t = w->from;
    return gguf_write_data(w->out, t->data, t->size_bytes, err) && report(w, count_rows(t) * t->ne[0], err);
}

static bool convert_tensor(struct work *w, struct err *err) {
    const struct tensor *t = w->from;
    size_t n = t->ne[0], n_rows = count_rows(t), n_threads = pool_n_threads(w->pool), n_floats;
    bool ok = false;
    w->rows_chunk = CHUNK_VALUES / n ? CHUNK_VALUES / n : 1;
    size_t rows_piece = n > CHUNK_VALUES ? n_threads : w->rows_chunk * CHUNKS_MAX;
    if (rows_piece > n_rows)
        rows_piece = n_rows;
    if (!quant_row_bytes(w->to->type, n, &w->row_bytes) || !size_mul(n, n_threads, &n_floats))
        return err_set(err, ERR_MODEL, "%s: rows of %zu values are too long", t->name, n);
    w->scratch = try_malloc_array(n_floats, sizeof *w->scratch, t->name, err);
    w->blocks = try_malloc_array(rows_piece, w->row_bytes, t->name, err);
    if (!w->scratch || !w->blocks)
        goto fail;
    for (w->row = 0; w->row < n_rows; w->row += w->n_rows) {
        w->n_rows = n_rows - w->row < rows_piece ? n_rows - w->row : rows_piece;
        pool_run(w->pool, (w->n_rows + w->rows_chunk - 1) / w->rows_chunk, quantise_chunk, w);
        size_t bad = atomic_load(&w->bad_value);
        if (bad) {
            err_set(err, ERR_MODEL, "%s: value %zu is not finite or past %g", t->name, bad - 1,
                    (double)QUANTISE_MAX);
            goto fail;
        }
        if (!gguf_write_data(w->out, w->blocks, w->n_rows * w->row_bytes, err) ||
            !report(w, w->n_rows * n, err))
            goto fail;
    }
    ok = true;

fail:
    free(w->scratch);
    free(w->blocks);
    w->scratch = NULL;
    w->blocks = NULL;
    return ok;
}

// The new directory: types and sizes; what is not to be changed must be of a type that can be read.
static bool plan(const struct gguf *in, const struct quantise_mix *mix, struct tensor *tensors, size_t *total,
                 struct err *err) {
    struct quantise_context c;
    if (!read_context(in, &c, err))
        return false;
    for (size_t i = 0; i < gguf_n_tensors(in); i++) {
        const struct tensor *t = gguf_tensor_at(in, i);
        tensors[i] = *t;
        tensors[i].type = quantise_type(mix, t, &c);
        *total += count_rows(t) * t->ne[0];
        if (tensors[i].type == t->type)
            continue;
        if (quant_traits(t->type)->block_n != 1)
            return err_set(err, ERR_MODEL, "%s: type %s, want f32, f16 or bf16 to quantise from", t->name,
                           quant_type_name(t->type));
        size_t row_bytes;
        if (!quant_row_bytes(tensors[i].type, t->ne[0], &row_bytes) ||
            !size_mul(row_bytes, count_rows(t), &tensors[i].size_bytes))
            return err_set(err, ERR_MODEL, "%s: too large as %s", t->name, quant_type_name(tensors[i].type));
    }
    return true;
}

bool quantise_model(const struct gguf *in, const char *path, const struct quantise_mix *mix,
                    struct pool *pool, bool (*progress)(void *ctx, size_t done, size_t total), void *ctx,
                    struct err *err) {
    const struct gguf_write_key keys[] = {{"general.file_type", mix->file_type},
                                          {"general.quantization_version", QUANTIZATION_VERSION}};
    struct work w = {.pool = pool, .progress = progress, .ctx = ctx};
    size_t n = gguf_n_tensors(in);
    bool ok = false;
    struct tensor *tensors = try_malloc_array(n + 1, sizeof *tensors, gguf_path(in), err);
    if (!tensors || !check_path(in, path, err) || !plan(in, mix, tensors, &w.total, err))
        goto fail;
    w.out = gguf_write_create(path, in, keys, sizeof keys / sizeof *keys, tensors, n, err);
    if (!w.out)
        goto fail;
    for (size_t i = 0; i < n; i++) {
        w.from = gguf_tensor_at(in, i);
        w.to = &tensors[i];
        if (!(w.from->type == w.to->type ? copy_tensor(&w, err) : convert_tensor(&w, err)))
            goto fail;
    }
    ok = gguf_write_finish(w.out, err);

fail:
    gguf_write_destroy(w.out);
    free(tensors);
    return ok;
}
