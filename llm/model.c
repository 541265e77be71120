// Takes a GGUF file of an architecture of llm/arch.c, gives an open model: every key and every tensor's shape
// checked before anything is computed with it.
//
//   token_embd [n_vocab, n_embd]; for each layer attn_norm, attn_q/k/v (or attn_qkv), attn_output, ffn_norm,
//   ffn_gate/up (or ffn_up of both), ffn_down or those of the experts and their router ffn_gate_inp, and what
//   the family adds; output_norm [n_embd]; output [n_vocab, n_embd], or token_embd where the file has none.
//
// Names and meanings: the GGUF specification (ggml, docs/gguf.md).
#include "llm/model.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "compute/file_weight.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    N_CTX_DEFAULT = 4096,
    N_ROWS_DEFAULT = 512,
    NAME_SIZE = 96,
    LAYER_WEIGHTS = 8, // of a layer at most, but for experts
    LOAD_STEP_BYTES = 64 << 20,
};

// The sizes of a tensor, outermost first.
struct shape {
    size_t n_dims, n[3];
};

static bool has_shape(const struct tensor *t, const struct shape *shape) {
    for (size_t i = 0; i < TENSOR_DIMS_MAX; i++)
        if (t->ne[i] != (i < shape->n_dims ? shape->n[shape->n_dims - 1 - i] : 1))
            return false;
    return true;
}

static const struct tensor *find_tensor(const struct gguf *g, const char *name, const struct shape *shape,
                                        struct err *err) {
    const struct tensor *t = gguf_find_tensor(g, name);
    if (!t) {
        err_set(err, ERR_MODEL, "%s: tensor missing", name);
        return NULL;
    }
    if (has_shape(t, shape))
        return t;
    char found[112] = "", want[80] = "";
    size_t len = 0;
    for (size_t i = t->n_dims; i-- > 0;)
        len += (size_t)snprintf(found + len, sizeof found - len, "%zu%s", t->ne[i], i ? ", " : "");
    len = 0;
    for (size_t i = 0; i < shape->n_dims; i++)
        len += (size_t)snprintf(want + len, sizeof want - len, "%s%zu", i ? ", " : "", shape->n[i]);
    err_set(err, ERR_MODEL, "%s: shape [%s], want [%s]", name, found, want);
    return NULL;
}

// Some rows of a tensor: fused ones hold several matrices of a layer, one after the other.
struct slice {
    const char *name; // behind "blk.N."
    size_t n_rows, first, n;
};

static bool add_weight(struct llm *m, struct weight **out, const struct tensor *t, enum weight_rows rows,
                       struct err *err) {
    if (!(*out = m->ops->weight_create(m->ops, t, rows, err)))
        return false;
    m->weights[m->n_weights++] = *out;
    m->load_bytes += weight_read_bytes(*out);
    return true;
}

// The weight [n, n_in] of the rows of a tensor from `first` on.
static bool view_rows(struct llm *m, struct weight **out, const struct tensor *t, size_t first, size_t n,
                      struct err *err) {
    struct tensor part = *t;
    size_t row_bytes = t->size_bytes / (t->ne[1] * t->ne[2]);
    part.n_dims = 2;
    part.ne[1] = n;
    part.ne[2] = 1;
    part.data = (const char *)t->data + first * row_bytes;
    part.size_bytes = n * row_bytes;
    return add_weight(m, out, &part, WEIGHT_ROWS_ANY, err);
}

static bool bind_weight(struct llm *m, struct weight **out, const char *name, const struct slice *s,
                        size_t n_in, struct err *err) {
    const struct tensor *t = find_tensor(m->gguf, name, &(struct shape){2, {s->n_rows, n_in}}, err);
    return t && view_rows(m, out, t, s->first, s->n, err);
}

static bool bind_matrix(struct llm *m, struct weight **out, const char *name, size_t n_out, size_t n_in,
                        struct err *err) {
    return bind_weight(m, out, name, &(struct slice){name, n_out, 0, n_out}, n_in, err);
}

