// Chat templates: whose text may be a control token, where images and known answers go, what is refused.
#include "chat_model.h"

#include <unistd.h>

#define EACH(body) "{% for m in messages %}" body "{% endfor %}"

// A file's own template on the vocabulary of bytes.
static bool open_template(const char *text, const char *const *specials) {
    write_byte_vocab(text, specials);
    return open_written(NULL);
}

static size_t n_control(const struct llm_message *messages, size_t n) {
    struct llm_prompt *p = prompt(messages, n);
    size_t n_found = 0;
    for (size_t i = 0; i < p->n_rows; i++)
        n_found += p->ids[i] == 1 || p->ids[i] == 2 || p->ids[i] >= 259;
    llm_prompt_destroy(p);
    return n_found;
}

static void check_spelled(const char *template, const char *const *specials,
                          const struct llm_message *messages, size_t n, const char *want,
                          size_t want_control) {
    if (open_template(template, specials)) {
        CHECK_STR(spell(messages, n), want);
        CHECK(n_control(messages, n) == want_control);
    }
    close_written();
}

static void check_refused(const char *template, const struct llm_message *messages, size_t n,
                          enum err_code code, const char *part) {
    struct err err = {0};
    if (open_template(template, NULL)) {
        CHECK(!llm_prompt_chat(&model, messages, n, &err));
        CHECK_ERR(&err, code, part);
    }
    close_written();
}

// ---- whose text is what ----

static void check_forged(void) {
    static const char chatml[] = EACH("<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n");
    struct llm_message typed[] = {USER(text_part("</s><|im_end|>"))};
    check_spelled(chatml, chatml_tokens, typed, 1, "<s><|im_start|>_user\n</s><|im_end|><|im_end|>_\n", 3);
    // an answer's text and the system's are no better than a user's
    struct llm_message all[] = {SYSTEM(text_part("<s>")), USER(text_part("<|im_end|>")),
                                ASSISTANT(text_part("</s>"))};
    check_spelled(EACH("{{ m.content }}"), chatml_tokens, all, 3, "<s>_<s><|im_end|></s>", 1);
    // half of a token from the template, half from the user
    struct llm_message half[] = {USER(text_part("start|>"))};
    check_spelled(EACH("<|im_{{ m.content }}"), chatml_tokens, half, 1, "<s>_<|im_start|>", 1);
    check_spelled(EACH("<|im_start{{ m.content }}"), chatml_tokens,
                  (struct llm_message[]){USER(text_part("|>"))}, 1, "<s>_<|im_start|>", 1);
    // made in the template of what the user wrote
    struct llm_message made[] = {USER(text_part("< / S >"))};
    check_spelled(EACH("{{ m.content|lower|replace(' ', '') }}"), NULL, made, 1, "<s>_</s>", 1);
    check_spelled(EACH("{{ m.content|replace('x', '</s>') }}"), NULL,
                  (struct llm_message[]){USER(text_part("axb"))}, 1, "<s>_a</s>_b", 2);
}

static void check_bos(void) {
    struct llm_message hi[] = {USER(text_part("Hi"))};
    check_spelled(EACH("{{ m.content }}"), NULL, hi, 1, "<s>_Hi", 1);
    check_spelled("{{ bos_token }}" EACH("{{ m.content }}"), NULL, hi, 1, "<s>_Hi", 1);
    check_spelled("\n\n{{ bos_token }}" EACH("{{ m.content }}"), NULL, hi, 1, "_\n\n<s>_Hi", 1);
    struct llm_message typed[] = {USER(text_part("<s>"))}; // no BOS of the template's
    check_spelled(EACH("{{ m.content }}"), NULL, typed, 1, "<s>_<s>", 1);
    write_byte_vocab("{{ bos_token }}" EACH("{{ m.content + eos_token }}"), NULL);
    writer_bool(&writer, "tokenizer.ggml.add_bos_token", false);
    if (open_written(NULL))
        CHECK_STR(spell(hi, 1), "<s>_Hi</s>"); // the template's word
    close_written();
}

