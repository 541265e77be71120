// Takes rows (token ids and image rows, with their positions), gives logits of the rows that want them.
//
//   x = embed_scale token_embd[id] or the image's row                           [n_rows, n_embd]
//   for each layer:
//     h = norm(x)
//     q = rope(h attn_q^T + b), k = rope(h attn_k^T + b), v = h attn_v^T + b    [n_rows, n_head(_kv), head_dim]
//     k, v -> cache; a = softmax(cap(attn_scale q k^T), causal, window) v       [n_rows, n_head, head_dim]
//     x += residual_scale post(a attn_output^T + b)
//     h = norm(x), where layers are parallel the h above
//     x += residual_scale post((act(h ffn_gate^T) * (h ffn_up^T)) ffn_down^T)   without a gate: act(h ffn_up^T)
//       with experts: the sum of this for the n_expert_used largest of p = h ffn_gate_inp^T, times softmax(p)
//     x += the image's part of this layer                                       deepstack, rows of images
//   hidden = norm(x), for embeddings                                            [n_hidden, n_embd]
//   logits = cap(logit_scale norm(x) output^T)                                  [n_logits, n_vocab]
//
// What of this a family has tells its row in llm/arch.c. Prompts and single tokens take the same path. Rows of
// different sequences meet only in the matmuls, where they do not see each other. Source: Touvron et al. 2023
// (LLaMA) and the original modelling code of each family in Hugging Face transformers.
#include "llm/transformer.h"

#include "base/mem.h"
#include "llm/model.h"

#include <math.h>
#include <stdlib.h>

static void release_rows(struct llm *m) {
    struct scratch *s = &m->scratch;
    float **const buffers[] = {
        &s->x,     &s->norm,           &s->q, &s->k, &s->v, &s->attn, &s->gate, &s->up, &s->router,
        &s->mixed, &s->experts.weights};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) {
        m->ops->release(m->ops, *buffers[i]);
        *buffers[i] = NULL;
    }
    m->ops->release(m->ops, s->experts.ids);
    s->experts.ids = NULL;
    free(s->attn_parts);
    free(m->step.ids);
    free(m->step.images);
    free(m->step.positions);
    free(m->step.parts);
    s->attn_parts = NULL;
    m->step.ids = m->step.positions = NULL;
    m->step.images = NULL;
    m->step.parts = NULL;
    s->n_rows = 0;
}

static void release_logits(struct llm *m) {
    m->ops->release(m->ops, m->scratch.last);
    m->ops->release(m->ops, m->scratch.logits);
    free(m->step.logits);
    free(m->step.logit_rows);
    m->scratch.last = m->scratch.logits = m->step.logits = NULL;
    m->step.logit_rows = NULL;
    m->scratch.n_logits = 0;
}

static void release_hidden(struct llm *m) {
    free(m->step.hidden);
    m->step.hidden = NULL;
    m->scratch.n_hidden = 0;
}

void transformer_clear(struct llm *m) {
    release_rows(m);
    release_logits(m);
    release_hidden(m);
}

static bool alloc_floats(struct llm *m, float **out, size_t n_rows, size_t n, struct err *err) {
    size_t size_bytes;
    if (!size_mul(n_rows, n, &size_bytes) || !size_mul(size_bytes, sizeof(float), &size_bytes))
        return err_set(err, ERR_NOMEM, "a step of %zu rows of %zu values: its size overflows", n_rows, n);
    *out = m->ops->alloc(m->ops, size_bytes, err);
    return *out != NULL;
}

static bool reserve_experts(struct llm *m, size_t n_rows, struct err *err) {
    const struct hparams *hp = &m->hp;
    struct scratch *s = &m->scratch;
    size_t n_used = hp->n_expert_used, n_ids;
    s->experts.n_expert = hp->n_expert;
    s->experts.n_used = n_used;
    return alloc_floats(m, &s->router, n_rows, hp->n_expert, err) &&
           alloc_floats(m, &s->mixed, n_rows, n_used * hp->n_embd, err) &&
           alloc_floats(m, &s->experts.weights, n_rows, n_used, err) && size_mul(n_rows, n_used, &n_ids) &&
           (s->experts.ids = m->ops->alloc(m->ops, n_ids * sizeof *s->experts.ids, err));
}

