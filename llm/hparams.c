// Takes the keys ARCHITECTURE.* of a GGUF file, gives checked hyperparameters and the angles of RoPE.
//
//   freqs[i] = freq_base^(-2i / n_rot), then
//     linear    / factor
//     YaRN      / factor for slow pairs, blended into 1 for fast ones (Peng et al. 2023)
//     LongRoPE, Llama 3: / a factor of each pair, which the file holds as a tensor (Ding et al. 2024)
//
// Names and meanings: the GGUF specification (ggml, docs/gguf.md).
#include "llm/hparams.h"

#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    N_LAYER_MAX = 512,
    N_HEAD_MAX = 4096,
    N_EMBD_MAX = 1 << 20,
    N_FF_MAX = 1 << 22,
    N_EXPERT_MAX = 1024,
    KEY_SIZE = 96,
};

struct keys { // where to look
    const struct gguf *g;
    const char *arch;
};

static void key_name(const struct keys *k, char key[KEY_SIZE], const char *suffix) {
    snprintf(key, KEY_SIZE, "%s.%s", k->arch, suffix);
}

static bool string_is(struct gguf_string s, const char *want) {
    return s.len == strlen(want) && memcmp(s.data, want, s.len) == 0;
}

// An integer in [min, max]; where the key is missing, *out stays when optional.
static bool read_size(const struct keys *k, const char *suffix, size_t min, size_t max, bool optional,
                      size_t *out, struct err *err) {
    char key[KEY_SIZE];
    key_name(k, key, suffix);
    uint64_t value = 0;
    bool found = false;
    if (!gguf_get_uint(k->g, key, min, max, &value, &found, err))
        return false;
    if (!found)
        return optional ||
               err_set(err, ERR_MODEL, "%s: missing, want an integer from %zu to %zu", key, min, max);
    *out = (size_t)value;
    return true;
}

// A number in (0, max]; where the key is missing, *out stays when optional.
static bool read_number(const struct keys *k, const char *suffix, double max, bool optional, double *out,
                        struct err *err) {
    char key[KEY_SIZE];
    key_name(k, key, suffix);
    bool found = false;
    double value = 0;
    if (!gguf_get_float(k->g, key, &value, &found, err))
        return false;
    if (!found)
        return optional || err_set(err, ERR_MODEL, "%s: missing, want a number", key);
    if (!(value > 0 && value <= max))
        return err_set(err, ERR_MODEL, "%s: %g, want more than 0 and at most %g", key, value, max);
    *out = value;
    return true;
}

static bool read_float(const struct keys *k, const char *suffix, float *out, struct err *err) {
    double value = (double)*out;
    if (!read_number(k, suffix, 1e6, true, &value, err))
        return false;
    *out = (float)value;
    return true;
}

// The same, but 0 is legal and means off.
static bool read_switch(const struct keys *k, const char *suffix, float *out, struct err *err) {
    char key[KEY_SIZE];
    key_name(k, key, suffix);
    double value = (double)*out;
    if (!gguf_get_float(k->g, key, &value, NULL, err))
        return false;
    if (!(value >= 0 && value <= 1e6))
        return err_set(err, ERR_MODEL, "%s: %g, want 0 to 1e6", key, value);
    *out = (float)value;
    return true;
}

static bool check_vocab(const struct keys *k, size_t n_vocab, struct err *err) {
    size_t n = n_vocab;
    if (!read_size(k, "vocab_size", 1, INT32_MAX, true, &n, err))
        return false;
    return n == n_vocab || err_set(err, ERR_MODEL, "%s.vocab_size: %zu, want %zu (tokenizer.ggml.tokens)",
                                   k->arch, n, n_vocab);
}