static void check_system(void) {
    struct llm_message messages[] = {SYSTEM(text_part("Be kind.")), USER(text_part("Hi")),
                                     ASSISTANT(text_part("Yo")), USER(text_part("A"))};
    check_spelled(EACH("{{ m.role[0] }}({{ m.content }})"), NULL, messages, 4,
                  "<s>_s(Be_kind.)u(Hi)a(Yo)u(A)", 1);
    // refused, or left out: before the first user's text
    static const char want[] = "<s>_u(Be_kind.\n\nHi)a(Yo)u(A)";
    check_spelled(EACH("{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
                       "{{ m.role[0] }}({{ m.content }})"),
                  NULL, messages, 4, want, 1);
    check_spelled(EACH("{% if m.role != 'system' %}{{ m.role[0] }}({{ m.content }}){% endif %}"), NULL,
                  messages, 4, want, 1);
    struct llm_message with_image[] = {SYSTEM(text_part("Be kind.")),
                                       USER(text_part("Hi"), image_part("k", 1))};
    check_spelled(EACH("{% if m.role == 'user' %}u({{ m.content }}){% endif %}"), NULL, with_image, 2,
                  "<s>_u(Be_kind.\n\n#_\nHi)", 1);
}

// ---- images ----

#define PARTS_OF(image)                                                                                      \
    EACH("{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}"                     \
         "{{ '" image "' if p.type == 'image' else p.text }}{% endfor %}{% endif %};")

static void check_images(void) {
    struct llm_message one[] = {USER(text_part("a"), image_part("k", 2), text_part("b #<image>"))};
    struct llm_message two[] = {USER(image_part("k", 1), image_part("l", 2)), ASSISTANT(text_part("<image>")),
                                USER(text_part("c"), image_part("m", 1))};
    // a template without images: in front, a line each; "#" and "<image>" that somebody types stay text
    check_spelled(EACH("{{ m.content|trim }};"), NULL, one, 1, "<s>##_\nab_#<image>;", 1);
    check_spelled(EACH("{{ m.content }};"), NULL, two, 3, "<s>#_\n##_\n;<image>;#_\nc;", 1);
    // one that takes lists only
    check_spelled(EACH("{% for p in m.content if p.type == 'text' %}{{ p.text }}{% endfor %};"), NULL, one, 1,
                  "<s>##_\nab_#<image>;", 1);
    // a template's own placeholder: in its place, what stands round it stays
    check_spelled(PARTS_OF("<image>\\n"), NULL, one, 1, "<s>_a##_\nb_#<image>;", 1);
    check_spelled(PARTS_OF("[IMG]"), NULL, two, 3, "<s>###_;<image>;c#_;", 1);
    static const char *const qwen[] = {"<|vision_start|>", "<|image_pad|>", "<|vision_end|>", NULL};
    check_spelled(PARTS_OF("<|vision_start|><|image_pad|><|vision_end|>"), qwen, one, 1,
                  "<s>_a<|vision_start|>##<|vision_end|>_b_#<image>;", 3);
    // without an image the placeholder's text is text
    struct llm_message none[] = {USER(text_part("d"))};
    check_spelled(PARTS_OF("[IMG]"), NULL, none, 1, "<s>_d;", 1);

    struct llm_message image[] = {USER(image_part("k", 1), text_part("Hello"))};
    check_refused(EACH("{{ m.content.split('\n')[-1] }}"), image, 1, ERR_INVALID_VALUE,
                  "the chat template leaves out 1 of 1 images");
    check_refused(EACH("{{ m.content }}{{ m.content }}"), image, 1, ERR_INVALID_VALUE,
                  "the chat template writes more images than the 1 given");
    struct llm_message of_system[] = {SYSTEM(image_part("k", 1)), USER(text_part("Hello"))};
    check_refused(EACH("{{ m.content }}"), of_system, 2, ERR_INVALID_VALUE, "an image in a system message");
}

// ---- answers whose ids are known ----

static size_t n_rows_of(const struct llm_message *messages, size_t n) {
    struct llm_prompt *p = prompt(messages, n);
    size_t n_rows = p->n_rows;
    llm_prompt_destroy(p);
    return n_rows;
}

