// The bytes of a model file: mapped, or read into memory.
#ifndef COMPUTE_GGUF_FILE_H
#define COMPUTE_GGUF_FILE_H

#include "base/err.h"
#include "base/load.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gguf_file {
    const uint8_t *data; // NULL: none
    size_t size_bytes;
    bool is_mapped; // else read into memory
};

// `label` names the file in errors.
bool gguf_file_open(struct gguf_file *f, const char *path, const char *label,
                    const struct load_options *options, struct err *err);
void gguf_file_close(struct gguf_file *f);

// The whole pages of these bytes of this or another file opened alike need not stay in memory. Of a file that
// was read they are gone: to read them is a fault.
void gguf_file_forget(const struct gguf_file *f, const void *p, size_t size_bytes);

#endif
