// Where the program finds files: those the user names, and the demo pair and browser chat that came along.
#include "base/mem.h"
#include "cli/cli.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

// Read to the end rather than to a size asked for beforehand, so that pipes work too.
uint8_t *cli_read_file(const char *path, size_t limit, size_t *size_bytes, struct err *err) {
    uint8_t *data = NULL;
    size_t len = 0, cap = 0;
    FILE *f = fopen(path, "rb");
    if (!f) {
        err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
        return NULL;
    }
    for (;;) {
        if (cap - len < 2) {
            cap = cap ? cap * 2 : 1 << 16;
            uint8_t *grown = realloc(data, cap);
            if (!grown) {
                err_set(err, ERR_NOMEM, "%s: no memory for %zu bytes", path, cap);
                goto fail;
            }
            data = grown;
        }
        size_t n = fread(data + len, 1, cap - len - 1, f);
        len += n;
        if (len > limit) {
            err_set(err, ERR_IMAGE_TOO_LARGE, "%s: more than %zu bytes", path, limit);
            goto fail;
        }
        if (n == 0)
            break;
    }
    if (ferror(f)) {
        err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
        goto fail;
    }
    fclose(f);
    data[len] = 0;
    *size_bytes = len;
    return data;

fail:
    fclose(f);
    free(data);
    return NULL;
}

// `tail` below the build tree's root or the installation's share folder; false when it is in neither.
static bool find_beside_program(const char *tail, char *out, size_t size) {
    static const char *const roots[] = {"../..", "../share/ocellus"};
    char exe[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (len <= 0)
        return false;
    exe[len] = 0;
    *strrchr(exe, '/') = 0;
    for (size_t i = 0; i < sizeof roots / sizeof *roots; i++)
        if ((size_t)snprintf(out, size, "%s/%s/%s", exe, roots[i], tail) < size && access(out, R_OK) == 0)
            return true;
    return false;
}

bool cli_check_model(const char *path, struct err *err) {
    if (path && access(path, R_OK) != 0)
        return err_set(err, ERR_MODEL, "%s: %s", path, strerror(errno));
    return true;
}

bool cli_find_models(struct config *config, struct err *err) {
    static char model[PATH_MAX], mmproj[PATH_MAX];
    if (config->model_path)
        return cli_check_model(config->model_path, err) && cli_check_model(config->mmproj_path, err);
    if (config->mmproj_path)
        return err_set(err, ERR_INVALID_VALUE, "--mmproj: needs the model it goes with (-m)");
    // In the build tree the pair lies in samples/demo, installed in demo.
    bool found = (find_beside_program("samples/demo/demo-llm-f16.gguf", model, sizeof model) &&
                  find_beside_program("samples/demo/demo-mmproj-f16.gguf", mmproj, sizeof mmproj)) ||
                 (find_beside_program("demo/demo-llm-f16.gguf", model, sizeof model) &&
                  find_beside_program("demo/demo-mmproj-f16.gguf", mmproj, sizeof mmproj));
    if (!found)
        return err_set(err, ERR_MODEL,
                       "no model: name one with -m FILE (the demo model is not beside the program)");
    config->model_path = model;
    config->mmproj_path = mmproj;
    return true;
}

bool cli_find_static(struct config *config, struct err *err) {
    static char folder[PATH_MAX];
    if (config->static_dir)
        return true;
    if (!find_beside_program("static", folder, sizeof folder))
        return err_set(err, ERR_IO,
                       "the browser chat is not beside the program: name its folder with --static DIR");
    config->static_dir = folder;
    return true;
}
