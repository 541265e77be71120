// GGUF v2 and v3 files: a memory map, the metadata keys and the tensor directory.
//
// gguf_open checks everything before it is used: magic, version, every count, offset, type, dimension and
// string length against the bytes the file has left; a file cut short or a tensor past the end is refused
// by name. Big-endian files are refused by name. Pointers handed out live until gguf_close.
//
// A model split into NAME-00001-of-0000N.gguf and its fellows is opened by its first part and reads as one
// file: the keys of the first, the tensors of all.
#ifndef COMPUTE_GGUF_H
#define COMPUTE_GGUF_H

#include "base/load.h"
#include "compute/tensor.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum gguf_type {
    GGUF_U8 = 0,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
};

struct gguf_string {
    const char *data; // not terminated
    size_t len;
};

struct gguf_key {
    struct gguf_string name;
    enum gguf_type type;
    enum gguf_type item_type;    // of an array
    size_t n;                    // items of an array, else 1
    const uint8_t *data;         // packed little-endian values; unused for strings
    struct gguf_string *strings; // [n] of a string or an array of strings
};

struct gguf;

// Any thread; an open file may be read from any number of threads.
struct gguf *gguf_open(const char *path, struct err *err); // mapped
struct gguf *gguf_open_with(const char *path, const struct load_options *options, struct err *err);
void gguf_close(struct gguf *g);

// The name of the open, mapped file that this address belongs to, or NULL; for a handler of SIGBUS, which comes
// when such a file is shortened or its disk fails. Any thread, also a signal handler.
const char *gguf_map_at(const void *address);

const char *gguf_path(const struct gguf *g);
size_t gguf_size_bytes(const struct gguf *g); // of all parts
size_t gguf_n_parts(const struct gguf *g);    // 1 for a model in one file
const char *gguf_part_path(const struct gguf *g, size_t i);
unsigned gguf_version(const struct gguf *g);

size_t gguf_n_keys(const struct gguf *g);
const struct gguf_key *gguf_key_at(const struct gguf *g, size_t i);
const struct gguf_key *gguf_find_key(const struct gguf *g, const char *name); // NULL when missing

// Typed reads. `found` (may be NULL) tells whether the key is there; a missing key leaves *out alone and is
// no error; a key of a wrong type or an integer out of [min, max] is ERR_MODEL naming key, expected and
// found.
bool gguf_get_uint(const struct gguf *g, const char *name, uint64_t min, uint64_t max, uint64_t *out,
                   bool *found, struct err *err);
bool gguf_get_float(const struct gguf *g, const char *name, double *out, bool *found, struct err *err);
bool gguf_get_bool(const struct gguf *g, const char *name, bool *out, bool *found, struct err *err);
bool gguf_get_string(const struct gguf *g, const char *name, struct gguf_string *out, bool *found,
                     struct err *err);

// Item i of a numeric array as a double or an integer; the caller has checked item_type and n.
double gguf_array_float(const struct gguf_key *key, size_t i);
int64_t gguf_array_int(const struct gguf_key *key, size_t i);

size_t gguf_n_tensors(const struct gguf *g);
const struct tensor *gguf_tensor_at(const struct gguf *g, size_t i);
const struct tensor *gguf_find_tensor(const struct gguf *g, const char *name); // NULL when missing

// Gives back the memory of bytes of the file that will not be read again (where it is mapped they can be).
void gguf_forget(const struct gguf *g, const void *p, size_t size_bytes);

// Keeps from being swapped out what is in use of this file: bytes of it, or what has been made of them. Nothing
// where it was opened without mlock. Where the system refuses, one warning that names need and limit. One thread.
void gguf_lock(struct gguf *g, const void *p, size_t size_bytes);

#endif
