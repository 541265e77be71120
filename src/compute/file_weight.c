#include "compute/file_weight.h"

static void load(struct ops *o, struct gguf *g, struct weight *w, const void *from, size_t from_bytes) {
    o->weight_load(o, w);
    size_t size_bytes;
    const void *memory = weight_memory(w, &size_bytes);
    if (memory != from)
        gguf_forget(g, from, from_bytes);
    gguf_lock(g, memory, size_bytes);
}

void file_weight_load(struct ops *o, struct gguf *g, struct weight *w) {
    size_t size_bytes;
    const void *memory = weight_memory(w, &size_bytes);
    load(o, g, w, memory, size_bytes);
}

struct weight *file_weight_create(struct ops *o, struct gguf *g, const struct tensor *t,
                                  enum weight_rows rows, struct err *err) {
    struct weight *w = o->weight_create(o, t, rows, err);
    if (w)
        load(o, g, w, t->data, t->size_bytes);
    return w;
}
