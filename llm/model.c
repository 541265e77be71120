// Takes a GGUF file of the `llama` architecture, gives an open model: every key and every tensor's shape
// checked before anything is computed with it.
//
//   token_embd [n_vocab, n_embd]; for each layer attn_norm, attn_q/k/v/output, ffn_norm, ffn_gate/up/down;
//   output_norm [n_embd]; output [n_vocab, n_embd], or token_embd where the file has none.
//
// Names and meanings: the GGUF specification (ggml, docs/gguf.md).
#include "llm/model.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    N_LAYER_MAX = 512,
    N_HEAD_MAX = 4096,
    N_EMBD_MAX = 1 << 20,
    N_FF_MAX = 1 << 22,
    N_CTX_DEFAULT = 4096,
    N_ROWS_DEFAULT = 512,
    KEY_SIZE = 96,
};

static const char architecture[] = "llama";

static void key_name(char key[KEY_SIZE], const char *suffix) {
    snprintf(key, KEY_SIZE, "%s.%s", architecture, suffix);
}

static bool string_is(struct gguf_string s, const char *want) {
    return s.len == strlen(want) && memcmp(s.data, want, s.len) == 0;
}

// An integer in [1, max]; where the key is missing, *out stays when optional.
static bool read_size(const struct gguf *g, const char *suffix, size_t max, bool optional, size_t *out,
                      struct err *err) {
    char key[KEY_SIZE];
    key_name(key, suffix);
    uint64_t value = 0;
    bool found = false;
    if (!gguf_get_uint(g, key, 1, max, &value, &found, err))
        return false;
    if (!found)
        return optional || err_set(err, ERR_MODEL, "%s: missing, want an integer from 1 to %zu", key, max);
    *out = (size_t)value;
    return true;
}

// A number in (0, max].
static bool read_number(const struct gguf *g, const char *suffix, double max, bool optional, double *out,
                        struct err *err) {
    char key[KEY_SIZE];
    key_name(key, suffix);
    bool found = false;
    if (!gguf_get_float(g, key, out, &found, err))
        return false;
    if (!found && !optional)
        return err_set(err, ERR_MODEL, "%s: missing, want a number", key);
    if (!(*out > 0 && *out <= max))
        return err_set(err, ERR_MODEL, "%s: %g, want more than 0 and at most %g", key, *out, max);
    return true;
}

static bool check_architecture(const struct gguf *g, struct err *err) {
    struct gguf_string s = {0};
    bool found = false;
    if (!gguf_get_string(g, "general.architecture", &s, &found, err))
        return false;
    if (!found)
        return err_set(err, ERR_MODEL, "general.architecture: missing, want \"%s\"", architecture);
    if (!string_is(s, architecture))
        return err_set(err, ERR_MODEL, "general.architecture: \"%.*s\", want \"%s\"",
                       (int)(s.len < 64 ? s.len : 64), s.data, architecture);
    return true;
}

static bool check_vocab(const struct gguf *g, size_t n_vocab, struct err *err) {
    size_t n = n_vocab;
    if (!read_size(g, "vocab_size", INT32_MAX, true, &n, err))
        return false;
    return n == n_vocab || err_set(err, ERR_MODEL, "%s.vocab_size: %zu, want %zu (tokenizer.ggml.tokens)",
                                   architecture, n, n_vocab);
}

static bool read_heads(const struct gguf *g, struct hparams *hp, struct err *err) {
    if (!read_size(g, "attention.head_count", N_HEAD_MAX, false, &hp->n_head, err))
        return false;
    hp->n_head_kv = hp->n_head;
    if (!read_size(g, "attention.head_count_kv", N_HEAD_MAX, true, &hp->n_head_kv, err))
        return false;
    if (hp->n_head % hp->n_head_kv != 0)
        return err_set(err, ERR_MODEL, "%s.attention.head_count_kv: %zu, want a divisor of head_count %zu",
                       architecture, hp->n_head_kv, hp->n_head);
    hp->head_dim = 0;
    if (!read_size(g, "attention.key_length", N_EMBD_MAX, true, &hp->head_dim, err))
        return false;
    if (hp->head_dim == 0) {
        if (hp->n_embd % hp->n_head != 0)
            return err_set(err, ERR_MODEL,
                           "%s.attention.head_count: %zu, want a divisor of embedding_length %zu",
                           architecture, hp->n_head, hp->n_embd);
        hp->head_dim = hp->n_embd / hp->n_head;
    }
    size_t n_v = hp->head_dim;
    if (!read_size(g, "attention.value_length", N_EMBD_MAX, true, &n_v, err))
        return false;
    if (n_v != hp->head_dim)
        return err_set(err, ERR_MODEL, "%s.attention.value_length: %zu, want %zu as the keys", architecture,
                       n_v, hp->head_dim);
    hp->n_rot = hp->head_dim;
    if (!read_size(g, "rope.dimension_count", hp->head_dim, true, &hp->n_rot, err))
        return false;
    if (hp->n_rot % 2 != 0)
        return err_set(err, ERR_MODEL, "%s.rope.dimension_count: %zu, want an even number", architecture,
                       hp->n_rot);
    return true;
}

