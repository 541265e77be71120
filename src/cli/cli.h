// The commands of the program, one file each, and what they share.
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "cli/options.h"

#include <stdint.h>

// Each runs one command. False with an error: ERR_INVALID_VALUE is the user's usage, ERR_MODEL a model file,
// ERR_CANCELLED Ctrl-C; main.c turns them into exit codes.
bool cmd_serve(struct cli_options *o, struct err *err);
bool cmd_run(struct cli_options *o, struct err *err);
bool cmd_bench(struct cli_options *o, struct err *err);
bool cmd_quantize(struct cli_options *o, struct err *err);
bool cmd_inspect_gguf(struct cli_options *o, struct err *err);
bool cmd_inspect_tensor(struct cli_options *o, struct err *err);
bool cmd_inspect_tokens(struct cli_options *o, struct err *err);
bool cmd_inspect_detok(struct cli_options *o, struct err *err);
bool cmd_inspect_logits(struct cli_options *o, struct err *err);
bool cmd_inspect_embedding(struct cli_options *o, struct err *err);
bool cmd_inspect_image(struct cli_options *o, struct err *err);
bool cmd_inspect_template(struct cli_options *o, struct err *err);

// ---- files.c ----

// Returns new bytes (NUL behind them, not counted); ERR_IO naming the file, ERR_IMAGE_TOO_LARGE past limit.
uint8_t *cli_read_file(const char *path, size_t limit, size_t *size_bytes, struct err *err);

// ERR_MODEL where a model file (NULL: none is asked for) cannot be read.
bool cli_check_model(const char *path, struct err *err);

// Checks the models in `config`, or, where there is none, takes the demo pair. Its paths lie in static
// memory.
bool cli_find_models(struct config *config, struct err *err);
// Without static_dir in `config`: the folder beside the program. ERR_IO when there is none.
bool cli_find_static(struct config *config, struct err *err);

// ---- sampling.c ----

// Reads --samplers, --dry-sequence-breaker and --logit-bias into o->sampling, which borrows from *o.
bool cli_sampling(struct cli_options *o, struct err *err);
// *grammar: new, of whichever option gives one; NULL where none does.
bool cli_read_grammar(const struct cli_options *o, struct llm_grammar **grammar, struct err *err);

// ---- values.c ----

enum { CLI_DIMS_MAX = 4 };

struct cli_array {
    size_t n_dims;
    size_t shape[CLI_DIMS_MAX]; // outermost first
    const float *floats;        // one of the two
    const uint8_t *bytes;
};

// Raw little-endian values to the file `out`, or, where that is NULL, {"shape": [...], "data": [...]} to
// stdout.
bool cli_write_array(const struct cli_array *a, const char *out, struct err *err);

// "1,2,3": returns new; each from 0 to max. `option` names it in errors.
int32_t *cli_parse_ids(const char *text, const char *option, int32_t max, size_t *n, struct err *err);

#endif
