// Weights of a file: what is copied of it is given back, what is read is locked where that is asked.
#define _GNU_SOURCE // mincore, memfd_create
#include "compute/file_weight.h"
#include "kernel_check.h"

#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N_IN = 256, N_OUT = 1030, N_FLOAT_OUT = 100, ROW_BYTES = N_IN / 32 * 34 };

enum { CAN_LOCK = !SANITIZED }; // a sanitizer makes mlock do nothing

static uint8_t quants[N_OUT * ROW_BYTES];
static float floats[N_FLOAT_OUT * N_IN];
static char path[64];

static void put_tensor(FILE *f, const char *name, uint64_t n_out, uint32_t type, uint64_t offset) {
    fwrite(&(uint64_t){strlen(name)}, 8, 1, f);
    fwrite(name, 1, strlen(name), f);
    fwrite(&(uint32_t){2}, 4, 1, f);
    fwrite(&(uint64_t){N_IN}, 8, 1, f);
    fwrite(&n_out, 8, 1, f);
    fwrite(&type, 4, 1, f);
    fwrite(&offset, 8, 1, f);
}

// Returns the open file, to be found under `path` until it is closed.
static FILE *write_model(void) {
    FILE *f = fdopen(memfd_create("model", 0), "w+b");
    if (!f)
        exit(1);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fileno(f));
    for (size_t i = 0; i < sizeof quants; i++)
        quants[i] = i % 34 == 0 ? 0 : i % 34 == 1 ? 0x2c : (uint8_t)random_u32(); // each scale 2^-4
    for (size_t i = 0; i < N_FLOAT_OUT * N_IN; i++)
        floats[i] = random_f32();
    fwrite("GGUF\3\0\0\0", 1, 8, f);
    fwrite(&(uint64_t){2}, 8, 1, f);
    fwrite(&(uint64_t){0}, 8, 1, f);
    put_tensor(f, "floats", N_FLOAT_OUT, TENSOR_F32, 0);
    put_tensor(f, "quants", N_OUT, TENSOR_Q8_0, sizeof floats);
    while (ftell(f) % 32)
        fputc(0, f);
    fwrite(floats, 1, sizeof floats, f);
    fwrite(quants, 1, sizeof quants, f);
    fflush(f);
    return f;
}

static size_t locked_bytes(void) {
    FILE *f = fopen("/proc/self/status", "r");
    char line[256];
    size_t kib = 0;
    while (f && fgets(line, sizeof line, f))
        sscanf(line, "VmLck: %zu", &kib);
    if (f)
        fclose(f);
    return kib * 1024;
}

// Whole pages of p that are in memory.
static size_t resident_pages(const void *p, size_t size_bytes) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), n = 0;
    uintptr_t begin = ((uintptr_t)p + page - 1) / page * page,
              end = ((uintptr_t)p + size_bytes) / page * page;
    unsigned char in_memory[sizeof quants / 1024];
    CHECK(mincore((void *)begin, end - begin, in_memory) == 0);
    for (size_t i = 0; i < (end - begin) / page; i++)
        n += in_memory[i] & 1;
    return n;
}

static void check_rows(struct ops *o, const struct weight *w) {
    static const int32_t ids[] = {0, 1, 17, N_OUT - 1};
    float got[N_IN], want[N_IN];
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        o->get_rows(o, got, w, &ids[i], 1);
        quant_traits(TENSOR_Q8_0)->dequantise(want, quants + (size_t)ids[i] * ROW_BYTES, N_IN);
        CHECK(memcmp(got, want, sizeof want) == 0);
    }
}

static void test_open(struct ops *o, const struct load_options *load) {
    struct err err = {0};
    struct gguf *g = gguf_open_with(path, load, &err);
    CHECK_STR(err.msg, "");
    if (!g)
        return;
    size_t before = locked_bytes(), size_bytes;
    const struct tensor *t = gguf_find_tensor(g, "quants");
    struct weight *w = file_weight_create(o, g, t, WEIGHT_ROWS_ANY, &err);
    bool copied = weight_memory(w, &size_bytes) != t->data;
    CHECK(copied == (strcmp(o->name, "cpu ref") != 0) && size_bytes >= t->size_bytes);
    check_rows(o, w);
    if (load->no_mmap)
        CHECK((resident_pages(t->data, t->size_bytes) == 0) == copied);
    size_t locked = locked_bytes() - before;
    if (load->mlock && CAN_LOCK)
        CHECK(locked >= size_bytes && locked < size_bytes + size_bytes / 2);
    else
        CHECK(locked == 0);
    struct weight *as_it_is = file_weight_create(o, g, gguf_find_tensor(g, "floats"), WEIGHT_ROWS_ANY, &err);
    const float *memory = weight_memory(as_it_is, &size_bytes);
    CHECK(size_bytes == sizeof floats && memcmp(memory, floats, sizeof floats) == 0);
    CHECK((locked_bytes() - before - locked > sizeof floats / 2) == (load->mlock && CAN_LOCK));
    o->weight_release(o, as_it_is);
    o->weight_release(o, w);
    gguf_close(g);
}

// A process that may lock nothing gets one warning, and its weights.
static void test_refused(struct ops *o) {
    int ends[2];
    CHECK(pipe(ends) == 0);
    pid_t child = fork();
    if (child == 0) {
        struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
        struct __user_cap_data_struct none[2] = {{0}};
        struct rlimit limit = {0, 0};
        dup2(ends[1], STDERR_FILENO);
        CHECK(syscall(SYS_capset, &header, none) == 0 && setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
        struct err err = {0};
        struct gguf *g = gguf_open_with(path, &(struct load_options){.mlock = true}, &err);
        struct weight *w = file_weight_create(o, g, gguf_find_tensor(g, "quants"), WEIGHT_ROWS_ANY, &err);
        check_rows(o, w);
        _exit(check_failed != 0);
    }
    close(ends[1]);
    char said[2000] = "";
    FILE *f = fdopen(ends[0], "r");
    said[fread(said, 1, sizeof said - 1, f)] = 0;
    fclose(f);
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    const char *warning = strstr(said, "only 0 of 0 MiB are locked in memory: ");
    CHECK(warning && strstr(warning, "the limit (ulimit -l) is 0 MiB"));
    CHECK(warning && !strstr(strchr(warning, '\n'), "locked in memory"));
}

int main(void) {
    static const char *const isas[] = {"ref", "avx2", "avx512"};
    FILE *f = write_model();
    for (size_t i = 0; i < 3 * 4; i++) {
        struct ops *o = open_isa(isas[i / 4], 1);
        if (!o)
            continue;
        test_open(o, &(struct load_options){.no_mmap = i & 1, .mlock = i & 2});
        if (CAN_LOCK)
            test_refused(o);
        o->close(o);
        CHECK(locked_bytes() == 0);
    }
    fclose(f);
    return check_result();
}
