// One stream: prefill and decode of random tokens, and each stage of one picture. No set-up is timed.
#include "base/clock.h"
#include "base/mem.h"
#include "cli/bench.h"
#include "cli/cli.h"
#include "cli/encode.h"
#include "compute/ops.h"

#include <stdlib.h>
#include <string.h>

struct single {
    const struct cli_options *o;
    struct ops *ops;
    struct llm *llm;
    struct vision *vision;
    struct llm_seq *seq;
    int32_t *ids; // [n_depth + n_prompt]
    uint8_t *image_bytes;
    size_t image_size_bytes;
    double *samples; // [n_repeat, N_SERIES], a series each
};

enum series { PREFILL, DECODE, IMAGE_DECODE, PREPROCESS, ENCODE, TTFT, N_SERIES };

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_quantile(double *values, size_t n, double q) {
    qsort(values, n, sizeof *values, compare_doubles);
    size_t i = (size_t)(q * (double)(n - 1) + 0.5);
    return values[i];
}

static double *sample(struct single *b, enum series series, size_t i) {
    return &b->samples[(size_t)series * b->o->n_repeat + i];
}

static double median(struct single *b, enum series series) {
    return bench_quantile(sample(b, series, 0), b->o->n_repeat, 0.5);
}

// The same ids in every run and on every machine (a linear congruential generator with a fixed seed).
static bool make_ids(struct single *b, struct err *err) {
    size_t n = b->o->n_depth + b->o->n_prompt;
    b->ids = try_malloc_array(n, sizeof *b->ids, "prompt", err);
    if (!b->ids)
        return false;
    uint64_t state = 42;
    for (size_t i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        b->ids[i] = (int32_t)((state >> 33) % llm_n_vocab(b->llm));
    }
    return true;
}

static bool open_all(struct single *b, struct err *err) {
    const struct config *c = &b->o->config;
    b->ops = cpu_open(&(struct cpu_options){.n_threads = c->n_threads}, err);
    if (!b->ops)
        return false;
    struct llm_options options = {.n_ctx = c->n_ctx, .kv_type = c->kv_type, .load = c->load};
    b->llm = llm_open(c->model_path, b->ops, &options, err);
    if (!b->llm)
        return false;
    while (llm_load(b->llm)) {
    }
    size_t need = b->o->n_prompt > b->o->n_generate ? b->o->n_prompt : b->o->n_generate;
    if (need > llm_n_ctx(b->llm) || b->o->n_depth > llm_n_ctx(b->llm) - need)
        return err_set(err, ERR_INVALID_VALUE,
                       "-p and -n: %zu tokens do not fit a context of %zu (-c) behind %zu (-d)", need,
                       llm_n_ctx(b->llm), b->o->n_depth);
    b->seq = llm_seq_create(b->llm, err);
    if (!b->seq || !make_ids(b, err))
        return false;
    if (b->o->images.n == 0)
        return true;
    struct vision_options limits;
    if (!cli_vision_options(b->o, &limits, err))
        return false;
    b->vision = vision_open(c->mmproj_path, b->ops, &limits, err);
    if (!b->vision)
        return false;
    b->image_bytes = cli_read_file(b->o->images.items[0], limits.max_image_bytes, &b->image_size_bytes, err);
    return b->image_bytes != NULL;
}

static void close_all(struct single *b) {
    llm_seq_destroy(b->seq);
    vision_close(b->vision);
    llm_close(b->llm);
    if (b->ops)
        b->ops->close(b->ops);
    free(b->ids);
    free(b->image_bytes);
    free(b->samples);
}

// The rows of a prompt from `first` to `end`, in pieces of at most n_rows_max, behind those before them.
static bool prefill(struct single *b, const struct llm_prompt *p, size_t first, size_t end, struct err *err) {
    llm_seq_truncate(b->seq, first);
    while (first < end) {
        size_t n = llm_prompt_chunk(p, first, llm_n_rows_max(b->llm));
        n = n < end - first ? n : end - first;
        struct llm_rows part = {.seq = b->seq, .prompt = p, .first = first, .n_rows = n};
        part.want_logits = first + n == end;
        if (!llm_forward(b->llm, &part, 1, NULL, NULL, err))
            return false;
        first += n;
    }
    return true;
}

// Token by token in the place of the prompt, so that prefill and decode are two figures.
static bool decode(struct single *b, size_t n, struct err *err) {
    llm_seq_truncate(b->seq, b->o->n_depth);
    for (size_t i = 0; i < n; i++) {
        struct llm_rows part = {
            .seq = b->seq, .id = b->ids[i % b->o->n_prompt], .n_rows = 1, .want_logits = true};
        if (!llm_forward(b->llm, &part, 1, NULL, NULL, err))
            return false;
    }
    return true;
}

static bool measure_text(struct single *b, const struct llm_prompt *p, size_t i, struct err *err) {
    size_t n_prompt = b->o->n_prompt, n_generate = b->o->n_generate, n_depth = b->o->n_depth;
    double start = clock_ms();
    bool ok = prefill(b, p, n_depth, n_depth + n_prompt, err);
    double prefilled = clock_ms();
    ok = ok && decode(b, n_generate, err);
    double end = clock_ms();
    *sample(b, PREFILL, i) = (double)n_prompt * 1000 / (prefilled - start);
    *sample(b, DECODE, i) = (double)n_generate * 1000 / (end - prefilled);
    *sample(b, TTFT, i) = prefilled - start;
    return ok;
}

