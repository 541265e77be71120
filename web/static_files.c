// Takes a folder -> gives its files with content type, ETag and a gzip form (RFC 9110
// sections 8.3, 8.8.3, 12.5.3).
#define _GNU_SOURCE
#include "static_files.h"

#include "base/mem.h"
#include "base/sha256.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <zlib.h>

enum { STATIC_FILE_MAX = 16 << 20, STATIC_FILES_MAX = 1000, STATIC_DEPTH_MAX = 8 };

struct static_files {
    struct static_file *items; // sorted by path
    size_t n;
};

static const struct {
    const char *suffix, *type;
    bool text;
} static_types[] = {
    {".html", "text/html; charset=utf-8", true},
    {".css", "text/css; charset=utf-8", true},
    {".js", "text/javascript; charset=utf-8", true},
    {".mjs", "text/javascript; charset=utf-8", true},
    {".json", "application/json", true},
    {".webmanifest", "application/manifest+json", true},
    {".map", "application/json", true},
    {".svg", "image/svg+xml", true},
    {".txt", "text/plain; charset=utf-8", true},
    {".md", "text/plain; charset=utf-8", true},
    {".png", "image/png", false},
    {".jpg", "image/jpeg", false},
    {".jpeg", "image/jpeg", false},
    {".webp", "image/webp", false},
    {".ico", "image/x-icon", false},
    {".woff2", "font/woff2", false},
    {".wasm", "application/wasm", false},
};

static const char *static_type(const char *path, bool *text) {
    size_t len = strlen(path);
    for (size_t i = 0; i < sizeof static_types / sizeof *static_types; i++) {
        size_t n = strlen(static_types[i].suffix);
        if (len > n && strcmp(path + len - n, static_types[i].suffix) == 0) {
            *text = static_types[i].text;
            return static_types[i].type;
        }
    }
    *text = false;
    return "application/octet-stream";
}

static bool static_read(const char *path, struct static_bytes *out, struct err *err) {
    FILE *f = fopen(path, "rb");
    if (!f)
        return err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    out->data = try_malloc(STATIC_FILE_MAX + 1, path, err);
    if (!out->data)
        goto fail;
    out->len = fread(out->data, 1, STATIC_FILE_MAX + 1, f);
    if (ferror(f)) {
        err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
        goto fail;
    }
    if (out->len > STATIC_FILE_MAX) {
        err_set(err, ERR_IO, "%s: larger than %d bytes", path, STATIC_FILE_MAX);
        goto fail;
    }
    fclose(f);
    char *fitted = realloc(out->data, out->len + 1);
    out->data = fitted ? fitted : out->data;
    return true;
fail:
    fclose(f);
    return false;
}

// Level 9, as an HTTP client wants it; left out where it does not pay.
static void static_compress(const struct static_bytes *plain, struct static_bytes *gzip) {
    z_stream z = {0};
    if (plain->len < 256 || deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY) != Z_OK)
        return;
    size_t room = deflateBound(&z, plain->len);
    gzip->data = try_malloc(room, "gzip", NULL);
    z.next_in = (unsigned char *)plain->data;
    z.avail_in = (unsigned)plain->len;
    z.next_out = (unsigned char *)gzip->data;
    z.avail_out = (unsigned)room;
    bool ok = gzip->data && deflate(&z, Z_FINISH) == Z_STREAM_END && z.total_out < plain->len;
    gzip->len = ok ? z.total_out : 0;
    deflateEnd(&z);
    if (!ok) {
        free(gzip->data);
        gzip->data = NULL;
        return;
    }
    char *fitted = realloc(gzip->data, gzip->len);
    gzip->data = fitted ? fitted : gzip->data;
}