static bool read_heads(const struct keys *k, struct hparams *hp, struct err *err) {
    if (!read_size(k, "attention.head_count", 1, N_HEAD_MAX, false, &hp->n_head, err))
        return false;
    hp->n_head_kv = hp->n_head;
    if (!read_size(k, "attention.head_count_kv", 1, N_HEAD_MAX, true, &hp->n_head_kv, err))
        return false;
    if (hp->n_head % hp->n_head_kv != 0)
        return err_set(err, ERR_MODEL, "%s.attention.head_count_kv: %zu, want a divisor of head_count %zu",
                       k->arch, hp->n_head_kv, hp->n_head);
    hp->head_dim = 0;
    if (!read_size(k, "attention.key_length", 1, N_EMBD_MAX, true, &hp->head_dim, err))
        return false;
    if (hp->head_dim == 0) {
        if (hp->n_embd % hp->n_head != 0)
            return err_set(err, ERR_MODEL,
                           "%s.attention.head_count: %zu, want a divisor of embedding_length %zu", k->arch,
                           hp->n_head, hp->n_embd);
        hp->head_dim = hp->n_embd / hp->n_head;
    }
    size_t n_v = hp->head_dim;
    if (!read_size(k, "attention.value_length", 1, N_EMBD_MAX, true, &n_v, err))
        return false;
    if (n_v != hp->head_dim)
        return err_set(err, ERR_MODEL, "%s.attention.value_length: %zu, want %zu as the keys", k->arch, n_v,
                       hp->head_dim);
    hp->n_rot = hp->head_dim;
    if (!read_size(k, "rope.dimension_count", 1, hp->head_dim, true, &hp->n_rot, err))
        return false;
    if (hp->n_rot % 2 != 0)
        return err_set(err, ERR_MODEL, "%s.rope.dimension_count: %zu, want an even number", k->arch,
                       hp->n_rot);
    return true;
}

// A mixture of experts in the place of the feed-forward part.
static bool read_experts(const struct keys *k, const struct arch *arch, struct hparams *hp, struct err *err) {
    bool always = arch->experts == EXPERTS_ALWAYS;
    size_t n_max = arch->experts == EXPERTS_NONE ? 0 : N_EXPERT_MAX, n_shared = 0;
    if (!read_size(k, "expert_count", always, n_max, !always, &hp->n_expert, err))
        return false;
    if (hp->n_expert == 0)
        return true;
    // Experts that every row takes beside the chosen ones are no part of these families.
    return read_size(k, "expert_shared_count", 0, 0, true, &n_shared, err) &&
           read_size(k, "expert_shared_feed_forward_length", 0, 0, true, &n_shared, err) &&
           read_size(k, "expert_used_count", 1, hp->n_expert, false, &hp->n_expert_used, err) &&
           read_size(k, "expert_feed_forward_length", 1, N_FF_MAX, true, &hp->n_ff, err);
}

// What some families multiply and bound.
static bool read_scales(const struct keys *k, const struct arch *arch, struct hparams *hp, struct err *err) {
    float embed = arch->embed_sqrt ? sqrtf((float)hp->n_embd) : 1, logit = 1;
    size_t n_scaled = arch->query_scale == QUERY_SCALE_GEMMA2   ? 46
                      : arch->query_scale == QUERY_SCALE_GEMMA3 ? 62
                                                                : 0;
    double query = n_scaled == hp->n_layer ? (double)hp->n_embd / (double)hp->n_head : (double)hp->head_dim;
    hp->attn_scale = (float)(1 / sqrt(query));
    hp->residual_scale = 1;
    hp->attn_soft_cap = arch->attn_soft_cap;
    hp->logit_soft_cap = arch->logit_soft_cap;
    if (!read_float(k, "embedding_scale", &embed, err) || !read_float(k, "logit_scale", &logit, err) ||
        !read_float(k, "residual_scale", &hp->residual_scale, err) ||
        !read_float(k, "attention.scale", &hp->attn_scale, err) ||
        !read_switch(k, "attention.temperature_scale", &hp->attn_temperature, err) ||
        !read_switch(k, "attn_logit_softcapping", &hp->attn_soft_cap, err) ||
        !read_switch(k, "final_logit_softcapping", &hp->logit_soft_cap, err))
        return false;
    hp->embed_scale = embed;
    hp->logit_scale = 1 / logit;
    return true;
}

bool hparams_has_window(const struct hparams *hp, const struct arch *arch, size_t layer) {
    return hp->window > 0 && (arch->window_period == 1 || (layer + 1) % arch->window_period != 0);
}

