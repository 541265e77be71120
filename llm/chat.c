// Takes messages, gives the text that the model was trained on, with the ids and images in it.
//
// messages -> values -> the template (jinja.h) -> text, each byte with its mark -> images laid out: special
// strings and a byte for each run of rows -> pieces for the prompt
//
//   mark       byte                                  in the prompt
//   TEMPLATE   the template's own, names of roles    may be part of a control token
//   INPUT      somebody's text                       never is
//   IMAGE      stands for one image, then for a run  the image's rows
//   ANSWER     an answer whose ids are known         these ids, where the template wrote all of it
//
// A mark belongs to the byte, not to what it spells: no text that a user types can pass for anything else.
//
// Images: a template that knows them gets them as parts of the content, and its own placeholder is their
// place. Any other gets texts, where an image is a byte of its mark and a line feed before the text, as in
// LLaVA. What a template can do is tried once, when it is opened.
//
// Answers: ids are what the model itself wrote between the line that asks for an answer and the end token, so
// white space that the template puts round an answer is theirs.
#include "llm/chat.h"

#include "base/buf.h"
#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum mark { MARK_TEMPLATE, MARK_INPUT, MARK_IMAGE, MARK_ANSWER }; // what a template changes becomes INPUT

struct chat {
    char *name;
    const char *stop; // of a built-in format
    struct jinja_template *template;
    bool takes_strings;      // as content; else lists of parts
    bool takes_system;       // else a system message goes before the first user's text
    const char *placeholder; // what it writes for an image, or NULL: it knows none
};

// What templates of vision models write in the place of an image.
static const char *const placeholders[] = {
    "<|image_pad|>", "<start_of_image>", "[IMG]",         "<|image|>",          "<image>",
    "<IMG_CONTEXT>", "<|IMG_PATCH|>",    "<|media_pad|>", "<image_soft_token>",
};

const char *chat_name(const struct chat *c) {
    return c->name;
}

const char *chat_stop(const struct chat *c) {
    return c->stop;
}

void chat_close(struct chat *c) {
    if (!c)
        return;
    jinja_template_destroy(c->template);
    free(c->name);
    free(c);
}

// ---- messages -> values ----

static struct jinja_value own_text(struct jinja_run *r, const char *s) {
    return jinja_string(r, s, strlen(s), MARK_TEMPLATE);
}

static void dict_add(struct jinja_run *r, struct jinja_value dict, const char *key,
                     struct jinja_value value) {
    jinja_dict_add(r, dict, own_text(r, key), value);
}

static bool is_image(const struct llm_part *part) {
    return part->image.n_tokens > 0;
}

static struct jinja_value part_text(struct jinja_run *r, const struct llm_part *part) {
    return jinja_string(r, part->len ? part->text : "", part->len, part->n_ids ? MARK_ANSWER : MARK_INPUT);
}

static bool has_image(const struct llm_message *message) {
    for (size_t i = 0; i < message->n_parts; i++)
        if (is_image(&message->parts[i]))
            return true;
    return false;
}

// A part of a content that is a list: {"type": type} and, where there is one, its text.
static void add_item(struct jinja_run *r, struct jinja_value list, const char *type,
                     const struct jinja_value *text) {
    struct jinja_value item = jinja_dict(r);
    dict_add(r, item, "type", own_text(r, type));
    if (text)
        dict_add(r, item, "text", *text);
    jinja_list_add(r, list, item);
}

// The content as one text: images first. `before` is text for its beginning.
static struct jinja_value content_text(struct jinja_run *r, const struct llm_message *message,
                                       struct jinja_value before) {
    struct jinja_value pieces = jinja_list(r);
    jinja_list_add(r, pieces, before);
    for (size_t i = 0; i < message->n_parts; i++) {
        if (is_image(&message->parts[i])) {
            jinja_list_add(r, pieces, jinja_string(r, "#", 1, MARK_IMAGE));
            jinja_list_add(r, pieces, own_text(r, "\n"));
        }
    }
    for (size_t i = 0; i < message->n_parts; i++)
        if (!is_image(&message->parts[i]))
            jinja_list_add(r, pieces, part_text(r, &message->parts[i]));
    return jinja_concat(r, pieces);
}

