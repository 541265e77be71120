// Takes messages, gives the text, special tokens and image runs that the model was trained on.
//
//   vicuna   <s>SYSTEM USER: IMAGES\nQUESTION ASSISTANT: ANSWER</s>USER: QUESTION ASSISTANT:
//   llama-2  <s>[INST] <<SYS>>\nSYSTEM\n<</SYS>>\n\nQUESTION [/INST] ANSWER </s><s>[INST] QUESTION [/INST]
//   chatml   <|im_start|>ROLE\nCONTENT<|im_end|>\n ... <|im_start|>assistant\n
//
// A picture is a run of rows and a line feed before the text of its message. An answer given as ids follows
// " ASSISTANT:" or "[/INST]" at once: its first piece holds the space.
//
// Source: LLaVA's conversation.py (v1), Llama 2's generation.py, OpenAI's chatml.md.
#include "llm/chat.h"

#include "base/buf.h"
#include "base/log.h"

#include <string.h>

static const char *const format_names[] = {"vicuna", "llama-2", "chatml"};

enum { N_FORMATS = sizeof format_names / sizeof *format_names };

#define SYSTEM_BEGIN "A chat between a curious"
#define SYSTEM_VICUNA                                                                                        \
    "A chat between a curious user and an artificial intelligence assistant. "                               \
    "The assistant gives helpful, detailed, and polite answers to the user's questions."

const char *chat_format_name(enum chat_format f) {
    return format_names[f];
}

// The first place of `part` in the text, or NULL.
static const char *find_text(const struct gguf_string *text, const char *part) {
    size_t n = strlen(part);
    for (size_t i = 0; i + n <= text->len; i++)
        if (memcmp(text->data + i, part, n) == 0)
            return text->data + i;
    return NULL;
}

bool chat_format_find(const struct gguf *g, const struct tokenizer *t, const char *name,
                      enum chat_format *out, struct err *err) {
    if (name) {
        for (size_t i = 0; i < N_FORMATS; i++) {
            if (strcmp(name, format_names[i]) == 0) {
                *out = (enum chat_format)i;
                return true;
            }
        }
        return err_set(err, ERR_INVALID_VALUE, "chat template \"%.80s\": want vicuna, llama-2 or chatml",
                       name);
    }
    struct gguf_string text = {0};
    bool found = false;
    if (!gguf_get_string(g, "tokenizer.chat_template", &text, &found, err))
        return false;
    if (!found) {
        *out = tokenizer_find_special(t, "<|im_start|>") != TOKEN_NONE ? CHAT_CHATML : CHAT_VICUNA;
    } else if (find_text(&text, "<|im_start|>")) {
        *out = CHAT_CHATML;
    } else if (find_text(&text, "[INST]")) {
        *out = CHAT_LLAMA_2;
    } else {
        *out = CHAT_VICUNA;
        if (!find_text(&text, "USER:") || !find_text(&text, "ASSISTANT:"))
            log_event(LOG_LEVEL_WARN,
                      "tokenizer.chat_template: none of vicuna, llama-2, chatml is in it; using vicuna: "
                      "\"%.*s\"",
                      (int)(text.len < 60 ? text.len : 60), text.data);
    }
    return true;
}

// ---- writing ----

struct writer {
    const struct tokenizer *tokenizer;
    const struct chat_sink *sink;
    struct buf run; // plain text that the next special token, image or ids will end
    struct err *err;
};

static bool write_text(struct writer *w, const char *text) {
    return buf_append_str(&w->run, text, w->err);
}

static bool end_run(struct writer *w) {
    bool ok = w->run.len == 0 || w->sink->text(w->sink->ctx, w->run.data, w->run.len, w->err);
    w->run.len = 0;
    return ok;
}

static bool write_ids(struct writer *w, const int32_t *ids, size_t n) {
    return end_run(w) && w->sink->ids(w->sink->ctx, ids, n, w->err);
}

// A special id; nothing where the vocabulary has none.
static bool write_id(struct writer *w, int32_t id) {
    return id == TOKEN_NONE || write_ids(w, &id, 1);
}

// A literal of the template: the special token of this name, or plain text without one.
static bool write_special(struct writer *w, const char *text) {
    int32_t id = tokenizer_find_special(w->tokenizer, text);
    return id == TOKEN_NONE ? write_text(w, text) : write_id(w, id);
}

static bool write_images(struct writer *w, const struct llm_message *message) {
    for (size_t i = 0; i < message->n_parts; i++) {
        const struct llm_image *image = &message->parts[i].image;
        if (image->n_tokens == 0)
            continue;
        if (!end_run(w) || !w->sink->image(w->sink->ctx, image, w->err) || !write_text(w, "\n"))
            return false;
    }
    return true;
}

// The texts and ids of a message. Before the first part that is text comes `lead`: ids hold their own space.
static bool write_content(struct writer *w, const struct llm_message *message, const char *lead) {
    for (size_t i = 0; i < message->n_parts; i++) {
        const struct llm_part *part = &message->parts[i];
        if (part->image.n_tokens > 0)
            continue;
        if (part->n_ids > 0) {
            if (!write_ids(w, part->ids, part->n_ids))
                return false;
        } else if (!write_text(w, lead) || !buf_append(&w->run, part->text, part->len, w->err)) {
            return false;
        }
        lead = "";
    }
    return true;
}

static bool has_ids(const struct llm_message *message) {
    return message->n_parts > 0 && message->parts[message->n_parts - 1].n_ids > 0;
}

// The token that closes an answer, unless the model's own ids already end with one.
static bool write_end(struct writer *w, const struct llm_message *message, const char *text) {
    if (has_ids(message)) {
        const struct llm_part *last = &message->parts[message->n_parts - 1];
        if (tokenizer_is_end(w->tokenizer, last->ids[last->n_ids - 1]))
            return true;
    }
    return text ? write_special(w, text) : write_id(w, tokenizer_eos(w->tokenizer));
}

