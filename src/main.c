// ocellus: finds the command, runs it and turns its error into an exit code.
#include "base/err.h"
#include "base/json.h"
#include "cli/cli.h"
#include "compute/gguf.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#ifndef OCELLUS_VERSION
#error "OCELLUS_VERSION comes from CMakeLists.txt"
#endif

enum exit_code {
    EXIT_OK = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_MODEL = 3,
    EXIT_INTERRUPTED = 130,
};

static const struct command commands[] = {
    {CMD_SERVE, "serve", "[options]", "Serve the browser chat and the WebSocket protocol.", 0, cmd_serve},
    {CMD_RUN, "run", "[options] QUESTION", "Ask one question; the answer streams to stdout.", 1, cmd_run},
    {CMD_BENCH, "bench", "[options]", "Measure the speed of a model on this machine.", 0, cmd_bench},
    {CMD_QUANTIZE, "quantize", "[options] IN OUT TYPE",
     "Write a model with smaller weights: q8_0, q6_k, q5_k_m, q5_0, q4_k_m or q4_0.", 3, cmd_quantize},
    {CMD_INSPECT_GGUF, "inspect gguf", "[options] FILE", "Print metadata and tensors of a model file.", 1,
     cmd_inspect_gguf},
    {CMD_INSPECT_TENSOR, "inspect tensor", "[options] FILE NAME", "Print a tensor's values.", 2,
     cmd_inspect_tensor},
    {CMD_INSPECT_TOKENS, "inspect tokens", "-m FILE [options]", "Print the token ids of a text.", 0,
     cmd_inspect_tokens},
    {CMD_INSPECT_DETOK, "inspect detok", "-m FILE --ids N,N,...", "Print the text of token ids.", 0,
     cmd_inspect_detok},
    {CMD_INSPECT_LOGITS, "inspect logits", "-m FILE --tokens N,N,...|--text TEXT [options]",
     "Print the logits of a prompt, with f32 KV cache.", 0, cmd_inspect_logits},
    {CMD_INSPECT_EMBEDDING, "inspect embedding", "-m FILE (--text TEXT | --file FILE) [options]",
     "Print the embedding of a text, with f32 KV cache.", 0, cmd_inspect_embedding},
    {CMD_INSPECT_IMAGE, "inspect image", "--mmproj FILE --image FILE --stage STAGE [options]",
     "Print a picture as each stage of the vision model sees it.", 0, cmd_inspect_image},
    {CMD_INSPECT_TEMPLATE, "inspect template", "(-m FILE | --template FILE) --input FILE [options]",
     "Print what a chat template writes.", 0, cmd_inspect_template},
};

enum { N_COMMANDS = sizeof commands / sizeof *commands };

static void print_commands(FILE *f) {
    fprintf(f, "usage: ocellus COMMAND [options]\n\n");
    for (size_t i = 0; i < N_COMMANDS; i++)
        fprintf(f, "  %-18s %s\n", commands[i].name, commands[i].summary);
    fprintf(f, "\n  ocellus help COMMAND   the options of a command\n  ocellus --version\n");
}

// How many of the words the command's name takes up; 0: it is not this one.
static int command_match(const struct command *c, int n_words, char **words) {
    const char *space = strchr(c->name, ' ');
    size_t len = space ? (size_t)(space - c->name) : strlen(c->name);
    if (n_words < 1 || strlen(words[0]) != len || memcmp(words[0], c->name, len) != 0)
        return 0;
    if (!space)
        return 1;
    return n_words > 1 && strcmp(words[1], space + 1) == 0 ? 2 : 0;
}

static const struct command *command_find(int n_words, char **words, int *n_used) {
    for (size_t i = 0; i < N_COMMANDS; i++) {
        *n_used = command_match(&commands[i], n_words, words);
        if (*n_used)
            return &commands[i];
    }
    return NULL;
}

static enum exit_code exit_code_of(const struct err *err) {
    switch (err->code) {
    case ERR_INVALID_VALUE:
        return EXIT_USAGE;
    case ERR_MODEL:
    case ERR_MODEL_NOT_FOUND:
        return EXIT_MODEL;
    case ERR_CANCELLED:
        return EXIT_INTERRUPTED;
    default:
        return EXIT_FAILED;
    }
}

static enum exit_code run_command(const struct command *command, int argc, char **argv) {
    struct err err = {0};
    struct cli_options options;
    bool ok = options_parse(&options, command, argc, argv, &err);
    if (ok && options.help)
        options_print_help(stdout, command);
    else if (ok)
        ok = command->run(&options, &err);
    options_clear(&options);
    if (ok && (fflush(stdout) != 0 || ferror(stdout)))
        ok = err_set(&err, ERR_IO, "cannot write to stdout");
    if (!ok)
        fprintf(stderr, "ocellus: %s\n", err.msg);
    return ok ? EXIT_OK : exit_code_of(&err);
}

static enum exit_code print_help(int n_words, char **words) {
    int n_used;
    const struct command *command = command_find(n_words, words, &n_used);
    if (command)
        options_print_help(stdout, command);
    else
        print_commands(stdout);
    return EXIT_OK;
}

static void say(const char *text) { // signal handler
    ssize_t n = write(STDERR_FILENO, text, strlen(text));
    (void)n; // there is nobody left to tell
}

static void on_bus_error(int number, siginfo_t *info, void *context) { // signal handler
    (void)context;
    const char *label = gguf_map_at(info->si_addr);
    if (label) {
        say("ocellus: ");
        say(label);
        say(": was shortened or can no longer be read while it is in use\n");
        _exit(EXIT_MODEL);
    }
    signal(number, SIG_DFL); // no model: the access is repeated and ends as it would have
}

// A mapped file that is shortened, or whose disk fails, is no memory any more.
static void catch_lost_pages(void) {
    struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
}

int main(int argc, char **argv) {
    json_setup();
    catch_lost_pages();
    if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        printf("ocellus %s\n", OCELLUS_VERSION);
        return EXIT_OK;
    }
    if (argc > 1 &&
        (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
        return print_help(argc - 2, argv + 2);
    int n_used;
    const struct command *command = command_find(argc - 1, argv + 1, &n_used);
    if (command)
        return run_command(command, argc - 1 - n_used, argv + 1 + n_used);
    if (argc > 1) {
        fprintf(stderr, "ocellus: no command \"%s%s%s\"; see ocellus help\n", argv[1], argc > 2 ? " " : "",
                argc > 2 ? argv[2] : "");
        return EXIT_USAGE;
    }
    print_commands(stderr);
    return EXIT_USAGE;
}
