#include "cli/options.h"

#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum option_type {
    OPT_FLAG,   // bool
    OPT_STRING, // const char *
    OPT_CHOICE, // const char *, one of the words in `argument`
    OPT_LIST,   // struct cli_list
    OPT_SIZE,   // size_t
    OPT_INT,    // int
    OPT_FLOAT,  // float
};

struct option {
    const char *name;     // "model": --model
    char letter;          // 'm': -m, 0 = none
    const char *env;      // NULL = none; lists are separated by commas there
    const char *argument; // its name in the help, NULL of a flag
    const char *help;
    enum option_type type;
    double min, max; // of a number
    size_t offset;   // in struct cli_options
    unsigned commands;
};

#define AT(member) offsetof(struct cli_options, member)

#define SERVING  (CMD_SERVE | CMD_RUN | CMD_BENCH)
#define MODELS   (SERVING | CMD_INSPECT_LOGITS)
#define SAMPLING (CMD_RUN | CMD_SERVE) // of the answer, and of requests that do not say it themselves
#define INSPECT                                                                                              \
    (CMD_INSPECT_GGUF | CMD_INSPECT_TENSOR | CMD_INSPECT_TOKENS | CMD_INSPECT_DETOK | CMD_INSPECT_LOGITS |   \
     CMD_INSPECT_IMAGE | CMD_INSPECT_TEMPLATE | CMD_INSPECT_EMBEDDING)
#define BIG 9007199254740992.0 // 2^53: every integer below is a double

