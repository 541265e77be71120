// What a conversation is to the model: one line of rows, each a token id or a row of an image.
#ifndef LLM_PROMPT_H
#define LLM_PROMPT_H

#include "llm/llm.h"

struct prompt_image { // a run of rows of an image, which may have several
    char *key;        // owned; of the run
    size_t image;     // which one of the prompt
    size_t first_row, n_rows;
    size_t skipped;    // rows of the image before these
    const float *rows; // [n_rows, n_embd_image] f32, borrowed; NULL until llm_prompt_set_image_rows
    size_t grid_width, grid_height;
    bool both_ways;
};

struct llm_prompt {
    size_t n_rows;
    int32_t *ids;                // [n_rows]; PROMPT_IMAGE_ROW in the rows of images
    struct prompt_image *images; // [n_runs], in order
    size_t n_runs, n_images;
    size_t n_embd_image;
    // M-RoPE: [n_rows, 3] time, line and column of each row, and [n_rows] the position that follows it; else
    // NULL.
    int32_t *positions, *next_position;
    char **keys; // [n_images], owned
};

enum { PROMPT_IMAGE_ROW = -1 };

// The run that covers this row, or NULL.
const struct prompt_image *prompt_image_at(const struct llm_prompt *p, size_t row);

#endif
