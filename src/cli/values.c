// Numbers in and out of the inspect commands.
#include "base/mem.h"
#include "cli/cli.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

static size_t array_n(const struct cli_array *a) {
    size_t n = 1;
    for (size_t i = 0; i < a->n_dims; i++)
        n *= a->shape[i];
    return n;
}

static bool write_raw(const struct cli_array *a, const char *out, struct err *err) {
    size_t n = array_n(a);
    FILE *f = fopen(out, "wb");
    if (!f)
        return err_set(err, ERR_IO, "%s: %s", out, strerror(errno));
    size_t written = a->floats ? fwrite(a->floats, sizeof *a->floats, n, f) : fwrite(a->bytes, 1, n, f);
    if (fclose(f) != 0 || written != n)
        return err_set(err, ERR_IO, "%s: cannot write %zu values: %s", out, n, strerror(errno));
    return true;
}

bool cli_write_array(const struct cli_array *a, const char *out, struct err *err) {
    if (out)
        return write_raw(a, out, err);
    printf("{\"shape\": [");
    for (size_t i = 0; i < a->n_dims; i++)
        printf("%s%zu", i ? ", " : "", a->shape[i]);
    printf("], \"data\": [");
    size_t n = array_n(a);
    for (size_t i = 0; i < n; i++) {
        const char *comma = i ? ", " : "";
        if (a->floats && isfinite(a->floats[i]))
            printf("%s%.9g", comma, (double)a->floats[i]);
        else if (a->floats)
            printf("%snull", comma); // JSON has no word for infinities and NaN
        else
            printf("%s%u", comma, a->bytes[i]);
    }
    printf("]}\n");
    return true;
}

int32_t *cli_parse_ids(const char *text, const char *option, int32_t max, size_t *n, struct err *err) {
    size_t n_max = 1;
    for (const char *p = text; *p; p++)
        n_max += *p == ',';
    int32_t *ids = try_malloc_array(n_max, sizeof *ids, option, err);
    if (!ids)
        return NULL;
    *n = 0;
    for (const char *p = text; *p || *n == 0;) {
        char *end;
        errno = 0;
        long id = strtol(p, &end, 10);
        if (end == p || errno || id < 0 || id > max || (*end && *end != ',') || (*end == ',' && !end[1])) {
            err_set(err, ERR_INVALID_VALUE,
                    "%s: want numbers from 0 to %d with commas between, found \"%.40s\"", option, (int)max,
                    p);
            free(ids);
            return NULL;
        }
        ids[(*n)++] = (int32_t)id;
        p = *end ? end + 1 : end;
    }
    return ids;
}