// Values first to first + n - 1 of a tensor of this shape.
static bool bind_values(struct llm *m, float **out, const char *name, const struct shape *shape, size_t first,
                        size_t n, struct err *err) {
    const struct tensor *t = find_tensor(m->gguf, name, shape, err);
    if (!t)
        return false;
    if (t->type != TENSOR_F32)
        return err_set(err, ERR_MODEL, "%s: type %d, want f32 (0)", name, (int)t->type);
    if (!(*out = m->ops->alloc(m->ops, n * sizeof **out, err)))
        return false;
    m->ops->write(m->ops, *out, (const float *)t->data + first, n * sizeof **out);
    return true;
}

// The bias of a slice; none where the file has none.
static bool bind_bias(struct llm *m, float **out, const char *name, const struct slice *s, struct err *err) {
    return !gguf_find_tensor(m->gguf, name) ||
           bind_values(m, out, name, &(struct shape){1, {s->n_rows}}, s->first, s->n, err);
}

// prefix.weight and for layer norm prefix.bias, which without a tensor is zero. Norms of heads with values of
// their own are [n_head, n].
static bool bind_norm(struct llm *m, struct norm *norm, const char *prefix, size_t n_head, size_t n,
                      struct err *err) {
    char name[NAME_SIZE];
    struct shape shape = n_head > 0 ? (struct shape){2, {n_head, n}} : (struct shape){1, {n}};
    size_t n_all = n_head > 0 ? n_head * n : n;
    snprintf(name, sizeof name, "%s.weight", prefix);
    if (!bind_values(m, &norm->w, name, &shape, 0, n_all, err))
        return false;
    if (!m->arch->layer_norm)
        return true;
    snprintf(name, sizeof name, "%s.bias", prefix);
    if (gguf_find_tensor(m->gguf, name))
        return bind_values(m, &norm->b, name, &shape, 0, n_all, err);
    norm->b = m->ops->alloc(m->ops, n_all * sizeof *norm->b, err);
    return norm->b != NULL;
}

static bool bind_projections(struct llm *m, size_t index, struct err *err) {
    const struct hparams *hp = &m->hp;
    struct layer *l = &m->layers[index];
    bool qkv = m->arch->fused_qkv, ffn = hp->n_expert == 0, gate_up = m->arch->fused_gate_up,
         gated = !m->arch->plain_ffn;
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
        {&l->ffn_gate, &l->ffn_gate_bias, {"ffn_up", 2 * n_ff, 0, n_ff}, n_embd, ffn && gate_up},
        {&l->ffn_up, &l->ffn_up_bias, {"ffn_up", 2 * n_ff, n_ff, n_ff}, n_embd, ffn && gate_up},
        {&l->ffn_gate, &l->ffn_gate_bias, {"ffn_gate", n_ff, 0, n_ff}, n_embd, ffn && gated && !gate_up},
        {&l->ffn_up, &l->ffn_up_bias, {"ffn_up", n_ff, 0, n_ff}, n_embd, ffn && !gate_up},
        {&l->ffn_down, &l->ffn_down_bias, {"ffn_down", n_embd, 0, n_embd}, n_ff, ffn},
    };
    char name[NAME_SIZE];
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        if (!list[i].used)
            continue;
        snprintf(name, sizeof name, "blk.%zu.%s.weight", index, list[i].rows.name);
        if (!bind_weight(m, list[i].to, name, &list[i].rows, list[i].n_in, err))
            return false;
        snprintf(name, sizeof name, "blk.%zu.%s.bias", index, list[i].rows.name);
        if (!bind_bias(m, list[i].bias, name, &list[i].rows, err))
            return false;
    }
    return true;
}