static size_t n_axes(const struct llm *m) {
    return m->rope.n_axes > 1 ? m->rope.n_axes : 1;
}

static bool reserve_rows(struct llm *m, size_t n_rows, struct err *err) {
    static const char what[] = "rows of a step";
    const struct hparams *hp = &m->hp;
    struct scratch *s = &m->scratch;
    struct step *step = &m->step;
    size_t n_q = hp->n_head * hp->head_dim, n_kv = hp->n_head_kv * hp->head_dim;
    size_t n_ff = hp->n_expert > 0 ? hp->n_expert_used * hp->n_ff : hp->n_ff;
    release_rows(m);
    bool ok = alloc_floats(m, &s->x, n_rows, hp->n_embd, err) &&
              alloc_floats(m, &s->norm, n_rows, hp->n_embd, err) &&
              alloc_floats(m, &s->q, n_rows, n_q, err) && alloc_floats(m, &s->k, n_rows, n_kv, err) &&
              alloc_floats(m, &s->v, n_rows, n_kv, err) && alloc_floats(m, &s->attn, n_rows, n_q, err) &&
              alloc_floats(m, &s->gate, n_rows, n_ff, err) && alloc_floats(m, &s->up, n_rows, n_ff, err) &&
              (hp->n_expert == 0 || reserve_experts(m, n_rows, err)) &&
              (s->attn_parts = try_malloc_array(n_rows, sizeof *s->attn_parts, what, err)) &&
              (step->ids = try_malloc_array(n_rows, sizeof *step->ids, what, err)) &&
              (step->images = try_malloc_array(n_rows, sizeof *step->images, what, err)) &&
              (step->positions = try_malloc_array(n_rows, n_axes(m) * sizeof *step->positions, what, err)) &&
              (step->parts = try_malloc_array(n_rows, sizeof *step->parts, what, err));
    if (ok)
        s->n_rows = n_rows;
    else
        release_rows(m);
    return ok;
}

static bool reserve_logits(struct llm *m, size_t n_logits, struct err *err) {
    static const char what[] = "logits of a step";
    struct scratch *s = &m->scratch;
    struct step *step = &m->step;
    release_logits(m);
    size_t n;
    bool ok = alloc_floats(m, &s->last, n_logits, m->n_embd, err) &&
              alloc_floats(m, &s->logits, n_logits, m->n_vocab, err) && size_mul(n_logits, m->n_vocab, &n) &&
              (step->logits = try_malloc_array(n, sizeof *step->logits, what, err)) &&
              (step->logit_rows = try_malloc_array(n_logits, sizeof *step->logit_rows, what, err));
    if (ok)
        s->n_logits = n_logits;
    else
        release_logits(m);
    return ok;
}

static bool reserve_hidden(struct llm *m, size_t n_hidden, struct err *err) {
    size_t n;
    release_hidden(m);
    if (!size_mul(n_hidden, m->n_embd, &n) ||
        !(m->step.hidden = try_malloc_array(n, sizeof *m->step.hidden, "hidden rows of a step", err)))
        return false;
    m->scratch.n_hidden = n_hidden;
    return true;
}

bool transformer_reserve(struct llm *m, size_t n_rows, size_t n_logits, size_t n_hidden, bool *grew,
                         struct err *err) {
    *grew = n_rows > m->scratch.n_rows || n_logits > m->scratch.n_logits || n_hidden > m->scratch.n_hidden;
    return (n_rows <= m->scratch.n_rows || reserve_rows(m, n_rows, err)) &&
           (n_logits <= m->scratch.n_logits || reserve_logits(m, n_logits, err)) &&
           (n_hidden <= m->scratch.n_hidden || reserve_hidden(m, n_hidden, err));
}

