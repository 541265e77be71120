// The hyperparameters of a model: the keys ARCHITECTURE.* of its file.
#ifndef LLM_HPARAMS_H
#define LLM_HPARAMS_H

#include "compute/gguf.h"
#include "llm/arch.h"

struct hparams {
    size_t n_layer;
    size_t n_embd;
    size_t n_head, n_head_kv, head_dim;
    size_t n_ff;                    // of the feed-forward part, with experts of one
    size_t n_expert, n_expert_used; // 0 = no mixture of experts
    size_t n_ctx_train, n_ctx_orig; // n_ctx_orig: before the scaling of RoPE
    size_t n_rot;                   // values of each head that RoPE turns
    size_t n_vocab;
    size_t n_deepstack; // layers, from the first on, behind which images add to their rows
    size_t window;      // 0 = none
    bool parallel;      // attention and feed-forward both take the layer's one norm
    float norm_eps;
    float embed_scale, residual_scale, attn_scale, logit_scale; // factors; 1 = none (attn_scale: of q . k)
    float attn_soft_cap, logit_soft_cap;                        // 0 = off
    float attn_temperature; // queries at position p times 1 + this ln(1 + floor(p / n_ctx_orig)); 0 = off
};

// Whether the layer sees only hp->window keys.
bool hparams_has_window(const struct hparams *hp, const struct arch *arch, size_t layer);

bool hparams_read(struct hparams *hp, const struct gguf *g, const struct arch *arch, size_t n_vocab,
                  struct err *err);

// Fills rope; *freqs and, with M-RoPE, *axes are new (free them). `window`: of the layers with a window.
// n_ctx chooses the factors of LongRoPE: the long ones where it is more than the model had before scaling.
bool hparams_read_rope(const struct hparams *hp, const struct gguf *g, const struct arch *arch, bool window,
                       size_t n_ctx, struct rope *rope, float **freqs, uint8_t **axes, struct err *err);

#endif