static struct jinja_value content_of(const struct chat *c, struct jinja_run *r,
                                     const struct llm_message *message, struct jinja_value before) {
    bool with_images = c->placeholder && has_image(message);
    if (!with_images && c->takes_strings)
        return content_text(r, message, before);
    struct jinja_value list = jinja_list(r), text;
    if (!with_images) {
        text = content_text(r, message, before);
        add_item(r, list, "text", &text);
        return list;
    }
    if (before.type == JINJA_STRING && before.as.string->len > 0)
        add_item(r, list, "text", &before);
    for (size_t i = 0; i < message->n_parts; i++) {
        const struct llm_part *part = &message->parts[i];
        text = part_text(r, part);
        add_item(r, list, is_image(part) ? "image" : "text", is_image(part) ? NULL : &text);
    }
    return list;
}

// What goes before the first user's text where the template has no place for system messages.
static struct jinja_value system_text(struct jinja_run *r, const struct llm_message *messages, size_t n) {
    struct jinja_value pieces = jinja_list(r);
    for (size_t i = 0; i < n; i++) {
        if (messages[i].role != LLM_SYSTEM)
            continue;
        jinja_list_add(r, pieces, content_text(r, &messages[i], own_text(r, "")));
        jinja_list_add(r, pieces, own_text(r, "\n\n"));
    }
    return jinja_concat(r, pieces);
}

static struct jinja_value messages_value(const struct chat *c, struct jinja_run *r,
                                         const struct llm_message *messages, size_t n) {
    static const char *const roles[] = {"system", "user", "assistant"};
    struct jinja_value list = jinja_list(r), none = own_text(r, "");
    bool has_user = false;
    for (size_t i = 0; i < n; i++)
        has_user = has_user || messages[i].role == LLM_USER;
    bool moves_system = has_user && !c->takes_system;
    struct jinja_value before = moves_system ? system_text(r, messages, n) : none;
    for (size_t i = 0; i < n; i++) {
        const struct llm_message *message = &messages[i];
        if (message->role == LLM_SYSTEM && moves_system)
            continue;
        bool is_user = message->role == LLM_USER;
        struct jinja_value item = jinja_dict(r);
        dict_add(r, item, "role", own_text(r, roles[message->role]));
        dict_add(r, item, "content", content_of(c, r, message, is_user ? before : none));
        jinja_list_add(r, list, item);
        if (is_user)
            before = none;
    }
    return list;
}

static struct jinja_value token_text(struct jinja_run *r, const struct tokenizer *t, int32_t id) {
    size_t len = 0;
    enum token_type type;
    const char *text = id == TOKEN_NONE ? "" : tokenizer_piece(t, id, &len, &type);
    return jinja_string(r, text, len, MARK_TEMPLATE);
}

static bool render(const struct chat *c, const struct tokenizer *t, struct jinja_run *r,
                   const struct llm_message *messages, size_t n, struct jinja_text *out, struct err *err) {
    jinja_set(r, "messages", messages_value(c, r, messages, n));
    jinja_set(r, "add_generation_prompt", jinja_bool(true));
    jinja_set(r, "bos_token", token_text(r, t, tokenizer_bos(t)));
    jinja_set(r, "eos_token", token_text(r, t, tokenizer_eos(t)));
    return jinja_render(r, c->template, out, err);
}

// ---- text -> pieces ----

struct part_list { // parts of a kind, in order
    const struct llm_part **parts;
    size_t n, next;
};

struct run { // of an image's rows
    const struct llm_image *image;
    size_t first, n_rows;
};

struct walk {
    const struct chat *chat;
    const struct tokenizer *tokenizer;
    const struct chat_sink *sink;
    struct err *err;
    struct jinja_text text;  // as the template gives it, then with the images laid out
    struct buf bytes, marks; // of the latter
    struct run *runs;        // [n_runs]: what the bytes with MARK_IMAGE stand for, in order
    size_t n_runs, next_run;
    size_t begin; // of what has not been written yet
    size_t tail;  // behind the last byte that is not the template's: the line that asks for an answer
    struct part_list images, answers;
};