// The default of an option is what options_parse finds in its member before it reads anything.
static const struct option options[] = {
    {"model", 'm', "OCELLUS_MODEL", "FILE", "language model (GGUF); without it the demo model", OPT_STRING, 0,
     0, AT(config.model_path), SERVING},
    {"model", 'm', "OCELLUS_MODEL", "FILE", "language model (GGUF)", OPT_STRING, 0, 0, AT(config.model_path),
     CMD_INSPECT_TOKENS | CMD_INSPECT_DETOK | CMD_INSPECT_LOGITS | CMD_INSPECT_TEMPLATE |
         CMD_INSPECT_EMBEDDING},
    {"mmproj", 0, "OCELLUS_MMPROJ", "FILE", "vision model (GGUF) that goes with it", OPT_STRING, 0, 0,
     AT(config.mmproj_path), MODELS | CMD_INSPECT_IMAGE},
    {"chat-template", 0, "OCELLUS_CHAT_TEMPLATE", "NAME|FILE",
     "chat format: a built-in one (chatml, llama3, gemma, ...) or a file of Jinja; default: the model's own",
     OPT_STRING, 0, 0, AT(config.chat_template), SERVING | CMD_INSPECT_LOGITS},
    {"ctx", 'c', "OCELLUS_CTX", "N", "positions a conversation; 0 = the model's own, at most 4096", OPT_SIZE,
     0, 1 << 24, AT(config.n_ctx), MODELS | CMD_INSPECT_EMBEDDING},
    {"threads", 't', "OCELLUS_THREADS", "N", "compute threads; 0 = one a processor", OPT_SIZE, 0, 1024,
     AT(config.n_threads), MODELS | CMD_INSPECT_IMAGE | CMD_QUANTIZE | CMD_INSPECT_EMBEDDING},
    {"kv-type", 0, "OCELLUS_KV_TYPE", "f16|f32|q8_0",
     "type of the KV cache; default f16, for inspect f32; q8_0 takes half the memory of f16", OPT_CHOICE, 0,
     0, AT(kv_type), MODELS | CMD_INSPECT_EMBEDDING},
    {"vision-precision", 0, "OCELLUS_VISION_PRECISION", "f32|int8",
     "arithmetic of pictures; int8 is several times as fast; default: f32 where a picture takes under 20 "
     "GFLOP",
     OPT_CHOICE, 0, 0, AT(vision_precision), MODELS | CMD_INSPECT_IMAGE},

    {"mlock", 0, "OCELLUS_MLOCK", NULL, "keep the models in memory, never swapped out", OPT_FLAG, 0, 0,
     AT(config.load.mlock), SERVING},
    {"no-mmap", 0, "OCELLUS_NO_MMAP", NULL, "read the models into memory instead of mapping their files",
     OPT_FLAG, 0, 0, AT(config.load.no_mmap), SERVING},

    {"host", 0, "OCELLUS_HOST", "ADDRESS", "address to listen on", OPT_STRING, 0, 0, AT(config.host),
     CMD_SERVE},
    {"port", 0, "OCELLUS_PORT", "N", "port to listen on; 0 = any free one", OPT_INT, 0, 65535,
     AT(config.port), CMD_SERVE},
    {"parallel", 0, "OCELLUS_PARALLEL", "N", "answers generated at the same time", OPT_SIZE, 1, 256,
     AT(config.n_parallel), CMD_SERVE},
    {"step-ms", 0, "OCELLUS_STEP_MS", "N", "most that a prompt or picture may delay running streams", OPT_INT,
     1, 10000, AT(config.step_ms), CMD_SERVE},
    {"allow-origin", 0, "OCELLUS_ALLOW_ORIGIN", "ORIGIN", "web origin that may connect; may be repeated",
     OPT_LIST, 0, 0, AT(allow_origins), CMD_SERVE},
    {"allow-host", 0, "OCELLUS_ALLOW_HOST", "NAME", "Host header that is accepted; may be repeated", OPT_LIST,
     0, 0, AT(allow_hosts), CMD_SERVE},
    {"static", 0, "OCELLUS_STATIC", "DIR", "folder of the browser chat; default: the one that came along",
     OPT_STRING, 0, 0, AT(config.static_dir), CMD_SERVE},
    {"max-images", 0, "OCELLUS_MAX_IMAGES", "N", "most pictures of one request", OPT_SIZE, 0, 1024,
     AT(config.max_images), CMD_SERVE | CMD_RUN},
    {"max-image-bytes", 0, "OCELLUS_MAX_IMAGE_BYTES", "N", "largest picture file", OPT_SIZE, 1, BIG,
     AT(config.max_image_bytes), CMD_SERVE | CMD_RUN | CMD_INSPECT_IMAGE},
    {"max-pixels", 0, "OCELLUS_MAX_PIXELS", "N", "largest width x height of a picture", OPT_SIZE, 1, BIG,
     AT(config.max_pixels), CMD_SERVE | CMD_RUN | CMD_INSPECT_IMAGE},

    {"image", 'i', NULL, "FILE", "picture (JPEG or PNG) to ask about; may be repeated", OPT_LIST, 0, 0,
     AT(images), CMD_RUN},
    {"image", 'i', NULL, "FILE", "picture (JPEG or PNG); with --text it may be repeated", OPT_LIST, 0, 0,
     AT(images), CMD_INSPECT_LOGITS},
    {"image", 'i', NULL, "FILE", "picture (JPEG or PNG)", OPT_LIST, 0, 0, AT(images),
     CMD_BENCH | CMD_INSPECT_IMAGE},

    {"detail", 0, NULL, "auto|low|high",
     "size of pictures: as the model was trained, smaller where the context needs it; the overview alone; "
     "always "
     "as trained",
     OPT_CHOICE, 0, 0, AT(detail), CMD_RUN},
    {"detail", 0, NULL, "high|low", "size of the picture: as the model was trained, or the overview alone",
     OPT_CHOICE, 0, 0, AT(detail), CMD_INSPECT_IMAGE},
    {"max-image-tokens", 0, NULL, "N", "most tokens of a picture, where the model can choose; 0 = any number",
     OPT_SIZE, 0, BIG, AT(max_image_tokens), CMD_RUN},
    {"max-image-tokens", 0, NULL, "N", "most rows of the picture, where the model can choose; 0 = any number",
     OPT_SIZE, 0, BIG, AT(max_image_tokens), CMD_INSPECT_IMAGE},

    {"system", 0, NULL, "TEXT", "system message; default: the template's own", OPT_STRING, 0, 0, AT(system),
     CMD_RUN},
    {"max-tokens", 'n', NULL, "N", "most tokens of the answer; 0 = up to the context", OPT_SIZE, 0, BIG,
     AT(max_tokens), CMD_RUN},
    {"temp", 0, NULL, "X", "randomness of the choice; 0 = always the likeliest token", OPT_FLOAT, 0, 100,
     AT(sampling.temperature), SAMPLING},
    {"temperature", 0, NULL, "X", "the same as --temp", OPT_FLOAT, 0, 100, AT(sampling.temperature),
     SAMPLING},
    {"top-k", 0, NULL, "N", "choose among the N likeliest tokens; 0 = all", OPT_SIZE, 0, BIG,
     AT(sampling.top_k), SAMPLING},
    {"top-p", 0, NULL, "X", "choose among the likeliest tokens of this total probability; 1 = all", OPT_FLOAT,
     0, 1, AT(sampling.top_p), SAMPLING},
    {"min-p", 0, NULL, "X", "drop tokens below X times the likeliest one's probability; 0 = none", OPT_FLOAT,
     0, 1, AT(sampling.min_p), SAMPLING},
    {"typical", 0, NULL, "X", "choose among the tokens of usual surprise of this total probability; 1 = all",
     OPT_FLOAT, 0, 1, AT(sampling.typical_p), SAMPLING},
    {"top-nsigma", 0, NULL, "X", "drop logits more than X standard deviations below the best; 0 = none",
     OPT_FLOAT, -1, 100, AT(sampling.top_n_sigma), SAMPLING},
    {"xtc-probability", 0, NULL, "X", "how often XTC drops the likeliest tokens but one; 0 = off", OPT_FLOAT,
     0, 1, AT(sampling.xtc_probability), SAMPLING},
    {"xtc-threshold", 0, NULL, "X", "probability from which on XTC drops; above 0.5 = off", OPT_FLOAT, 0, 1,
     AT(sampling.xtc_threshold), SAMPLING},
    {"repeat-penalty", 0, NULL, "X", "make tokens of the recent text less likely; 1 = off", OPT_FLOAT, 0.01,
     100, AT(sampling.repeat_penalty), SAMPLING},
    {"presence-penalty", 0, NULL, "X", "taken off the logits of tokens in the recent text", OPT_FLOAT, -2, 2,
     AT(sampling.presence_penalty), SAMPLING},
    {"frequency-penalty", 0, NULL, "X", "the same, for each time that they are there", OPT_FLOAT, -2, 2,
     AT(sampling.frequency_penalty), SAMPLING},
    {"repeat-last-n", 0, NULL, "N", "tokens that count as the recent text", OPT_SIZE, 0, 65536,
     AT(sampling.penalty_last_n), SAMPLING},
    {"dry-multiplier", 0, NULL, "X", "penalty of tokens that prolong a repetition; 0 = off", OPT_FLOAT, 0,
     100, AT(sampling.dry_multiplier), SAMPLING},
    {"dry-base", 0, NULL, "X", "how fast it grows with the repetition", OPT_FLOAT, 0, 100,
     AT(sampling.dry_base), SAMPLING},
    {"dry-allowed-length", 0, NULL, "N", "tokens that may be repeated", OPT_SIZE, 0, 65536,
     AT(sampling.dry_allowed_length), SAMPLING},
    {"dry-penalty-last-n", 0, NULL, "N", "tokens that it looks back on; -1 = the context, 0 = off", OPT_INT,
     -1, 1 << 24, AT(sampling.dry_penalty_last_n), SAMPLING},
    {"dry-sequence-breaker", 0, NULL, "TEXT",
     "ends a repetition, instead of the usual ones; none = nothing does; may be repeated", OPT_LIST, 0, 0,
     AT(dry_breakers), SAMPLING},
    {"dynatemp-range", 0, NULL, "X", "the temperature follows the entropy so far either way; 0 = off",
     OPT_FLOAT, 0, 100, AT(sampling.dynatemp_range), SAMPLING},
    {"dynatemp-exp", 0, NULL, "X", "exponent of that", OPT_FLOAT, 0, 10, AT(sampling.dynatemp_exponent),
     SAMPLING},
    {"mirostat", 0, NULL, "N", "1 or 2: instead of all filters and penalties; 0 = off", OPT_INT, 0, 2,
     AT(sampling.mirostat), SAMPLING},
    {"mirostat-ent", 0, NULL, "X", "surprise that Mirostat aims at, in bit", OPT_FLOAT, 0, 100,
     AT(sampling.mirostat_tau), SAMPLING},
    {"mirostat-lr", 0, NULL, "X", "how fast Mirostat learns", OPT_FLOAT, 0, 1, AT(sampling.mirostat_eta),
     SAMPLING},
    {"samplers", 0, NULL, "NAME;...",
     "order: penalties, dry, top_n_sigma, top_k, typ_p, top_p, min_p, xtc, temperature; others are off",
     OPT_STRING, 0, 0, AT(samplers), SAMPLING},
    {"logit-bias", 0, NULL, "ID+X", "added to the logit of a token; ID-inf forbids it; may be repeated",
     OPT_LIST, 0, 0, AT(logit_biases), SAMPLING},
    {"ignore-eos", 0, NULL, NULL, "never end by itself", OPT_FLAG, 0, 0, AT(sampling.ignore_eos), SAMPLING},
    {"grammar", 0, NULL, "TEXT", "GBNF grammar that the answer keeps to", OPT_STRING, 0, 0, AT(grammar),
     CMD_RUN},
    {"grammar-file", 0, NULL, "FILE", "the same, from a file", OPT_STRING, 0, 0, AT(grammar_file), CMD_RUN},
    {"json-schema", 0, NULL, "TEXT", "the answer is JSON of this schema; {} = any", OPT_STRING, 0, 0,
     AT(json_schema), CMD_RUN},
    {"json-schema-file", 0, NULL, "FILE", "the same, from a file", OPT_STRING, 0, 0, AT(json_schema_file),
     CMD_RUN},
    {"grammar-file", 0, NULL, "FILE", "also measure what this GBNF grammar costs", OPT_STRING, 0, 0,
     AT(grammar_file), CMD_BENCH},
    {"json-schema-file", 0, NULL, "FILE", "the same of a JSON schema", OPT_STRING, 0, 0, AT(json_schema_file),
     CMD_BENCH},
    {"stop", 0, NULL, "TEXT", "end the answer before this text; may be repeated", OPT_LIST, 0, 0, AT(stops),
     CMD_RUN},
    {"seed", 0, NULL, "N", "the same seed gives the same answer", OPT_SIZE, 0, BIG, AT(seed), CMD_RUN},
    {"seed", 0, NULL, "N", "of requests that name none; -1 = a random one each", OPT_INT, -1, INT32_MAX,
     AT(config.seed), CMD_SERVE},
    {"stats", 0, NULL, NULL, "print token counts and speeds to stderr", OPT_FLAG, 0, 0, AT(stats), CMD_RUN},

    {"prompt", 'p', NULL, "N", "tokens of the prompt", OPT_SIZE, 1, 1 << 24, AT(n_prompt), CMD_BENCH},
    {"generate", 'n', NULL, "N", "tokens to generate", OPT_SIZE, 1, 1 << 24, AT(n_generate), CMD_BENCH},
    {"depth", 'd', NULL, "N", "tokens that stand before the prompt and before what is generated", OPT_SIZE, 0,
     1 << 24, AT(n_depth), CMD_BENCH},
    {"repeat", 'r', NULL, "N", "times each measurement is made; the median counts", OPT_SIZE, 1, 1000,
     AT(n_repeat), CMD_BENCH},
    {"streams", 0, NULL, "N,N,...", "also measure so many answers at the same time", OPT_STRING, 0, 0,
     AT(streams), CMD_BENCH},
    {"machine", 0, NULL, NULL, "measure only what the machine can do, without a model", OPT_FLAG, 0, 0,
     AT(machine), CMD_BENCH},
    {"json", 0, NULL, NULL, "print one JSON object", OPT_FLAG, 0, 0, AT(json), CMD_RUN | CMD_BENCH},

    {"full", 0, NULL, NULL, "print long arrays of the metadata whole", OPT_FLAG, 0, 0, AT(full),
     CMD_INSPECT_GGUF},
    {"text", 0, NULL, "TEXT", "the text", OPT_STRING, 0, 0, AT(text),
     CMD_INSPECT_TOKENS | CMD_INSPECT_EMBEDDING},
    {"text", 0, NULL, "TEXT", "instead of ids: what a user says, behind the picture, in the chat template",
     OPT_STRING, 0, 0, AT(text), CMD_INSPECT_LOGITS},
    {"file", 0, NULL, "FILE", "file whose contents are the text", OPT_STRING, 0, 0, AT(file),
     CMD_INSPECT_TOKENS | CMD_INSPECT_EMBEDDING},
    {"special", 0, NULL, NULL, "read text such as </s> as the special token", OPT_FLAG, 0, 0, AT(special),
     CMD_INSPECT_TOKENS | CMD_INSPECT_EMBEDDING},
    {"bos", 0, NULL, NULL, "begin with the BOS token; default: as the model says", OPT_FLAG, 0, 0, AT(bos),
     CMD_INSPECT_TOKENS},
    {"no-bos", 0, NULL, NULL, "do not begin with the BOS token", OPT_FLAG, 0, 0, AT(no_bos),
     CMD_INSPECT_TOKENS},
    {"pre", 0, NULL, "NAME", "cut words as this pre-tokenizer does; default: as the model says", OPT_STRING,
     0, 0, AT(pre), CMD_INSPECT_TOKENS},
    {"ids", 0, NULL, "N,N,...", "token ids", OPT_STRING, 0, 0, AT(ids), CMD_INSPECT_DETOK},
    {"tokens", 0, NULL, "N,N,...", "token ids of the prompt, before the picture if there is one", OPT_STRING,
     0, 0, AT(tokens), CMD_INSPECT_LOGITS},
    {"tokens-after", 0, NULL, "N,N,...", "token ids behind the picture", OPT_STRING, 0, 0, AT(tokens_after),
     CMD_INSPECT_LOGITS},
    {"last", 0, NULL, NULL, "only the last row", OPT_FLAG, 0, 0, AT(last), CMD_INSPECT_LOGITS},
    {"pooling", 0, NULL, "mean|cls|last",
     "row of the text: mean, first or last; default: the model's, or mean", OPT_CHOICE, 0, 0, AT(pooling),
     CMD_INSPECT_EMBEDDING},
    {"no-normalise", 0, NULL, NULL, "leave the embedding's length as it is instead of making it 1", OPT_FLAG,
     0, 0, AT(no_normalise), CMD_INSPECT_EMBEDDING},
    {"stage", 0, NULL, "rgb|pixels|features|rows|layout", "what to print", OPT_CHOICE, 0, 0, AT(stage),
     CMD_INSPECT_IMAGE},
    {"pixels", 0, NULL, "FILE", "begin from these pixels (little-endian f32) instead of a picture",
     OPT_STRING, 0, 0, AT(pixels), CMD_INSPECT_IMAGE},
    {"shape", 0, NULL, "T,3,H,W", "shape of --pixels", OPT_STRING, 0, 0, AT(shape), CMD_INSPECT_IMAGE},
    {"param", 0, NULL, "NAME=N", "preprocessing: min_pixels, max_pixels, min_tiles, max_tiles, max_slices",
     OPT_LIST, 0, 0, AT(params), CMD_INSPECT_IMAGE | CMD_INSPECT_LOGITS},
    {"template", 0, NULL, "FILE", "chat template (Jinja); default: the model's", OPT_STRING, 0, 0,
     AT(template), CMD_INSPECT_TEMPLATE},
    {"input", 0, NULL, "FILE", "JSON object of the template's variables: messages, tools, bos_token, ...",
     OPT_STRING, 0, 0, AT(input), CMD_INSPECT_TEMPLATE},
    {"now", 0, "OCELLUS_NOW", "TIME", "time of strftime_now, such as 2026-01-15T12:00; default: the clock",
     OPT_STRING, 0, 0, AT(now), CMD_INSPECT_TEMPLATE},
    {"out", 0, NULL, "FILE", "write raw little-endian f32 (rgb: u8) there instead of JSON to stdout",
     OPT_STRING, 0, 0, AT(out), CMD_INSPECT_TENSOR | CMD_INSPECT_LOGITS | CMD_INSPECT_IMAGE},

    {"help", 'h', NULL, NULL, "print this help", OPT_FLAG, 0, 0, AT(help), SERVING | INSPECT | CMD_QUANTIZE},
};

