// A line of progress on stderr, on a terminal only and only for what takes long.
#include "cli/progress.h"
#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PATIENCE_US = 300000, PERIOD_US = 100000, BAR_WIDTH = 30, WHAT_SHOWN = 40 };

void cli_progress_init(struct cli_progress *p) {
    *p = (struct cli_progress){.visible = isatty(STDERR_FILENO), .begun_us = clock_us()};
}

void cli_progress_show(struct cli_progress *p, const char *what, size_t done, size_t total) {
    static const char bar[] = "##############################", space[] = "                              ";
    int64_t now_us = clock_us();
    if (done >= total) {
        cli_progress_clear(p);
        return;
    }
    if (!p->visible || now_us - p->begun_us < PATIENCE_US || now_us - p->shown_us < PERIOD_US)
        return;
    int n = (int)((double)done / (double)total * BAR_WIDTH);
    // The cursor goes back to the line's begin: whatever is printed next takes its place.
    fprintf(stderr, "\r\033[K%.*s  [%.*s%.*s] %3d %%\r", WHAT_SHOWN, what, n, bar, BAR_WIDTH - n, space,
            (int)((double)done / (double)total * 100));
    p->shown_us = now_us;
}

void cli_progress_clear(struct cli_progress *p) {
    if (p->shown_us)
        fprintf(stderr, "\r\033[K");
    p->shown_us = 0;
}

static void show_loading(void *ctx, const char *path, size_t done, size_t total) {
    const char *slash = strrchr(path, '/');
    cli_progress_show(ctx, slash ? slash + 1 : path, done, total);
}

void cli_show_loading(struct config *config) {
    static struct cli_progress progress;
    cli_progress_init(&progress);
    config->load.progress = show_loading;
    config->load.ctx = &progress;
}