// x = the embedding of each row: runs of tokens are looked up, rows of images copied.
static void embed(struct llm *m) {
    const struct step *step = &m->step;
    struct ops *o = m->ops;
    for (size_t i = 0, n; i < step->n_rows; i += n) {
        float *x = m->scratch.x + i * m->n_embd;
        n = 1;
        if (step->images[i]) {
            o->write(o, x, step->images[i], m->n_embd * sizeof *x);
            continue;
        }
        while (i + n < step->n_rows && !step->images[i + n])
            n++;
        o->get_rows(o, x, m->token_embd, step->ids + i, n);
        if (m->hp.embed_scale != 1)
            o->scale(o, x, m->hp.embed_scale, n * m->n_embd);
    }
}

static void attention(struct llm *m, size_t layer) {
    const struct hparams *hp = &m->hp;
    const struct step *step = &m->step;
    struct scratch *s = &m->scratch;
    struct ops *o = m->ops;
    size_t n_q = hp->n_head * hp->head_dim, n_kv = hp->n_head_kv * hp->head_dim, row = 0;
    for (size_t i = 0; i < step->n_parts; i++) {
        const struct step_part *part = &step->parts[i];
        kv_cache_write(part->kv, layer, part->n_past, s->k + row * n_kv, s->v + row * n_kv, part->n_rows);
        s->attn_parts[i] = (struct attn_part){
            .q = s->q + row * n_q,
            .out = s->attn + row * n_q,
            .pages = kv_cache_pages(part->kv, layer),
            .page_stride = part->kv->page_stride,
            .q_stride = n_q,
            .out_stride = n_q,
            .n_rows = part->n_rows,
            .n_keys = part->n_past + part->n_rows,
            .causal = !part->both_ways,
        };
        row += part->n_rows;
    }
    struct attn a = {
        .n_head = hp->n_head,
        .n_head_kv = hp->n_head_kv,
        .head_dim = hp->head_dim,
        .kv_type = m->kv.type,
        .scale = hp->attn_scale,
        .parts = s->attn_parts,
        .n_parts = step->n_parts,
        .soft_cap = hp->attn_soft_cap,
        .window = hparams_has_window(hp, m->arch, layer) ? hp->window : 0,
        .n_ctx = m->n_ctx,
    };
    o->attention(o, &a);
}

static void run_norm(struct llm *m, float *y, const float *x, const struct norm *norm, size_t n_rows) {
    struct ops *o = m->ops;
    if (m->arch->layer_norm)
        o->layer_norm(o, y, x, norm->w, norm->b, m->hp.norm_eps, n_rows, m->n_embd);
    else
        o->rms_norm(o, y, x, norm->w, m->hp.norm_eps, n_rows, m->n_embd);
}

// q and k normalised by head and rotated.
static void prepare_heads(struct llm *m, const struct layer *l, size_t index) {
    const struct hparams *hp = &m->hp;
    const struct arch *arch = m->arch;
    const struct rope *rope = hparams_has_window(hp, arch, index) ? &m->window_rope : &m->rope;
    const int32_t *positions = m->step.positions;
    struct scratch *s = &m->scratch;
    struct ops *o = m->ops;
    size_t n_rows = m->step.n_rows, head_dim = hp->head_dim, n_q = hp->n_head * head_dim;
    const struct norm *q = &l->attn_q_norm, *k = &l->attn_k_norm;
    if (q->w && arch->qk_norm == QK_NORM_OWN) {
        o->layer_norm_heads(o, s->q, q->w, q->b, hp->norm_eps, n_rows, hp->n_head, head_dim);
        o->layer_norm_heads(o, s->k, k->w, k->b, hp->norm_eps, n_rows, hp->n_head_kv, head_dim);
    } else if (q->w) {
        o->rms_norm(o, s->q, s->q, q->w, hp->norm_eps, n_rows * hp->n_head, head_dim);
        o->rms_norm(o, s->k, s->k, k->w, hp->norm_eps, n_rows * hp->n_head_kv, head_dim);
    }
    if (arch->nope_period == 0 || (index + 1) % arch->nope_period != 0) {
        o->rope(o, s->q, n_q, positions, rope, n_rows, hp->n_head, head_dim);
        o->rope(o, s->k, hp->n_head_kv * head_dim, positions, rope, n_rows, hp->n_head_kv, head_dim);
    }
    for (size_t i = 0; hp->attn_temperature > 0 && i < n_rows; i++) {
        size_t n_times = (size_t)positions[i * n_axes(m)] / hp->n_ctx_orig;
        if (n_times > 0)
            o->scale(o, s->q + i * n_q, 1 + hp->attn_temperature * logf(1 + (float)n_times), n_q);
    }
}

