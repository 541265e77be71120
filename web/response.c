// Takes struct event -> gives protocol events into an outbox.
//
//   created, in_progress, progress*, notice*, output_item.added, content_part.added, delta*, output_text.done,
//   content_part.done, output_item.done, stats, completed | incomplete | failed | cancelled
#include "response.h"

#include "base/mem.h"
#include "json_text.h"
#include "logprobs.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { RESPONSE_JOIN_BYTES = 8 * 1024 }; // of output waiting

struct response *response_create(uint64_t number, const struct request *request, const char *model,
                                 char *stream_id, char *metadata, char *format) {
    struct response *r = xcalloc(1, sizeof *r);
    r->number = number;
    r->stream_id = stream_id;
    r->metadata = metadata ? metadata : xstrdup("{}");
    r->format = format ? format : xstrdup("{\"type\":\"text\"}");
    if (request->previous_response_id)
        r->previous_response_id = xstrdup(request->previous_response_id);
    snprintf(r->id, sizeof r->id, "%s", request->response_id);
    const char *digits = strchr(r->id, '_');
    snprintf(r->item_id, sizeof r->item_id, "msg%.*s", (int)sizeof r->item_id - 4, digits ? digits : r->id);
    r->told = (struct message_response){
        .id = r->id,
        .stream_id = r->stream_id,
        .item_id = r->item_id,
        .model = model,
        .previous_response_id = r->previous_response_id,
        .metadata = r->metadata,
        .created_at = (int64_t)time(NULL),
        .temperature = (double)request->sampling.temperature,
        .top_p = (double)request->sampling.top_p,
        .max_output_tokens = request->max_output_tokens,
        .n_top_logprobs = request->n_top_logprobs,
        .format = r->format,
        .logprobs = request->logprobs ? "" : NULL,
    };
    return r;
}

void response_destroy(struct response *r) {
    if (!r)
        return;
    free(r->stream_id);
    free(r->metadata);
    free(r->previous_response_id);
    free(r->format);
    buf_clear(&r->text);
    buf_clear(&r->logprobs);
    free(r);
}

// Hands over a finished message, or drops one that could not be built.
static bool response_send(struct buf *message, bool built, struct outbox *outbox, struct err *err) {
    bool ok = built && outbox_push(outbox, message->data, message->len, err);
    buf_clear(message);
    return ok;
}

bool response_start(struct response *r, struct outbox *outbox, struct err *err) {
    static const char *const types[] = {"response.created", "response.in_progress"};
    for (size_t i = 0; i < 2; i++) {
        struct buf m = {0};
        bool built = message_out_response(&m, r->sequence++, types[i], &r->told, err);
        if (!response_send(&m, built, outbox, err))
            return false;
    }
    return true;
}

static bool response_open_item(struct response *r, struct outbox *outbox, struct err *err) {
    if (r->has_item)
        return true;
    r->has_item = true;
    struct buf m = {0};
    bool built = message_out_item_added(&m, r->sequence++, &r->told, err);
    if (!response_send(&m, built, outbox, err))
        return false;
    built = message_out_part_added(&m, r->sequence++, &r->told, err);
    return response_send(&m, built, outbox, err);
}

static void response_keep_text(struct response *r, const char *text, size_t len) {
    r->text_escaped_size += json_text_escaped_size(text, len);
    if (r->truncated)
        return;
    if (r->text_escaped_size > RESPONSE_TEXT_MAX || !buf_append(&r->text, text, len, NULL)) {
        r->truncated = true;
        buf_clear(&r->text);
    }
}

// Sends a piece of text with the JSON of its tokens.
static bool response_send_delta(struct response *r, const char *text, size_t len, const char *logprobs,
                                struct outbox *outbox, struct err *err) {
    struct buf head = {0};
    bool ok = message_out_delta_head(&head, r->sequence++, &r->told, logprobs, err) &&
              outbox_push_delta(outbox, r->number, head.data, text, len, err);
    buf_clear(&head);
    return ok;
}

static void response_keep_logprobs(struct response *r, const struct buf *item) {
    if (r->told.logprobs_truncated)
        return;
    size_t size = r->text_escaped_size + r->logprobs.len + item->len + 1;
    if (size <= RESPONSE_TEXT_MAX && (r->logprobs.len == 0 || buf_append_str(&r->logprobs, ",", NULL)) &&
        buf_append(&r->logprobs, item->data, item->len, NULL))
        return;
    r->told.logprobs_truncated = true;
    buf_clear(&r->logprobs);
}

