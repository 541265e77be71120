// Takes a GGUF file of an architecture of llm/arch.c, gives an open model: every key and every tensor's shape
// checked before anything is computed with it.
//
//   token_embd [n_vocab, n_embd]; for each layer attn_norm, attn_q/k/v (or attn_qkv), attn_output, ffn_norm,
//   ffn_gate/up (or ffn_up of both), ffn_down and what the family adds; output_norm [n_embd]; output
//   [n_vocab, n_embd], or token_embd where the file has none.
//
// Names and meanings: the GGUF specification (ggml, docs/gguf.md).
#include "llm/model.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { N_CTX_DEFAULT = 4096, N_ROWS_DEFAULT = 512, NAME_SIZE = 96 };

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

// Some rows of a tensor: fused ones hold several matrices of a layer, one after the other.
struct slice {
    const char *name; // behind "blk.N."
    size_t n_rows, first, n;
};

static bool bind_weight(struct llm *m, struct weight **out, const char *name, const struct slice *s,
                        size_t n_in, struct err *err) {
    const struct tensor *t = find_tensor(m->gguf, name, s->n_rows, n_in, false, err);
    if (!t)
        return false;
    struct tensor part = *t;
    size_t row_bytes = t->size_bytes / s->n_rows;
    part.ne[1] = s->n;
    part.data = (const char *)t->data + s->first * row_bytes;
    part.size_bytes = s->n * row_bytes;
    *out = m->ops->weight_create(m->ops, &part, WEIGHT_ROWS_ANY, err);
    return *out != NULL;
}

static bool bind_matrix(struct llm *m, struct weight **out, const char *name, size_t n_out, size_t n_in,
                        struct err *err) {
    return bind_weight(m, out, name, &(struct slice){name, n_out, 0, n_out}, n_in, err);
}

static bool bind_values(struct llm *m, float **out, const char *name, const struct slice *s, bool optional,
                        struct err *err) {
    if (optional && !gguf_find_tensor(m->gguf, name))
        return true;
    const struct tensor *t = find_tensor(m->gguf, name, 0, s->n_rows, optional, err);
    if (!t || !(*out = m->ops->alloc(m->ops, s->n * sizeof **out, err)))
        return false;
    m->ops->write(m->ops, *out, (const float *)t->data + s->first, s->n * sizeof **out);
    return true;
}

static bool bind_vector(struct llm *m, float **out, const char *name, size_t n, bool optional,
                        struct err *err) {
    return bind_values(m, out, name, &(struct slice){name, n, 0, n}, optional, err);
}

// prefix.weight and for layer norm prefix.bias, which without a tensor is zero.
static bool bind_norm(struct llm *m, struct norm *norm, const char *prefix, struct err *err) {
    char name[NAME_SIZE];
    snprintf(name, sizeof name, "%s.weight", prefix);
    if (!bind_vector(m, &norm->w, name, m->n_embd, false, err))
        return false;
    if (!m->arch->layer_norm)
        return true;
    snprintf(name, sizeof name, "%s.bias", prefix);
    return bind_vector(m, &norm->b, name, m->n_embd, true, err) &&
           (norm->b || (norm->b = m->ops->alloc(m->ops, m->n_embd * sizeof *norm->b, err)));
}

static bool bind_projections(struct llm *m, size_t index, struct err *err) {
    const struct hparams *hp = &m->hp;
    struct layer *l = &m->layers[index];
    bool qkv = m->arch->fused_qkv, gate_up = m->arch->fused_gate_up, gated = !m->arch->plain_ffn;
    size_t n_embd = hp->n_embd, n_q = hp->n_head * hp->head_dim, n_kv = hp->n_head_kv * hp->head_dim;
    size_t n_ff = hp->n_ff, n_qkv = n_q + 2 * n_kv;
    const struct {
        struct weight **to;
        float **bias;
        struct slice rows;
        size_t n_in;
        bool used;
    } list[] = {
        {&l->attn_q, &l->attn_q_bias, {"attn_qkv", n_qkv, 0, n_q}, n_embd, qkv},
        {&l->attn_k, &l->attn_k_bias, {"attn_qkv", n_qkv, n_q, n_kv}, n_embd, qkv},
        {&l->attn_v, &l->attn_v_bias, {"attn_qkv", n_qkv, n_q + n_kv, n_kv}, n_embd, qkv},
        {&l->attn_q, &l->attn_q_bias, {"attn_q", n_q, 0, n_q}, n_embd, !qkv},
        {&l->attn_k, &l->attn_k_bias, {"attn_k", n_kv, 0, n_kv}, n_embd, !qkv},
        {&l->attn_v, &l->attn_v_bias, {"attn_v", n_kv, 0, n_kv}, n_embd, !qkv},
        {&l->attn_output, &l->attn_output_bias, {"attn_output", n_embd, 0, n_embd}, n_q, true},
        {&l->ffn_gate, &l->ffn_gate_bias, {"ffn_up", 2 * n_ff, 0, n_ff}, n_embd, gate_up},
        {&l->ffn_up, &l->ffn_up_bias, {"ffn_up", 2 * n_ff, n_ff, n_ff}, n_embd, gate_up},
        {&l->ffn_gate, &l->ffn_gate_bias, {"ffn_gate", n_ff, 0, n_ff}, n_embd, gated && !gate_up},
        {&l->ffn_up, &l->ffn_up_bias, {"ffn_up", n_ff, 0, n_ff}, n_embd, !gate_up},
        {&l->ffn_down, &l->ffn_down_bias, {"ffn_down", n_embd, 0, n_embd}, n_ff, true},
    };
    char name[NAME_SIZE];
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        if (!list[i].used)
            continue;
        snprintf(name, sizeof name, "blk.%zu.%s.weight", index, list[i].rows.name);
        if (!bind_weight(m, list[i].to, name, &list[i].rows, list[i].n_in, err))
            return false;
        snprintf(name, sizeof name, "blk.%zu.%s.bias", index, list[i].rows.name);
        if (!bind_values(m, list[i].bias, name, &list[i].rows, true, err))
            return false;
    }
    return true;
}

