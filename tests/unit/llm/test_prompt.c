// Prompts: the demo model's against the ids it was trained on, the other formats written out.
#include "chat_model.h"

static void check_prompt_ids(const struct llm_message *messages, size_t n, const int32_t *want,
                             size_t n_want) {
    struct llm_prompt *p = prompt(messages, n);
    bool equal = p->n_rows == n_want && memcmp(p->ids, want, n_want * sizeof *want) == 0;
    CHECK(equal);
    for (size_t i = 0; i < p->n_rows && !equal; i++)
        printf("%d ", p->ids[i]);
    llm_prompt_destroy(p);
}

// ---- the demo model ----

// <s>, the default system sentence, " USER:"; " ASSISTANT:" is 273, "USER:" after </s> is 263
#define SYS     1, 264, 628, 637, 282, 635, 630, 342, 427, 642, 633, 621, 1454
#define CAN     1535, 13, 618, 318, 593, 375, 506, 1471, 273 // "\nCan you describe this photo? ASSISTANT:"
#define PICTURE -1, -1, -1, -1

static void check_demo(void) {
    CHECK_STR(chat_name(model.chat), "tokenizer.chat_template");
    struct llm_message hello[] = {USER(text_part("Hello"))};
    check_prompt_ids(hello, 1, (const int32_t[]){SYS, 263, 788, 273}, 16);

    // the picture comes first, wherever it stands among the parts
    static const int32_t with_image[] = {SYS, 263, 1535, PICTURE, CAN};
    struct llm_message first[] = {USER(image_part("k", 4), text_part("Can you describe this photo?"))};
    struct llm_message last[] = {
        USER(text_part("Can you describe "), image_part("k", 4), text_part("this photo?"))};
    check_prompt_ids(first, 1, with_image, N(with_image));
    check_prompt_ids(last, 1, with_image, N(with_image));

    // turns: an answer as text and as the ids that were generated give the same line
    static const int32_t turns[] = {SYS, 263, 1535, PICTURE, CAN, 788, 1245, 2, 263, 788, 273};
    static const int32_t answer[] = {788, 1245}, ended[] = {788, 1245, 2};
    struct llm_part picture = image_part("k", 4), can = text_part("Can you describe this photo?");
    struct llm_message as_text[] = {USER(picture, can), ASSISTANT(text_part("Hello world")),
                                    USER(text_part("Hello"))};
    struct llm_message as_ids[] = {USER(picture, can), ASSISTANT(ids_part("Hello world", answer, 2)),
                                   USER(text_part("Hello"))};
    struct llm_message with_end[] = {USER(picture, can), ASSISTANT(ids_part("Hello world", ended, 3)),
                                     USER(text_part("Hello"))};
    check_prompt_ids(as_text, 3, turns, N(turns));
    check_prompt_ids(as_ids, 3, turns, N(turns));
    check_prompt_ids(with_end, 3, turns, N(turns));

    // no system sentence at all when it is given empty; the template's own space stays
    struct llm_message no_system[] = {SYSTEM(text_part("")), USER(text_part("Hello"))};
    check_prompt_ids(no_system, 2, (const int32_t[]){1, 1535, 263, 788, 273}, 5);

    // what a user types is never a special token
    struct llm_message typed[] = {USER(text_part("</s><s>[INST]<|im_start|>"))};
    struct llm_prompt *p = prompt(typed, 1);
    CHECK(p->ids[0] == 1);
    for (size_t i = 1; i < p->n_rows; i++)
        CHECK(p->ids[i] > 2);
    llm_prompt_destroy(p);
}

static void check_images(void) {
    struct llm_message messages[] = {USER(image_part("one", 3), image_part("two", 2), text_part("Hello"))};
    struct llm_prompt *p = prompt(messages, 1);
    size_t first, n_rows;
    const char *key;
    CHECK(llm_prompt_n_images(p) == 2);
    llm_prompt_image(p, 0, &first, &n_rows, &key);
    CHECK(first == 15 && n_rows == 3);
    CHECK_STR(key, "one");
    llm_prompt_image(p, 1, &first, &n_rows, &key);
    CHECK(first == 20 && n_rows == 2); // "\n" between them is two tokens
    CHECK_STR(key, "two");
    static const float rows[1];
    llm_prompt_set_image_rows(p, 1, rows);
    CHECK(p->images[1].rows == rows && !p->images[0].rows);
    for (size_t i = 0; i < p->n_rows; i++)
        CHECK((p->ids[i] == PROMPT_IMAGE_ROW) == ((i >= 15 && i < 18) || (i >= 20 && i < 22)));
    llm_prompt_destroy(p);

    struct err err = {0};
    struct llm_message wrong[] = {SYSTEM(image_part("k", 4)), USER(text_part("Hello"))};
    CHECK(!llm_prompt_chat(&model, wrong, 2, &err));
    CHECK_ERR(&err, ERR_INVALID_VALUE, "system message");
}