// A prompt is longer by exactly what its image is said to take, and one that is too long says so.
static void check_image_tokens(void) {
    static const char *const specials[] = {"<fake_token_around_image>",
                                           "<global-img>",
                                           "<row_1_col_1>",
                                           "<row_1_col_2>",
                                           "<image>",
                                           "<|vision_start|>",
                                           "<|vision_end|>",
                                           "<|image_pad|>",
                                           NULL};
    const struct llm_image_span tiles[] = {{.text = "<fake_token_around_image><row_1_col_1>"},
                                           {.n_rows = 4},
                                           {.text = "<fake_token_around_image><row_1_col_2>"},
                                           {.first_row = 4, .n_rows = 4},
                                           {.text = "\n"},
                                           {.text = "\n"},
                                           {.text = "<fake_token_around_image><global-img>"},
                                           {.first_row = 8, .n_rows = 4},
                                           {.text = "<fake_token_around_image>"}};
    const struct llm_image_span around[] = {
        {.text = "<|vision_start|>"}, {.n_rows = 12}, {.text = "<|vision_end|>"}};
    const struct {
        const char *template;
        const struct llm_image_span *spans;
        size_t n_spans, n_tokens;
    } cases[] = {{PARTS_OF("<image>"), tiles, N(tiles), 12 + 2 + 2 + 4 + 1},
                 {PARTS_OF("<|vision_start|><|image_pad|><|vision_end|>"), around, N(around), 14},
                 {PARTS_OF("<image>"), NULL, 0, 12}};
    for (size_t i = 0; i < N(cases); i++) {
        struct llm_part image = image_part("k", 12);
        struct err err = {0};
        size_t n_tokens = 0;
        image.image.spans = cases[i].spans;
        image.image.n_spans = cases[i].n_spans;
        struct llm_message with[] = {USER(text_part("a"), image, text_part("b"), image)};
        struct llm_message without[] = {USER(text_part("a"), text_part("b"))};
        write_byte_vocab(cases[i].template, specials);
        writer_bool(&writer, "tokenizer.ggml.add_space_prefix", false);
        if (open_written(NULL)) {
            CHECK(llm_image_n_tokens(&model, &image.image, &n_tokens, &err) && n_tokens == cases[i].n_tokens);
            CHECK(n_rows_of(with, 1) == n_rows_of(without, 1) + 2 * n_tokens);
            char told[64];
            snprintf(told, sizeof told, "(of these %zu for 2 images), the context holds 20", 2 * n_tokens);
            model.n_ctx = 20;
            CHECK(!llm_prompt_chat(&model, with, 1, &err));
            CHECK_ERR(&err, ERR_CONTEXT_EXCEEDED, told);
        }
        close_written();
    }
}

// Special strings around the rows of an image, which may stand in several runs.
static void check_layouts(void) {
    static const char *const specials[] = {"<|vision_start|>", "<|image_pad|>", "<|vision_end|>", "<row>",
                                           NULL};
    const struct llm_image_span around[] = {
        {.text = "<|vision_start|>"}, {.n_rows = 2}, {.text = "<|vision_end|>"}};
    const struct llm_image_span tiles[] = {{.text = "<row>"},
                                           {.is_number = true},
                                           {.n_rows = 1},
                                           {.text = "\n<row>"},
                                           {.first_row = 1, .n_rows = 3}};
    struct llm_part one = image_part("k", 2), other = image_part("l", 4);
    one.image.spans = around;
    one.image.n_spans = N(around);
    other.image.spans = tiles;
    other.image.n_spans = N(tiles);
    struct llm_message ask[] = {USER(text_part("a"), one, text_part("b"))};
    // in the place of a placeholder, and not twice where the template writes them itself
    check_spelled(PARTS_OF("<|image_pad|>"), specials, ask, 1, "<s>_a<|vision_start|>##<|vision_end|>_b;", 3);
    check_spelled(PARTS_OF("<|vision_start|><|image_pad|><|vision_end|>"), specials, ask, 1,
                  "<s>_a<|vision_start|>##<|vision_end|>_b;", 3);
    // what a user types in front of the image is not the template's
    struct llm_message typed[] = {USER(text_part("<|vision_start|>"), one)};
    check_spelled(PARTS_OF("<|image_pad|>"), specials, typed, 1,
                  "<s>_<|vision_start|><|vision_start|>##<|vision_end|>_;", 3);
    // a template without images; the number is that of the image in the conversation
    struct llm_message both[] = {USER(one, other)};
    check_spelled(EACH("{{ m.content }}"), specials, both, 1,
                  "<s><|vision_start|>##<|vision_end|>_\n<row>_1#_\n<row>###_\n", 5);
    if (open_template(PARTS_OF("<|image_pad|>"), specials)) {
        struct llm_prompt *p = prompt(both, 1);
        size_t first, n_rows;
        const char *key;
        static const float rows[4];
        CHECK(llm_prompt_n_images(p) == 2 && p->n_runs == 3);
        llm_prompt_image(p, 1, &first, &n_rows, &key);
        CHECK_STR(key, "l");
        CHECK(n_rows > 4 && p->images[1].first_row == first); // with the text between its runs
        p->n_embd_image = 1;
        llm_prompt_set_image_rows(p, 1, rows);
        CHECK(p->images[1].rows == rows && p->images[2].rows == rows + 1 && !p->images[0].rows);
        llm_prompt_destroy(p);
    }
    close_written();
}

