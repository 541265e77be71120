// Writes a GGUF v3 file: its keys and directory first, then the tensors' data in the directory's order. What
// is being written is called PATH.part and gets its name when it is complete.
#ifndef COMPUTE_GGUF_WRITE_H
#define COMPUTE_GGUF_WRITE_H

#include "compute/gguf.h"

struct gguf_write_key { // a u32 to add, or to put in the place of the key of that name
    const char *name;
    uint32_t value;
};

struct gguf_write;

// Returns new. Keys: those of `from` but for split.*, then `set`. Of tensors [n_tensors] the name, type, shape
// and size_bytes count; borrowed until the end. ERR_IO naming the file.
struct gguf_write *gguf_write_create(const char *path, const struct gguf *from,
                                     const struct gguf_write_key *set, size_t n_set,
                                     const struct tensor *tensors, size_t n_tensors, struct err *err);
// The next n bytes of the tensor that is not complete yet.
bool gguf_write_data(struct gguf_write *w, const void *data, size_t n, struct err *err);
// Once all data is there: makes it safe on disk and gives it its name.
bool gguf_write_finish(struct gguf_write *w, struct err *err);
// Removes what is not finished.
void gguf_write_destroy(struct gguf_write *w);

#endif
