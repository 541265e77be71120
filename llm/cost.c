// What the weights of a forward pass cost, for comparing speeds with what the machine can do.
#include "llm/model.h"

static void add_weight(struct llm_cost *c, const struct weight *w, double share, double *int8,
                       double *floats) {
    if (!w)
        return;
    double macs = (double)weight_n_in(w) * (double)weight_n_out(w) * share;
    *(weight_is_int8(w) ? int8 : floats) += macs;
    c->read_bytes += (double)weight_read_bytes(w) * share;
}

struct llm_cost llm_cost(const struct llm *m) {
    struct llm_cost c = {0};
    size_t n_expert = m->hp.n_expert;
    for (size_t i = 0; i < m->hp.n_layer; i++) {
        const struct layer *l = &m->layers[i];
        const struct weight *dense[] = {l->attn_q,   l->attn_k, l->attn_v,   l->attn_output,
                                        l->ffn_gate, l->ffn_up, l->ffn_down, l->ffn_gate_inp};
        for (size_t k = 0; k < sizeof dense / sizeof *dense; k++)
            add_weight(&c, dense[k], 1, &c.row_int8, &c.row_float);
        struct weight *const *experts[] = {l->ffn_gate_exps, l->ffn_up_exps, l->ffn_down_exps};
        for (size_t k = 0; k < sizeof experts / sizeof *experts; k++)
            for (size_t e = 0; experts[k] && e < n_expert; e++)
                add_weight(&c, experts[k][e], (double)m->hp.n_expert_used / (double)n_expert, &c.row_int8,
                           &c.row_float);
    }
    add_weight(&c, m->output, 1, &c.output_int8, &c.output_float);
    return c;
}
