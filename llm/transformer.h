// The forward pass of every architecture over the rows of any number of sequences.
#ifndef LLM_TRANSFORMER_H
#define LLM_TRANSFORMER_H

#include "base/err.h"
#include "compute/ops.h"
#include "llm/kv_cache.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct llm;

struct step_part { // rows of one sequence that attend together, following those of the part before
    struct kv_cache *kv;
    size_t n_past; // positions before them
    size_t n_rows;
    bool both_ways; // they see each other both ways
    bool want_hidden;
};

struct step { // one forward pass, in host memory
    size_t n_rows, n_parts, n_logits, n_hidden;
    int32_t *ids;            // [n_rows] token ids, unused in rows of images
    const float **images;    // [n_rows] the row [n_embd_image] of an image, or NULL for a token
    int32_t *positions;      // [n_rows], with M-RoPE [n_rows, 3]
    struct step_part *parts; // [n_parts]
    size_t *logit_rows;      // [n_logits] rows that want logits, ascending
    float *logits;           // out: [n_logits, n_vocab] f32
    float *hidden;           // out: [n_hidden, n_embd] f32, the rows of parts that want them
};

struct scratch { // memory of the backend; grows to the largest step seen
    size_t n_rows, n_logits, n_hidden;
    float *x;                     // [n_rows, n_embd] f32, the residual stream
    float *norm;                  // [n_rows, n_embd] f32
    float *q;                     // [n_rows, n_head, head_dim] f32
    float *k, *v;                 // [n_rows, n_head_kv, head_dim] f32
    float *attn;                  // [n_rows, n_head, head_dim] f32
    float *gate, *up;             // [n_rows, n_ff] f32, with experts [n_rows, n_expert_used, n_ff]
    float *router;                // [n_rows, n_expert] f32; this and the next two are NULL without experts
    float *mixed;                 // [n_rows, n_expert_used, n_embd] f32
    struct experts experts;       // of n_rows
    float *last;                  // [n_logits, n_embd] f32
    float *logits;                // [n_logits, n_vocab] f32
    struct attn_part *attn_parts; // [n_rows], host memory
};

// Makes room in m->step and m->scratch. *grew tells whether memory was allocated. On ERR_NOMEM the room
// is that of before or none.
bool transformer_reserve(struct llm *m, size_t n_rows, size_t n_logits, size_t n_hidden, bool *grew,
                         struct err *err);
void transformer_clear(struct llm *m); // frees m->step and m->scratch

// Runs m->step: writes keys and values behind n_past of each part, and m->step.logits and m->step.hidden. False only when
// cancelled (ERR_CANCELLED).
bool transformer_forward(struct llm *m, bool (*cancelled)(void *ctx), void *ctx, struct err *err);

#endif
