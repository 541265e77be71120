// The operations without weights, and what cpu_open and weight_create refuse.
#include "kernel_check.h"

#include "base/threads.h"
#include "compute/quantise.h"

#include <stdint.h>

// softmax(scale q k^T) v of one row and head in double.
static void naive_attention(double *out, const float *q, const float *k, const float *v, size_t stride,
                            size_t n_keys, size_t head_dim, float scale, float soft_cap) {
    double *p = malloc(n_keys * sizeof *p), max = -INFINITY, sum = 0;
    for (size_t j = 0; j < n_keys; j++) {
        p[j] = 0;
        for (size_t d = 0; d < head_dim; d++)
            p[j] += (double)q[d] * k[j * stride + d];
        p[j] *= scale;
        if (soft_cap > 0)
            p[j] = soft_cap * tanh(p[j] / soft_cap);
        max = p[j] > max ? p[j] : max;
    }
    for (size_t j = 0; j < n_keys; j++)
        sum += p[j] = exp(p[j] - max);
    for (size_t d = 0; d < head_dim; d++) {
        out[d] = 0;
        for (size_t j = 0; j < n_keys; j++)
            out[d] += p[j] / sum * v[j * stride + d];
    }
    free(p);
}

struct attn_case {
    size_t n_rows, n_keys, n_head, n_head_kv, head_dim;
    bool causal;
    float scale, soft_cap;
    size_t window;
};

enum { KV_ROWS = -1 }; // keys and values as rows of floats; else the type of pages

// Pages of keys and values [n_keys, n_head_kv, head_dim], written in one go; k and v become what pages can hold.
static void *make_pages(struct ops *o, const struct kv_shape *shape, float *k, float *v, size_t n_keys,
                        size_t *page_stride) {
    struct err err = {0};
    size_t n = shape->n_head_kv * shape->head_dim * n_keys;
    *page_stride = o->kv_page_bytes(o, shape);
    CHECK(*page_stride % 64 == 0);
    void *pages = o->alloc(o, *page_stride * ((n_keys + KV_PAGE - 1) / KV_PAGE), &err);
    o->kv_write(o, shape, pages, *page_stride, 0, k, v, n_keys);
    void *stored = malloc(n * sizeof *k);
    for (float *x = k;; x = v) { // in blocks of 32 values of a position for q8_0
        quantise_find(shape->type)(stored, x, n);
        quant_traits(shape->type)->dequantise(x, stored, n);
        if (x == v)
            break;
    }
    free(stored);
    return pages;
}

// The same positions one by one and in pieces.
static void check_written(struct ops *o, const struct kv_shape *shape, const float *k, const float *v,
                          size_t n_keys, const void *pages, size_t page_stride) {
    struct err err = {0};
    size_t n = shape->n_head_kv * shape->head_dim,
           size_bytes = page_stride * ((n_keys + KV_PAGE - 1) / KV_PAGE);
    void *again = o->alloc(o, size_bytes, &err);
    for (size_t first = 0, piece = 1; first < n_keys; first += piece, piece = piece % 70 + 23) {
        piece = piece < n_keys - first ? piece : n_keys - first;
        o->kv_write(o, shape, again, page_stride, first, k + first * n, v + first * n, piece);
    }
    CHECK(memcmp(pages, again, size_bytes) == 0);
    o->release(o, again);
}

static void naive_rows(float *want, const struct attn_case *c, const float *q, const float *k,
                       const float *v) {
    size_t row = c->n_head * c->head_dim, kv_row = c->n_head_kv * c->head_dim;
    for (size_t r = 0; r < c->n_rows; r++) {
        size_t n_keys = c->causal ? c->n_keys - c->n_rows + r + 1 : c->n_keys;
        size_t first = c->window && n_keys > c->window ? n_keys - c->window : 0;
        for (size_t h = 0; h < c->n_head; h++) {
            size_t kv = h / (c->n_head / c->n_head_kv) * c->head_dim + first * kv_row;
            double out[256];
            naive_attention(out, q + r * row + h * c->head_dim, k + kv, v + kv, kv_row, n_keys - first,
                            c->head_dim, c->scale, c->soft_cap);
            for (size_t d = 0; d < c->head_dim; d++)
                want[r * row + h * c->head_dim + d] = (float)out[d];
        }
    }
}

