// Weights of a model file.
#ifndef COMPUTE_FILE_WEIGHT_H
#define COMPUTE_FILE_WEIGHT_H

#include "compute/gguf.h"
#include "compute/ops.h"

// weight_load for a weight that weight_create made of a tensor of the file or of some rows of one. What it copied
// the file need not keep: the bytes are given back. What it is read from is locked (gguf_lock).
void file_weight_load(struct ops *o, struct gguf *g, struct weight *w);

// Both at once: returns new.
struct weight *file_weight_create(struct ops *o, struct gguf *g, const struct tensor *t,
                                  enum weight_rows rows, struct err *err);

#endif