bool hparams_read(struct hparams *hp, const struct gguf *g, const struct arch *arch, size_t n_vocab,
                  struct err *err) {
    const struct keys *k = &(struct keys){g, arch->name};
    double eps = 0;
    const char *eps_key =
        arch->layer_norm ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon";
    char key[KEY_SIZE];
    *hp = (struct hparams){.n_vocab = n_vocab, .parallel = arch->parallel};
    if (!read_size(k, "block_count", 1, N_LAYER_MAX, false, &hp->n_layer, err) ||
        !read_size(k, "embedding_length", 1, N_EMBD_MAX, false, &hp->n_embd, err) ||
        !read_size(k, "feed_forward_length", 1, N_FF_MAX, false, &hp->n_ff, err) ||
        !read_size(k, "context_length", 1, INT32_MAX, false, &hp->n_ctx_train, err) ||
        !read_experts(k, arch, hp, err) || !read_number(k, eps_key, 1, false, &eps, err) ||
        !read_heads(k, hp, err) || !check_vocab(k, n_vocab, err) || !read_scales(k, arch, hp, err))
        return false;
    hp->n_ctx_orig = hp->n_ctx_train;
    hp->norm_eps = (float)eps;
    key_name(k, key, "use_parallel_residual");
    if (!gguf_get_bool(g, key, &hp->parallel, NULL, err))
        return false;
    if (hp->parallel && hp->residual_scale != 1)
        return err_set(err, ERR_MODEL, "%s.residual_scale: %g, want 1 in a model of parallel layers", k->arch,
                       (double)hp->residual_scale);
    return read_size(k, "rope.scaling.original_context_length", 1, INT32_MAX, true, &hp->n_ctx_orig, err) &&
           (arch->sections != SECTIONS_INTERLEAVED ||
            read_size(k, "n_deepstack_layers", 0, hp->n_layer, true, &hp->n_deepstack, err)) &&
           (arch->window_period == 0 || read_size(k, "attention.sliding_window", 0, INT32_MAX,
                                                  arch->window_period == 1, &hp->window, err));
}

// The factors by which a tensor divides the frequencies, or NULL where the file has none.
static bool find_factors(const struct gguf *g, const char *name, size_t n, const float **factors,
                         struct err *err) {
    const struct tensor *t = gguf_find_tensor(g, name);
    *factors = NULL;
    if (!t)
        return true;
    if (t->n_dims != 1 || t->ne[0] != n || t->type != TENSOR_F32)
        return err_set(err, ERR_MODEL, "%s: shape [.., %zu] of type %d, want [%zu] of f32 (0)", name,
                       t->ne[0], (int)t->type, n);
    *factors = t->data;
    for (size_t i = 0; i < n; i++)
        if (!((*factors)[i] > 0 && isfinite((*factors)[i])))
            return err_set(err, ERR_MODEL, "%s: value %zu is %g, want more than 0", name, i,
                           (double)(*factors)[i]);
    return true;
}

struct rope_scaling {
    double base, factor, magnitude;
    bool yarn;
    double low, high; // YaRN: pairs up to low keep their frequency, those from high on are divided by factor
};

// The pair that turns n_turns times over n_ctx positions.
static double yarn_pair(const struct hparams *hp, double base, double n_turns) {
    return (double)hp->n_rot * log((double)hp->n_ctx_orig / (n_turns * 2 * 3.14159265358979323846)) /
           (2 * log(base));
}

static bool read_yarn(const struct keys *k, const struct hparams *hp, struct rope_scaling *s,
                      struct err *err) {
    double fast = 32, slow = 1;
    float log_multiplier = 0;
    if (!read_number(k, "rope.scaling.yarn_beta_fast", 1e6, true, &fast, err) ||
        !read_number(k, "rope.scaling.yarn_beta_slow", 1e6, true, &slow, err) ||
        !read_switch(k, "rope.scaling.yarn_log_multiplier", &log_multiplier, err))
        return false;
    s->yarn = true;
    s->low = fmax(floor(yarn_pair(hp, s->base, fast)), 0);
    s->high = fmin(ceil(yarn_pair(hp, s->base, slow)), (double)hp->n_rot - 1);
    if (s->factor > 1)
        s->magnitude *= (1 + 0.1 * log(s->factor)) / (1 + 0.1 * (double)log_multiplier * log(s->factor));
    return true;
}