// x += residual_scale post(scratch.norm), which it overwrites.
static void add_part(struct llm *m, const struct norm *post) {
    struct scratch *s = &m->scratch;
    struct ops *o = m->ops;
    size_t n_rows = m->step.n_rows, n = n_rows * m->n_embd;
    if (post->w)
        o->rms_norm(o, s->norm, s->norm, post->w, m->hp.norm_eps, n_rows, m->n_embd);
    if (m->hp.residual_scale != 1)
        o->scale(o, s->norm, m->hp.residual_scale, n);
    o->add(o, s->x, s->norm, n);
}

// x += residual_scale post(in w^T + bias). Overwrites scratch.norm where the family changes what it adds.
static void add_residual(struct llm *m, const struct weight *w, const float *bias, const struct norm *post,
                         const float *in) {
    struct scratch *s = &m->scratch;
    bool plain = !post->w && m->hp.residual_scale == 1;
    m->ops->matmul(m->ops, plain ? s->x : s->norm, w, bias, in, m->step.n_rows, plain);
    if (!plain)
        add_part(m, post);
}

static void feed_forward(struct llm *m, const struct layer *l) {
    struct scratch *s = &m->scratch;
    struct ops *o = m->ops;
    size_t n_rows = m->step.n_rows, n_ff = m->hp.n_ff;
    const struct product products[] = {{s->up, l->ffn_up, l->ffn_up_bias},
                                       {s->gate, l->ffn_gate, l->ffn_gate_bias}};
    o->matmul_many(o, products, l->ffn_gate ? 2 : 1, s->norm, n_rows);
    if (l->ffn_gate) {
        o->activate_mul(o, s->up, s->gate, s->up, m->arch->act, n_rows * n_ff);
    } else {
        o->activate(o, s->up, m->arch->act, n_rows * n_ff);
    }
    add_residual(m, l->ffn_down, l->ffn_down_bias, &l->ffn_post_norm, s->up);
}

static void run_experts(struct llm *m, const struct layer *l) {
    struct scratch *s = &m->scratch;
    const struct experts *e = &s->experts;
    struct ops *o = m->ops;
    size_t n_rows = m->step.n_rows, n = n_rows * e->n_used * m->hp.n_ff;
    o->matmul(o, s->router, l->ffn_gate_inp, NULL, s->norm, n_rows, false);
    o->route(o, e, s->router, n_rows);
    o->matmul_experts(o, s->gate, l->ffn_gate_exps, e, s->norm, n_rows, false);
    o->matmul_experts(o, s->up, l->ffn_up_exps, e, s->norm, n_rows, false);
    o->activate_mul(o, s->up, s->gate, s->up, m->arch->act, n);
    o->matmul_experts(o, s->mixed, l->ffn_down_exps, e, s->up, n_rows, true);
    o->mix(o, s->norm, e, s->mixed, n_rows, m->n_embd);
    add_part(m, &l->ffn_post_norm);
}