static bool static_add(struct static_files *files, const char *disk_path, const char *path, struct err *err) {
    if (files->n == STATIC_FILES_MAX)
        return err_set(err, ERR_IO, "%s: more than %d files", disk_path, STATIC_FILES_MAX);
    struct static_file *file = &files->items[files->n++];
    bool text;
    file->path = xstrdup(path);
    file->type = static_type(path, &text);
    if (!static_read(disk_path, &file->plain, err))
        return false;
    char hash[SHA256_HEX_SIZE];
    sha256_hex(file->plain.data, file->plain.len, hash);
    snprintf(file->plain.etag, sizeof file->plain.etag, "\"%.32s\"", hash);
    snprintf(file->gzip.etag, sizeof file->gzip.etag, "\"%.32s-gzip\"", hash);
    if (text)
        static_compress(&file->plain, &file->gzip);
    return true;
}

// Reads one folder, whose files are served under prefix, and those in it.
static bool static_add_folder(struct static_files *files, const char *dir, const char *prefix, int depth,
                              struct err *err) {
    struct dirent **entries;
    int n = scandir(dir, &entries, NULL, alphasort);
    if (n < 0)
        return err_set(err, ERR_IO, "%s: %s", dir, strerror(errno));
    bool ok = true;
    for (int i = 0; i < n; i++) {
        char *disk_path = NULL, *path = NULL;
        struct stat st;
        if (ok && entries[i]->d_name[0] != '.') {
            if (asprintf(&disk_path, "%s/%s", dir, entries[i]->d_name) < 0 ||
                asprintf(&path, "%s/%s", prefix, entries[i]->d_name) < 0)
                abort();
            if (stat(disk_path, &st) != 0)
                ok = err_set(err, ERR_IO, "%s: %s", disk_path, strerror(errno));
            else if (S_ISREG(st.st_mode))
                ok = static_add(files, disk_path, path, err);
            else if (S_ISDIR(st.st_mode) && depth < STATIC_DEPTH_MAX)
                ok = static_add_folder(files, disk_path, path, depth + 1, err);
        }
        free(disk_path);
        free(path);
        free(entries[i]);
    }
    free(entries);
    return ok;
}

static int static_compare(const void *a, const void *b) {
    return strcmp(((const struct static_file *)a)->path, ((const struct static_file *)b)->path);
}

struct static_files *static_files_open(const char *dir, struct err *err) {
    struct static_files *files = xcalloc(1, sizeof *files);
    files->items = xcalloc(STATIC_FILES_MAX, sizeof *files->items);
    if (!static_add_folder(files, dir, "", 0, err)) {
        static_files_close(files);
        return NULL;
    }
    qsort(files->items, files->n, sizeof *files->items, static_compare);
    return files;
}

void static_files_close(struct static_files *files) {
    if (!files)
        return;
    for (size_t i = 0; i < files->n; i++) {
        free(files->items[i].path);
        free(files->items[i].plain.data);
        free(files->items[i].gzip.data);
    }
    free(files->items);
    free(files);
}

const struct static_file *static_files_find(const struct static_files *files, const char *path) {
    char index[512];
    size_t len = strlen(path);
    if (len == 0 || len > sizeof index - sizeof "index.html")
        return NULL;
    if (path[len - 1] == '/') {
        snprintf(index, sizeof index, "%sindex.html", path);
        path = index;
    }
    struct static_file wanted = {.path = (char *)path};
    return bsearch(&wanted, files->items, files->n, sizeof *files->items, static_compare);
}

bool static_accepts_gzip(const char *accept_encoding) {
    const char *at = strcasestr(accept_encoding, "gzip");
    if (!at || (at > accept_encoding && at[-1] != ' ' && at[-1] != ','))
        return false;
    at += strlen("gzip");
    at += strspn(at, " ");
    if (*at == 0 || *at == ',')
        return true;
    if (*at != ';')
        return false;
    at += strspn(at, "; ");
    return strncasecmp(at, "q=", 2) == 0 && strtod(at + 2, NULL) > 0;
}

bool static_etag_matches(const char *if_none_match, const char *etag) {
    if (!strcmp(if_none_match, "*"))
        return true;
    const char *at = strstr(if_none_match, etag); // quotes and all: no part of another can match
    return at != NULL;
}
