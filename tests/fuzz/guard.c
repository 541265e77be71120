// Bounds on what an input may cost, and inputs as files. Linked with --wrap for each of the functions that begin
// with __wrap_ here, so it sees the calls of the program's own objects.
#define _GNU_SOURCE // memfd_create, MAP_ANONYMOUS
#include "fuzz/fuzz.h"

#include <malloc.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#ifndef FUZZ_SLOWNESS
#define FUZZ_SLOWNESS 1 // of a build with sanitizers, against one without
#endif

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void __real_free(void *p);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void __wrap_free(void *p);
void *__real_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);
int __real_munmap(void *at, size_t size);
void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);
int __wrap_munmap(void *at, size_t size);
int __wrap_mprotect(void *at, size_t size, int protection);

static bool guarded;
static size_t largest, most; // bytes
static atomic_long live_bytes;

// ---- time ----

static void over_time(int signal_number) {
    static const char message[] = "fuzz: the input takes too much CPU time\n";
    (void)signal_number;
    ssize_t written = write(STDERR_FILENO, message, sizeof message - 1);
    (void)written;
    abort();
}

// CPU time, not the clock's: on a busy machine nothing else is a fact about the input.
static void set_timer(long seconds) {
    struct itimerval timer = {.it_value.tv_sec = seconds};
    if (seconds > 0)
        signal(SIGPROF, over_time);
    setitimer(ITIMER_PROF, &timer, NULL);
}

void fuzz_begin(size_t largest_bytes, size_t total_bytes) {
    largest = largest_bytes;
    most = total_bytes;
    live_bytes = 0;
    guarded = true;
    set_timer(FUZZ_SLOWNESS);
}

void fuzz_end(void) {
    set_timer(0);
    guarded = false;
}

size_t fuzz_bytes_live(void) {
    return live_bytes > 0 ? (size_t)live_bytes : 0;
}

// ---- memory ----

static void refuse(const char *what, size_t size, size_t limit) {
    guarded = false; // what follows may allocate
    fprintf(stderr, "fuzz: %s of %zu bytes, limit %zu\n", what, size, limit);
    abort();
}

static void *count(void *p) {
    if (p && guarded) {
        live_bytes += (long)malloc_usable_size(p);
        if (fuzz_bytes_live() > most)
            refuse("allocations", fuzz_bytes_live(), most);
    }
    return p;
}

static void uncount(void *p) {
    if (p && guarded)
        live_bytes -= (long)malloc_usable_size(p);
}

static void check_size(size_t n, size_t size) {
    size_t total;
    if (guarded && (__builtin_mul_overflow(n, size, &total) || total > largest))
        refuse("an allocation", size > 0 && n > SIZE_MAX / size ? SIZE_MAX : n * size, largest);
}

void *__wrap_malloc(size_t size) {
    check_size(1, size);
    return count(__real_malloc(size));
}

void *__wrap_calloc(size_t n, size_t size) {
    check_size(n, size);
    return count(__real_calloc(n, size));
}

void *__wrap_realloc(void *p, size_t size) {
    check_size(1, size);
    size_t before = p ? malloc_usable_size(p) : 0;
    void *moved = __real_realloc(p, size);
    if (moved && guarded)
        live_bytes -= (long)before;
    return count(moved);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size) {
    check_size(1, size);
    return count(__real_aligned_alloc(alignment, size));
}

void __wrap_free(void *p) {
    uncount(p);
    __real_free(p);
}

// ---- files ----

enum { PAGE_BYTES = 4096 };

static void *copies[2 * FUZZ_PARTS]; // of mapped files

static void **copy_slot(const void *p) {
    for (size_t i = 0; i < sizeof copies / sizeof *copies; i++)
        if (copies[i] == p)
            return &copies[i];
    return NULL;
}

void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset) {
    void *p = NULL;
    if (flags & MAP_ANONYMOUS)
        return __real_mmap(at, size, protection, flags, fd, offset);
    void **slot = copy_slot(NULL);
    if (!slot || posix_memalign(&p, PAGE_BYTES, size) != 0)
        return MAP_FAILED;
    if (pread(fd, p, size, offset) != (ssize_t)size) {
        __real_free(p);
        return MAP_FAILED;
    }
    *slot = p;
    return p;
}

int __wrap_munmap(void *at, size_t size) {
    void **slot = copy_slot(at);
    if (!slot)
        return __real_munmap(at, size);
    *slot = NULL;
    __real_free(at);
    return 0;
}

int __wrap_mprotect(void *at, size_t size, int protection) {
    (void)at;
    (void)size;
    (void)protection;
    return 0;
}

// Each part is one unnamed file for good; under the names of a split model lie links to them.
static int fds[FUZZ_PARTS];
static char folder[64]; // of the links; empty until an input has two parts
static char file_path[128];

static const char *link_path(size_t part, size_t n_parts) {
    snprintf(file_path, sizeof file_path, "%s/m-%05zu-of-%05zu.gguf", folder, part + 1, n_parts);
    return file_path;
}

static void remove_links(void) {
    for (size_t n = 2; n <= FUZZ_PARTS; n++)
        for (size_t i = 0; i < n; i++)
            unlink(link_path(i, n));
    rmdir(folder);
}

static void make_files(void) {
    for (size_t i = 0; i < FUZZ_PARTS; i++) {
        fds[i] = memfd_create("fuzz", MFD_CLOEXEC);
        FUZZ_CHECK(fds[i] > 0);
    }
}

static void make_links(void) {
    const char *base = getenv("TMPDIR");
    char target[64];
    snprintf(folder, sizeof folder, "%.40s/fuzz-XXXXXX", base ? base : P_tmpdir);
    FUZZ_CHECK(mkdtemp(folder) && atexit(remove_links) == 0);
    for (size_t n = 2; n <= FUZZ_PARTS; n++)
        for (size_t i = 0; i < n; i++) {
            snprintf(target, sizeof target, "/proc/self/fd/%d", fds[i]);
            FUZZ_CHECK(symlink(target, link_path(i, n)) == 0);
        }
}

const char *fuzz_file(size_t part, size_t n_parts, const void *data, size_t size) {
    FUZZ_CHECK(part < n_parts && n_parts <= FUZZ_PARTS);
    if (fds[0] == 0)
        make_files();
    if (n_parts > 1 && !folder[0])
        make_links();
    FUZZ_CHECK(ftruncate(fds[part], 0) == 0 && pwrite(fds[part], data, size, 0) == (ssize_t)size);
    if (n_parts > 1)
        return link_path(part, n_parts);
    snprintf(file_path, sizeof file_path, "/proc/self/fd/%d", fds[part]);
    return file_path;
}

size_t fuzz_split(const uint8_t *data, size_t size, const char *line, const uint8_t **rest,
                  size_t *rest_size) {
    size_t len = strlen(line);
    const uint8_t *found = memmem(data, size, line, len);
    *rest = found ? found + len : data + size;
    *rest_size = (size_t)(data + size - *rest);
    return found ? (size_t)(found - data) : size;
}