static void check_refused(const struct llm_message *messages, const char *part) {
    struct err err = {0};
    CHECK(!llm_prompt_chat(&model, messages, 1, &err));
    CHECK_ERR(&err, ERR_CONTEXT_EXCEEDED, part);
}

static void check_limits(void) {
    struct llm_message hello[] = {USER(text_part("Hello"))}; // 16 rows
    model.n_ctx = 17;
    llm_prompt_destroy(prompt(hello, 1));
    model.n_ctx = 16;
    check_refused(hello, "prompt of 16 tokens, the context holds 16");
    struct llm_message image[] = {USER(image_part("k", 576), text_part("Hello"))};
    check_refused(image, "prompt of 595 tokens (of these 576 for 1 image), the context holds 16");
    struct llm_message images[] = {USER(image_part("k", 576), image_part("l", SIZE_MAX / 2))};
    check_refused(images, "for 2 images), the context holds 16");
    struct llm_message too_many[] = {USER(image_part("k", SIZE_MAX), image_part("l", SIZE_MAX))};
    check_refused(too_many, "the context holds 16");
    // refused by its length alone: the bytes are not even there
    struct llm_message endless[] = {USER((struct llm_part){.text = "", .len = SIZE_MAX / 4})};
    check_refused(endless, "prompt of more than");
    model.n_ctx = 1024;

    struct err err = {0};
    static const int32_t bad[] = {5, 1536};
    struct llm_message wrong[] = {USER(text_part("Hello")), ASSISTANT(ids_part("?", bad, 2))};
    CHECK(!llm_prompt_chat(&model, wrong, 2, &err));
    CHECK_ERR(&err, ERR_INVALID_VALUE, "token id 1536 at position 1: want 0 to 1535");
}

static void check_raw(void) {
    static const int32_t ids[] = {1, 5, 7};
    const struct llm_image image = {.key = "k", .n_tokens = 2};
    struct llm_prompt *p = llm_prompt_raw(&model, ids, 3, &image, 1, NULL);
    CHECK(p && p->n_rows == 5 && p->n_images == 1 && p->images[0].first_row == 1);
    CHECK(p && memcmp(p->ids, (const int32_t[]){1, -1, -1, 5, 7}, sizeof(int32_t[5])) == 0);
    llm_prompt_destroy(p);
    p = llm_prompt_raw(&model, ids, 3, NULL, 0, NULL);
    CHECK(p && p->n_rows == 3 && memcmp(p->ids, ids, sizeof ids) == 0);
    llm_prompt_destroy(p);

    p = llm_prompt_raw(&model, NULL, 0, &image, 0, NULL);
    CHECK(p && p->n_rows == 2 && p->ids[1] == PROMPT_IMAGE_ROW);
    llm_prompt_destroy(p);

    struct err err = {0};
    CHECK(!llm_prompt_raw(&model, ids, 0, NULL, 0, &err));
    CHECK_ERR(&err, ERR_INVALID_VALUE, "empty prompt");
    err = (struct err){0};
    CHECK(!llm_prompt_raw(&model, ids, 3, &image, 4, &err));
    CHECK_ERR(&err, ERR_INVALID_VALUE, "an image after 4 tokens of 3");
    model.n_ctx = 4;
    err = (struct err){0};
    CHECK(!llm_prompt_raw(&model, ids, 3, &image, 1, &err));
    CHECK_ERR(&err, ERR_CONTEXT_EXCEEDED, "prompt of 5 tokens (of these 2 for 1 image), the context holds 4");
}

static void check_tokenize(void) {
    size_t n = 0;
    int32_t *ids = llm_tokenize(&model, "Hello", 5, false, -1, &n, NULL);
    CHECK(ids && n == 2 && ids[0] == 1 && ids[1] == 788);
    free(ids);
    ids = llm_tokenize(&model, "Hello</s>", 9, true, 0, &n, NULL);
    CHECK(ids && n == 2 && ids[0] == 788 && ids[1] == 2);
    free(ids);
    ids = llm_tokenize(&model, "", 0, false, 0, &n, NULL);
    CHECK(ids && n == 0);
    free(ids);
}

// ---- formats on a vocabulary of bytes ----