// Each row alone, whose keys several threads share where o has them.
static bool same_alone(struct ops *o, const struct attn *a, const struct attn_part *part, size_t n_ctx) {
    size_t row = a->n_head * a->head_dim;
    float *out = random_floats(row);
    bool same = true;
    for (size_t r = 0; r < part->n_rows; r++) {
        struct attn_part alone = *part;
        alone.q += r * row;
        alone.out = out;
        alone.n_rows = 1;
        alone.n_keys -= part->causal ? part->n_rows - 1 - r : 0;
        struct attn b = *a;
        b.parts = &alone;
        b.n_ctx = n_ctx;
        o->attention(o, &b);
        same = same && memcmp(out, part->out + r * row, row * sizeof *out) == 0;
    }
    free(out);
    return same;
}

static void test_attention_case(struct ops *one, struct ops *three, const struct attn_case *c, int type) {
    size_t row = c->n_head * c->head_dim, kv_row = c->n_head_kv * c->head_dim, n_out = c->n_rows * row;
    const struct kv_shape shape = {(enum tensor_type)type, c->n_head_kv, c->head_dim};
    float *q = random_floats(n_out), *k = random_floats(c->n_keys * kv_row),
          *v = random_floats(c->n_keys * kv_row);
    float *whole = random_floats(n_out), *want = random_floats(n_out);
    struct attn_part part = {.q = q,
                             .out = whole,
                             .q_stride = row,
                             .out_stride = row,
                             .n_rows = c->n_rows,
                             .n_keys = c->n_keys,
                             .causal = c->causal};
    if (type == KV_ROWS) {
        part.k = k;
        part.v = v;
        part.kv_stride = kv_row;
    } else {
        part.pages = make_pages(three, &shape, k, v, c->n_keys, &part.page_stride);
        check_written(one, &shape, k, v, c->n_keys, part.pages, part.page_stride);
    }
    struct attn a = {.n_head = c->n_head,
                     .n_head_kv = c->n_head_kv,
                     .head_dim = c->head_dim,
                     .kv_type = shape.type,
                     .scale = c->scale,
                     .parts = &part,
                     .n_parts = 1,
                     .soft_cap = c->soft_cap,
                     .window = c->window};
    three->attention(three, &a);
    naive_rows(want, c, q, k, v);
    double nmse = check_nmse(whole, want, n_out);
    // Scores in the hundreds: f32 rounds them by 1e-5; a cap of 30: by 2e-6.
    double limit = c->scale > 1 ? 1e-8 : c->soft_cap > 0 ? 1e-11 : 1e-12;
    if (!(nmse < limit) || !same_alone(one, &a, &part, 0) || !same_alone(three, &a, &part, c->n_keys)) {
        printf("%s: attention of %zu rows, %zu keys, %zu/%zu heads of %zu, type %d: nmse %g\n", one->name,
               c->n_rows, c->n_keys, c->n_head, c->n_head_kv, c->head_dim, type, nmse);
        check_failed++;
    }
    one->release(one, (void *)part.pages);
    free(q);
    free(k);
    free(v);
    free(whole);
    free(want);
}

static void test_attention(struct ops *one, struct ops *three) {
    static const struct attn_case cases[] = {
        {1, 1, 4, 2, 32, true, 0.2f, 0, 0},
        {1, 65, 4, 1, 64, true, 0.2f, 0, 0},
        {7, 7, 6, 2, 72, true, 0.1f, 0, 0},
        {70, 135, 4, 2, 64, true, 0.1f, 0, 0},
        {65, 65, 2, 2, 72, false, 0.1f, 0, 0},
        {33, 130, 2, 2, 20, false, 0.3f, 0, 0},
        {5, 64, 3, 3, 37, false, 0.2f, 0, 0},
        {4, 100, 2, 1, 32, true, 30, 0, 0},
        {9, 70, 4, 2, 32, true, 1, 5, 0},
        {150, 200, 4, 2, 32, true, 0.2f, 0, 1},
        {150, 200, 4, 2, 32, true, 0.2f, 0, 67},
        {1, 300, 2, 2, 32, true, 0.5f, 2, 70},
        // More queries than a chunk has, and the head sizes of models.
        {250, 250, 2, 2, 72, false, 0.12f, 0, 0},
        {131, 300, 8, 2, 64, true, 0.125f, 0, 0},
        {23, 129, 2, 1, 80, false, 0.1f, 0, 0},
        {26, 81, 3, 1, 96, true, 0.1f, 30, 0},
        {50, 90, 5, 1, 128, true, 0.09f, 0, 33},
        {29, 67, 2, 1, 256, true, 0.06f, 0, 0},
        {13, 20, 1, 1, 8, true, 0.3f, 0, 0},
        // More keys than a segment has.
        {3, 1300, 8, 1, 64, true, 0.125f, 0, 0},
        {60, 1030, 4, 2, 32, true, 0.2f, 0, 500},
        {2, 520, 2, 2, 128, false, 0.1f, 0, 0},
    };
    static const int types[] = {KV_ROWS, TENSOR_F32, TENSOR_F16, TENSOR_Q8_0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t t = 0; t < sizeof types / sizeof *types; t++)
            if (types[t] != TENSOR_Q8_0 || cases[i].head_dim % 32 == 0)
                test_attention_case(one, three, &cases[i], types[t]);
}

