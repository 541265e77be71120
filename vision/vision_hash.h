// The identity of an mmproj file, for cache keys.
#ifndef VISION_VISION_HASH_H
#define VISION_VISION_HASH_H

#include "base/sha256.h"
#include "compute/gguf.h"

// SHA-256 of the metadata, the tensor directory, the file's size and a sample of each tensor's bytes. Two
// models that differ only in their weights (one trained further) have different samples, and no weight is
// read in full.
bool vision_hash_file(const struct gguf *g, bool int8, char out[SHA256_HEX_SIZE], struct err *err);

#endif
