#include "config.h"

struct config config_default(void) {
    return (struct config){
        .host = "127.0.0.1",
        .port = 8080,
        .n_parallel = 4,
        .max_queued = 64,
        .step_ms = 120,
        .seed = -1,
        .max_message_bytes = (size_t)28 << 20, // a 20 MiB picture in base64 and its question
        .max_image_bytes = (size_t)20 << 20,
        .max_pixels = 64000000,
        .max_images = 8,
    };
}