// The experts' matrices [n_out, n_in]: slices of blk.N.name_exps [n_expert, n_out, n_in], in files of before
// March 2024 a tensor each, blk.N.name.E.
static bool bind_expert_matrices(struct llm *m, struct weight ***out, size_t index, const char *name,
                                 size_t n_out, size_t n_in, struct err *err) {
    size_t n = m->hp.n_expert;
    char full[NAME_SIZE];
    snprintf(full, sizeof full, "blk.%zu.%s.0.weight", index, name);
    bool apart = gguf_find_tensor(m->gguf, full);
    const struct tensor *all = NULL;
    if (!apart) {
        snprintf(full, sizeof full, "blk.%zu.%s_exps.weight", index, name);
        if (!(all = find_tensor(m->gguf, full, &(struct shape){3, {n, n_out, n_in}}, err)))
            return false;
    }
    *out = xcalloc(n, sizeof **out);
    for (size_t i = 0; i < n; i++) {
        snprintf(full, sizeof full, "blk.%zu.%s.%zu.weight", index, name, i);
        if (!(apart ? bind_matrix(m, &(*out)[i], full, n_out, n_in, err)
                    : view_rows(m, &(*out)[i], all, i * n_out, n_out, err)))
            return false;
    }
    return true;
}

static bool bind_experts(struct llm *m, size_t index, struct err *err) {
    struct layer *l = &m->layers[index];
    size_t n_embd = m->n_embd, n_ff = m->hp.n_ff;
    char name[NAME_SIZE];
    snprintf(name, sizeof name, "blk.%zu.ffn_gate_inp.weight", index);
    return bind_matrix(m, &l->ffn_gate_inp, name, m->hp.n_expert, n_embd, err) &&
           bind_expert_matrices(m, &l->ffn_gate_exps, index, "ffn_gate", n_ff, n_embd, err) &&
           bind_expert_matrices(m, &l->ffn_up_exps, index, "ffn_up", n_ff, n_embd, err) &&
           bind_expert_matrices(m, &l->ffn_down_exps, index, "ffn_down", n_embd, n_ff, err);
}

// Whether heads are normalised: where a family leaves that to the file, its first layer tells.
static bool has_qk_norm(const struct llm *m) {
    enum arch_qk_norm kind = m->arch->qk_norm;
    return kind == QK_NORM_SHARED ||
           (kind == QK_NORM_OWN && gguf_find_tensor(m->gguf, "blk.0.attn_q_norm.weight"));
}

// Tensors that other models have: to leave one out would be to compute something else.
static bool check_strangers(const struct llm *m, size_t index, struct err *err) {
    const struct arch *arch = m->arch;
    bool experts = m->hp.n_expert > 0, qk = has_qk_norm(m);
    const struct {
        const char *name;
        bool known;
    } list[] = {
        {"attn_q_norm.weight", qk},
        {"attn_k_norm.weight", qk},
        {"post_attention_norm.weight", arch->post_norms},
        {"post_ffw_norm.weight", arch->post_norms},
        {"ffn_gate_inp.weight", experts},
        {"ffn_gate_inp.bias", false},
        {"ffn_gate_exps.bias", false},
        {"ffn_up_exps.bias", false},
        {"ffn_down_exps.bias", false},
        {"ffn_gate_shexp.weight", false},
        {"exp_probs_b.bias", false},
    };
    char name[NAME_SIZE];
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        snprintf(name, sizeof name, "blk.%zu.%s", index, list[i].name);
        if (!list[i].known && gguf_find_tensor(m->gguf, name))
            return err_set(err, ERR_MODEL, "%s: tensor unknown to architecture %s with %zu experts", name,
                           arch->name, m->hp.n_expert);
    }
    return true;
}

