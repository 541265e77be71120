// Events -> JSON text (PROTOCOL.md, server to client). Each function appends one whole message to `out`.
#ifndef MESSAGE_OUT_H
#define MESSAGE_OUT_H

#include "assistant.h"
#include "base/buf.h"

#include <stdint.h>

struct message_limits { // what a session is told, and what its messages are held to
    const char *model;  // the served model's name
    bool vision;
    size_t image_tokens; // of a prompt: most that one picture takes
    size_t max_message_bytes, max_image_bytes, max_pixels, max_images, n_ctx;
    const struct llm_sampling *sampling; // of what a request does not say; NULL: llm_sampling_default
    int seed;                            // the same; -1 = a random one each
};

// ---- of the connection ----

bool message_out_session(struct buf *out, uint64_t sequence, const char *session,
                         const struct message_limits *limits, struct err *err);

struct message_error { // an error and what it answers; NULL and negative: unknown
    const struct err *err;
    const char *event_id, *stream_id;
    int64_t upload_id;
};
bool message_out_error(struct buf *out, uint64_t sequence, const struct message_error *error,
                       struct err *err);

bool message_out_image_ready(struct buf *out, uint64_t sequence, uint32_t upload_id, const char *event_id,
                             struct err *err);

struct message_image { // a picture that is stored; upload_id negative and event_id NULL: none was given
    int64_t upload_id;
    const char *event_id, *image_id;
    size_t width_px, height_px, n_tokens;
    bool known;
};
bool message_out_image_stored(struct buf *out, uint64_t sequence, const struct message_image *image,
                              struct err *err);

// ---- of a response ----

struct message_response { // what its events tell
    const char *id, *stream_id, *item_id, *model;
    const char *previous_response_id; // or NULL
    const char *metadata;             // a JSON object
    int64_t created_at;               // seconds since 1970
    double temperature, top_p;
    size_t max_output_tokens; // 0 = none given
    size_t n_top_logprobs;
    const char *format;               // of text.format: a JSON object
    const char *logprobs;             // JSON of the answer's tokens, without brackets; NULL: not asked for
    bool logprobs_truncated;          // too long to be repeated
    size_t n_notices[N_NOTICE_CODES]; // given
};

// type: "response.created" or "response.in_progress".
bool message_out_response(struct buf *out, uint64_t sequence, const char *type,
                          const struct message_response *r, struct err *err);
bool message_out_progress(struct buf *out, uint64_t sequence, const struct message_response *r,
                          const struct event *event, struct err *err);
bool message_out_notice(struct buf *out, uint64_t sequence, const struct message_response *r,
                        const struct notice *notice, struct err *err);
bool message_out_item_added(struct buf *out, uint64_t sequence, const struct message_response *r,
                            struct err *err);
bool message_out_part_added(struct buf *out, uint64_t sequence, const struct message_response *r,
                            struct err *err);
// Up to inside the string of `delta`: see outbox_push_delta.
// logprobs: JSON of its tokens, without brackets.
bool message_out_delta_head(struct buf *out, uint64_t sequence, const struct message_response *r,
                            const char *logprobs, struct err *err);

// text NULL: too long to be repeated; the events then say "truncated": true.
bool message_out_text_done(struct buf *out, uint64_t sequence, const struct message_response *r,
                           const char *text, struct err *err);
bool message_out_part_done(struct buf *out, uint64_t sequence, const struct message_response *r,
                           const char *text, struct err *err);
bool message_out_item_done(struct buf *out, uint64_t sequence, const struct message_response *r,
                           const char *text, bool complete, struct err *err);
bool message_out_stats(struct buf *out, uint64_t sequence, const struct message_response *r,
                       const struct stats *stats, struct err *err);
// The last event, from an EVENT_DONE; has_item: an item was added.
bool message_out_done(struct buf *out, uint64_t sequence, const struct message_response *r,
                      const struct event *event, bool has_item, const char *text, struct err *err);

#endif
