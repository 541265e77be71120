// The bytes of a model file: mapped, or read into memory.
#define _DEFAULT_SOURCE // MAP_ANONYMOUS, madvise
#include "compute/gguf_file.h"
#include "compute/gguf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    STEP_BYTES = 16 << 20, // read between two words of progress
    MAPS_MAX = 64,         // that can be told by name when they are lost
};

struct map {                   // what gguf_map_at looks at, maybe in a signal handler
    _Atomic uintptr_t address; // 0 = free, 1 = being filled; written last
    size_t size_bytes;
    char label[128];
};

static struct map maps[MAPS_MAX];

static void maps_add(const struct gguf_file *f, const char *label) {
    for (size_t i = 0; i < MAPS_MAX; i++) {
        uintptr_t is_free = 0;
        if (!atomic_compare_exchange_strong(&maps[i].address, &is_free, 1))
            continue;
        maps[i].size_bytes = f->size_bytes;
        snprintf(maps[i].label, sizeof maps[i].label, "%s", label);
        atomic_store(&maps[i].address, (uintptr_t)f->data);
        return;
    }
}

static void maps_remove(const struct gguf_file *f) {
    for (size_t i = 0; i < MAPS_MAX; i++)
        if (atomic_load(&maps[i].address) == (uintptr_t)f->data)
            atomic_store(&maps[i].address, 0);
}

const char *gguf_map_at(const void *address) {
    for (size_t i = 0; i < MAPS_MAX; i++) {
        uintptr_t begin = atomic_load(&maps[i].address), at = (uintptr_t)address;
        if (begin > 1 && at >= begin && at - begin < maps[i].size_bytes)
            return maps[i].label;
    }
    return NULL;
}

static void report(const struct load_options *options, const char *path, size_t done, size_t total) {
    if (options->progress)
        options->progress(options->ctx, path, done, total);
}

static bool read_file(struct gguf_file *f, int fd, const char *path, const char *label,
                      const struct load_options *options, struct err *err) {
    size_t size = f->size_bytes, at = 0;
    uint8_t *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED)
        return err_set(err, ERR_NOMEM, "%s: no memory for its %zu bytes", label, size);
    f->data = data;
    while (at < size) {
        ssize_t n = read(fd, data + at, size - at < STEP_BYTES ? size - at : STEP_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set(err, ERR_IO, "%s: cannot be read: %s", label, strerror(errno));
        if (n == 0)
            return err_set(err, ERR_IO, "%s: ends at byte %zu, had %zu when it was opened", label, at, size);
        at += (size_t)n;
        report(options, path, at, size);
    }
    mprotect(data, size, PROT_READ); // as a map: nothing writes to weights
    return true;
}

static bool map_file(struct gguf_file *f, int fd, const char *label, struct err *err) {
    void *data = mmap(NULL, f->size_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        return err_set(err, ERR_IO, "%s: cannot be mapped: %s", label, strerror(errno));
    f->data = data;
    f->is_mapped = true;
    maps_add(f, label);
    return true;
}

static bool examine(struct gguf_file *f, int fd, const char *label, struct err *err) {
    struct stat st;
    if (fstat(fd, &st) != 0)
        return err_set(err, ERR_IO, "%s: cannot be examined: %s", label, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_MODEL, "%s: %s, want a regular file", label,
                       S_ISDIR(st.st_mode) ? "a directory" : "not a regular file");
    if (st.st_size == 0)
        return err_set(err, ERR_MODEL, "%s: an empty file, want a GGUF file", label);
    f->size_bytes = (size_t)st.st_size;
    return true;
}

bool gguf_file_open(struct gguf_file *f, const char *path, const char *label,
                    const struct load_options *options, struct err *err) {
    *f = (struct gguf_file){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // or a FIFO would wait for its writer
    if (fd < 0)
        return err_set(err, ERR_IO, "%s: cannot be opened: %s", label, strerror(errno));
    bool ok = examine(f, fd, label, err) &&
              (options->no_mmap ? read_file(f, fd, path, label, options, err) : map_file(f, fd, label, err));
    close(fd);
    if (!ok)
        gguf_file_close(f);
    return ok;
}

void gguf_file_close(struct gguf_file *f) {
    if (!f->data)
        return;
    maps_remove(f);
    munmap((void *)(uintptr_t)f->data, f->size_bytes);
    *f = (struct gguf_file){0};
}

void gguf_file_forget(const struct gguf_file *f, const void *p, size_t size_bytes) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = ((uintptr_t)p + page - 1) / page * page;
    uintptr_t end = ((uintptr_t)p + size_bytes) / page * page;
    if (begin >= end)
        return;
    if (!f->is_mapped)
        mprotect((void *)begin, end - begin, PROT_NONE); // rather a fault than zeros for weights
    madvise((void *)begin, end - begin, MADV_DONTNEED);
}
