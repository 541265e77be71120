// Models split into parts, and the ways a file comes into memory.
#define _XOPEN_SOURCE 700 // mkdtemp, P_tmpdir
#include "check.h"
#include "compute/gguf.h"

#include <unistd.h>

enum { N_VALUES = 8, PATH_SIZE = 600 };

static char dir[512];

static const char *in_dir(const char *name) {
    static char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void put_text(FILE *f, const char *s) {
    fwrite(&(uint64_t){strlen(s)}, 8, 1, f);
    fwrite(s, 1, strlen(s), f);
}

static void put_key(FILE *f, const char *name, uint32_t type, const void *value, size_t n) {
    put_text(f, name);
    fwrite(&type, 4, 1, f);
    fwrite(value, 1, n, f);
}

struct part {
    const char *file;
    uint16_t no, count;
    int32_t n_tensors_all;
    const char *tensor; // one of N_VALUES f32, all `value`; NULL: none
    float value;
};

static void write_part(const struct part *p) {
    FILE *f = fopen(in_dir(p->file), "wb");
    if (!f) {
        perror(p->file);
        exit(1);
    }
    fwrite("GGUF\3\0\0\0", 1, 8, f);
    fwrite(&(uint64_t){p->tensor != NULL}, 8, 1, f);
    fwrite(&(uint64_t){4}, 8, 1, f);
    put_key(f, "split.no", GGUF_U16, &p->no, 2);
    put_key(f, "split.count", GGUF_U16, &p->count, 2);
    put_key(f, "split.tensors.count", GGUF_I32, &p->n_tensors_all, 4);
    put_key(f, "part.mark", GGUF_U16, &p->no, 2);
    if (p->tensor) {
        put_text(f, p->tensor);
        fwrite(&(uint32_t){1}, 4, 1, f);
        fwrite(&(uint64_t){N_VALUES}, 8, 1, f);
        fwrite(&(uint32_t){TENSOR_F32}, 4, 1, f);
        fwrite(&(uint64_t){0}, 8, 1, f);
        while (ftell(f) % 32)
            fputc(0, f);
        for (size_t i = 0; i < N_VALUES; i++)
            fwrite(&p->value, sizeof p->value, 1, f);
    }
    fclose(f);
}

// Three parts, the first without tensors, as splitters can be told to write.
static const struct part whole[] = {
    {"m-00001-of-00003.gguf", 0, 3, 2, NULL, 0},
    {"m-00002-of-00003.gguf", 1, 3, 2, "one", 1.5F},
    {"m-00003-of-00003.gguf", 2, 3, 2, "two", 2.5F},
};

static void write_whole(void) {
    for (size_t i = 0; i < 3; i++)
        write_part(&whole[i]);
}

static void check_whole(const struct load_options *options) {
    struct err err = {0};
    struct gguf *g = gguf_open_with(in_dir(whole[0].file), options, &err);
    CHECK_STR(err.msg, "");
    if (!g)
        return;
    CHECK(gguf_n_parts(g) == 3 && gguf_n_tensors(g) == 2 && gguf_n_keys(g) == 4);
    CHECK_STR(gguf_part_path(g, 2), in_dir(whole[2].file));
    uint64_t mark = 9;
    CHECK(gguf_get_uint(g, "part.mark", 0, 9, &mark, NULL, &err) && mark == 0);
    for (size_t i = 1; i < 3; i++) {
        const struct tensor *t = gguf_find_tensor(g, whole[i].tensor);
        CHECK(t == gguf_tensor_at(g, i - 1));
        for (size_t k = 0; t && k < N_VALUES; k++)
            CHECK(((const float *)t->data)[k] == whole[i].value);
    }
    gguf_close(g);
}

static void check_refused(const char *file, const char *message) {
    struct err err = {0};
    CHECK(!gguf_open(in_dir(file), &err));
    CHECK_ERR(&err, ERR_MODEL, message);
}

static void test_refusals(void) {
    check_refused(whole[1].file, "part 2 of 3 of a split model, want the first (-00001-of-00003.gguf)");
    write_part(&(struct part){"m.gguf", 0, 3, 2, NULL, 0});
    check_refused("m.gguf", "want a name ending in -00001-of-00003.gguf");
    write_part(&(struct part){whole[2].file, 1, 3, 2, "two", 2.5F});
    check_refused(whole[0].file, "split.no 1 and split.count 3, want 2 and 3");
    write_part(&(struct part){whole[2].file, 2, 4, 2, "two", 2.5F});
    check_refused(whole[0].file, "split.no 2 and split.count 4, want 2 and 3");
    write_part(&(struct part){whole[2].file, 2, 3, 2, "one", 2.5F});
    check_refused(whole[0].file, "tensor one is there twice");
    write_part(&(struct part){whole[2].file, 2, 3, 2, NULL, 0});
    check_refused(whole[0].file, "1 tensors in its 3 parts, want 2 (split.tensors.count)");
    unlink(in_dir(whole[2].file));
    check_refused(whole[0].file, "m-00003-of-00003.gguf: part 3 of 3 is missing");
    write_part(&(struct part){whole[0].file, 3, 3, 2, NULL, 0});
    check_refused(whole[0].file, "key split.no is 3, want 0 to 2");
}

struct seen {
    size_t n_calls, done;
};

static void count(void *ctx, const char *path, size_t done, size_t total) {
    struct seen *s = ctx;
    CHECK(strstr(path, ".gguf") && done > 0 && done <= total);
    s->n_calls++;
    s->done += done == total;
}

static void test_reading(void) {
    struct seen seen = {0};
    check_whole(&(struct load_options){.no_mmap = true, .progress = count, .ctx = &seen});
    CHECK(seen.n_calls == 3 && seen.done == 3);
    seen = (struct seen){0};
    check_whole(&(struct load_options){.progress = count, .ctx = &seen}); // a map takes no time
    CHECK(seen.n_calls == 0);
}

int main(void) {
    const char *folder = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/test_split.XXXXXX", folder ? folder : P_tmpdir);
    CHECK(mkdtemp(dir));
    write_whole();
    check_whole(&(struct load_options){0});
    test_reading();
    test_refusals();
    for (size_t i = 0; i < 3; i++)
        unlink(in_dir(whole[i].file));
    unlink(in_dir("m.gguf"));
    rmdir(dir);
    return check_result();
}