static bool read_hparams(struct llm *m, struct err *err) {
    const struct gguf *g = m->gguf;
    struct hparams *hp = &m->hp;
    double eps = 0;
    hp->n_vocab = tokenizer_n_vocab(m->tokenizer);
    if (!read_size(g, "block_count", N_LAYER_MAX, false, &hp->n_layer, err) ||
        !read_size(g, "embedding_length", N_EMBD_MAX, false, &hp->n_embd, err) ||
        !read_size(g, "feed_forward_length", N_FF_MAX, false, &hp->n_ff, err) ||
        !read_size(g, "context_length", INT32_MAX, false, &hp->n_ctx_train, err) ||
        !read_number(g, "attention.layer_norm_rms_epsilon", 1, false, &eps, err) || !read_heads(g, hp, err) ||
        !check_vocab(g, hp->n_vocab, err))
        return false;
    hp->rms_eps = (float)eps;
    m->n_embd = hp->n_embd;
    m->n_vocab = hp->n_vocab;
    return true;
}

// The tensor [n_out, n_in], or the vector [n_in] for n_out = 0; NULL without an error when optional.
static const struct tensor *find_tensor(const struct gguf *g, const char *name, size_t n_out, size_t n_in,
                                        bool optional, struct err *err) {
    const struct tensor *t = gguf_find_tensor(g, name);
    if (!t) {
        if (!optional)
            err_set(err, ERR_MODEL, "%s: tensor missing", name);
        return NULL;
    }
    if (n_out > 0) {
        if (t->n_dims == 2 && t->ne[0] == n_in && t->ne[1] == n_out)
            return t;
    } else if (t->n_dims == 1 && t->ne[0] == n_in) {
        if (t->type == TENSOR_F32)
            return t;
        err_set(err, ERR_MODEL, "%s: type %d, want f32 (0)", name, (int)t->type);
        return NULL;
    }
    char found[112] = "", want[64];
    size_t len = 0;
    for (size_t i = t->n_dims; i-- > 0;)
        len += (size_t)snprintf(found + len, sizeof found - len, "%zu%s", t->ne[i], i ? ", " : "");
    if (n_out > 0)
        snprintf(want, sizeof want, "%zu, %zu", n_out, n_in);
    else
        snprintf(want, sizeof want, "%zu", n_in);
    err_set(err, ERR_MODEL, "%s: shape [%s], want [%s]", name, found, want);
    return NULL;
}

static bool bind_weight(struct llm *m, struct weight **out, const char *name, size_t n_out, size_t n_in,
                        struct err *err) {
    const struct tensor *t = find_tensor(m->gguf, name, n_out, n_in, false, err);
    *out = t ? m->ops->weight_create(m->ops, t, WEIGHT_ROWS_ANY, err) : NULL;
    return *out != NULL;
}

static bool bind_vector(struct llm *m, float **out, const char *name, size_t n, bool optional,
                        struct err *err) {
    if (optional && !gguf_find_tensor(m->gguf, name))
        return true;
    const struct tensor *t = find_tensor(m->gguf, name, 0, n, optional, err);
    if (!t || !(*out = m->ops->alloc(m->ops, n * sizeof **out, err)))
        return false;
    m->ops->write(m->ops, *out, t->data, n * sizeof **out);
    return true;
}

