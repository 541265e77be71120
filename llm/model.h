// An open language model: what the file says (hyperparameters), its weights bound by name, its tokenizer.
#ifndef LLM_MODEL_H
#define LLM_MODEL_H

#include "compute/gguf.h"
#include "compute/ops.h"
#include "llm/chat.h"
#include "llm/llm.h"
#include "llm/tokenizer.h"
#include "llm/transformer.h"

struct hparams { // the keys ARCHITECTURE.*
    size_t n_layer;
    size_t n_embd;
    size_t n_head, n_head_kv, head_dim;
    size_t n_ff;
    size_t n_ctx_train;
    size_t n_rot; // values of each head that RoPE turns
    size_t n_vocab;
    float rms_eps;
};

struct layer {
    float *attn_norm;                            // [n_embd] f32
    struct weight *attn_q;                       // [n_head * head_dim, n_embd]
    struct weight *attn_k, *attn_v;              // [n_head_kv * head_dim, n_embd]
    float *attn_q_bias;                          // [n_head * head_dim] f32, or NULL
    float *attn_k_bias, *attn_v_bias;            // [n_head_kv * head_dim] f32, or NULL
    struct weight *attn_output;                  // [n_embd, n_head * head_dim]
    float *attn_output_bias;                     // [n_embd] f32, or NULL
    float *ffn_norm;                             // [n_embd] f32
    struct weight *ffn_gate, *ffn_up, *ffn_down; // [n_ff, n_embd] twice, [n_embd, n_ff]
};

struct llm {
    struct gguf *gguf;
    struct ops *ops; // borrowed
    struct tokenizer *tokenizer;
    enum chat_format chat_format;
    char *name;
    size_t n_ctx, n_embd, n_vocab, n_rows_max;
    enum tensor_type kv_type; // TENSOR_F16 or TENSOR_F32

    struct hparams hp;
    float *rope_freqs;         // [n_rot / 2] f32 host memory: angle of a pair for each position
    struct weight *token_embd; // [n_vocab, n_embd]
    struct layer *layers;      // [n_layer]
    float *output_norm;        // [n_embd] f32
    struct weight *output;     // [n_vocab, n_embd]; token_embd itself where the file ties them

    struct step step;       // what the forward pass works on,
    struct scratch scratch; // and in
};

#endif