static bool read_scaling(const struct keys *k, const struct hparams *hp, struct rope_scaling *s,
                         bool longrope, struct err *err) {
    struct gguf_string type = {0};
    bool found = false;
    char key[KEY_SIZE];
    key_name(k, key, "rope.scaling.type");
    if (!gguf_get_string(k->g, key, &type, &found, err))
        return false;
    bool linear = found && string_is(type, "linear"), yarn = found && string_is(type, "yarn");
    if (found && !linear && !yarn && !string_is(type, "none") && !string_is(type, "longrope"))
        return err_set(err, ERR_MODEL, "%s: \"%.*s\", want none, linear, yarn or longrope", key,
                       (int)(type.len < 64 ? type.len : 64), type.data);
    if (longrope && hp->n_ctx_train > hp->n_ctx_orig) {
        double ratio = (double)hp->n_ctx_train / (double)hp->n_ctx_orig;
        s->magnitude = sqrt(1 + log(ratio) / log((double)hp->n_ctx_orig));
    }
    if ((linear || yarn) && !read_number(k, "rope.scaling.factor", 1e6, false, &s->factor, err))
        return false;
    return read_number(k, "rope.scaling.attn_factor", 1e3, true, &s->magnitude, err) &&
           (!yarn || read_yarn(k, hp, s, err));
}

// Which axis turns each pair. Sources: Hugging Face Qwen2VL apply_multimodal_rotary_pos_emb; Qwen3VL
// apply_interleaved_mrope.
static bool read_sections(const struct keys *k, const struct arch *arch, size_t n_pairs, uint8_t *axes,
                          struct err *err) {
    char name[KEY_SIZE];
    key_name(k, name, "rope.dimension_sections");
    const struct gguf_key *key = gguf_find_key(k->g, name);
    int64_t size[3] = {0}, sum = 0;
    if (!key)
        return err_set(err, ERR_MODEL, "%s: missing, want the pairs of time, line and column", name);
    bool ok =
        key->type == GGUF_ARRAY && (key->item_type == GGUF_I32 || key->item_type == GGUF_U32) && key->n >= 3;
    for (size_t i = 0; ok && i < 3; i++) {
        size[i] = gguf_array_int(key, i);
        sum += size[i];
        ok = size[i] >= 0 && sum <= (int64_t)n_pairs;
    }
    if (!ok)
        return err_set(err, ERR_MODEL,
                       "%s: want an array of i32, three or four, of at most %zu pairs together", name,
                       n_pairs);
    for (int64_t i = 0; i < (int64_t)n_pairs; i++) {
        if (arch->sections == SECTIONS_RUNS)
            axes[i] = (uint8_t)((i >= size[0]) + (i >= size[0] + size[1]));
        else
            axes[i] = (uint8_t)(i < 3 * size[i % 3] ? i % 3 : 0);
    }
    return true;
}

bool hparams_read_rope(const struct hparams *hp, const struct gguf *g, const struct arch *arch, bool window,
                       size_t n_ctx, struct rope *rope, float **freqs, uint8_t **axes, struct err *err) {
    const struct keys *k = &(struct keys){g, arch->name};
    size_t n = hp->n_rot / 2;
    struct rope_scaling s = {.base = 10000, .factor = 1, .magnitude = 1};
    bool own = window && arch->window_rope, is_long = n_ctx > hp->n_ctx_orig;
    const float *factors = NULL, *longrope = NULL;
    if (!read_number(k, own ? "rope.freq_base_swa" : "rope.freq_base", 1e12, true, &s.base, err))
        return false;
    if (!own) {
        const char *name = is_long ? "rope_factors_long.weight" : "rope_factors_short.weight";
        if (!find_factors(g, name, n, &longrope, err) ||
            !find_factors(g, "rope_freqs.weight", n, &factors, err) ||
            !read_scaling(k, hp, &s, longrope != NULL, err))
            return false;
        factors = longrope ? longrope : factors;
    }
    *freqs = xcalloc(n, sizeof **freqs);
    for (size_t i = 0; i < n; i++) {
        double freq = pow(s.base, -2.0 * (double)i / (double)hp->n_rot),
               factor = factors ? (double)factors[i] : 1;
        double ramp = fmin(fmax(((double)i - s.low) / fmax(s.high - s.low, 0.001), 0), 1);
        double scaled = s.yarn ? freq * (1 - ramp) + freq / s.factor * ramp : freq / s.factor;
        (*freqs)[i] = (float)(scaled / factor);
    }
    *rope = (struct rope){
        .freqs = *freqs, .n_rot = hp->n_rot, .halves = arch->rope_halves, .magnitude = (float)s.magnitude};
    if (arch->sections == SECTIONS_NONE)
        return true;
    *axes = xcalloc(n ? n : 1, sizeof **axes);
    rope->n_axes = 3;
    rope->axes = *axes;
    return read_sections(k, arch, n, *axes, err);
}