static bool bind_layer(struct llm *m, size_t index, struct err *err) {
    const struct arch *arch = m->arch;
    const struct hparams *hp = &m->hp;
    struct layer *l = &m->layers[index];
    bool own = arch->qk_norm == QK_NORM_OWN, qk = has_qk_norm(m);
    size_t n_head = own ? hp->n_head : 0, n_head_kv = own ? hp->n_head_kv : 0;
    const struct {
        struct norm *to;
        const char *name;
        size_t n_head, n;
        bool used;
    } norms[] = {
        {&l->attn_norm, "attn_norm", 0, m->n_embd, true},
        {&l->attn_q_norm, "attn_q_norm", n_head, hp->head_dim, qk},
        {&l->attn_k_norm, "attn_k_norm", n_head_kv, hp->head_dim, qk},
        {&l->attn_post_norm, "post_attention_norm", 0, m->n_embd, arch->post_norms},
        {&l->ffn_norm, "ffn_norm", 0, m->n_embd, !hp->parallel},
        {&l->ffn_post_norm, "post_ffw_norm", 0, m->n_embd, arch->post_norms},
    };
    char name[NAME_SIZE];
    if (!check_strangers(m, index, err))
        return false;
    for (size_t i = 0; i < sizeof norms / sizeof *norms; i++) {
        snprintf(name, sizeof name, "blk.%zu.%s", index, norms[i].name);
        if (norms[i].used && !bind_norm(m, norms[i].to, name, norms[i].n_head, norms[i].n, err))
            return false;
    }
    return bind_projections(m, index, err) && (hp->n_expert == 0 || bind_experts(m, index, err));
}

static bool bind_tensors(struct llm *m, struct err *err) {
    size_t n_embd = m->n_embd, n_vocab = m->n_vocab;
    m->layers = xcalloc(m->hp.n_layer, sizeof *m->layers);
    m->weights = xcalloc(2 + m->hp.n_layer * (LAYER_WEIGHTS + 3 * m->hp.n_expert), sizeof *m->weights);
    bool tied = !gguf_find_tensor(m->gguf, "output.weight");
    const struct tensor *t =
        find_tensor(m->gguf, "token_embd.weight", &(struct shape){2, {n_vocab, n_embd}}, err);
    if (!t)
        return false;
    if (!add_weight(m, &m->token_embd, t, tied ? WEIGHT_ROWS_ANY : WEIGHT_ROWS_NONE, err))
        return false;
    for (size_t i = 0; i < m->hp.n_layer; i++)
        if (!bind_layer(m, i, err))
            return false;
    if (!bind_norm(m, &m->output_norm, "output_norm", 0, n_embd, err) ||
        !bind_bias(m, &m->output_bias, "output.bias", &(struct slice){"output", n_vocab, 0, n_vocab}, err))
        return false;
    if (!tied)
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
    return hparams_read_rope(&m->hp, m->gguf, m->arch, false, m->n_ctx, &m->rope, &m->rope_freqs,
                             &m->rope_axes, err) &&
           hparams_read_rope(&m->hp, m->gguf, m->arch, true, m->n_ctx, &m->window_rope, &m->window_rope_freqs,
                             &m->window_rope_axes, err);
}

// Bytes of memory that the machine has.
static size_t machine_memory(void) {
    long n_pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
    size_t size_bytes;
    if (n_pages <= 0 || page_bytes <= 0 || !size_mul((size_t)n_pages, (size_t)page_bytes, &size_bytes))
        return SIZE_MAX;
    return size_bytes;
}

static bool choose_kv_type(struct llm *m, enum llm_kv_type type, struct err *err) {
    static const enum tensor_type types[] = {TENSOR_F16, TENSOR_F32, TENSOR_Q8_0};
    m->kv = (struct kv_shape){types[type], m->hp.n_head_kv, m->hp.head_dim};
    return type != LLM_KV_Q8_0 || m->hp.head_dim % 32 == 0 ||
           err_set(err, ERR_INVALID_VALUE,
                   "KV cache of type q8_0: its blocks are 32 values, the model's heads %zu; want f16 or f32",
                   m->hp.head_dim);
}