// The system message's text: all of them, one a line. *given tells whether there is any.
static bool write_system(struct writer *w, const struct llm_message *messages, size_t n, bool *given) {
    *given = false;
    for (size_t i = 0; i < n; i++) {
        if (messages[i].role != LLM_SYSTEM)
            continue;
        if ((*given && !write_text(w, "\n")) || !write_content(w, &messages[i], ""))
            return false;
        *given = true;
    }
    return true;
}

// ---- vicuna ----

// The default system sentence: the one quoted in the file's own template, else LLaVA's.
static bool write_vicuna_default(struct writer *w, const struct gguf *g) {
    struct gguf_string text = {0};
    if (!gguf_get_string(g, "tokenizer.chat_template", &text, NULL, w->err))
        return false;
    const char *s = text.len ? find_text(&text, SYSTEM_BEGIN) : NULL;
    if (!s || s == text.data || (s[-1] != '\'' && s[-1] != '"'))
        return write_text(w, SYSTEM_VICUNA);
    const char *end = text.data + text.len;
    for (char quote = s[-1]; s < end && *s != quote; s++) {
        if (*s == '\\' && s + 1 < end)
            s++;
        if (!buf_append(&w->run, s, 1, w->err))
            return false;
    }
    return true;
}

// "USER:" or "ASSISTANT:": a space before it, but where it begins a text the tokenizer gives it one.
static bool write_vicuna_role(struct writer *w, const char *role) {
    return (w->run.len == 0 || write_text(w, " ")) && write_text(w, role);
}

static bool render_vicuna(struct writer *w, const struct gguf *g, const struct llm_message *messages,
                          size_t n) {
    bool given;
    if ((tokenizer_adds_bos(w->tokenizer) && !write_id(w, tokenizer_bos(w->tokenizer))) ||
        !write_system(w, messages, n, &given) || (!given && !write_vicuna_default(w, g)))
        return false;
    for (size_t i = 0; i < n; i++) {
        const struct llm_message *message = &messages[i];
        bool ok = true;
        if (message->role == LLM_USER)
            ok = write_vicuna_role(w, "USER: ") && write_images(w, message) && write_content(w, message, "");
        else if (message->role == LLM_ASSISTANT)
            ok = write_vicuna_role(w, "ASSISTANT:") && write_content(w, message, " ") &&
                 write_end(w, message, NULL);
        if (!ok)
            return false;
    }
    return write_vicuna_role(w, "ASSISTANT:");
}

// ---- llama-2 ----

static bool render_llama_2(struct writer *w, const struct llm_message *messages, size_t n) {
    bool system_done = false, answered = true;
    for (size_t i = 0; i < n; i++) {
        const struct llm_message *message = &messages[i];
        if (message->role == LLM_USER) {
            if (!write_id(w, tokenizer_bos(w->tokenizer)) || !write_text(w, "[INST] "))
                return false;
            bool given = false;
            for (size_t k = 0; k < n && !system_done; k++)
                given = given || messages[k].role == LLM_SYSTEM;
            if (given && (!write_text(w, "<<SYS>>\n") || !write_system(w, messages, n, &given) ||
                          !write_text(w, "\n<</SYS>>\n\n")))
                return false;
            system_done = true;
            if (!write_images(w, message) || !write_content(w, message, "") || !write_text(w, " [/INST]"))
                return false;
            answered = false;
        } else if (message->role == LLM_ASSISTANT) {
            if (!write_content(w, message, " ") || (!has_ids(message) && !write_text(w, " ")) ||
                !write_end(w, message, NULL))
                return false;
            answered = true;
        }
    }
    return !answered || err_set(w->err, ERR_INVALID_VALUE,
                                "a llama-2 conversation must end with a user's message to answer");
}

// ---- chatml ----

static bool render_chatml(struct writer *w, const struct llm_message *messages, size_t n) {
    static const char *const roles[] = {"system\n", "user\n", "assistant\n"};
    if (tokenizer_adds_bos(w->tokenizer) && !write_id(w, tokenizer_bos(w->tokenizer)))
        return false;
    for (size_t i = 0; i < n; i++) {
        const struct llm_message *message = &messages[i];
        if (!write_special(w, "<|im_start|>") || !write_text(w, roles[message->role]) ||
            !write_images(w, message) || !write_content(w, message, "") ||
            !write_end(w, message, "<|im_end|>") || !write_text(w, "\n"))
            return false;
    }
    return write_special(w, "<|im_start|>") && write_text(w, "assistant\n");
}

bool chat_render(enum chat_format f, const struct gguf *g, const struct tokenizer *t,
                 const struct llm_message *messages, size_t n_messages, const struct chat_sink *sink,
                 struct err *err) {
    for (size_t i = 0; i < n_messages; i++)
        for (size_t k = 0; k < messages[i].n_parts; k++)
            if (messages[i].role == LLM_SYSTEM && messages[i].parts[k].image.n_tokens > 0)
                return err_set(err, ERR_INVALID_VALUE, "message %zu: an image in a system message", i);
    struct writer w = {.tokenizer = t, .sink = sink, .err = err};
    buf_init(&w.run, 0);
    bool ok = false;
    switch (f) {
    case CHAT_VICUNA:
        ok = render_vicuna(&w, g, messages, n_messages);
        break;
    case CHAT_LLAMA_2:
        ok = render_llama_2(&w, messages, n_messages);
        break;
    case CHAT_CHATML:
        ok = render_chatml(&w, messages, n_messages);
        break;
    }
    ok = ok && end_run(&w);
    buf_clear(&w.run);
    return ok;
}
