// An open language model: what the file says (hyperparameters), its weights bound by name, its tokenizer.
#ifndef LLM_MODEL_H
#define LLM_MODEL_H

#include "compute/gguf.h"
#include "compute/ops.h"
#include "llm/arch.h"
#include "llm/chat.h"
#include "llm/grammar.h"
#include "llm/hparams.h"
#include "llm/llm.h"
#include "llm/tokenizer.h"
#include "llm/transformer.h"

struct norm {
    float *w, *b; // [n] f32; b is NULL for RMS
};

struct layer {
    struct norm attn_norm;                     // [n_embd]
    struct weight *attn_q;                     // [n_head * head_dim, n_embd]
    struct weight *attn_k, *attn_v;            // [n_head_kv * head_dim, n_embd]
    float *attn_q_bias;                        // [n_head * head_dim] f32, or NULL
    float *attn_k_bias, *attn_v_bias;          // [n_head_kv * head_dim] f32, or NULL
    struct norm attn_q_norm, attn_k_norm;      // [head_dim], of QK_NORM_OWN [n_head(_kv), head_dim], or empty
    struct weight *attn_output;                // [n_embd, n_head * head_dim]
    float *attn_output_bias;                   // [n_embd] f32, or NULL
    struct norm ffn_norm;                      // [n_embd], empty where the family's layers are parallel
    struct norm attn_post_norm, ffn_post_norm; // [n_embd], or empty
    struct weight *ffn_gate, *ffn_up, *ffn_down; // [n_ff, n_embd] twice, [n_embd, n_ff]; ffn_gate or NULL
    float *ffn_gate_bias, *ffn_up_bias;          // [n_ff] f32, or NULL
    float *ffn_down_bias;                        // [n_embd] f32, or NULL
    // In the place of these a mixture of experts: the router and [n_expert] of each.
    struct weight *ffn_gate_inp;                                   // [n_expert, n_embd]
    struct weight **ffn_gate_exps, **ffn_up_exps, **ffn_down_exps; // [n_expert]
};

struct llm {
    struct gguf *gguf;
    struct ops *ops; // borrowed
    struct tokenizer *tokenizer;
    struct shared_order *order; // for grammars
    struct chat *chat;          // NULL where only the vocabulary is open
    char *name;
    size_t n_ctx, n_embd, n_vocab, n_rows_max;
    struct kv_shape kv; // of a layer's keys and values

    const struct arch *arch;
    struct hparams hp;
    struct rope rope, window_rope; // of layers without and with a window
    float *rope_freqs, *window_rope_freqs;
    uint8_t *rope_axes, *window_rope_axes; // with M-RoPE
    struct weight **weights;               // [n_weights] in the order of their use, the first n_loaded loaded
    size_t n_weights, n_loaded, load_bytes, loaded_bytes;
    struct weight *token_embd; // [n_vocab, n_embd]
    struct layer *layers;      // [n_layer]
    struct norm output_norm;   // [n_embd]
    struct weight *output;     // [n_vocab, n_embd]; token_embd itself where the file ties them
    float *output_bias;        // [n_vocab] f32, or NULL

    struct step step;       // what the forward pass works on,
    struct scratch scratch; // and in
};

#endif
