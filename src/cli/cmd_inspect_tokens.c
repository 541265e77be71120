// ocellus inspect tokens | detok: text to token ids and back, exactly as prompts and answers go.
#include "cli/cli.h"
#include "compute/ops.h"

#include <stdlib.h>
#include <string.h>

struct opened {
    struct ops *ops;
    struct llm *llm;
};

static void opened_close(struct opened *m) {
    llm_close(m->llm);
    if (m->ops)
        m->ops->close(m->ops);
}

static bool opened_open(struct opened *m, const struct cli_options *o, struct err *err) {
    *m = (struct opened){0};
    if (!o->config.model_path)
        return err_set(err, ERR_INVALID_VALUE, "-m FILE is missing");
    if (!cli_check_model(o->config.model_path, err))
        return false;
    m->ops = cpu_open(&(struct cpu_options){.n_threads = 1}, err);
    if (m->ops)
        m->llm = llm_open_vocabulary(o->config.model_path, m->ops, o->pre, err);
    if (!m->llm)
        opened_close(m);
    return m->llm != NULL;
}

bool cmd_inspect_tokens(struct cli_options *o, struct err *err) {
    if ((o->text != NULL) == (o->file != NULL))
        return err_set(err, ERR_INVALID_VALUE, "want either --text or --file");
    if (o->bos && o->no_bos)
        return err_set(err, ERR_INVALID_VALUE, "--bos and --no-bos exclude each other");
    struct opened m;
    if (!opened_open(&m, o, err))
        return false;
    bool ok = false;
    uint8_t *bytes = NULL;
    const char *text = o->text;
    size_t len = text ? strlen(text) : 0;
    if (o->file) {
        bytes = cli_read_file(o->file, SIZE_MAX, &len, err);
        if (!bytes)
            goto fail;
        text = (const char *)bytes;
    }
    size_t n;
    int32_t *ids = llm_tokenize(m.llm, text, len, o->special, o->bos ? 1 : o->no_bos ? 0 : -1, &n, err);
    if (!ids)
        goto fail;
    printf("{\"ids\": [");
    for (size_t i = 0; i < n; i++)
        printf("%s%d", i ? ", " : "", ids[i]);
    printf("]}\n");
    free(ids);
    ok = true;

fail:
    free(bytes);
    opened_close(&m);
    return ok;
}

// Nothing is added: the bytes on stdout are the text.
bool cmd_inspect_detok(struct cli_options *o, struct err *err) {
    if (!o->ids)
        return err_set(err, ERR_INVALID_VALUE, "--ids N,N,... is missing");
    struct opened m;
    if (!opened_open(&m, o, err))
        return false;
    size_t n, len;
    int32_t *ids = cli_parse_ids(o->ids, "--ids", (int32_t)llm_n_vocab(m.llm) - 1, &n, err);
    if (ids) {
        struct llm_detok *detok = llm_detok_create(m.llm, true);
        for (size_t i = 0; i < n; i++) {
            const char *text = llm_detok_put(detok, ids[i], &len);
            fwrite(text, 1, len, stdout);
        }
        const char *rest = llm_detok_flush(detok, &len);
        fwrite(rest, 1, len, stdout);
        llm_detok_destroy(detok);
        free(ids);
    }
    opened_close(&m);
    return ids != NULL;
}