static uint8_t mark_at(const struct jinja_text *t, size_t at) {
    return t->is_input ? t->is_input[at] : MARK_TEMPLATE;
}

// The template itself has written this here.
static bool template_has(const struct jinja_text *t, size_t at, const char *s, size_t len) {
    if (len == 0 || t->len - at < len || memcmp(t->data + at, s, len) != 0)
        return false;
    for (size_t i = 0; i < len; i++)
        if (mark_at(t, at + i) != MARK_TEMPLATE)
            return false;
    return true;
}

static bool is_space(char c) {
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static bool write_text(struct walk *w, size_t end) {
    size_t begin = w->begin;
    w->begin = end;
    return begin >= end ||
           w->sink->text(w->sink->ctx, w->text.data + begin,
                         w->text.is_input ? w->text.is_input + begin : NULL, end - begin, w->err);
}

static bool write_rows(struct walk *w, size_t at) {
    const struct run *run = &w->runs[w->next_run++];
    if (!write_text(w, at) || !w->sink->rows(w->sink->ctx, run->image, run->first, run->n_rows, w->err))
        return false;
    w->begin = at + 1;
    return true;
}

// White space before an answer that does not belong to the line that asks for one.
static size_t n_space_before(const struct walk *w, size_t at) {
    const char *s = w->text.data;
    size_t from = at, n_asks = w->text.len - w->tail;
    while (from > w->begin && mark_at(&w->text, from - 1) == MARK_TEMPLATE)
        from--;
    for (size_t end = at; end > from && n_asks > 0; end--) {
        size_t n = end - from < n_asks ? end - from : n_asks;
        if (memcmp(s + end - n, s + w->text.len - n, n) == 0)
            return at - end;
        if (!is_space(s[end - 1]))
            break;
    }
    return 0;
}

// Where to go on behind an answer: at the end token, when the template wrote only white space before it.
static size_t skip_space_behind(const struct walk *w, size_t at) {
    const struct jinja_text *t = &w->text;
    size_t end = at, n;
    while (end < t->len && is_space(t->data[end]) && mark_at(t, end) == MARK_TEMPLATE)
        end++;
    if (end == t->len)
        return at;
    int32_t id = tokenizer_match_special(w->tokenizer, t->data + end, t->is_input ? t->is_input + end : NULL,
                                         t->len - end, &n);
    return tokenizer_is_end(w->tokenizer, id) ? end : at;
}

// Bytes of an answer from `at` to `end`: its ids, or text where the template has changed it.
static bool write_answer(struct walk *w, size_t at, size_t end) {
    const struct llm_part *part = NULL;
    for (size_t i = w->answers.next; i < w->answers.n && !part; i++) {
        const struct llm_part *p = w->answers.parts[i];
        if (p->len == end - at && memcmp(p->text, w->text.data + at, p->len) == 0) {
            part = p;
            w->answers.next = i + 1;
        }
    }
    size_t n = part ? part->n_ids : 0;
    while (n > 0 && tokenizer_is_end(w->tokenizer, part->ids[n - 1])) // the template writes it
        n--;
    if (n == 0)
        return true;
    if (!write_text(w, at - n_space_before(w, at)) || !w->sink->ids(w->sink->ctx, part->ids, n, w->err))
        return false;
    w->begin = skip_space_behind(w, end);
    return true;
}

// The BOS that the tokenizer asks for, unless the template begins with it.
static bool write_bos(struct walk *w) {
    const struct tokenizer *t = w->tokenizer;
    if (!tokenizer_adds_bos(t))
        return true;
    int32_t bos = tokenizer_bos(t);
    size_t at = 0, len;
    enum token_type type;
    const char *text = tokenizer_piece(t, bos, &len, &type);
    while (at < w->text.len && is_space(w->text.data[at]))
        at++;
    return template_has(&w->text, at, text, len) || w->sink->ids(w->sink->ctx, &bos, 1, w->err);
}

static bool write_pieces(struct walk *w) {
    const struct jinja_text *t = &w->text;
    for (w->tail = t->len; w->tail > 0 && mark_at(t, w->tail - 1) == MARK_TEMPLATE;)
        w->tail--;
    if (!write_bos(w))
        return false;
    for (size_t i = 0, end; i < t->len; i = end) {
        end = i + 1;
        bool ok = true;
        if (mark_at(t, i) == MARK_IMAGE) {
            ok = write_rows(w, i);
        } else if (mark_at(t, i) == MARK_ANSWER) {
            while (end < t->len && mark_at(t, end) == MARK_ANSWER)
                end++;
            ok = write_answer(w, i, end);
        }
        if (!ok)
            return false;
    }
    return write_text(w, t->len);
}

// ---- images laid out ----

static bool put_bytes(struct walk *w, const char *s, size_t len, uint8_t mark) {
    size_t at = w->marks.len;
    if (!buf_append(&w->bytes, s, len, w->err) || !buf_append(&w->marks, s, len, w->err))
        return false;
    for (size_t i = 0; i < len; i++)
        w->marks.data[at + i] = (char)mark;
    return true;
}

static bool put_run(struct walk *w, const struct llm_image *image, size_t first, size_t n_rows) {
    w->runs[w->n_runs++] = (struct run){image, first, n_rows};
    return put_bytes(w, "#", 1, MARK_IMAGE);
}

// What has been laid out ends in this text of the template's own.
static bool ends_in(const struct walk *w, const char *s) {
    size_t len = strlen(s);
    struct jinja_text t = {
        .data = w->bytes.data, .is_input = (const uint8_t *)w->marks.data, .len = w->bytes.len};
    return len <= t.len && template_has(&t, t.len - len, s, len);
}

// The spans of an image, whose place ends at `end`. What the template has written itself is not written
// again.
static bool put_spans(struct walk *w, const struct llm_image *image, size_t number, size_t end) {
    for (size_t i = 0; i < image->n_spans; i++) {
        const struct llm_image_span *span = &image->spans[i];
        char digits[24];
        snprintf(digits, sizeof digits, "%zu", number);
        const char *text = span->is_number ? digits : span->text;
        bool ok = true;
        if (span->n_rows > 0)
            ok = put_run(w, image, span->first_row, span->n_rows);
        else if ((i > 0 || !ends_in(w, text)) &&
                 (i + 1 < image->n_spans || !template_has(&w->text, end, text, strlen(text))))
            ok = put_bytes(w, text, strlen(text), MARK_TEMPLATE);
        if (!ok)
            return false;
    }
    return image->n_spans > 0 || put_run(w, image, 0, image->n_tokens);
}

static bool lay_out_images(struct walk *w) {
    const struct jinja_text *t = &w->text;
    const char *placeholder = w->chat->placeholder ? w->chat->placeholder : "";
    size_t n_placeholder = strlen(placeholder), n_runs = 0;
    for (size_t i = 0; i < w->images.n; i++)
        n_runs += w->images.parts[i]->image.n_spans + 1;
    w->runs = try_malloc_array(n_runs, sizeof *w->runs, "images of a prompt", w->err);
    if (!w->runs)
        return false;
    for (size_t i = 0, end; i < t->len; i = end) {
        bool is_mark = mark_at(t, i) == MARK_IMAGE;
        bool is_place = is_mark || template_has(t, i, placeholder, n_placeholder);
        end = i + (is_mark || !is_place ? 1 : n_placeholder);
        if (is_place && w->images.next == w->images.n)
            return err_set(w->err, ERR_INVALID_VALUE,
                           "the chat template writes more images than the %zu given", w->images.n);
        size_t number = w->images.next;
        if (is_place ? !put_spans(w, &w->images.parts[w->images.next++]->image, number, end)
                     : !put_bytes(w, t->data + i, 1, mark_at(t, i)))
            return false;
    }
    if (w->images.next < w->images.n)
        return err_set(w->err, ERR_INVALID_VALUE, "the chat template leaves out %zu of %zu images",
                       w->images.n - w->images.next, w->images.n);
    w->text = (struct jinja_text){
        .data = w->bytes.data, .is_input = (const uint8_t *)w->marks.data, .len = w->bytes.len};
    return true;
}

static bool list_parts(struct walk *w, const struct llm_message *messages, size_t n_messages) {
    size_t n_parts = 0;
    for (size_t i = 0; i < n_messages; i++)
        n_parts += messages[i].n_parts;
    w->images.parts = try_malloc_array(n_parts + 1, sizeof *w->images.parts, "parts of messages", w->err);
    w->answers.parts = try_malloc_array(n_parts + 1, sizeof *w->answers.parts, "parts of messages", w->err);
    if (!w->images.parts || !w->answers.parts)
        return false;
    for (size_t i = 0; i < n_messages; i++) {
        if (messages[i].role == LLM_SYSTEM && has_image(&messages[i]))
            return err_set(w->err, ERR_INVALID_VALUE, "message %zu: an image in a system message", i);
        for (size_t k = 0; k < messages[i].n_parts; k++) {
            const struct llm_part *part = &messages[i].parts[k];
            if (is_image(part))
                w->images.parts[w->images.n++] = part;
            else if (part->n_ids > 0)
                w->answers.parts[w->answers.n++] = part;
        }
    }
    return true;
}

bool chat_render(const struct chat *c, const struct tokenizer *t, const struct llm_message *messages,
                 size_t n_messages, const struct chat_sink *sink, struct err *err) {
    struct walk w = {.chat = c, .tokenizer = t, .sink = sink, .err = err};
    struct err failed = {0};
    struct jinja_run *r = jinja_run_create();
    bool ok = list_parts(&w, messages, n_messages);
    if (ok && !render(c, t, r, messages, n_messages, &w.text, &failed))
        ok = err_set(err, failed.code, "chat template: %s", failed.msg);
    ok = ok && (w.images.n == 0 || lay_out_images(&w)) && write_pieces(&w);
    jinja_run_destroy(r);
    buf_clear(&w.bytes);
    buf_clear(&w.marks);
    free(w.runs);
    free(w.images.parts);
    free(w.answers.parts);
    return ok;
}

// ---- opening ----

// How many bytes of input the template writes for these messages, and how often each placeholder.
struct trial {
    size_t n_input;
    size_t n_places[sizeof placeholders / sizeof *placeholders];
};

enum { N_PLACEHOLDERS = sizeof placeholders / sizeof *placeholders };

static bool try_messages(const struct chat *c, const struct tokenizer *t, const struct llm_message *messages,
                         size_t n, struct trial *trial, struct err *err) {
    *trial = (struct trial){0};
    struct jinja_text text;
    struct jinja_run *r = jinja_run_create();
    bool ok = render(c, t, r, messages, n, &text, err);
    for (size_t i = 0; ok && i < text.len; i++) {
        trial->n_input += mark_at(&text, i) == MARK_INPUT;
        for (size_t k = 0; k < N_PLACEHOLDERS; k++)
            trial->n_places[k] += template_has(&text, i, placeholders[k], strlen(placeholders[k]));
    }
    jinja_run_destroy(r);
    return ok;
}

// Tries what the template can do.
static bool learn(struct chat *c, const struct tokenizer *t, struct err *err) {
    static const struct llm_part rule = {.text = "Rule", .len = 4};
    static const struct llm_part ask[] = {{.image = {.key = "", .n_tokens = 1}}, {.text = "Hello", .len = 5}};
    const struct llm_message user = {LLM_USER, &ask[1], 1}, with_image = {LLM_USER, ask, 2};
    const struct llm_message with_system[] = {{LLM_SYSTEM, &rule, 1}, user};
    struct trial plain, trial;
    struct err first = {0};
    c->takes_strings = c->takes_system = true;
    bool ok = try_messages(c, t, &user, 1, &plain, &first) && plain.n_input >= ask[1].len;
    if (!ok) {
        c->takes_strings = false;
        ok = try_messages(c, t, &user, 1, &plain, NULL) && plain.n_input >= ask[1].len;
    }
    if (!ok)
        return first.code ? err_set(err, first.code, "%s", first.msg)
                          : err_set(err, ERR_MODEL, "it leaves out what a user says");
    c->placeholder = ""; // so that the image becomes a part
    ok = try_messages(c, t, &with_image, 1, &trial, NULL) && trial.n_input >= ask[1].len;
    c->placeholder = NULL;
    for (size_t k = 0; ok && !c->placeholder && k < N_PLACEHOLDERS; k++)
        if (plain.n_places[k] == 0 && trial.n_places[k] == 1)
            c->placeholder = placeholders[k];
    c->takes_system =
        try_messages(c, t, with_system, 2, &trial, NULL) && trial.n_input >= ask[1].len + rule.len;
    return true;
}

static const struct chat_format *find_format(const char *name) {
    const struct chat_format *f = chat_formats;
    while (f->name && strcmp(f->name, name) != 0)
        f++;
    return f->name ? f : NULL;
}

// The format that a file without a template is in by its name, or NULL.
static const struct chat_format *find_model(const struct gguf *g) {
    struct gguf_string name = {"", 0};
    gguf_get_string(g, "general.name", &name, NULL, NULL);
    for (const struct chat_format *f = chat_formats; f->name; f++)
        for (size_t i = 0; f->model && i + strlen(f->model) <= name.len; i++)
            if (strncasecmp(name.data + i, f->model, strlen(f->model)) == 0)
                return f;
    return NULL;
}

// Returns new text. A name that is neither a format's nor a file's is told with the formats there are.
static char *read_file(const char *path, size_t *len, struct err *err) {
    FILE *f = fopen(path, "rb");
    if (!f) {
        char names[160] = "";
        for (const struct chat_format *k = chat_formats; k->name; k++)
            snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s",
                     k == chat_formats ? "" : " ", k->name);
        err_set(err, ERR_INVALID_VALUE, "chat template \"%.40s\": %s; built in: %s", path, strerror(errno),
                names);
        return NULL;
    }
    char *text = try_malloc(JINJA_TEMPLATE_MAX + 1, "a chat template", err);
    if (text) {
        *len = fread(text, 1, JINJA_TEMPLATE_MAX + 1, f); // one byte too many is told by jinja_compile
        if (ferror(f)) {
            err_set(err, ERR_INVALID_VALUE, "chat template %s: %s", path, strerror(errno));
            free(text);
            text = NULL;
        }
    }
    fclose(f);
    return text;
}

