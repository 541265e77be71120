// The files of the browser UI, read once at start and served out of memory; read-only after that.
#ifndef STATIC_FILES_H
#define STATIC_FILES_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct static_files;

struct static_bytes {
    char *data; // NULL: not there
    size_t len;
    char etag[48]; // with its quotes
};

struct static_file {
    char *path;       // "/app.mjs"
    const char *type; // Content-Type
    struct static_bytes plain;
    struct static_bytes gzip; // of text that it makes smaller
};

// Returns new: all regular files under dir, hidden ones aside. ERR_IO names file and reason.
struct static_files *static_files_open(const char *dir, struct err *err);
void static_files_close(struct static_files *files);

// "/" and "/dir/" mean their index.html. NULL: no such file.
const struct static_file *static_files_find(const struct static_files *files, const char *path);

bool static_accepts_gzip(const char *accept_encoding);
bool static_etag_matches(const char *if_none_match, const char *etag);

#endif