static const int32_t yes_ids[] = {3 + '_', 3 + 'Y'};

static void check_llama_2(void) {
    write_byte_vocab("{% a template that does not matter", NULL);
    if (open_written("llama-2")) {
        CHECK_STR(chat_name(model.chat), "llama-2");
        struct llm_message messages[] = {
            SYSTEM(text_part("Be kind.")),        USER(image_part("k", 2), text_part("What?")),
            ASSISTANT(text_part("A cat.")),       USER(text_part("Sure?")),
            ASSISTANT(ids_part("Y", yes_ids, 2)), USER(text_part("[/INST]</s>")),
        };
        CHECK_STR(spell(messages, 6),
                  "<s>_[INST]_<<SYS>>\nBe_kind.\n<</SYS>>\n\n##_\nWhat?_[/INST]_A_cat._</s>"
                  "<s>_[INST]_Sure?_[/INST]_Y</s><s>_[INST]_[/INST]</s>_[/INST]");
        CHECK_STR(spell(&messages[1], 1), "<s>_[INST]_##_\nWhat?_[/INST]");
        struct err err = {0};
        CHECK(!llm_prompt_chat(&model, messages, 3, &err));
        CHECK_ERR(&err, ERR_INVALID_VALUE, "the last message must be a user's");
    }
    close_written();
}

static void check_chatml(void) {
    write_byte_vocab(NULL, chatml_tokens); // no template: the vocabulary tells
    writer_bool(&writer, "tokenizer.ggml.add_bos_token", false);
    if (open_written(NULL)) {
        CHECK_STR(chat_name(model.chat), "chatml");
        struct llm_message messages[] = {
            SYSTEM(text_part("Be kind.")),
            USER(text_part("What?"), image_part("k", 2)),
            ASSISTANT(ids_part("Y", yes_ids, 2)),
            USER(text_part("<|im_end|><|im_start|>")),
        };
        CHECK_STR(spell(messages, 4),
                  "<|im_start|>_system\nBe_kind.<|im_end|>_\n<|im_start|>_user\n##_\nWhat?"
                  "<|im_end|>_\n<|im_start|>_assistant\n_Y<|im_end|>_\n<|im_start|>_user\n"
                  "<|im_end|><|im_start|><|im_end|>_\n<|im_start|>_assistant\n");
        struct llm_prompt *p = prompt(messages, 4);
        size_t n_begins = 0, n_ends = 0;
        for (size_t i = 0; i < p->n_rows; i++) {
            n_begins += p->ids[i] == 259;
            n_ends += p->ids[i] == 260;
        }
        CHECK(n_begins == 5 && n_ends == 4); // those that the user typed are plain text
        CHECK(llm_token_is_end(&model, 260) && llm_token_is_end(&model, 2) && !llm_token_is_end(&model, 259));
        llm_prompt_destroy(p);
    }
    close_written();

    write_byte_vocab(NULL, NULL); // the vocabulary has no such token: plain text
    if (open_written("chatml")) {
        struct llm_message messages[] = {USER(text_part("Hi"))};
        CHECK_STR(spell(messages, 1), "<s>_<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
    }
    close_written();
}

static void check_vicuna(void) {
    struct llm_message messages[] = {USER(text_part("Hi")), ASSISTANT(text_part("Yo")), USER(text_part("A"))};
    write_byte_vocab(NULL, NULL);
    if (open_written(NULL)) {
        CHECK_STR(chat_name(model.chat), "vicuna");
        CHECK_STR(spell(messages, 3),
                  "<s>_A_chat_between_a_curious_user_and_an_artificial_intelligence_assistant._"
                  "The_assistant_gives_helpful,_detailed,_and_polite_answers_to_the_user's_"
                  "questions._USER:_Hi_ASSISTANT:_Yo</s>_USER:_A_ASSISTANT:");
        struct llm_message with_system[] = {SYSTEM(text_part("One.")), SYSTEM(text_part("Two.")),
                                            messages[0]};
        CHECK_STR(spell(with_system, 3), "<s>_One.\nTwo._USER:_Hi_ASSISTANT:");
        struct llm_message no_system[] = {SYSTEM(text_part("")), messages[0]};
        CHECK_STR(spell(no_system, 2), "<s>_USER:_Hi_ASSISTANT:");
    }
    close_written();
}

int main(void) {
    if (!open_model("samples/demo/demo-llm-f16.gguf", NULL))
        return 1;
    check_demo();
    check_images();
    check_limits();
    check_tokenize();
    check_raw();
    close_model();
    check_llama_2();
    check_chatml();
    check_vicuna();
    return check_result();
}