// Tokens and their text together, in as many deltas as the size of a message asks for. They are never joined.
static bool response_delta_tokens(struct response *r, const struct event *event, struct outbox *outbox,
                                  struct err *err) {
    struct buf items = {0}, item = {0};
    size_t sent = 0; // of the text
    bool ok = true;
    for (size_t i = 0; ok && i < event->n_tokens; i++) {
        ok = logprobs_append(&item, &event->tokens[i], err);
        if (ok && items.len > 0 && items.len + item.len > LOGPROBS_ITEM_MAX) {
            size_t end = event->tokens[i - 1].text_end;
            ok = response_send_delta(r, event->text + sent, end - sent, items.data, outbox, err);
            sent = end;
            buf_clear(&items);
        }
        ok = ok && (items.len == 0 || buf_append_str(&items, ",", err)) &&
             buf_append(&items, item.data, item.len, err);
        if (ok)
            response_keep_logprobs(r, &item);
        buf_clear(&item);
    }
    ok = ok && response_send_delta(r, event->text + sent, event->len - sent, items.data ? items.data : "",
                                   outbox, err);
    buf_clear(&items);
    return ok;
}

static bool response_delta(struct response *r, const struct event *event, struct outbox *outbox,
                           struct err *err) {
    const char *text = event->text;
    size_t len = event->len;
    if (len == 0 && event->n_tokens == 0)
        return true;
    if (!response_open_item(r, outbox, err))
        return false;
    response_keep_text(r, text, len);
    if (r->told.logprobs)
        return response_delta_tokens(r, event, outbox, err);
    // Only a reader that has fallen behind gets pieces joined: others see the text come as it is written.
    if (outbox->n_bytes > RESPONSE_JOIN_BYTES && outbox_join_delta(outbox, r->number, text, len))
        return true;
    return response_send_delta(r, text, len, "", outbox, err);
}

static bool response_close_item(struct response *r, bool complete, const char *text, struct outbox *outbox,
                                struct err *err) {
    struct buf m = {0};
    bool built = message_out_text_done(&m, r->sequence++, &r->told, text, err);
    if (!response_send(&m, built, outbox, err))
        return false;
    built = message_out_part_done(&m, r->sequence++, &r->told, text, err);
    if (!response_send(&m, built, outbox, err))
        return false;
    built = message_out_item_done(&m, r->sequence++, &r->told, text, complete, err);
    return response_send(&m, built, outbox, err);
}

static bool response_done(struct response *r, const struct event *event, struct outbox *outbox,
                          struct err *err) {
    bool complete = event->finish == FINISH_COMPLETED;
    // An answer without a character is an answer: its item is there and empty.
    if ((complete || event->finish == FINISH_INCOMPLETE) && !response_open_item(r, outbox, err))
        return false;
    const char *text = r->truncated ? NULL : r->text.data ? r->text.data : "";
    // The text may have grown since its tokens had room.
    if (r->logprobs.len + r->text_escaped_size > RESPONSE_TEXT_MAX && r->logprobs.len > 0) {
        r->told.logprobs_truncated = true;
        buf_clear(&r->logprobs);
    }
    if (r->told.logprobs && r->logprobs.data)
        r->told.logprobs = r->logprobs.data;
    if (r->has_item && !response_close_item(r, complete, text, outbox, err))
        return false;
    struct buf m = {0};
    bool built = message_out_stats(&m, r->sequence++, &r->told, &event->stats, err);
    if (!response_send(&m, built, outbox, err))
        return false;
    built = message_out_done(&m, r->sequence++, &r->told, event, r->has_item, text, err);
    return response_send(&m, built, outbox, err);
}

bool response_event(struct response *r, const struct event *event, struct outbox *outbox, struct err *err) {
    struct buf m = {0};
    bool built;
    switch (event->type) {
    case EVENT_PROGRESS:
        built = message_out_progress(&m, r->sequence++, &r->told, event, err);
        return response_send(&m, built, outbox, err);
    case EVENT_NOTICE:
        r->told.n_notices[event->notice.code]++;
        built = message_out_notice(&m, r->sequence++, &r->told, &event->notice, err);
        return response_send(&m, built, outbox, err);
    case EVENT_DELTA:
        return response_delta(r, event, outbox, err);
    case EVENT_DONE:
        return response_done(r, event, outbox, err);
    }
    return err_set(err, ERR_INTERNAL, "event of unknown type %d", (int)event->type);
}