enum { N_OPTIONS = sizeof options / sizeof *options };

static void options_set_defaults(struct cli_options *o) {
    *o = (struct cli_options){
        .config = config_default(),
        .sampling = llm_sampling_default(),
        .n_prompt = 512,
        .n_generate = 128,
        .n_repeat = 5,
    };
    o->seed = (size_t)o->sampling.seed;
}

static void list_add(struct cli_list *list, const char *item, size_t len) {
    char **items = realloc(list->items, (list->n + 1) * sizeof *items);
    if (!items)
        abort();
    list->items = items;
    items[list->n] = xcalloc(len + 1, 1);
    memcpy(items[list->n++], item, len);
}

// A list of the environment: items separated by commas.
static void list_add_split(struct cli_list *list, const char *items) {
    while (*items) {
        size_t len = strcspn(items, ",");
        if (len)
            list_add(list, items, len);
        items += len + (items[len] == ',');
    }
}

static bool word_is_among(const char *words, const char *word) {
    size_t len = strlen(word);
    while (*words) {
        size_t n = strcspn(words, "|");
        if (n == len && memcmp(words, word, n) == 0)
            return true;
        words += n + (words[n] == '|');
    }
    return false;
}

// A number in the option's range; sizes and integers are plain decimal digits, integers maybe
// behind a minus.
static bool parse_number(const struct option *opt, const char *name, const char *value, double *out,
                         struct err *err) {
    char *end;
    errno = 0;
    double x = strtod(value, &end);
    const char *digits = value + (opt->type == OPT_INT && value[0] == '-');
    bool whole = opt->type == OPT_FLOAT || strspn(digits, "0123456789") == strlen(digits);
    if (end == value || *end || errno || !whole || !(x >= opt->min && x <= opt->max))
        return err_set(err, ERR_INVALID_VALUE, "%s: \"%.60s\" is not %s number from %.15g to %.15g", name,
                       value, opt->type == OPT_FLOAT ? "a" : "a whole", opt->min, opt->max);
    *out = x;
    return true;
}

