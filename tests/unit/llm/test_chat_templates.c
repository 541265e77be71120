// Real templates on real vocabularies, from the folder shared/ beside the repository where it is there: a prompt
// of harmless texts has the very ids of the whole rendered text, and forged control tokens are none.
#include "chat_model.h"

#include <dirent.h>

#define SHARED "../shared/"

enum { SKIPPED = 77, N_MAX = 64, PATH_SIZE = 320, FORGED_MAX = 4096 };

struct names {
    char path[N_MAX][PATH_SIZE];
    size_t n;
};

static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

static struct jinja_value plain(struct jinja_run *r, const char *s, size_t len) {
    return jinja_string(r, s, len, 0);
}

static struct jinja_value token(struct jinja_run *r, int32_t id) {
    size_t n = 0;
    enum token_type type;
    const char *text = id == TOKEN_NONE ? "" : tokenizer_piece(model.tokenizer, id, &n, &type);
    return plain(r, text, n);
}

static struct jinja_template *compile(const char *path) {
    static char text[JINJA_TEMPLATE_MAX];
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(text, 1, sizeof text, f) : 0;
    if (f)
        fclose(f);
    return jinja_compile(text, n, NULL);
}

static bool has_text(const struct jinja_text *t, const char *s) {
    size_t n = strlen(s), i = 0;
    while (i + n <= t->len && memcmp(t->data + i, s, n) != 0)
        i++;
    return i + n <= t->len;
}

static struct jinja_value content_value(struct jinja_run *r, const struct llm_part *part, bool in_list) {
    struct jinja_value text = plain(r, part->text, part->len);
    if (!in_list)
        return text;
    struct jinja_value item = jinja_dict(r), list = jinja_list(r);
    jinja_dict_add(r, item, plain(r, "type", 4), plain(r, "text", 4));
    jinja_dict_add(r, item, plain(r, "text", 4), text);
    jinja_list_add(r, list, item);
    return list;
}

// The ids as transformers' apply_chat_template makes them: text first, all of it alike, then tokens. None where
// the template refuses the messages or leaves out one.
static struct token_ids whole_ids(const struct jinja_template *t, const struct llm_message *messages,
                                  size_t n, bool in_lists) {
    static const char *const roles[] = {"system", "user", "assistant"};
    struct jinja_run *r = jinja_run_create();
    struct jinja_value list = jinja_list(r);
    for (size_t i = 0; i < n; i++) {
        struct jinja_value item = jinja_dict(r);
        const char *role = roles[messages[i].role];
        jinja_dict_add(r, item, plain(r, "role", 4), plain(r, role, strlen(role)));
        jinja_dict_add(r, item, plain(r, "content", 7), content_value(r, messages[i].parts, in_lists));
        jinja_list_add(r, list, item);
    }
    jinja_set(r, "messages", list);
    jinja_set(r, "add_generation_prompt", jinja_bool(true));
    jinja_set(r, "bos_token", token(r, tokenizer_bos(model.tokenizer)));
    jinja_set(r, "eos_token", token(r, tokenizer_eos(model.tokenizer)));
    struct jinja_text out = {0};
    struct token_ids ids = {0};
    bool ok = jinja_render(r, t, &out, NULL);
    for (size_t i = 0; ok && i < n; i++)
        ok = has_text(&out, messages[i].parts->text);
    if (ok)
        tokenizer_encode(model.tokenizer, out.data, out.len, true, &ids, NULL);
    jinja_run_destroy(r);
    return ids;
}

// Equal but for a BOS that only the tokenizer asks for.
static bool equal_ids(const struct llm_prompt *p, const struct token_ids *want) {
    bool adds = tokenizer_adds_bos(model.tokenizer) && want->ids[0] != tokenizer_bos(model.tokenizer);
    return p->n_rows == want->n + adds && memcmp(p->ids + adds, want->ids, want->n * sizeof *want->ids) == 0;
}

// 1 when the prompt has the ids of the whole text, 0 when the template does not write these messages.
static size_t check_whole(const char *name, const struct jinja_template *t,
                          const struct llm_message *messages, size_t n) {
    bool found = false, equal = false;
    struct llm_prompt *p = NULL;
    for (int in_lists = 0; in_lists < 2 && !equal; in_lists++) {
        struct token_ids want = whole_ids(t, messages, n, in_lists);
        if (want.n > 0) {
            found = true;
            p = p ? p : prompt(messages, n);
            equal = equal_ids(p, &want);
        }
        token_ids_clear(&want);
    }
    llm_prompt_destroy(p);
    CHECK(equal || !found);
    if (found && !equal)
        printf("%s with %s: %zu messages\n", name, gguf_path(model.gguf), n);
    return equal;
}

static size_t n_control(const char *text) {
    struct llm_message messages[] = {USER(text_part(text))};
    struct llm_prompt *p = prompt(messages, 1);
    size_t n_found = 0, n;
    for (size_t i = 0; i < p->n_rows; i++) {
        enum token_type type;
        tokenizer_piece(model.tokenizer, p->ids[i], &n, &type);
        n_found += type == TOKEN_CONTROL || type == TOKEN_UNKNOWN;
    }
    llm_prompt_destroy(p);
    return n_found;
}

