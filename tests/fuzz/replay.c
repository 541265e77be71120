// Feeds a fuzz target every file of the folders named, as a test in builds without libFuzzer.
#include "fuzz/fuzz.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

static size_t n_files;

static void replay_file(const char *path) {
    FILE *f = fopen(path, "rb");
    struct stat st;
    FUZZ_CHECK(f && fstat(fileno(f), &st) == 0);
    size_t size = (size_t)st.st_size;
    uint8_t *data = malloc(size ? size : 1);
    FUZZ_CHECK(data && fread(data, 1, size, f) == size);
    fclose(f);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    n_files++;
}

static void replay(const char *path) {
    struct stat st;
    if (stat(path, &st) != 0) {
        fprintf(stderr, "%s: cannot be examined\n", path);
        exit(1);
    }
    if (!S_ISDIR(st.st_mode)) {
        printf("%s\n", path);
        fflush(stdout); // the last line names what fails
        replay_file(path);
        return;
    }
    struct dirent **names;
    int n = scandir(path, &names, NULL, alphasort);
    FUZZ_CHECK(n >= 0);
    for (int i = 0; i < n; i++) {
        char name[4096];
        snprintf(name, sizeof name, "%s/%s", path, names[i]->d_name);
        if (names[i]->d_name[0] != '.')
            replay(name);
        free(names[i]);
    }
    free(names);
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        replay(argv[i]);
    printf("%zu inputs\n", n_files);
    return n_files == 0;
}
