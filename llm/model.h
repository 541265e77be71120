// An open language model: what the file says (hyperparameters), its weights bound by name, its tokenizer.
#ifndef LLM_MODEL_H
#define LLM_MODEL_H

#include "compute/gguf.h"
#include "compute/ops.h"
#include "llm/arch.h"
#include "llm/chat.h"
#include "llm/hparams.h"
#include "llm/llm.h"
#include "llm/tokenizer.h"
#include "llm/transformer.h"

struct norm {
    float *w, *b; // [n] f32; b is NULL for RMS
};

struct layer {
    struct norm attn_norm;                       // [n_embd]
    struct weight *attn_q;                       // [n_head * head_dim, n_embd]
    struct weight *attn_k, *attn_v;              // [n_head_kv * head_dim, n_embd]
    float *attn_q_bias;                          // [n_head * head_dim] f32, or NULL
    float *attn_k_bias, *attn_v_bias;            // [n_head_kv * head_dim] f32, or NULL
    float *attn_q_norm, *attn_k_norm;            // [head_dim] f32, or NULL
    struct weight *attn_output;                  // [n_embd, n_head * head_dim]
    float *attn_output_bias;                     // [n_embd] f32, or NULL
    float *attn_post_norm, *ffn_post_norm;       // [n_embd] f32, or NULL
    struct norm ffn_norm;                        // [n_embd], empty where the family's layers are parallel
    struct weight *ffn_gate, *ffn_up, *ffn_down; // [n_ff, n_embd] twice, [n_embd, n_ff]; ffn_gate or NULL
    float *ffn_gate_bias, *ffn_up_bias;          // [n_ff] f32, or NULL
    float *ffn_down_bias;                        // [n_embd] f32, or NULL
};

struct llm {
    struct gguf *gguf;
    struct ops *ops; // borrowed
    struct tokenizer *tokenizer;
    enum chat_format chat_format;
    char *name;
    size_t n_ctx, n_embd, n_vocab, n_rows_max;
    enum tensor_type kv_type; // TENSOR_F16 or TENSOR_F32

    const struct arch *arch;
    struct hparams hp;
    struct rope rope, window_rope; // of layers without and with a window
    float *rope_freqs, *window_rope_freqs;
    struct weight *token_embd; // [n_vocab, n_embd]
    struct layer *layers;      // [n_layer]
    struct norm output_norm;   // [n_embd]
    struct weight *output;     // [n_vocab, n_embd]; token_embd itself where the file ties them
    float *output_bias;        // [n_vocab] f32, or NULL

    struct step step;       // what the forward pass works on,
    struct scratch scratch; // and in
};

#endif
