// What a conversation is to the model: one line of rows, each a token id or a row of an image.
#ifndef LLM_PROMPT_H
#define LLM_PROMPT_H

#include "llm/llm.h"

struct prompt_image {
    char *key; // owned
    size_t first_row, n_rows;
    const float *rows; // [n_rows, n_embd] f32, borrowed; NULL until llm_prompt_set_image_rows
};

struct llm_prompt {
    size_t n_rows;
    int32_t *ids; // [n_rows]; PROMPT_IMAGE_ROW in the rows of images
    struct prompt_image *images;
    size_t n_images;
};

enum { PROMPT_IMAGE_ROW = -1 };

#endif