// Sequences in one call: each as if it were alone. Those of one row are long enough to be split.
static void test_attention_parts(struct ops *o) {
    enum { ROW = 64, KEYS = 1200, N_PARTS = 4, N_ROWS = 11 };
    float *q = random_floats(N_ROWS * ROW), *kv = random_floats(KEYS * ROW);
    float *together = random_floats(N_ROWS * ROW), *alone = random_floats(N_ROWS * ROW);
    static const size_t n_rows[N_PARTS] = {3, 1, 6, 1}, n_keys[N_PARTS] = {90, 1200, 40, 600};
    struct attn_part parts[N_PARTS];
    for (size_t i = 0, row = 0; i < N_PARTS; row += n_rows[i++])
        parts[i] = (struct attn_part){.q = q + row * ROW,
                                      .out = together + row * ROW,
                                      .k = kv,
                                      .v = kv,
                                      .q_stride = ROW,
                                      .out_stride = ROW,
                                      .kv_stride = ROW,
                                      .n_rows = n_rows[i],
                                      .n_keys = n_keys[i],
                                      .causal = true};
    struct attn a = {.n_head = 2, .n_head_kv = 2, .head_dim = 32, .scale = 0.1f, .n_ctx = KEYS};
    a.parts = parts;
    a.n_parts = N_PARTS;
    o->attention(o, &a);
    for (size_t i = 0; i < N_PARTS; i++) {
        parts[i].out = alone + (parts[i].out - together);
        a.parts = &parts[i];
        a.n_parts = 1;
        a.n_ctx = 0;
        o->attention(o, &a);
    }
    CHECK(memcmp(together, alone, N_ROWS * ROW * sizeof *alone) == 0);
    free(q);
    free(kv);
    free(together);
    free(alone);
}

static void test_norms(struct ops *o, size_t n_rows, size_t n) {
    float *x = random_floats(n_rows * n), *y = random_floats(n_rows * n), *w = random_floats(n),
          *b = random_floats(n);
    float *rms = malloc(n_rows * n * sizeof *rms), *layer = malloc(n_rows * n * sizeof *layer);
    const double eps = 1e-5;
    for (size_t r = 0; r < n_rows; r++) {
        double sum = 0, squares = 0, around = 0;
        for (size_t i = 0; i < n; i++) {
            x[r * n + i] += 2; // a mean that is not 0
            sum += x[r * n + i];
            squares += (double)x[r * n + i] * x[r * n + i];
        }
        for (size_t i = 0; i < n; i++)
            around += (x[r * n + i] - sum / (double)n) * (x[r * n + i] - sum / (double)n);
        for (size_t i = 0; i < n; i++) {
            rms[r * n + i] = (float)(x[r * n + i] / sqrt(squares / (double)n + eps) * w[i]);
            layer[r * n + i] =
                (float)((x[r * n + i] - sum / (double)n) / sqrt(around / (double)n + eps) * w[i] + b[i]);
        }
    }
    o->rms_norm(o, y, x, w, (float)eps, n_rows, n);
    CHECK(check_nmse(y, rms, n_rows * n) < 1e-12);
    o->layer_norm(o, y, x, w, b, (float)eps, n_rows, n);
    CHECK(check_nmse(y, layer, n_rows * n) < 1e-11);
    o->layer_norm(o, x, x, w, b, (float)eps, n_rows, n);
    CHECK(memcmp(x, y, n_rows * n * sizeof *x) == 0);
    free(x);
    free(y);
    free(w);
    free(b);
    free(rms);
    free(layer);
}