// All control tokens of the vocabulary, written by a user.
static const char *forged_text(void) {
    static char out[FORGED_MAX];
    size_t len = 0, n;
    for (size_t i = 0; i < tokenizer_n_vocab(model.tokenizer); i++) {
        enum token_type type;
        const char *piece = tokenizer_piece(model.tokenizer, (int32_t)i, &n, &type);
        if (type != TOKEN_CONTROL || n >= sizeof out - len)
            continue;
        memcpy(out + len, piece, n);
        len += n;
    }
    out[len] = 0;
    return out;
}

// 1 when the ids of an answer, put behind the prompt that asked for it, begin the prompt of the next turn.
static size_t goes_on(void) {
    struct llm_message first[] = {USER(text_part("What is it?"))};
    struct token_ids ids = {0};
    struct llm_prompt *asked = prompt(first, 1);
    size_t n = asked->n_rows;
    tokenizer_encode(model.tokenizer, "It is a cat.", 12, false, &ids, NULL);
    struct llm_message next[] = {
        first[0], ASSISTANT({.text = "It is a cat.", .len = 12, .ids = ids.ids, .n_ids = ids.n}),
        USER(text_part("Sure?"))};
    struct llm_prompt *p = prompt(next, 3);
    bool same = p->n_rows > n + ids.n && memcmp(p->ids, asked->ids, n * sizeof *p->ids) == 0 &&
                memcmp(p->ids + n, ids.ids, ids.n * sizeof *p->ids) == 0;
    llm_prompt_destroy(p);
    llm_prompt_destroy(asked);
    token_ids_clear(&ids);
    return same;
}

// A built-in format gives the ids of a publisher's own template.
static void check_format(const char *name, const char *template, const struct llm_message *messages,
                         size_t n) {
    char path[PATH_SIZE];
    snprintf(path, sizeof path, SHARED "templates/%s", template);
    const char *const choices[] = {name, path};
    struct llm_prompt *p[2];
    for (size_t i = 0; i < 2; i++) {
        model.chat = chat_open(model.gguf, model.tokenizer, choices[i], NULL);
        p[i] = prompt(messages, n);
        chat_close(model.chat);
    }
    CHECK(p[0]->n_rows == p[1]->n_rows &&
          memcmp(p[0]->ids, p[1]->ids, p[0]->n_rows * sizeof *p[0]->ids) == 0);
    llm_prompt_destroy(p[0]);
    llm_prompt_destroy(p[1]);
}

static bool list_folder(const char *folder, const char *end, struct names *out) {
    DIR *dir = opendir(folder);
    if (!dir)
        return false;
    for (struct dirent *e; (e = readdir(dir)) && out->n < N_MAX;)
        if (ends_with(e->d_name, end))
            snprintf(out->path[out->n++], PATH_SIZE, "%s/%s", folder, e->d_name);
    closedir(dir);
    return true;
}

static struct names templates, vocabularies;

int main(void) {
    if (!list_folder(SHARED "templates", ".jinja", &templates) ||
        !list_folder(SHARED "vocab", ".gguf", &vocabularies)) {
        printf("skipped: no ../shared/templates or ../shared/vocab\n");
        return SKIPPED;
    }
    static const char *const texts[] = {
        "Hello, how are you?", "Zeile 1\n\n  Zeile 2: 12345 d\xc3\xa9j\xc3\xa0 \xe6\x97\xa5\xe6\x9c\xac!",
        "x"};
    size_t n_equal = 0, n_on = 0, n_pairs = 0;
    for (size_t v = 0; v < vocabularies.n; v++) {
        if (!open_model(vocabularies.path[v], "chatml"))
            return 1;
        model.n_ctx = 1 << 16;
        struct llm_message messages[] = {SYSTEM(text_part(texts[0])), USER(text_part(texts[1])),
                                         ASSISTANT(text_part(texts[0])), USER(text_part(texts[2]))};
        const char *forged = forged_text();
        struct chat *chatml = model.chat;
        for (size_t i = 0; i < templates.n; i++) {
            model.chat = chat_open(model.gguf, model.tokenizer, templates.path[i], NULL);
            if (!model.chat) // it cannot do without tools
                continue;
            n_pairs++;
            struct jinja_template *t = compile(templates.path[i]);
            n_equal += check_whole(templates.path[i], t, &messages[1], 1) +
                       check_whole(templates.path[i], t, messages, 2) +
                       check_whole(templates.path[i], t, &messages[1], 3) +
                       check_whole(templates.path[i], t, messages, 4);
            CHECK(n_control(forged) == n_control("x"));
            n_on += goes_on();
            jinja_template_destroy(t);
            chat_close(model.chat);
        }
        check_format("chatml", "Qwen-Qwen2.5-7B-Instruct.jinja", messages, 4);
        check_format("gemma", "google-gemma-2-2b-it.jinja", messages, 4);
        check_format("mistral-v3-tekken", "mistralai-Mistral-Nemo-Instruct-2407.jinja", &messages[1], 3);
        model.chat = chatml;
        close_model();
    }
    printf(
        "%zu pairs of template and vocabulary, %zu prompts equal, %zu pairs go on behind an answer's ids\n",
        n_pairs, n_equal, n_on);
    CHECK(n_equal > 3 * n_pairs && n_pairs > 0); // few templates refuse a system message
    CHECK(2 * n_on > n_pairs); // those of reasoning models do not write a past answer as they ask for one
    return check_result();
}
