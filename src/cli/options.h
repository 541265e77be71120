// The command line: one table of options makes the parser, the environment names and --help.
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include "config.h"
#include "llm/llm.h"

#include <stdio.h>

// One bit a command, so that an option can belong to several.
enum command_bit {
    CMD_SERVE = 1 << 0,
    CMD_RUN = 1 << 1,
    CMD_BENCH = 1 << 2,
    CMD_INSPECT_GGUF = 1 << 3,
    CMD_INSPECT_TENSOR = 1 << 4,
    CMD_INSPECT_TOKENS = 1 << 5,
    CMD_INSPECT_DETOK = 1 << 6,
    CMD_INSPECT_LOGITS = 1 << 7,
    CMD_INSPECT_IMAGE = 1 << 8,
    CMD_INSPECT_TEMPLATE = 1 << 9,
    CMD_QUANTIZE = 1 << 10,
    CMD_INSPECT_EMBEDDING = 1 << 11,
};

struct cli_list { // of an option that may be given several times
    char **items;
    size_t n;
};

struct cli_options {
    struct config config; // its lists point into allow_origins and allow_hosts
    bool help;
    bool json;

    // models
    const char *kv_type;          // "f16", "f32", "q8_0", NULL: the command's default
    const char *vision_precision; // "f32", "int8", NULL: by the model's size

    // run
    struct llm_sampling sampling;
    size_t seed;
    size_t max_tokens; // 0 = up to the context
    const char *system;
    const char *grammar, *grammar_file, *json_schema, *json_schema_file;
    const char *samplers;
    struct cli_list dry_breakers, logit_biases, stops;
    struct llm_logit_bias *biases; // what sampling.biases points to
    bool stats;

    // several commands
    struct cli_list images;
    struct cli_list params;  // "min_pixels=3136"
    const char *detail;      // "auto", "low", "high", NULL: auto
    size_t max_image_tokens; // 0 = any number

    // serve
    struct cli_list allow_origins, allow_hosts;

    // bench
    size_t n_prompt, n_generate, n_depth, n_repeat;
    const char *streams; // "1,2,4,8"
    bool machine;        // only what the machine can do

    // inspect
    bool full;
    bool special, bos, no_bos;
    const char *text, *file, *ids, *pre;
    const char *tokens, *tokens_after;
    bool last;
    const char *pooling; // NULL: the file's
    bool no_normalise;
    const char *stage, *pixels, *shape;
    const char *template, *input, *now;
    const char *out;

    char *const *arguments; // what is no option: borrowed from argv
    size_t n_arguments;
};

struct command {
    enum command_bit bit;
    const char *name;  // "inspect gguf": words as they are typed
    const char *usage; // what follows the name
    const char *summary;
    size_t n_arguments; // exactly
    bool (*run)(struct cli_options *o, struct err *err);
};

// Fills *o from the defaults, then the environment, then argv (which begins behind the command's name; it is
// reordered so that arguments come first). ERR_INVALID_VALUE names the option. Whatever it returns:
// options_clear.
bool options_parse(struct cli_options *o, const struct command *command, int argc, char **argv,
                   struct err *err);
void options_clear(struct cli_options *o);

// The help of one command: usage, summary, its options with their defaults and environment names.
void options_print_help(FILE *f, const struct command *command);

#endif
