// What distinguishes the families of models: one row of a table each. The forward pass is one for all.
#ifndef LLM_ARCH_H
#define LLM_ARCH_H

#include "compute/gguf.h"
#include "compute/ops.h"

#include <stdbool.h>
#include <stddef.h>

enum arch_query_scale {
    QUERY_SCALE_HEAD,   // 1 / sqrt(head_dim)
    QUERY_SCALE_GEMMA2, // the same, in the model of 46 layers 1 / sqrt(n_embd / n_head)
    QUERY_SCALE_GEMMA3, // the same, in the model of 62 layers 1 / sqrt(n_embd / n_head)
};

enum arch_qk_norm { // of each head of queries and keys, before RoPE
    QK_NORM_NONE,
    QK_NORM_SHARED, // all heads by the same values
    QK_NORM_OWN,    // each by its own, where the file has them
};

enum arch_sections { // M-RoPE: which pairs of a head turn by time, line and column
    SECTIONS_NONE,
    SECTIONS_RUNS,        // one run of pairs after another
    SECTIONS_INTERLEAVED, // time, line, column, time, ... while line and column last
};

enum arch_experts { // a mixture of experts in the place of the feed-forward part
    EXPERTS_NONE,
    EXPERTS_MAY, // where the file has them
    EXPERTS_ALWAYS,
};

struct arch {
    const char *name;   // general.architecture, in front of the file's keys
    bool layer_norm;    // norms with mean and bias, else RMS
    bool rope_halves;   // RoPE turns pairs (i, i + n_rot / 2), else (2i, 2i + 1)
    bool fused_qkv;     // attn_qkv holds the rows of attn_q, attn_k, attn_v
    bool fused_gate_up; // ffn_up holds the rows of ffn_gate, ffn_up
    bool parallel;      // attention and feed-forward both take the layer's one norm
    bool post_norms;    // what attention and feed-forward give is normalised before it is added
    bool plain_ffn;     // no gate: ffn_down act(ffn_up x)
    bool embed_sqrt;    // embeddings of tokens are scaled by sqrt(n_embd)
    bool window_rope;   // layers with a window turn by a base of their own and without scaling
    enum act act;       // of the feed-forward part
    enum arch_qk_norm qk_norm;
    enum arch_sections sections;
    enum arch_experts experts;           // the weights of the chosen ones are 1 in sum
    size_t window_period;                // 0: no windows, 1: in each layer, n: in all but each n-th
    size_t nope_period;                  // n: each n-th layer has no RoPE
    float attn_soft_cap, logit_soft_cap; // where the file names none; 0 = off
    enum arch_query_scale query_scale;
};

// The row of the file's general.architecture; NULL with ERR_MODEL, which lists the known ones.
const struct arch *arch_find(const struct gguf *g, struct err *err);

#endif
