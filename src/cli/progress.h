// A line of progress on stderr, on a terminal only and only for what takes long.
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include "config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cli_progress {
    bool visible; // on a terminal
    int64_t begun_us, shown_us;
};

void cli_progress_init(struct cli_progress *p);
// "what  [#####     ]  50 %", at most ten times a second; what has reached its total is wiped away.
void cli_progress_show(struct cli_progress *p, const char *what, size_t done, size_t total);
void cli_progress_clear(struct cli_progress *p);

// Has opening models of `config` shown so.
void cli_show_loading(struct config *config);

#endif