static bool bind_layer(struct llm *m, size_t index, struct err *err) {
    const struct hparams *hp = &m->hp;
    struct layer *l = &m->layers[index];
    size_t n_embd = hp->n_embd, n_q = hp->n_head * hp->head_dim, n_kv = hp->n_head_kv * hp->head_dim;
    const struct {
        struct weight **to;
        const char *name;
        size_t n_out, n_in;
    } weights[] = {
        {&l->attn_q, "attn_q", n_q, n_embd},          {&l->attn_k, "attn_k", n_kv, n_embd},
        {&l->attn_v, "attn_v", n_kv, n_embd},         {&l->attn_output, "attn_output", n_embd, n_q},
        {&l->ffn_gate, "ffn_gate", hp->n_ff, n_embd}, {&l->ffn_up, "ffn_up", hp->n_ff, n_embd},
        {&l->ffn_down, "ffn_down", n_embd, hp->n_ff},
    };
    const struct {
        float **to;
        const char *name;
        size_t n;
        bool optional;
    } vectors[] = {
        {&l->attn_norm, "attn_norm.weight", n_embd, false},
        {&l->ffn_norm, "ffn_norm.weight", n_embd, false},
        {&l->attn_q_bias, "attn_q.bias", n_q, true},
        {&l->attn_k_bias, "attn_k.bias", n_kv, true},
        {&l->attn_v_bias, "attn_v.bias", n_kv, true},
        {&l->attn_output_bias, "attn_output.bias", n_embd, true},
    };
    char name[KEY_SIZE];
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++) {
        snprintf(name, sizeof name, "blk.%zu.%s.weight", index, weights[i].name);
        if (!bind_weight(m, weights[i].to, name, weights[i].n_out, weights[i].n_in, err))
            return false;
    }
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        snprintf(name, sizeof name, "blk.%zu.%s", index, vectors[i].name);
        if (!bind_vector(m, vectors[i].to, name, vectors[i].n, vectors[i].optional, err))
            return false;
    }
    return true;
}

static bool bind_tensors(struct llm *m, struct err *err) {
    size_t n_embd = m->n_embd, n_vocab = m->n_vocab;
    m->layers = xcalloc(m->hp.n_layer, sizeof *m->layers);
    if (!bind_weight(m, &m->token_embd, "token_embd.weight", n_vocab, n_embd, err))
        return false;
    for (size_t i = 0; i < m->hp.n_layer; i++)
        if (!bind_layer(m, i, err))
            return false;
    if (!bind_vector(m, &m->output_norm, "output_norm.weight", n_embd, false, err))
        return false;
    if (gguf_find_tensor(m->gguf, "output.weight"))
        return bind_weight(m, &m->output, "output.weight", n_vocab, n_embd, err);
    m->output = m->token_embd;
    return true;
}

// freqs[i] = freq_base^(-2i / n_rot), divided by the linear scale and by Llama 3's factor of the pair.
static bool compute_rope_freqs(struct llm *m, struct err *err) {
    size_t n = m->hp.n_rot / 2;
    double base = 10000, scale = 1;
    char key[KEY_SIZE];
    struct gguf_string scaling = {0};
    bool found = false;
    key_name(key, "rope.scaling.type");
    if (!read_number(m->gguf, "rope.freq_base", 1e12, true, &base, err) ||
        !gguf_get_string(m->gguf, key, &scaling, &found, err))
        return false;
    bool linear = found && string_is(scaling, "linear");
    if (found && !linear && !string_is(scaling, "none"))
        return err_set(err, ERR_MODEL, "%s: \"%.*s\", want \"none\" or \"linear\"", key,
                       (int)(scaling.len < 64 ? scaling.len : 64), scaling.data);
    if (linear && !read_number(m->gguf, "rope.scaling.factor", 1e6, false, &scale, err))
        return false;
    const struct tensor *t = NULL;
    if (gguf_find_tensor(m->gguf, "rope_freqs.weight") &&
        !(t = find_tensor(m->gguf, "rope_freqs.weight", 0, n, true, err)))
        return false;
    m->rope_freqs = xcalloc(n, sizeof *m->rope_freqs);
    for (size_t i = 0; i < n; i++) {
        float factor = t ? ((const float *)t->data)[i] : 1;
        if (!(factor > 0 && isfinite(factor)))
            return err_set(err, ERR_MODEL, "rope_freqs.weight: value %zu is %g, want more than 0", i,
                           (double)factor);
        m->rope_freqs[i] = (float)(pow(base, -2.0 * (double)i / (double)m->hp.n_rot) / scale / factor);
    }
    return true;
}