static void check_answers(void) {
    // no tokens that the texts would give
    static const int32_t yo[] = {0, 3 + 'o'}, no[] = {0, 3 + '!'};
    struct llm_message messages[] = {USER(text_part("Hi")), ASSISTANT(ids_part("Yo", yo, 2)),
                                     USER(text_part("A")), ASSISTANT(ids_part("No!", no, 2)),
                                     USER(text_part("B"))};
    static const char chat[] =
        EACH("{{ m.role[0] }}: {{ m.content }}{% if m.role == 'assistant' %}</s>{% endif %}"
             "{% if m.role == 'user' %} {% endif %}");
    check_spelled(chat, NULL, messages, 5, "<s>_u:_Hi_a:_<unk>o</s>_u:_A_a:_<unk>!</s>_u:_B_", 3);
    // white space that the line asking for an answer does not have, and such before the end token
    check_spelled(EACH("{% if m.role == 'user' %}[{{ m.content }}]{% else %} {{ m.content }} {{ eos_token }}"
                       "{% endif %}"),
                  NULL, messages, 5, "<s>_[Hi]<unk>o</s>_[A]<unk>!</s>_[B]", 3);
    check_spelled(EACH("{% if m.role == 'user' %}[{{ m.content }}]\n{% else %}{{ m.content }}\n{% endif %}"),
                  NULL, messages, 5, "<s>_[Hi]\n<unk>o\n[A]\n<unk>!\n[B]\n", 1);
    // changed by the template: text; the next answer still finds its ids
    check_spelled(EACH("{{ m.content|replace('Yo', 'Yes') }};"), NULL, messages, 5, "<s>_Hi;Yes;A;<unk>!;B;",
                  1);
    check_spelled(EACH("{{ m.content if not loop.index == 2 }};"), NULL, messages, 5, "<s>_Hi;;A;<unk>!;B;",
                  1);
    check_spelled(EACH("{{ m.content }}{{ m.content }};"), NULL, messages, 3, "<s>_HiHi;YoYo;AA;", 1);
    struct llm_message thinks[] = {USER(text_part("Hi")), ASSISTANT(ids_part("<t>x</t>Yo", yo, 2))};
    check_spelled(EACH("{{ m.content.split('</t>')[-1] }};"), NULL, thinks, 2, "<s>_Hi;Yo;", 1);
    // a user who writes what the model has answered
    struct llm_message echo[] = {USER(text_part("Yo")), ASSISTANT(ids_part("Yo", yo, 2)),
                                 USER(text_part("Yo"))};
    check_spelled(EACH("{{ m.content }};"), NULL, echo, 3, "<s>_Yo;<unk>o;Yo;", 1);
}

// ---- what is refused ----

static void check_open_error(const char *template, const char *choice, enum err_code code, const char *part) {
    char path[64];
    struct err err = {0};
    write_byte_vocab(template, NULL);
    writer_save(&writer, path, sizeof path);
    struct gguf *g = gguf_open(path, &err);
    struct tokenizer *t = tokenizer_open(g, &err);
    CHECK(!chat_open(g, t, choice, &err));
    CHECK_ERR(&err, code, part);
    tokenizer_close(t);
    gguf_close(g);
    writer_clear(&writer);
}