// `name` is how the user called it: "--port", "-c" or "OCELLUS_PORT".
static bool option_store(struct cli_options *o, const struct option *opt, const char *name, const char *value,
                         struct err *err) {
    void *target = (char *)o + opt->offset;
    double number = 0;
    if (opt->type >= OPT_SIZE && !parse_number(opt, name, value, &number, err))
        return false;
    switch (opt->type) {
    case OPT_FLAG:
        *(bool *)target = !value || strcmp(value, "0") != 0; // a value comes from the environment
        return true;
    case OPT_CHOICE:
        if (!word_is_among(opt->argument, value))
            return err_set(err, ERR_INVALID_VALUE, "%s: \"%.60s\" is not one of %s", name, value,
                           opt->argument);
        *(const char **)target = value;
        return true;
    case OPT_STRING:
        *(const char **)target = value;
        return true;
    case OPT_LIST:
        list_add(target, value, strlen(value));
        return true;
    case OPT_SIZE:
        *(size_t *)target = (size_t)number;
        return true;
    case OPT_INT:
        *(int *)target = (int)number;
        return true;
    case OPT_FLOAT:
        *(float *)target = (float)number;
        return true;
    }
    return false;
}

static bool read_environment(struct cli_options *o, const struct command *command, struct err *err) {
    for (size_t i = 0; i < N_OPTIONS; i++) {
        const struct option *opt = &options[i];
        const char *value = opt->env && (opt->commands & command->bit) ? getenv(opt->env) : NULL;
        if (!value || !*value)
            continue;
        if (opt->type == OPT_LIST)
            list_add_split((struct cli_list *)(void *)((char *)o + opt->offset), value);
        else if (!option_store(o, opt, opt->env, value, err))
            return false;
    }
    return true;
}

