// Mixtures of experts on the CPU.
//
// takes x [n_rows, n_in] f32, for each row the ids of the experts it has chosen, a weight for each expert
// gives y [n_rows, n_used, n_out] = x w[id]^T
//
// Rows are gathered by expert, so that the weights of each are read once a step, and go through cpu_matmul: a
// row's result is the same beside any others.
#include "base/mem.h"
#include "compute/cpu_backend.h"

#include <assert.h>
#include <math.h>

enum { BLOCK_N_MAX = 256 }; // values of the longest blocks of activations

// Whether expert a is chosen before b. A value that is no number comes last.
static bool is_before(const float *logits, size_t a, size_t b) {
    float x = isnan(logits[a]) ? -INFINITY : logits[a], y = isnan(logits[b]) ? -INFINITY : logits[b];
    return x > y || (x == y && a < b);
}

void cpu_route(struct ops *o, const struct experts *e, const float *logits, size_t n_rows) {
    (void)o;
    assert(e->n_used > 0 && e->n_used <= e->n_expert);
    for (size_t r = 0; r < n_rows; r++) {
        const float *row = logits + r * e->n_expert;
        int32_t *ids = e->ids + r * e->n_used;
        float *weights = e->weights + r * e->n_used, sum = 0;
        for (size_t i = 0; i < e->n_used; i++) {
            size_t best = e->n_expert;
            for (size_t k = 0; k < e->n_expert; k++)
                if ((i == 0 || is_before(row, (size_t)ids[i - 1], k)) &&
                    (best == e->n_expert || is_before(row, k, best)))
                    best = k;
            ids[i] = (int32_t)best;
            weights[i] = expf(row[best] - row[ids[0]]);
            sum += weights[i];
        }
        for (size_t i = 0; i < e->n_used; i++)
            weights[i] /= sum;
    }
}

// Rows that are gathered or put back: dst[i] = src[row(i)] or dst[row(i)] = src[i].
struct copy_job {
    float *dst;
    const float *src;
    const size_t *slots; // of row and choice: row * n_used + choice
    size_t divisor;      // n_used where rows are gathered that all choices share
    size_t n;            // values of a row
    bool back;
};

static void copy_row(void *ctx, size_t i, size_t thread) {
    (void)thread;
    const struct copy_job *j = ctx;
    size_t row = j->slots[i] / j->divisor;
    memcpy(j->dst + (j->back ? row : i) * j->n, j->src + (j->back ? i : row) * j->n, j->n * sizeof *j->dst);
}

// Lists the slots (row * n_used + choice) by expert: those of expert i are slots[ends[i - 1]] to slots[ends[i] - 1].
static void sort_slots(size_t *slots, size_t *ends, const struct experts *e, size_t n_slots) {
    memset(ends, 0, e->n_expert * sizeof *ends);
    for (size_t i = 0; i < n_slots; i++)
        ends[e->ids[i]]++;
    for (size_t i = 0, first = 0; i < e->n_expert; i++) {
        size_t n = ends[i];
        ends[i] = first;
        first += n;
    }
    for (size_t i = 0; i < n_slots; i++)
        slots[ends[e->ids[i]]++] = i;
}

void cpu_matmul_experts(struct ops *o, float *y, struct weight *const *w, const struct experts *e,
                        const float *x, size_t n_rows, bool each) {
    struct cpu *c = (struct cpu *)o;
    size_t n_slots = n_rows * e->n_used, n_in = weight_n_in(w[0]), n_out = weight_n_out(w[0]);
    size_t divisor = each ? 1 : e->n_used;
    size_t *slots = cpu_scratch_get(&c->experts, (n_slots + e->n_expert) * sizeof *slots +
                                                     n_rows * (n_in + n_out) * sizeof(float));
    size_t *ends = slots + n_slots;
    float *x_rows = (float *)(void *)(ends + e->n_expert), *y_rows = x_rows + n_rows * n_in;
    sort_slots(slots, ends, e, n_slots);
    // A later step of as many rows may send more of them to one expert: it must find the memory for that. What
    // cpu_matmul makes of a row is no larger than the row in f32, in whole blocks.
    size_t n_padded = (n_in + BLOCK_N_MAX - 1) / BLOCK_N_MAX * BLOCK_N_MAX;
    cpu_scratch_get(&c->activations, n_rows * n_padded * sizeof(float));
    for (size_t i = 0, first = 0; i < e->n_expert; first = ends[i++]) {
        size_t n = ends[i] - first;
        const size_t *own = slots + first;
        if (n == 1)
            cpu_matmul(o, y + own[0] * n_out, w[i], NULL, x + own[0] / divisor * n_in, 1, false);
        if (n <= 1)
            continue;
        cpu_run(c, n, n * n_in, copy_row, &(struct copy_job){x_rows, x, own, divisor, n_in, false});
        cpu_matmul(o, y_rows, w[i], NULL, x_rows, n, false);
        cpu_run(c, n, n * n_out, copy_row, &(struct copy_job){y, y_rows, own, 1, n_out, true});
    }
}

struct mix_job {
    float *y;
    const float *x;
    const struct experts *e;
    size_t n;
};

static void mix_row(void *ctx, size_t row, size_t thread) {
    (void)thread;
    const struct mix_job *j = ctx;
    const float *weights = j->e->weights + row * j->e->n_used;
    float *y = j->y + row * j->n;
    for (size_t k = 0; k < j->e->n_used; k++) {
        const float *x = j->x + (row * j->e->n_used + k) * j->n;
        for (size_t i = 0; i < j->n; i++)
            y[i] = weights[k] * x[i] + (k ? y[i] : 0);
    }
}

void cpu_mix(struct ops *o, float *y, const struct experts *e, const float *x, size_t n_rows, size_t n) {
    struct mix_job j = {y, x, e, n};
    cpu_run((struct cpu *)o, n_rows, n_rows * e->n_used * n, mix_row, &j);
}
