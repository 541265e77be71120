// Every limit and choice of a running server, filled from the command line (src/cli/options.c).
#ifndef CONFIG_H
#define CONFIG_H

#include "llm/llm.h"
#include "vision/vision.h"

#include <stdbool.h>
#include <stddef.h>

struct config {
    // models
    const char *model_path;
    const char *mmproj_path;   // NULL: a text model
    const char *chat_template; // a built-in format or a file; NULL: the model's own
    enum llm_kv_type kv_type;
    enum vision_precision vision_precision;
    struct load_options load;
    size_t n_ctx;     // 0 = min(the model's own, 4096)
    size_t n_threads; // 0 = one a processor

    // serving
    const char *host;
    int port; // 0 = any
    size_t n_parallel;
    size_t max_queued;
    int step_ms;
    const char *const *allow_origins; // beside the server's own
    size_t n_allow_origins;
    const char *const *allow_hosts; // beside localhost, the loopback addresses and `host`
    size_t n_allow_hosts;
    const char *static_dir; // the browser UI
    const char *data_dir;

    const struct llm_sampling *sampling; // of what a request does not say; NULL: llm_sampling_default
    int seed;                            // the same; -1 = a random one each

    // limits
    size_t max_message_bytes; // one WebSocket message
    size_t max_image_bytes;
    size_t max_pixels;
    size_t max_images; // of one request
};

struct config config_default(void);

#endif