// "--name", "--name=value" or "-n"; *value is what follows '=', or NULL.
static const struct option *option_find(const struct command *command, const char *arg, const char **value) {
    *value = NULL;
    for (size_t i = 0; i < N_OPTIONS; i++) {
        const struct option *opt = &options[i];
        if (!(opt->commands & command->bit))
            continue;
        if (arg[1] != '-') {
            if (opt->letter && arg[1] == opt->letter && !arg[2])
                return opt;
            continue;
        }
        size_t len = strlen(opt->name);
        if (strncmp(arg + 2, opt->name, len) != 0 || (arg[2 + len] && arg[2 + len] != '='))
            continue;
        if (arg[2 + len] == '=')
            *value = arg + 2 + len + 1;
        return opt;
    }
    return NULL;
}

static bool read_arguments(struct cli_options *o, const struct command *command, int argc, char **argv,
                           struct err *err) {
    bool only_arguments = false;
    for (int i = 0; i < argc; i++) {
        char *arg = argv[i];
        if (only_arguments || arg[0] != '-' || !arg[1]) {
            argv[o->n_arguments++] = arg;
            continue;
        }
        if (strcmp(arg, "--") == 0) {
            only_arguments = true;
            continue;
        }
        const char *value;
        const struct option *opt = option_find(command, arg, &value);
        if (!opt)
            return err_set(err, ERR_INVALID_VALUE, "%.60s: no such option; see ocellus help %s", arg,
                           command->name);
        int name_len = (int)strcspn(arg, "=");
        char name[40];
        snprintf(name, sizeof name, "%.*s", name_len, arg);
        if (opt->type == OPT_FLAG && value)
            return err_set(err, ERR_INVALID_VALUE, "%s: takes no value", name);
        if (opt->type != OPT_FLAG && !value) {
            if (++i == argc)
                return err_set(err, ERR_INVALID_VALUE, "%s: %s is missing", name, opt->argument);
            value = argv[i];
        }
        if (!option_store(o, opt, name, value, err))
            return false;
    }
    o->arguments = argv;
    return true;
}

