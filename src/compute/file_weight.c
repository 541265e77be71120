#include "compute/file_weight.h"

struct weight *file_weight_create(struct ops *o, struct gguf *g, const struct tensor *t,
                                  enum weight_rows rows, struct err *err) {
    struct weight *w = o->weight_create(o, t, rows, err);
    if (!w)
        return NULL;
    size_t size_bytes;
    const void *memory = weight_memory(w, &size_bytes);
    if (memory != t->data)
        gguf_forget(g, t);
    gguf_lock(g, memory, size_bytes);
    return w;
}