static bool apply_options(struct llm *m, const struct llm_options *options, struct err *err) {
    size_t n_train = m->hp.n_ctx_train, size_bytes;
    m->n_ctx = options->n_ctx ? options->n_ctx : n_train < N_CTX_DEFAULT ? n_train : N_CTX_DEFAULT;
    m->n_rows_max = options->n_rows_max ? options->n_rows_max : N_ROWS_DEFAULT;
    if (!choose_kv_type(m, options->kv_type, err))
        return false;
    size_t n_seqs = options->n_seqs ? options->n_seqs : 1;
    if (m->n_ctx > INT32_MAX || m->n_rows_max > INT32_MAX ||
        !kv_cache_size(m->ops, &m->kv, m->hp.n_layer, m->n_ctx, &size_bytes) ||
        !size_mul(size_bytes, n_seqs, &size_bytes))
        return err_set(err, ERR_INVALID_VALUE, "%zu contexts of %zu positions, steps of %zu rows: too large",
                       n_seqs, m->n_ctx, m->n_rows_max);
    size_t memory = machine_memory();
    if (size_bytes > memory)
        return err_set(
            err, ERR_INVALID_VALUE,
            "context of %zu positions: its KV cache takes %zu MiB, %zu of them %zu MiB; the machine "
            "has %zu MiB",
            m->n_ctx, (size_bytes / n_seqs) >> 20, n_seqs, size_bytes >> 20, memory >> 20);
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
    m->order = shared_order_create();
    if ((m->gguf = gguf_open_with(path, &options->load, err)) && (m->arch = arch_find(m->gguf, err)) &&
        read_name(m, err) && (m->tokenizer = tokenizer_open(m->gguf, err)) && read_hparams(m, err) &&
        apply_options(m, options, err) &&
        (m->chat = chat_open(m->gguf, m->tokenizer, options->chat_template, err)) && read_ropes(m, err) &&
        bind_tensors(m, err))
        return m;
    llm_close(m);
    return NULL;
}

bool llm_load(struct llm *m) {
    size_t end_bytes = m->loaded_bytes + LOAD_STEP_BYTES;
    while (m->n_loaded < m->n_weights && m->loaded_bytes < end_bytes) {
        struct weight *w = m->weights[m->n_loaded++];
        file_weight_load(m->ops, m->gguf, w);
        m->loaded_bytes += weight_read_bytes(w);
    }
    return m->n_loaded < m->n_weights;
}

void llm_load_progress(const struct llm *m, size_t *done_bytes, size_t *total_bytes) {
    *done_bytes = m->loaded_bytes;
    *total_bytes = m->load_bytes;
}

static void release_layer(struct ops *o, struct layer *l) {
    const struct norm *const norms[] = {&l->attn_norm,      &l->attn_q_norm, &l->attn_k_norm,
                                        &l->attn_post_norm, &l->ffn_norm,    &l->ffn_post_norm};
    float *const biases[] = {l->attn_q_bias,   l->attn_k_bias, l->attn_v_bias,  l->attn_output_bias,
                             l->ffn_gate_bias, l->ffn_up_bias, l->ffn_down_bias};
    for (size_t i = 0; i < sizeof norms / sizeof *norms; i++) {
        o->release(o, norms[i]->w);
        o->release(o, norms[i]->b);
    }
    for (size_t i = 0; i < sizeof biases / sizeof *biases; i++)
        o->release(o, biases[i]);
    free(l->ffn_gate_exps);
    free(l->ffn_up_exps);
    free(l->ffn_down_exps);
}

void llm_close(struct llm *m) {
    if (!m)
        return;
    struct ops *o = m->ops;
    transformer_clear(m);
    for (size_t i = 0; m->layers && i < m->hp.n_layer; i++)
        release_layer(o, &m->layers[i]);
    free(m->layers);
    for (size_t i = 0; i < m->n_weights; i++)
        o->weight_release(o, m->weights[i]);
    free(m->weights);
    o->release(o, m->output_norm.w);
    o->release(o, m->output_norm.b);
    o->release(o, m->output_bias);
    free(m->rope_freqs);
    free(m->window_rope_freqs);
    free(m->rope_axes);
    free(m->window_rope_axes);
    free(m->name);
    shared_order_destroy(m->order);
    chat_close(m->chat);
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

size_t llm_n_embd_image(const struct llm *m) {
    return m->n_embd * (1 + m->hp.n_deepstack);
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
    return chat_name(m->chat);
}

const char *llm_template_stop(const struct llm *m) {
    return chat_stop(m->chat);
}