static void run_layer(struct llm *m, size_t index) {
    const struct hparams *hp = &m->hp;
    const struct layer *l = &m->layers[index];
    struct scratch *s = &m->scratch;
    struct ops *o = m->ops;
    size_t n_rows = m->step.n_rows;

    run_norm(m, s->norm, s->x, &l->attn_norm, n_rows);
    const struct product products[] = {{s->q, l->attn_q, l->attn_q_bias},
                                       {s->k, l->attn_k, l->attn_k_bias},
                                       {s->v, l->attn_v, l->attn_v_bias}};
    o->matmul_many(o, products, 3, s->norm, n_rows);
    prepare_heads(m, l, index);
    attention(m, index);
    add_residual(m, l->attn_output, l->attn_output_bias, &l->attn_post_norm, s->attn);

    if (!hp->parallel)
        run_norm(m, s->norm, s->x, &l->ffn_norm, n_rows);
    if (hp->n_expert > 0)
        run_experts(m, l);
    else
        feed_forward(m, l);
}

// The rows that want logits are gathered first: the output matrix is the largest of the model.
static void compute_logits(struct llm *m) {
    const struct step *step = &m->step;
    struct scratch *s = &m->scratch;
    struct ops *o = m->ops;
    size_t n_embd = m->n_embd, n = step->n_logits;
    if (n == 0)
        return;
    for (size_t i = 0; i < n; i++)
        o->copy_rows(o, s->last + i * n_embd, n_embd, s->x + step->logit_rows[i] * n_embd, n_embd, 1, n_embd);
    run_norm(m, s->last, s->last, &m->output_norm, n);
    o->matmul(o, s->logits, m->output, m->output_bias, s->last, n, false);
    if (m->hp.logit_scale != 1)
        o->scale(o, s->logits, m->hp.logit_scale, n * m->n_vocab);
    if (m->hp.logit_soft_cap > 0)
        o->soft_cap(o, s->logits, m->hp.logit_soft_cap, n * m->n_vocab);
    o->read(o, step->logits, s->logits, n * m->n_vocab * sizeof *step->logits);
}

// scratch.norm is free behind the last layer.
static void read_hidden(struct llm *m) {
    const struct step *step = &m->step;
    struct ops *o = m->ops;
    size_t n_embd = m->n_embd, row = 0;
    float *out = step->hidden;
    for (size_t i = 0; i < step->n_parts; i++) {
        size_t n = step->parts[i].n_rows;
        if (step->parts[i].want_hidden) {
            run_norm(m, m->scratch.norm, m->scratch.x + row * n_embd, &m->output_norm, n);
            o->read(o, out, m->scratch.norm, n * n_embd * sizeof *out);
            out += n * n_embd;
        }
        row += n;
    }
}

// Deepstack (Meng et al. 2024, as in Qwen3-VL): behind layer k the rows of images get part k + 1 of what they
// came with.
static void add_deepstack(struct llm *m, size_t layer) {
    const struct step *step = &m->step;
    struct ops *o = m->ops;
    size_t n_embd = m->n_embd;
    float *part = m->scratch.norm;
    for (size_t i = 0; i < step->n_rows; i++) {
        if (!step->images[i])
            continue;
        o->write(o, part, step->images[i] + (layer + 1) * n_embd, n_embd * sizeof *part);
        o->add(o, m->scratch.x + i * n_embd, part, n_embd);
    }
}

bool transformer_forward(struct llm *m, bool (*cancelled)(void *ctx), void *ctx, struct err *err) {
    embed(m);
    for (size_t i = 0; i < m->hp.n_layer; i++) {
        if (cancelled && cancelled(ctx))
            return err_set(err, ERR_CANCELLED, "cancelled before layer %zu of %zu", i, m->hp.n_layer);
        run_layer(m, i);
        if (i < m->hp.n_deepstack)
            add_deepstack(m, i);
    }
    compute_logits(m);
    read_hidden(m);
    return true;
}
