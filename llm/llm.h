// The public seam of the language layer: messages and image rows -> prompt -> logits -> token -> text.
// It knows nothing of pictures but "a run of rows with a key".
#ifndef LLM_LLM_H
#define LLM_LLM_H

#include "base/err.h"
#include "base/load.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ops;
struct llm;         // an open model; read-only but for llm_load and llm_forward
struct llm_prompt;  // what a conversation is to the model: a line of token ids and image rows
struct llm_seq;     // one timeline: a KV cache and what is in it
struct llm_sampler; // logits -> token id, with its seed and history
struct llm_detok;   // token ids -> whole UTF-8 text

enum llm_kv_type { // of the KV cache
    LLM_KV_F16,
    LLM_KV_F32,
    LLM_KV_Q8_0, // blocks of 32 values: half of f16, a little less exact
};

struct llm_options {           // zero means default
    size_t n_ctx;              // positions a sequence; default min(the model's own, 4096)
    size_t n_rows_max;         // most rows of one llm_forward; default 512
    size_t n_seqs;             // sequences there will be at once: their memory is checked; default 1
    const char *chat_template; // a built-in format or a file of Jinja; default: the model file's own
    enum llm_kv_type kv_type;  // default f16
    struct load_options load;  // default: mapped
};

// Returns new. Borrows ops until llm_close. ERR_MODEL names the key or tensor, expected and found. All of the file is
// checked, but weights are read by llm_load, and what is left of them by llm_forward.
struct llm *llm_open(const char *path, struct ops *ops, const struct llm_options *options, struct err *err);
// Only the vocabulary of the file, for llm_tokenize and llm_detok_create: it needs no weights. pre (may be
// NULL) stands for the file's tokenizer.ggml.pre.
struct llm *llm_open_vocabulary(const char *path, struct ops *ops, const char *pre, struct err *err);
void llm_close(struct llm *m);

// Reads the next weights, some 64 MB. False when all are there. The thread of llm_forward, as below.
bool llm_load(struct llm *m);
void llm_load_progress(const struct llm *m, size_t *done_bytes, size_t *total_bytes);

const char *llm_name(const struct llm *m); // general.name, or the file's name
size_t llm_n_ctx(const struct llm *m);     // positions a sequence
size_t llm_n_embd(const struct llm *m);
size_t llm_n_embd_image(const struct llm *m); // width of an image's row: n_embd, with deepstack a multiple
size_t llm_n_vocab(const struct llm *m);
size_t llm_n_rows_max(const struct llm *m);
const char *llm_template_name(const struct llm *m);
const char *llm_template_stop(const struct llm *m); // a text that ends an answer in this format, or NULL

// What the weights of one forward pass cost: rows of the prompt go through all layers, the last one alone
// through the output. Attention and its cache are not in it.
struct llm_cost {
    double read_bytes;          // for one token: layers (the experts in use) and output
    double row_int8, row_float; // multiply-adds of a row in the layers, of bytes and of floats
    double output_int8, output_float;
};
struct llm_cost llm_cost(const struct llm *m);

// ---- tokens (any thread) ----

// Returns new ids (free them). parse_special: text such as "</s>" becomes the special token.
// add_bos / add_eos: -1 = as the file says.
int32_t *llm_tokenize(const struct llm *m, const char *text, size_t len, bool parse_special, int add_bos,
                      size_t *n_ids, struct err *err);
bool llm_token_is_end(const struct llm *m, int32_t id); // end of generation
// The bytes that a token adds to a text, which may be part of a character; none for one that is no text.
// first: at the beginning of it. Borrowed until llm_close; id must be in the vocabulary.
const char *llm_token_bytes(const struct llm *m, int32_t id, bool first, size_t *len);
// Returns new detokeniser. llm_detok_put gives the bytes that are complete after this id: borrowed until the
// next call, possibly none; never part of a UTF-8 sequence. Bytes that can never be valid become U+FFFD.
struct llm_detok *llm_detok_create(const struct llm *m, bool show_special);
void llm_detok_destroy(struct llm_detok *d);
bool llm_detok_is_first(const struct llm_detok *d);   // nothing has been put that is text
bool llm_detok_holds_some(const struct llm_detok *d); // bytes that wait for the rest of their character
const char *llm_detok_put(struct llm_detok *d, int32_t id, size_t *len);
const char *llm_detok_flush(struct llm_detok *d,
                            size_t *len); // what an unfinished sequence leaves: U+FFFD or nothing

// ---- prompts (any thread) ----

enum llm_role { LLM_SYSTEM, LLM_USER, LLM_ASSISTANT };

struct llm_image_span { // a piece of what stands in the place of a picture: rows, or
    const char *text;   // special strings
    bool is_number;     // the picture's number in the conversation, from 0, as text
    size_t first_row, n_rows;
};

struct llm_image {                      // rows in the place of a picture; borrowed for the call
    const char *key;                    // identity: equal keys have equal rows
    size_t n_tokens;                    // rows
    const struct llm_image_span *spans; // in order; NULL: all rows in one run
    size_t n_spans;
    size_t grid_width, grid_height; // M-RoPE: columns and lines of the rows; 0: one position a row
    bool both_ways;                 // rows of a run see each other both ways
};