bool options_parse(struct cli_options *o, const struct command *command, int argc, char **argv,
                   struct err *err) {
    options_set_defaults(o);
    if (!read_environment(o, command, err) || !read_arguments(o, command, argc, argv, err))
        return false;
    if (!o->help && o->n_arguments != command->n_arguments)
        return err_set(err, ERR_INVALID_VALUE, "usage: ocellus %s %s", command->name, command->usage);
    o->sampling.seed = o->seed;
    if (!o->kv_type)
        o->config.kv_type = command->bit & INSPECT ? LLM_KV_F32 : LLM_KV_F16;
    else
        o->config.kv_type = strcmp(o->kv_type, "f32") == 0    ? LLM_KV_F32
                            : strcmp(o->kv_type, "q8_0") == 0 ? LLM_KV_Q8_0
                                                              : LLM_KV_F16;
    if (o->vision_precision)
        o->config.vision_precision = strcmp(o->vision_precision, "int8") == 0 ? VISION_INT8 : VISION_F32;
    o->config.allow_origins = (const char *const *)o->allow_origins.items;
    o->config.n_allow_origins = o->allow_origins.n;
    o->config.allow_hosts = (const char *const *)o->allow_hosts.items;
    o->config.n_allow_hosts = o->allow_hosts.n;
    return true;
}

