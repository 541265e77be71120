// Weights of a model file.
#ifndef COMPUTE_FILE_WEIGHT_H
#define COMPUTE_FILE_WEIGHT_H

#include "compute/gguf.h"
#include "compute/ops.h"

// Returns new weight (weight_create) for a tensor of the file or some rows of one. What it copied the file need
// not keep: the bytes are given back. What it is read from is locked (gguf_lock).
struct weight *file_weight_create(struct ops *o, struct gguf *g, const struct tensor *t,
                                  enum weight_rows rows, struct err *err);

#endif