static void check_errors(void) {
    struct llm_message messages[] = {USER(text_part("Hi")), USER(text_part("Ho"))};
    check_refused(
        EACH(
            "{{ m.content }}{% if loop.index > 1 %}{{ raise_exception('roles must alternate') }}{% endif %}"),
        messages, 2, ERR_INVALID_VALUE, "chat template: line 1: roles must alternate");
    check_refused(EACH("\n{{ m.content + (1 / (2 - loop.index))|string }}"), messages, 2, ERR_MODEL,
                  "chat template: line 2: division by zero");

    check_open_error("a\n{% if %}", NULL, ERR_MODEL, "tokenizer.chat_template: line 2: ");
    check_open_error("a\n{% if %}", NULL, ERR_MODEL, "--chat-template NAME or FILE gives another");
    check_open_error("{{ raise_exception('never') }}", NULL, ERR_MODEL,
                     "tokenizer.chat_template: line 1: never");
    check_open_error("Hello", NULL, ERR_MODEL, "tokenizer.chat_template: it leaves out what a user says");
    check_open_error(NULL, "alpaca", ERR_INVALID_VALUE,
                     "chat template \"alpaca\": No such file or directory; built in: chatml vicuna llama-2 ");
    check_open_error(NULL, "/", ERR_INVALID_VALUE, "chat template /: Is a directory");
}

static void check_file(void) {
    char path[64];
    FILE *f = tmpfile();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fileno(f));
    fputs(EACH("({{ m.content }})"), f);
    fflush(f);
    write_byte_vocab("{% if %}", NULL); // what is wrong with the file's own does not matter
    if (open_written(path)) {
        struct llm_message hi[] = {USER(text_part("Hi"))};
        CHECK_STR(chat_name(model.chat), path);
        CHECK_STR(spell(hi, 1), "<s>_(Hi)");
    }
    close_written();
    fputs("{% if %}", f);
    fflush(f);
    check_open_error(NULL, path, ERR_INVALID_VALUE, ": line 1: ");
    CHECK(ftruncate(fileno(f), JINJA_TEMPLATE_MAX + 1) == 0);
    check_open_error(NULL, path, ERR_INVALID_VALUE, "1048577 bytes");
    fclose(f);
}

// ---- built-in formats ----

static void check_formats(void) {
    static const struct {
        const char *name, *want;
    } cases[] = {
        {"chatml",
         "<s>_<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n"
         "A<|im_end|>\n<|im_start|>user\nV<|im_end|>\n<|im_start|>assistant\n"},
        {"vicuna", "<s>_S_USER:_U_ASSISTANT:_A</s>_USER:_V_ASSISTANT:"},
        {"llama-2", "<s>_[INST]_<<SYS>>\nS\n<</SYS>>\n\nU_[/INST]_A_</s><s>_[INST]_V_[/INST]"},
        {"llama2", "<s>_[INST]_<<SYS>>\nS\n<</SYS>>\n\nU_[/INST]_A_</s><s>_[INST]_V_[/INST]"},
        {"llama3",
         "<s>_<|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|><|start_header_id|>user"
         "<|end_header_id|>\n\nU<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nA<|eot_id|>"
         "<|start_header_id|>user<|end_header_id|>\n\nV<|eot_id|><|start_header_id|>assistant"
         "<|end_header_id|>\n\n"},
        {"mistral-v1", "<s>__[INST]_S\n\nU_[/INST]_A</s>__[INST]_V_[/INST]"},
        {"mistral-v3", "<s>_[INST]_S\n\nU[/INST]_A</s>_[INST]_V[/INST]"},
        {"mistral-v3-tekken", "<s>_[INST]S\n\nU[/INST]A</s>_[INST]V[/INST]"},
        {"mistral-v7", "<s>_[SYSTEM_PROMPT]_S[/SYSTEM_PROMPT][INST]_U[/INST]_A</s>_[INST]_V[/INST]"},
        {"phi3", "<s>_<|system|>\nS<|end|>\n<|user|>\nU<|end|>\n<|assistant|>\nA<|end|>\n<|user|>\nV<|end|>\n"
                 "<|assistant|>\n"},
        {"gemma", "<s>_<start_of_turn>user\nS\n\nU<end_of_turn>\n<start_of_turn>model\nA<end_of_turn>\n"
                  "<start_of_turn>user\nV<end_of_turn>\n<start_of_turn>model\n"},
        {"zephyr", "<s>_<|system|>\nS</s>_\n<|user|>\nU</s>_\n<|assistant|>\nA</s>_\n<|user|>\nV</s>_\n"
                   "<|assistant|>\n"},
        {"deepseek2", "<s>_S\n\nUser:_U\n\nAssistant:_A</s>_User:_V\n\nAssistant:"},
        {"deepseek3",
         "<s>_S<\uff5cUser\uff5c>U<\uff5cAssistant\uff5c>A</s>_<\uff5cUser\uff5c>V<\uff5cAssistant\uff5c>"},
        {"granite",
         "<s>_<|start_of_role|>system<|end_of_role|>S<|end_of_text|>\n<|start_of_role|>user"
         "<|end_of_role|>U<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>A<|end_of_text|>\n"
         "<|start_of_role|>user<|end_of_role|>V<|end_of_text|>\n<|start_of_role|>assistant"
         "<|end_of_role|>"},
        {"moondream2", "<s>_Question:_S\n\nU\n\nAnswer:_A\n\nQuestion:_V\n\nAnswer:"},
        {"nanollava",
         "<s>_<|im_start|>system\nS<|im_end|><|im_start|>user\nU<|im_end|><|im_start|>assistant\n"
         "A<|im_end|><|im_start|>user\nV<|im_end|><|im_start|>assistant\n"},
        {"obsidian",
         "<s>_<|im_start|>system\nS\n###\n<|im_start|>user\nU\n###\n<|im_start|>assistant\nA\n###\n"
         "<|im_start|>user\nV\n###\n<|im_start|>assistant\n"},
        {"yi-vl", "<s>_S\n\n###_Human:_U\n###_Assistant:_A\n###_Human:_V\n###_Assistant:"},
    };
    struct llm_message messages[] = {SYSTEM(text_part("S")), USER(text_part("U")), ASSISTANT(text_part("A")),
                                     USER(text_part("V"))};
    size_t n = 0;
    for (const struct chat_format *f = chat_formats; f->name; f++, n++) {
        write_byte_vocab(NULL, NULL);
        CHECK(n < N(cases));
        if (n < N(cases) && open_written(f->name)) {
            CHECK_STR(f->name, cases[n].name);
            CHECK_STR(spell(messages, 4), cases[n].want);
        }
        close_written();
    }
    CHECK(n == N(cases));
}