// What an image takes of a prompt: its rows, and the tokens of its special strings. Texts without rows between
// them are one, and each is tokenized by itself, the first as what goes on from other text. That is what a
// prompt with the image has more than one without it, but where a line end of the strings joins with text
// beside them, or the tokenizer begins the text behind with a space of its own (Llama's SentencePiece). A line
// feed that the template puts between image and text belongs to the message. Any thread.
bool llm_image_n_tokens(const struct llm *m, const struct llm_image *image, size_t *n_tokens,
                        struct err *err);

struct llm_part { // text, or an image when image.n_tokens > 0
    const char *text;
    size_t len;
    struct llm_image image;
    const int32_t *ids; // of an answer: the very ids that the model once generated as `text`, or NULL
    size_t n_ids;
};

struct llm_message {
    enum llm_role role;
    const struct llm_part *parts;
    size_t n_parts;
};

// The conversation in the model's chat template, ready to be answered. No part's text is ever read as a
// control token; an answer's ids stand for its text unless the template changes it. Returns new;
// ERR_INVALID_VALUE for what the template refuses or leaves out, ERR_CONTEXT_EXCEEDED (numbers named) when it
// leaves no room in n_ctx.
struct llm_prompt *llm_prompt_chat(const struct llm *m, const struct llm_message *messages, size_t n_messages,
                                   struct err *err);
// Token ids and at most one image after the first n_before ids, nothing added.
struct llm_prompt *llm_prompt_raw(const struct llm *m, const int32_t *ids, size_t n_ids,
                                  const struct llm_image *image, size_t n_before, struct err *err);
void llm_prompt_destroy(struct llm_prompt *p);
size_t llm_prompt_n_rows(const struct llm_prompt *p);
size_t llm_prompt_n_images(const struct llm_prompt *p); // in order of appearance
// Where image i begins, and how many rows it and the text between its runs take.
void llm_prompt_image(const struct llm_prompt *p, size_t i, size_t *first_row, size_t *n_rows,
                      const char **key);
// Gives image i its rows [n_tokens, n_embd_image] f32 in host memory; borrowed until the prompt's last
// forward.
void llm_prompt_set_image_rows(struct llm_prompt *p, size_t i, const float *rows);
// How many of the rows from `first` on a step of about n_wanted takes: rows that see each other both ways are
// never parted.
size_t llm_prompt_chunk(const struct llm_prompt *p, size_t first, size_t n_wanted);

// ---- sequences and the forward pass (inference thread) ----

// Returns new, empty, for n_ctx positions.
struct llm_seq *llm_seq_create(struct llm *m, struct err *err);
void llm_seq_destroy(struct llm_seq *s);
size_t llm_seq_n_past(const struct llm_seq *s);
// Rows at the start of the prompt that the cache already holds (same ids, same image keys); at most
// n_rows - 1, so that there are logits to sample from. An image counts whole or not at all.
size_t llm_seq_match(const struct llm_seq *s, const struct llm_prompt *p);
void llm_seq_truncate(struct llm_seq *s, size_t n_past); // forgets what is behind

struct llm_rows { // the rows one sequence brings to a step: a piece of a prompt, or one sampled token
    struct llm_seq *seq;
    const struct llm_prompt *prompt; // rows first .. first + n_rows - 1 of it, or NULL:
    size_t first;
    int32_t id; // one row: this token
    size_t n_rows;
    bool want_logits;    // of the last row
    const float *logits; // out: [n_vocab] f32 host memory, borrowed until the next forward
    bool all_logits;     // of every row, for inspection: logits is [n_rows, n_vocab]
    bool want_hidden;    // what the output matrix would see of every row, for an embedding
    const float *hidden; // out: [n_rows, n_embd] f32 host memory after the output norm, borrowed as logits
};

// One step: all rows of all parts (at most n_rows_max; no sequence twice) through the model. On success each
// sequence has grown by its rows; on failure or when cancelled(ctx) (may be NULL; asked between layers)
// turns true (ERR_CANCELLED), none has changed. No allocation when neither n_rows nor want_logits exceed
// what an earlier call has seen.
bool llm_forward(struct llm *m, struct llm_rows *parts, size_t n_parts, bool (*cancelled)(void *ctx),
                 void *ctx, struct err *err);

// ---- embeddings ----

enum llm_pooling { // how the rows of a text become one
    LLM_POOLING_MEAN,
    LLM_POOLING_CLS, // the first row
    LLM_POOLING_LAST,
};

// What the file says (ARCH.pooling_type), the mean where it says nothing. ERR_MODEL for a file that wants
// another, as rerankers do.
bool llm_pooling(const struct llm *m, enum llm_pooling *pooling, struct err *err);

struct llm_embedding; // pools a prompt that goes through llm_forward in pieces, from first to last row

// Returns new, for a prompt of n_rows; one thread at a time.
struct llm_embedding *llm_embedding_create(const struct llm *m, enum llm_pooling pooling, size_t n_rows,
                                           struct err *err);