static bool apply_options(struct llm *m, const struct llm_options *options, struct err *err) {
    size_t n_train = m->hp.n_ctx_train, size_bytes;
    m->n_ctx = options->n_ctx ? options->n_ctx : n_train < N_CTX_DEFAULT ? n_train : N_CTX_DEFAULT;
    m->n_rows_max = options->n_rows_max ? options->n_rows_max : N_ROWS_DEFAULT;
    m->kv_type = options->kv_f32 ? TENSOR_F32 : TENSOR_F16;
    if (m->n_ctx > INT32_MAX || m->n_rows_max > INT32_MAX ||
        !kv_cache_size(m->kv_type, m->hp.n_layer, m->n_ctx, m->hp.n_head_kv * m->hp.head_dim, &size_bytes))
        return err_set(err, ERR_INVALID_VALUE, "context of %zu positions, steps of %zu rows: too large",
                       m->n_ctx, m->n_rows_max);
    if (m->n_ctx > n_train)
        log_event(LOG_LEVEL_WARN, "context of %zu positions: the model was trained on %zu", m->n_ctx,
                  n_train);
    return true;
}

// general.name where it is text, else the file's name.
static bool read_name(struct llm *m, struct err *err) {
    struct gguf_string s = {0};
    bool found = false;
    if (!gguf_get_string(m->gguf, "general.name", &s, &found, err))
        return false;
    if (!found || s.len == 0 || s.len > 255 || memchr(s.data, 0, s.len) || !utf8_is_valid(s.data, s.len)) {
        const char *path = gguf_path(m->gguf), *slash = strrchr(path, '/');
        m->name = xstrdup(slash ? slash + 1 : path);
        return true;
    }
    m->name = xcalloc(s.len + 1, 1);
    memcpy(m->name, s.data, s.len);
    return true;
}

struct llm *llm_open(const char *path, struct ops *ops, const struct llm_options *options, struct err *err) {
    struct llm *m = xcalloc(1, sizeof *m);
    m->ops = ops;
    if ((m->gguf = gguf_open(path, err)) && check_architecture(m->gguf, err) && read_name(m, err) &&
        (m->tokenizer = tokenizer_open(m->gguf, err)) && read_hparams(m, err) &&
        apply_options(m, options, err) &&
        chat_format_find(m->gguf, m->tokenizer, options->chat_template, &m->chat_format, err) &&
        compute_rope_freqs(m, err) && bind_tensors(m, err))
        return m;
    llm_close(m);
    return NULL;
}

static void release_layer(struct ops *o, struct layer *l) {
    struct weight *const weights[] = {l->attn_q,   l->attn_k, l->attn_v,  l->attn_output,
                                      l->ffn_gate, l->ffn_up, l->ffn_down};
    float *const vectors[] = {l->attn_norm,   l->ffn_norm,    l->attn_q_bias,
                              l->attn_k_bias, l->attn_v_bias, l->attn_output_bias};
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++)
        o->weight_release(o, weights[i]);
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
        o->release(o, vectors[i]);
}

void llm_close(struct llm *m) {
    if (!m)
        return;
    struct ops *o = m->ops;
    transformer_clear(m);
    for (size_t i = 0; m->layers && i < m->hp.n_layer; i++)
        release_layer(o, &m->layers[i]);
    free(m->layers);
    if (m->output != m->token_embd)
        o->weight_release(o, m->output);
    o->weight_release(o, m->token_embd);
    o->release(o, m->output_norm);
    free(m->rope_freqs);
    free(m->name);
    tokenizer_close(m->tokenizer);
    gguf_close(m->gguf);
    free(m);
}

const char *llm_name(const struct llm *m) {
    return m->name;
}

size_t llm_n_ctx(const struct llm *m) {
    return m->n_ctx;
}

size_t llm_n_embd(const struct llm *m) {
    return m->n_embd;
}

size_t llm_n_vocab(const struct llm *m) {
    return m->n_vocab;
}

size_t llm_n_rows_max(const struct llm *m) {
    return m->n_rows_max;
}

const char *llm_template_name(const struct llm *m) {
    return chat_format_name(m->chat_format);
}