void options_clear(struct cli_options *o) {
    struct cli_list *lists[] = {&o->images,       &o->params,       &o->allow_origins, &o->allow_hosts,
                                &o->dry_breakers, &o->logit_biases, &o->stops};
    free(o->biases);
    o->biases = NULL;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        for (size_t k = 0; k < lists[i]->n; k++)
            free(lists[i]->items[k]);
        free(lists[i]->items);
        *lists[i] = (struct cli_list){0};
    }
}

// What the option is when nobody says anything; empty where "nothing" is the default.
static void default_text(const struct cli_options *defaults, const struct option *opt, char *out,
                         size_t size) {
    const void *target = (const char *)defaults + opt->offset;
    out[0] = 0;
    if (opt->type == OPT_SIZE)
        snprintf(out, size, "%zu", *(const size_t *)target);
    else if (opt->type == OPT_INT)
        snprintf(out, size, "%d", *(const int *)target);
    else if (opt->type == OPT_FLOAT)
        snprintf(out, size, "%g", (double)*(const float *)target);
    else if (opt->type == OPT_STRING && *(const char *const *)target)
        snprintf(out, size, "%s", *(const char *const *)target);
}

void options_print_help(FILE *f, const struct command *command) {
    struct cli_options defaults;
    options_set_defaults(&defaults);
    fprintf(f, "usage: ocellus %s %s\n%s\n\n", command->name, command->usage, command->summary);
    for (size_t i = 0; i < N_OPTIONS; i++) {
        const struct option *opt = &options[i];
        if (!(opt->commands & command->bit))
            continue;
        char left[64], value[64];
        char letter[6] = "    ";
        if (opt->letter)
            snprintf(letter, sizeof letter, "-%c, ", opt->letter);
        snprintf(left, sizeof left, "%s--%s %s", letter, opt->name, opt->argument ? opt->argument : "");
        fprintf(f, "  %-30s %s", left, opt->help);
        default_text(&defaults, opt, value, sizeof value);
        if (value[0])
            fprintf(f, " (%s)", value);
        if (opt->env)
            fprintf(f, " [%s]", opt->env);
        fputc('\n', f);
    }
}
