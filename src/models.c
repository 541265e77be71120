// What a process loads once and keeps: the backend, the pair of models, the picture store, the conversations.
#include "base/log.h"
#include "base/mem.h"
#include "compute/ops.h"
#include "config.h"
#include "images.h"
#include "job.h"
#include "store.h"
#include "vision/vision.h"

#include <stdlib.h>

enum { MAX_RESPONSES = 4096, IMAGE_BUDGET_BYTES = 256 << 20 };

struct assistant *assistant_open(const struct config *config, struct err *err) {
    struct assistant *a = xcalloc(1, sizeof *a);
    a->config = config;
    a->store = store_create(MAX_RESPONSES);
    a->ops = cpu_open(&(struct cpu_options){.n_threads = config->n_threads}, err);
    if (!a->ops)
        goto fail;
    a->llm = llm_open(config->model_path, a->ops,
                      &(struct llm_options){.n_ctx = config->n_ctx,
                                            .n_seqs = config->n_parallel,
                                            .chat_template = config->chat_template,
                                            .kv_type = config->kv_type,
                                            .load = config->load},
                      err);
    if (!a->llm)
        goto fail;
    if (!config->mmproj_path)
        return a;
    a->vision = vision_open(config->mmproj_path, a->ops,
                            &(struct vision_options){.max_image_bytes = config->max_image_bytes,
                                                     .max_pixels = config->max_pixels,
                                                     .precision = config->vision_precision,
                                                     .load = config->load},
                            err);
    if (!a->vision)
        goto fail;
    log_event(LOG_LEVEL_INFO, "%s", vision_precision_note(a->vision));
    if (vision_n_embd(a->vision) != llm_n_embd_image(a->llm)) {
        err_set(err, ERR_MODEL, "%s gives rows of %zu values, the language model wants %zu: not a pair",
                config->mmproj_path, vision_n_embd(a->vision), llm_n_embd_image(a->llm));
        goto fail;
    }
    a->images = images_create(a->vision, a->llm, IMAGE_BUDGET_BYTES, err);
    if (!a->images)
        goto fail;
    return a;
fail:
    assistant_close(a);
    return NULL;
}

void assistant_close(struct assistant *a) {
    if (!a)
        return;
    images_destroy(a->images);
    vision_close(a->vision);
    llm_close(a->llm);
    if (a->ops)
        a->ops->close(a->ops);
    store_destroy(a->store);
    free(a);
}

const struct llm *assistant_llm(const struct assistant *a) {
    return a->llm;
}

struct images *assistant_images(const struct assistant *a) {
    return a->images;
}

size_t assistant_image_tokens(const struct assistant *a) {
    return a->images ? images_most_tokens(a->images) : 0;
}