void llm_embedding_destroy(struct llm_embedding *e);
// Takes the hidden rows of a step that has been run.
void llm_embedding_add(struct llm_embedding *e, const struct llm_rows *rows);
// After the last row: fills out [n_embd] f32; `normalise` makes its length 1. ERR_INTERNAL where a value is
// not finite.
bool llm_embedding_finish(const struct llm_embedding *e, bool normalise, float *out, struct err *err);

// ---- sampling (any thread, one at a time a sampler) ----

struct llm_logit_bias {
    int32_t id;
    float bias;
};

struct llm_grammar; // what an answer may be; read-only: any thread

// GBNF. Returns new, or NULL with ERR_INVALID_VALUE: line, column, expected, found.
struct llm_grammar *llm_grammar_parse(const char *text, size_t len, struct err *err);
void llm_grammar_destroy(struct llm_grammar *g);

enum llm_sampler_stage {
    LLM_STAGE_END, // ends a list of stages
    LLM_STAGE_PENALTIES,
    LLM_STAGE_DRY,
    LLM_STAGE_TOP_N_SIGMA,
    LLM_STAGE_TOP_K,
    LLM_STAGE_TYPICAL_P,
    LLM_STAGE_TOP_P,
    LLM_STAGE_MIN_P,
    LLM_STAGE_XTC,
    LLM_STAGE_TEMPERATURE,
};
enum { LLM_N_STAGES = 9 };

// By llama-server's name of a sampler.
bool llm_sampler_stage_find(const char *name, enum llm_sampler_stage *stage);

struct llm_sampling {
    float temperature;                         // 0 = greedy
    float dynatemp_range, dynatemp_exponent;   // range 0 = off: temperature +- range by the entropy
    size_t top_k;                              // 0 = off
    float top_p;                               // 1 = off
    float min_p;                               // 0 = off
    float typical_p;                           // 1 and 0 = off
    float top_n_sigma;                         // 0 = off
    float xtc_probability, xtc_threshold;      // probability 0, threshold above 0.5 = off
    float repeat_penalty;                      // 1 = off
    float presence_penalty, frequency_penalty; // 0 = off
    size_t penalty_last_n;                     // tokens that the penalties look back on
    float dry_multiplier, dry_base;            // multiplier 0 = off
    size_t dry_allowed_length;                 // tokens that may be repeated without a penalty
    int32_t dry_penalty_last_n;                // -1 = the context, 0 = off
    const char *const *dry_breakers;           // strings; borrowed for the creation of the sampler
    size_t n_dry_breakers;
    int mirostat;                        // 0 = off, 1, 2: instead of all filters and penalties
    float mirostat_tau, mirostat_eta;    // surprise aimed at in bit, learning rate
    bool ignore_eos;                     // never ends by itself
    const struct llm_logit_bias *biases; // borrowed until the sampler is destroyed
    size_t n_biases;
    const struct llm_grammar *grammar; // or NULL; borrowed until the sampler is destroyed
    bool stages_set; // `stages` holds: what is not in it is off; else the order of llm/sampler.c
    enum llm_sampler_stage stages[LLM_N_STAGES + 1];
    uint64_t seed;
};

// Temperature 0.8, top_k 40, top_p 0.95, min_p 0.05, last 64, seed 0; all else off, but with its usual
// parameters.
struct llm_sampling llm_sampling_default(void);

// Returns new. ERR_INVALID_VALUE where the grammar is too large to follow from its beginning; not without
// one.
struct llm_sampler *llm_sampler_create(const struct llm *m, const struct llm_sampling *s, struct err *err);
void llm_sampler_destroy(struct llm_sampler *s);
// Before the first choice: penalties and DRY look back on this prompt, too; rows of images are no tokens.
void llm_sampler_see(struct llm_sampler *s, const struct llm_prompt *p);
// Chooses from logits [n_vocab] and remembers the choice. ERR_INTERNAL for NaN logits, ERR_INVALID_VALUE
// where a grammar cannot go on. No allocation.
bool llm_sampler_next(struct llm_sampler *s, const float *logits, int32_t *id, struct err *err);

struct llm_logprob {
    int32_t id;
    float logprob;
};
// What the model itself says, before any sampling: returns the natural logarithm of the probability of `id`
// and fills top [n_top, at most n_vocab] with the likeliest, best first, the lower id of equals. No
// allocation.
float llm_logprobs(const float *logits, size_t n_vocab, int32_t id, struct llm_logprob *top, size_t n_top);

// ---- stop strings (any thread) ----

struct llm_stops; // watches a text for any of some strings, holding back what may yet become one
struct llm_stops *llm_stops_create(const char *const *strings, size_t n_strings); // copies the strings
void llm_stops_destroy(struct llm_stops *s);
// Feeds text; returns what may be shown now (borrowed until the next call) and whether a string was met:
// that string and all behind it is dropped.
const char *llm_stops_put(struct llm_stops *s, const char *text, size_t len, size_t *out_len, bool *stopped);
const char *llm_stops_flush(struct llm_stops *s, size_t *out_len); // at the end: what was held back

#endif