static double exact_act(double x, enum act act) {
    switch (act) {
    case ACT_GELU:
        return 0.5 * x * erfc(-x / sqrt(2));
    case ACT_GELU_TANH:
        return 0.5 * x * (1 + tanh(sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
    case ACT_GELU_QUICK:
        return x / (1 + exp(-1.702 * x));
    case ACT_SILU:
        return x / (1 + exp(-x));
    case ACT_RELU:
        return x > 0 ? x : 0;
    case ACT_HARD_SIGMOID:
        return x < -3 ? 0 : x > 3 ? 1 : (x + 3) / 6;
    case ACT_HARD_SWISH:
        return x < -3 ? 0 : x > 3 ? x : x * (x + 3) / 6;
    }
    return 0;
}

static void test_activations(struct ops *o) {
    enum { N = 20011 }; // -100 .. 100, a length that is no multiple of anything
    float *x = malloc(N * sizeof *x), *y = malloc(N * sizeof *y), *up = random_floats(N),
          *z = malloc(N * sizeof *z);
    for (enum act act = ACT_GELU; act <= ACT_HARD_SWISH; act++) {
        double worst = 0;
        for (size_t i = 0; i < N; i++)
            x[i] = y[i] = ((float)i - N / 2) * (i % 2 ? 0.01f : 0.0005f);
        o->activate(o, y, act, N);
        for (size_t i = 0; i < N; i++) {
            double error = fabs(y[i] - exact_act(x[i], act)) / fmax(1, fabs(x[i]));
            worst = error > worst ? error : worst;
        }
        CHECK_NEAR(worst, 0, 5e-7);
        o->activate_mul(o, z, x, up, act, N);
        for (size_t i = 0; i < N; i++)
            up[i] = y[i] * up[i];
        CHECK(memcmp(z, up, N * sizeof *z) == 0);
        // Any cut gives the same values: a vector's lane equals a tail's.
        memcpy(z, x, N * sizeof *z);
        for (size_t i = 0; i < 100; i += 5)
            o->activate(o, z + i, act, 5);
        CHECK(memcmp(z, y, 100 * sizeof *z) == 0);
    }
    free(x);
    free(y);
    free(z);
    free(up);
}

// Against the definition: a sum over the lines and columns that are within one of the place's.
static void test_conv(struct ops *o, size_t n_lines, size_t n_cols, size_t stride, size_t n, bool has_bias) {
    enum { GRIDS = 2 };
    const struct grid grid = {GRIDS, n_lines, n_cols, stride};
    size_t out_lines = (n_lines - 1) / stride + 1, out_cols = (n_cols - 1) / stride + 1,
           n_out = GRIDS * out_lines * out_cols * n;
    float *x = random_floats(GRIDS * n_lines * n_cols * n), *w = random_floats(9 * n), *b = random_floats(n),
          *y = random_floats(n_out + 1), *want = random_floats(n_out), behind = y[n_out];
    for (size_t i = 0; i < n_out; i++) {
        size_t c = i % n, col = i / n % out_cols * stride, line = i / n / out_cols % out_lines * stride;
        const float *from = x + i / n / out_cols / out_lines * n_lines * n_cols * n;
        double sum = has_bias ? b[c] : 0;
        for (size_t at = 0; at < n_lines * n_cols; at++) {
            ptrdiff_t down = (ptrdiff_t)(at / n_cols) - (ptrdiff_t)line,
                      across = (ptrdiff_t)(at % n_cols) - (ptrdiff_t)col;
            if (down * down <= 1 && across * across <= 1)
                sum += (double)from[at * n + c] * w[(size_t)((down + 1) * 3 + across + 1) * n + c];
        }
        want[i] = (float)sum;
    }
    o->conv_rows(o, y, x, w, has_bias ? b : NULL, &grid, n);
    CHECK(check_nmse(y, want, n_out) < 1e-12 && memcmp(&y[n_out], &behind, sizeof behind) == 0);
    free(x);
    free(w);
    free(b);
    free(y);
    free(want);
}

// Every half, every middle between two halves, and beside it: to nearest, ties to even. Attention over one key
// gives its value back.
static void test_f16(struct ops *o) {
    enum { N = 0x7c00, HEAD = 128 };
    const struct kv_shape shape = {TENSOR_F16, 3 * N / HEAD, HEAD};
    struct err err = {0};
    float *x = malloc(3 * N * sizeof *x), *y = malloc(3 * N * sizeof *y), *q = calloc(3 * N, sizeof *q);
    for (size_t i = 0; i < N; i++) {
        float low = ldexpf((float)(i % 1024 + (i < 1024 ? 0 : 1024)), i < 1024 ? -24 : (int)(i / 1024) - 25);
        float step = ldexpf(1, i < 1024 ? -24 : (int)(i / 1024) - 25);
        x[i] = low;
        x[N + i] = low + step / 2;
        x[2 * N + i] = -nextafterf(low + step / 2, INFINITY);
    }
    void *page = o->alloc(o, o->kv_page_bytes(o, &shape), &err);
    o->kv_write(o, &shape, page, 0, 0, q, x, 1);
    const struct attn_part part = {
        .q = q, .out = y, .pages = page, .q_stride = 3 * N, .out_stride = 3 * N, .n_rows = 1, .n_keys = 1};
    const struct attn a = {.n_head = shape.n_head_kv,
                           .n_head_kv = shape.n_head_kv,
                           .head_dim = HEAD,
                           .kv_type = TENSOR_F16,
                           .scale = 1,
                           .parts = &part,
                           .n_parts = 1};
    o->attention(o, &a);
    size_t wrong = 0;
    for (uint16_t i = 0; i < N; i++)
        wrong += y[i] != f16_to_f32(i) || y[N + i] != f16_to_f32((uint16_t)(i + (i & 1))) ||
                 y[2 * N + i] != -f16_to_f32((uint16_t)(i + 1));
    CHECK(wrong == 0);
    o->release(o, page);
    free(x);
    free(y);
    free(q);
}

static void test_copy_rows(struct ops *o) {
    float narrow[2][3] = {{1, 2, 3}, {4, 5, 6}}, wide[2][5] = {{0}};
    o->copy_rows(o, wide[0], 5, narrow[0], 3, 2, 3);
    CHECK(wide[1][0] == 4 && wide[1][2] == 6 && wide[0][3] == 0 && wide[1][3] == 0);
}

static void test_rope(struct ops *o, bool halves) {
    enum { ROWS = 3, HEADS = 2, DIM = 8, ROT = 6, STRIDE = 20 };
    const float freqs[ROT / 2] = {1, 0.1f, 0.01f};
    const int32_t positions[2][ROWS] = {{0, 5, 100000}, {1, 2, 3}};
    for (int round = 0; round < 4; round++) { // 2, 3 as 0 with another magnitude: no table may be stale
        const int32_t *p = positions[round == 1];
        const struct rope rope = {
            .freqs = freqs, .n_rot = ROT, .halves = halves, .magnitude = round == 3 ? 1.25f : 1};
        float *x = random_floats(ROWS * STRIDE), y[ROWS * STRIDE];
        memcpy(y, x, sizeof y);
        o->rope(o, y, STRIDE, p, &rope, ROWS, HEADS, DIM);
        for (size_t i = 0; i < ROWS * STRIDE; i++) {
            size_t r = i / STRIDE, d = i % STRIDE % DIM;
            size_t pair = halves ? d % (ROT / 2) : d / 2, partner = halves ? ROT / 2 : 1;
            bool is_second = halves ? d >= ROT / 2 : d % 2 == 1;
            double want = x[i], angle = d < ROT ? (double)p[r] * (double)freqs[pair] : 0;
            if (i % STRIDE < HEADS * DIM && d < ROT)
                want = (double)rope.magnitude * (is_second ? x[i - partner] * sin(angle) + x[i] * cos(angle)
                                                           : x[i] * cos(angle) - x[i + partner] * sin(angle));
            CHECK_NEAR(y[i], want, 1e-6);
        }
        free(x);
    }
}

static void test_scale_and_cap(struct ops *o) {
    enum { N = 9000 };
    float *x = random_floats(N), *y = malloc(N * sizeof *y), *z = malloc(N * sizeof *z);
    memcpy(y, x, N * sizeof *y);
    memcpy(z, x, N * sizeof *z);
    o->scale(o, y, 3, N);
    o->soft_cap(o, z, 0.5f, N);
    for (size_t i = 0; i < N; i++) {
        CHECK(y[i] == 3 * x[i]);
        CHECK_NEAR(z[i], 0.5 * tanh(2 * (double)x[i]), 1e-6);
    }
    free(x);
    free(y);
    free(z);
}

static void test_memory_and_add(struct ops *o) {
    struct err err = {0};
    float *p = o->alloc(o, 1000 * sizeof *p, &err);
    CHECK(p && (uintptr_t)p % 64 == 0 && p[0] == 0 && p[999] == 0);
    float host[1000], *x = random_floats(1000);
    o->write(o, p, x, sizeof host);
    o->add(o, p, x, 1000);
    o->read(o, host, p, sizeof host);
    for (size_t i = 0; i < 1000; i++)
        CHECK(host[i] == 2 * x[i]);
    o->release(o, p);
    o->release(o, NULL);
    CHECK(!o->alloc(o, SIZE_MAX - 8, &err) && err.code == ERR_NOMEM);
    free(x);
}

static void check_refused(struct ops *o, struct tensor t, const char *part) {
    struct err err = {0};
    struct weight *w = o->weight_create(o, &t, WEIGHT_ROWS_ANY, &err);
    if (w || err.code != ERR_MODEL || !strstr(err.msg, part)) {
        printf("weight_create: error %d \"%s\", want \"%s\"\n", (int)err.code, err.msg, part);
        check_failed++;
    }
    o->weight_release(o, w);
}

static void test_weights(struct ops *o) {
    static float data[256];
    struct err err = {0};
    const struct tensor good = {"w", TENSOR_F32, 3, {4, 8, 3, 1}, data, 96 * sizeof(float)};
    struct weight *w = o->weight_create(o, &good, WEIGHT_ROWS_FIXED, &err);
    CHECK(w && weight_n_in(w) == 32 && weight_n_out(w) == 3);
    for (size_t i = 0; i < 96; i++)
        data[i] = (float)i;
    o->weight_load(o, w);
    float rows[64];
    o->get_rows(o, rows, w, (const int32_t[]){2, 1}, 2);
    CHECK(rows[0] == 64 && rows[31] == 95 && rows[32] == 32 && rows[63] == 63);
    o->weight_release(o, w);

    struct tensor t = good;
    memcpy(t.name, "blk.0.attn_q.weight", 20);
    t.type = (enum tensor_type)9;
    check_refused(o, t,
                  "blk.0.attn_q.weight: type q8_1, want one of f32, f16, q4_0, q4_1, q5_0, q5_1, q8_0, q2_K");
    t = good;
    t.n_dims = 1;
    check_refused(o, t, "1 dimension");
    t = good;
    t.size_bytes--;
    check_refused(o, t, "383 bytes");
    t = good;
    t.type = TENSOR_Q8_0;
    t.ne[0] = 5;
    check_refused(o, t, "multiple of 32");
    t = good;
    t.ne[1] = 0;
    check_refused(o, t, "rows of 0 values");
    t = good;
    t.ne[0] = t.ne[1] = SIZE_MAX / 2;
    check_refused(o, t, "below 2^31");
    t = good;
    t.data = (const char *)data + 1;
    check_refused(o, t, "aligned");
}

static void test_open(void) {
    struct err err = {0};
    CHECK(!cpu_open(&(struct cpu_options){.isa = "sse9"}, &err) && err.code == ERR_INVALID_VALUE);
    CHECK(strstr(err.msg, "\"sse9\", want ref, avx2 or avx512"));
    setenv("OCELLUS_CPU", "ref", 1);
    struct ops *o = cpu_open(&(struct cpu_options){.n_threads = 2}, &err);
    CHECK_STR(o->name, "cpu ref");
    CHECK(pool_n_threads(cpu_pool(o)) == 2);
    o->close(o);
    setenv("OCELLUS_CPU", "bad", 1);
    CHECK(!cpu_open(&(struct cpu_options){0}, &err));
    unsetenv("OCELLUS_CPU");
}

int main(void) {
    static const char *const isas[] = {"ref", "avx2", "avx512"};
    test_open();
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) {
        struct ops *one = open_isa(isas[i], 1), *three = open_isa(isas[i], 3);
        if (!one)
            continue;
        test_attention(one, three);
        test_attention_parts(three);
        test_norms(one, 1, 37);
        test_norms(three, 130, 301);
        test_activations(three);
        test_conv(one, 1, 1, 1, 3, false);
        test_conv(one, 4, 7, 2, 5, true);
        test_conv(three, 24, 24, 1, 37, true);
        test_conv(three, 5, 2, 2, 64, false);
        test_f16(three);
        test_copy_rows(three);
        test_rope(one, false);
        test_rope(one, true);
        test_scale_and_cap(one);
        test_memory_and_add(one);
        test_weights(one);
        one->close(one);
        three->close(three);
    }
    return check_result();
}