static bool measure_texts(struct single *b, struct err *err) {
    size_t n_depth = b->o->n_depth;
    struct llm_prompt *p = llm_prompt_raw(b->llm, b->ids, n_depth + b->o->n_prompt, NULL, 0, err);
    // Once unmeasured: pages of the model and scratch memory come in.
    bool ok = p && prefill(b, p, 0, n_depth, err) && measure_text(b, p, 0, err);
    for (size_t i = 0; ok && i < b->o->n_repeat; i++)
        ok = measure_text(b, p, i, err);
    llm_prompt_destroy(p);
    return ok;
}

// The prompt of a chat about one picture whose rows are there. Returns new.
static struct llm_prompt *picture_prompt(struct single *b, const struct llm_image *image, const float *rows,
                                         struct err *err) {
    static const char question[] = "What is in this picture?";
    struct llm_part parts[] = {{.image = *image}, {.text = question, .len = sizeof question - 1}};
    struct llm_message message = {LLM_USER, parts, 2};
    struct llm_prompt *p = llm_prompt_chat(b->llm, &message, 1, err);
    if (p)
        llm_prompt_set_image_rows(p, 0, rows);
    return p;
}

// Decoding is also part of vision_prepare, so preprocessing is the difference.
static bool measure_picture(struct single *b, size_t i, struct err *err) {
    struct vision_options limits;
    if (!cli_vision_options(b->o, &limits, err))
        return false;
    size_t width_px, height_px;
    struct vision_info info;
    struct vision_layout layout;
    if (!vision_probe(b->vision, b->image_bytes, b->image_size_bytes, NULL, &info, &layout, err))
        return false;
    free(layout.spans); // special strings count little
    double t0 = clock_ms();
    uint8_t *rgb =
        vision_decode_rgb(b->image_bytes, b->image_size_bytes, &limits, &width_px, &height_px, err);
    free(rgb);
    if (!rgb)
        return false;
    double t1 = clock_ms();
    struct vision_image *image = vision_prepare(b->vision, b->image_bytes, b->image_size_bytes, NULL, err);
    if (!image)
        return false;
    double t2 = clock_ms();
    size_t n_tokens = layout.n_tokens;
    struct llm_image for_prompt = {.key = "image",
                                   .n_tokens = n_tokens,
                                   .grid_width = layout.grid_width,
                                   .grid_height = layout.grid_height,
                                   .both_ways = layout.both_ways};
    struct vision_encode *e = cli_encode(b->vision, image, false, err);
    if (!e)
        return false;
    double t3 = clock_ms();
    float *rows = try_malloc_array(n_tokens, vision_n_embd(b->vision) * sizeof *rows, "rows", err);
    if (rows)
        vision_encode_rows(e, rows);
    vision_encode_destroy(e);
    struct llm_prompt *p = rows ? picture_prompt(b, &for_prompt, rows, err) : NULL;
    bool ok = p && prefill(b, p, 0, llm_prompt_n_rows(p), err);
    double t4 = clock_ms();
    llm_prompt_destroy(p);
    free(rows);
    *sample(b, IMAGE_DECODE, i) = t1 - t0;
    *sample(b, PREPROCESS, i) = t2 - t1 > t1 - t0 ? t2 - t1 - (t1 - t0) : 0;
    *sample(b, ENCODE, i) = t3 - t2;
    *sample(b, TTFT, i) = t4 - t1;
    return ok;
}

static double resident_mb(void) {
    size_t size_bytes;
    uint8_t *status = cli_read_file("/proc/self/status", SIZE_MAX, &size_bytes, NULL);
    const char *line = status ? strstr((const char *)status, "VmRSS:") : NULL;
    double mb = line ? strtod(line + 6, NULL) / 1024 : 0;
    free(status);
    return mb;
}

static bool measure_all(struct single *b, struct err *err) {
    bool ok = measure_texts(b, err);
    if (!ok || !b->vision)
        return ok;
    ok = measure_picture(b, 0, err);
    for (size_t i = 0; ok && i < b->o->n_repeat; i++)
        ok = measure_picture(b, i, err);
    return ok;
}

// The bytes of a token at its speed, the multiply-adds of the prompt at its.
void bench_compare(struct bench_single *s, const struct cli_options *o, const struct cpu_limits *limits) {
    const struct llm_cost *c = &s->cost;
    double n = (double)o->n_prompt, prefill_s = n / s->prefill_tps;
    double gmacs_int8 = (n * c->row_int8 + c->output_int8) / 1e9;
    double gmacs_float = (n * c->row_float + c->output_float) / 1e9;
    double least_s = gmacs_int8 / limits->int8_gmacs + gmacs_float / (limits->f32_gflops / 2);
    s->read_gbps = c->read_bytes * s->decode_tps / 1e9;
    s->read_share = s->read_gbps / limits->read_gbps;
    s->gmac_per_s = (gmacs_int8 + gmacs_float) / prefill_s;
    s->gmac_share = least_s / prefill_s;
}

bool bench_run_single(const struct cli_options *o, struct bench_single *out, struct err *err) {
    struct single b = {.o = o};
    b.samples = xcalloc(o->n_repeat * N_SERIES, sizeof *b.samples);
    bool ok = open_all(&b, err) && measure_all(&b, err);
    if (ok) {
        *out = (struct bench_single){.prefill_tps = median(&b, PREFILL),
                                     .decode_tps = median(&b, DECODE),
                                     .image_decode_ms = median(&b, IMAGE_DECODE),
                                     .preprocess_ms = median(&b, PREPROCESS),
                                     .encode_ms = median(&b, ENCODE),
                                     .ttft_ms = median(&b, TTFT),
                                     .rss_mb = resident_mb(),
                                     .cost = llm_cost(b.llm)};
    }
    close_all(&b);
    return ok;
}