// Takes nothing; code is what a faulty template gives.
static struct chat *compile(const char *name, const char *text, size_t len, const struct tokenizer *t,
                            enum err_code code, struct err *err) {
    struct chat *c = xcalloc(1, sizeof *c);
    struct err failed = {0};
    c->name = xstrdup(name);
    c->template = jinja_compile(text, len, &failed);
    if (c->template && learn(c, t, &failed))
        return c;
    err_set(err, code, "%s: %s%s", name, failed.msg,
            code == ERR_MODEL ? "; --chat-template NAME or FILE gives another" : "");
    chat_close(c);
    return NULL;
}

struct chat *chat_open(const struct gguf *g, const struct tokenizer *t, const char *choice, struct err *err) {
    struct gguf_string text = {0};
    bool found = false;
    if (!choice && !gguf_get_string(g, "tokenizer.chat_template", &text, &found, err))
        return NULL;
    if (found)
        return compile("tokenizer.chat_template", text.data, text.len, t, ERR_MODEL, err);
    const struct chat_format *format = choice ? find_format(choice) : find_model(g);
    if (!choice && !format)
        format = find_format(tokenizer_find_special(t, "<|im_start|>") != TOKEN_NONE ? "chatml" : "vicuna");
    if (format) {
        struct chat *c = compile(format->name, format->text, strlen(format->text), t, ERR_INVALID_VALUE, err);
        if (c)
            c->stop = format->stop;
        return c;
    }
    size_t len = 0;
    char *given = read_file(choice, &len, err);
    struct chat *c = given ? compile(choice, given, len, t, ERR_INVALID_VALUE, err) : NULL;
    free(given);
    return c;
}