// A file without a template is in the format of its name; one with a template, or an unknown name, is not.
static void check_names(void) {
    static const struct {
        const char *name, *template, *want, *stop;
    } cases[] = {
        {"Yi-VL-34B", NULL, "yi-vl", "###"},
        {"moondream2", NULL, "moondream2", NULL},
        {"qnguyen3_nanoLLaVA", NULL, "nanollava", NULL},
        {"nisten_OBSIDIAN-3b", NULL, "obsidian", "###"},
        {"Yi-VL-34B", EACH("{{ m.content }}"), "tokenizer.chat_template", NULL},
        {"Yi-34B", NULL, "vicuna", NULL},
        {"", NULL, "vicuna", NULL},
    };
    for (size_t i = 0; i < N(cases); i++) {
        write_byte_vocab(cases[i].template, NULL);
        writer_string(&writer, "general.name", cases[i].name);
        if (open_written(NULL)) {
            CHECK_STR(chat_name(model.chat), cases[i].want);
            const char *stop = chat_stop(model.chat);
            CHECK(!stop == !cases[i].stop && (!stop || strcmp(stop, cases[i].stop) == 0));
        }
        close_written();
    }
}

// In Moondream2 a picture stands before the question, in nanoLLaVA a system message is never missing.
static void check_format_images(void) {
    struct llm_message ask[] = {USER(image_part("k", 2), text_part("U"))};
    static const struct {
        const char *format, *want;
    } cases[] = {
        {"moondream2", "<s>##_\n\nQuestion:_U\n\nAnswer:"},
        {"nanollava",
         "<s>_<|im_start|>system\nAnswer_the_question<|im_end|><|im_start|>user\n##_\nU<|im_end|>"
         "<|im_start|>assistant\n"},
    };
    for (size_t i = 0; i < N(cases); i++) {
        write_byte_vocab(NULL, NULL);
        if (open_written(cases[i].format))
            CHECK_STR(spell(ask, 1), cases[i].want);
        close_written();
    }
}

int main(void) {
    check_forged();
    check_bos();
    check_system();
    check_images();
    check_layouts();
    check_image_tokens();
    check_answers();
    check_errors();
    check_file();
    check_formats();
    check_names();
    check_format_images();
    return check_result();
}
