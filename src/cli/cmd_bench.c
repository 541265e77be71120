// ocellus bench: the speed of a model on this machine, as medians over the repeats.
#include "base/json.h"
#include "base/log.h"
#include "cli/bench.h"
#include "cli/cli.h"
#include "cli/progress.h"

#include <stdlib.h>

enum { N_STREAMS_LARGEST = 256 };

static bool parse_streams(const struct cli_options *o, struct bench_streams *streams, size_t *n,
                          struct err *err) {
    *n = 0;
    if (!o->streams)
        return true;
    int32_t *numbers = cli_parse_ids(o->streams, "--streams", N_STREAMS_LARGEST, n, err);
    if (!numbers)
        return false;
    bool ok = *n <= BENCH_STREAMS_MAX;
    for (size_t i = 0; ok && i < *n; i++) {
        streams[i] = (struct bench_streams){.n_streams = (size_t)numbers[i]};
        ok = numbers[i] > 0;
    }
    free(numbers);
    return ok || err_set(err, ERR_INVALID_VALUE, "--streams: want up to %d numbers from 1 to %d, found %s",
                         BENCH_STREAMS_MAX, N_STREAMS_LARGEST, o->streams);
}

static void set_if_measured(json_t *root, const char *key, double value) {
    if (value > 0)
        json_object_set_new(root, key, json_real(value));
}

static bool has_grammar(const struct cli_options *o) {
    return o->grammar || o->grammar_file || o->json_schema || o->json_schema_file;
}

// Takes root.
static bool write_json(json_t *root, struct err *err) {
    bool ok = json_dumpf(root, stdout, JSON_REAL_PRECISION(6)) == 0;
    putchar('\n');
    json_decref(root);
    return ok || err_set(err, ERR_IO, "cannot write to stdout");
}

static bool print_machine(const struct cpu_limits *l, bool json, struct err *err) {
    if (json) {
        json_t *root = json_pack("{s:I}", "cores", (json_int_t)l->n_threads);
        set_if_measured(root, "read_gbps", l->read_gbps);
        set_if_measured(root, "int8_gmacs", l->int8_gmacs);
        set_if_measured(root, "f32_gflops", l->f32_gflops);
        set_if_measured(root, "f16_gflops", l->f16_gflops);
        return write_json(root, err);
    }
    printf("cores                    %10zu\n", l->n_threads);
    printf("memory                   %10.1f GB/s read\n", l->read_gbps);
    printf("8-bit integers           %10.1f G multiply-adds/s\n", l->int8_gmacs);
    printf("f32                      %10.1f GFLOP/s\n", l->f32_gflops);
    if (l->f16_gflops > 0)
        printf("f16                      %10.1f GFLOP/s\n", l->f16_gflops);
    return true;
}

static void keep_larger(double *a, double b) {
    *a = b > *a ? b : *a;
}

// With the threads and instruction set that the model has. *limits keeps what is larger: bench measures before
// and after the model, for other work on the machine only ever makes a limit look lower.
static bool measure_machine(const struct cli_options *o, struct cpu_limits *limits, struct err *err) {
    struct ops *ops = cpu_open(&(struct cpu_options){.n_threads = o->config.n_threads}, err);
    struct cpu_limits now;
    bool ok = ops && cpu_measure_limits(ops, &now, err);
    if (ok) {
        limits->n_threads = now.n_threads;
        keep_larger(&limits->read_gbps, now.read_gbps);
        keep_larger(&limits->int8_gmacs, now.int8_gmacs);
        keep_larger(&limits->f32_gflops, now.f32_gflops);
        keep_larger(&limits->f16_gflops, now.f16_gflops);
    }
    if (ops)
        ops->close(ops);
    return ok;
}