static bool bind_layer(struct llm *m, size_t index, struct err *err) {
    const struct arch *arch = m->arch;
    struct layer *l = &m->layers[index];
    const struct {
        float **to;
        const char *name;
        size_t n;
        bool used;
    } vectors[] = {
        {&l->attn_q_norm, "attn_q_norm", m->hp.head_dim, arch->qk_norm},
        {&l->attn_k_norm, "attn_k_norm", m->hp.head_dim, arch->qk_norm},
        {&l->attn_post_norm, "post_attention_norm", m->n_embd, arch->post_norms},
        {&l->ffn_post_norm, "post_ffw_norm", m->n_embd, arch->post_norms},
    };
    char name[NAME_SIZE];
    snprintf(name, sizeof name, "blk.%zu.attn_norm", index);
    if (!bind_norm(m, &l->attn_norm, name, err) || !bind_projections(m, index, err))
        return false;
    snprintf(name, sizeof name, "blk.%zu.ffn_norm", index);
    if (!m->hp.parallel && !bind_norm(m, &l->ffn_norm, name, err))
        return false;
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        snprintf(name, sizeof name, "blk.%zu.%s.weight", index, vectors[i].name);
        if (vectors[i].used && !bind_vector(m, vectors[i].to, name, vectors[i].n, false, err))
            return false;
        if (!vectors[i].used && gguf_find_tensor(m->gguf, name))
            return err_set(err, ERR_MODEL, "%s: tensor unknown to architecture %s", name, arch->name);
    }
    return true;
}

static bool bind_tensors(struct llm *m, struct err *err) {
    size_t n_embd = m->n_embd, n_vocab = m->n_vocab;
    m->layers = xcalloc(m->hp.n_layer, sizeof *m->layers);
    if (!bind_matrix(m, &m->token_embd, "token_embd.weight", n_vocab, n_embd, err))
        return false;
    for (size_t i = 0; i < m->hp.n_layer; i++)
        if (!bind_layer(m, i, err))
            return false;
    if (!bind_norm(m, &m->output_norm, "output_norm", err) ||
        !bind_vector(m, &m->output_bias, "output.bias", n_vocab, true, err))
        return false;
    if (gguf_find_tensor(m->gguf, "output.weight"))
        return bind_matrix(m, &m->output, "output.weight", n_vocab, n_embd, err);
    m->output = m->token_embd;
    return true;
}

static bool read_hparams(struct llm *m, struct err *err) {
    if (!hparams_read(&m->hp, m->gguf, m->arch, tokenizer_n_vocab(m->tokenizer), err))
        return false;
    m->n_embd = m->hp.n_embd;
    m->n_vocab = m->hp.n_vocab;
    return true;
}

static bool read_ropes(struct llm *m, struct err *err) {
    return hparams_read_rope(&m->hp, m->gguf, m->arch, false, m->n_ctx, &m->rope, &m->rope_freqs, err) &&
           hparams_read_rope(&m->hp, m->gguf, m->arch, true, m->n_ctx, &m->window_rope, &m->window_rope_freqs,
                             err);
}

// Bytes of memory that the machine has.
static size_t machine_memory(void) {
    long n_pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
    size_t size_bytes;
    if (n_pages <= 0 || page_bytes <= 0 || !size_mul((size_t)n_pages, (size_t)page_bytes, &size_bytes))
        return SIZE_MAX;
    return size_bytes;
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
    size_t memory = machine_memory();
    if (size_bytes > memory)
        return err_set(err, ERR_INVALID_VALUE,
                       "context of %zu positions: its KV cache takes %zu MiB, the machine has %zu MiB",
                       m->n_ctx, size_bytes >> 20, memory >> 20);
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
    if ((m->gguf = gguf_open_with(path, &options->load, err)) && (m->arch = arch_find(m->gguf, err)) &&
        read_name(m, err) && (m->tokenizer = tokenizer_open(m->gguf, err)) && read_hparams(m, err) &&
        apply_options(m, options, err) &&
        chat_format_find(m->gguf, m->tokenizer, options->chat_template, &m->chat_format, err) &&
        read_ropes(m, err) && bind_tensors(m, err))
        return m;
    llm_close(m);
    return NULL;
}

static void release_layer(struct ops *o, struct layer *l) {
    struct weight *const weights[] = {l->attn_q,   l->attn_k, l->attn_v,  l->attn_output,
                                      l->ffn_gate, l->ffn_up, l->ffn_down};
    float *const vectors[] = {
        l->attn_norm.w,   l->attn_norm.b,    l->ffn_norm.w,    l->ffn_norm.b,  l->attn_q_bias,
        l->attn_k_bias,   l->attn_v_bias,    l->attn_q_norm,   l->attn_k_norm, l->attn_output_bias,
        l->ffn_post_norm, l->attn_post_norm, l->ffn_gate_bias, l->ffn_up_bias, l->ffn_down_bias,
    };
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
    o->release(o, m->output_norm.w);
    o->release(o, m->output_norm.b);
    o->release(o, m->output_bias);
    free(m->rope_freqs);
    free(m->window_rope_freqs);
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
