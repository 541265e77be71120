// The parts of ocellus bench: one stream measured layer by layer, and many through the scheduler.
#ifndef CLI_BENCH_H
#define CLI_BENCH_H

#include "cli/options.h"
#include "compute/ops.h"

enum { BENCH_STREAMS_MAX = 8 };

struct bench_single { // medians; 0 = not measured
    double prefill_tps, decode_tps;
    double image_decode_ms, preprocess_ms, encode_ms;
    double ttft_ms; // picture (if any) and prompt to the first token
    double rss_mb;
    struct llm_cost cost;
    // bench_compare fills these:
    double read_gbps, gmac_per_s;  // of weights: read while decoding, multiplied by the prompt's rows
    double read_share, gmac_share; // of what the machine can do; bytes and floats each by their own limit
};

struct bench_streams {
    size_t n_streams;
    double aggregate_tps; // tokens of all streams over the time from the first to the last of them
    double together_tps;  // the same while all of them decode; 0 = they never did
    double itl_p99_ms;    // 99th percentile of the gaps between two pieces of one stream
};

struct bench_grammar { // of one token; decode_ms is the forward pass and the sampling without a grammar
    double decode_ms;
    double mask_ms, mask_p99_ms, mask_worst_ms; // what the grammar adds: mean, 99th percentile, worst
    double share;                               // mask_ms / decode_ms
    double setup_ms;                            // of the first text: also the model's order of tokens
};

bool bench_run_single(const struct cli_options *o, struct bench_single *out, struct err *err);
bool bench_run_streams(const struct cli_options *o, struct bench_streams *out, size_t n, struct err *err);
bool bench_run_grammar(const struct cli_options *o, struct bench_grammar *out, struct err *err);

// The speeds in bytes and multiply-adds, and their shares of what the machine can do.
void bench_compare(struct bench_single *s, const struct cli_options *o, const struct cpu_limits *limits);

// Sorts values [n], n > 0. q from 0 to 1: 0.5 = the median.
double bench_quantile(double *values, size_t n, double q);

#endif