static bool print_json(const struct bench_single *s, const struct bench_streams *streams, size_t n_streams,
                       const struct bench_grammar *g, struct err *err) {
    json_t *root = json_object();
    set_if_measured(root, "prefill_tps", s->prefill_tps);
    set_if_measured(root, "decode_tps", s->decode_tps);
    set_if_measured(root, "image_decode_ms", s->image_decode_ms);
    set_if_measured(root, "preprocess_ms", s->preprocess_ms);
    set_if_measured(root, "encode_ms", s->encode_ms);
    set_if_measured(root, "ttft_ms", s->ttft_ms);
    set_if_measured(root, "rss_mb", s->rss_mb);
    set_if_measured(root, "read_gbps", s->read_gbps);
    set_if_measured(root, "read_share", s->read_share);
    set_if_measured(root, "gmac_per_s", s->gmac_per_s);
    set_if_measured(root, "gmac_share", s->gmac_share);
    if (n_streams)
        json_object_set_new(root, "streams", json_object());
    for (size_t i = 0; i < n_streams; i++) {
        char key[24];
        snprintf(key, sizeof key, "%zu", streams[i].n_streams);
        json_object_set_new(json_object_get(root, "streams"), key,
                            json_pack("{s:f, s:f, s:f}", "aggregate_tps", streams[i].aggregate_tps,
                                      "together_tps", streams[i].together_tps, "itl_p99_ms",
                                      streams[i].itl_p99_ms));
    }
    if (g)
        json_object_set_new(root, "grammar",
                            json_pack("{s:f, s:f, s:f, s:f, s:f, s:f}", "decode_ms", g->decode_ms, "mask_ms",
                                      g->mask_ms, "mask_p99_ms", g->mask_p99_ms, "mask_worst_ms",
                                      g->mask_worst_ms, "share", g->share, "setup_ms", g->setup_ms));
    return write_json(root, err);
}

static void print_table(const struct cli_options *o, const struct bench_single *s,
                        const struct bench_streams *streams, size_t n_streams,
                        const struct bench_grammar *g) {
    printf("prefill of %zu tokens    %10.1f tokens/s\n", o->n_prompt, s->prefill_tps);
    printf("decode of %zu tokens     %10.1f tokens/s\n", o->n_generate, s->decode_tps);
    if (o->images.n) {
        printf("picture: decode          %10.2f ms\n", s->image_decode_ms);
        printf("picture: preprocess      %10.2f ms\n", s->preprocess_ms);
        printf("picture: encode          %10.2f ms\n", s->encode_ms);
    }
    printf("first token after        %10.2f ms\n", s->ttft_ms);
    printf("resident memory          %10.1f MB\n", s->rss_mb);
    printf("weights read             %10.1f GB/s, %.0f %% of what the machine can\n", s->read_gbps,
           100 * s->read_share);
    printf("multiply-adds            %10.1f G/s, %.0f %% of what the machine can\n", s->gmac_per_s,
           100 * s->gmac_share);
    for (size_t i = 0; i < n_streams; i++)
        printf(
            "%3zu streams              %10.1f tokens/s, %.1f while all decode, 99 %% of gaps under %.2f ms\n",
            streams[i].n_streams, streams[i].aggregate_tps, streams[i].together_tps, streams[i].itl_p99_ms);
    if (g)
        printf("grammar                  %10.3f ms a token, %.1f %% of its %.2f ms; 99 %% under %.2f, worst "
               "%.2f\n",
               g->mask_ms, 100 * g->share, g->decode_ms, g->mask_p99_ms, g->mask_worst_ms);
}

bool cmd_bench(struct cli_options *o, struct err *err) {
    struct bench_streams streams[BENCH_STREAMS_MAX];
    struct bench_single single;
    struct bench_grammar grammar = {0}, *g = has_grammar(o) ? &grammar : NULL;
    struct cpu_limits limits = {0};
    size_t n_streams;
    if (o->machine)
        return measure_machine(o, &limits, err) && print_machine(&limits, o->json, err);
    if (!parse_streams(o, streams, &n_streams, err) || !cli_find_models(&o->config, err))
        return false;
    if (o->images.n > 1 || (o->images.n && !o->config.mmproj_path))
        return err_set(err, ERR_INVALID_VALUE, "--image: want one picture, and --mmproj");
    log_set_level(LOG_LEVEL_WARN);
    if (!measure_machine(o, &limits, err))
        return false;
    cli_show_loading(&o->config);
    if (!bench_run_single(o, &single, err))
        return false;
    if (!measure_machine(o, &limits, err))
        return false;
    bench_compare(&single, o, &limits);
    if (n_streams && !bench_run_streams(o, streams, n_streams, err))
        return false;
    if (g && !bench_run_grammar(o, g, err))
        return false;
    if (o->json)
        return print_json(&single, streams, n_streams, g, err);
    print_table(o, &single, streams, n_streams, g);
    return true;
}
