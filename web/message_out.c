// Takes events -> gives JSON text. Forms: PROTOCOL.md; response events are those of the OpenAI Responses API.
#include "message_out.h"

#include "json_text.h"

bool message_out_session(struct buf *out, uint64_t sequence, const char *session,
                         const struct message_limits *limits, struct err *err) {
    return json_text(
        out, err,
        "{'type':'session.created','sequence_number':%u,'session':%s,'limits':{"
        "'max_message_bytes':%u,'max_image_bytes':%u,'max_pixels':%u,'max_images':%u,'n_ctx':%u},"
        "'models':[{'id':%s,'modalities':%r,'image_tokens':%u}]}",
        sequence, session, (uint64_t)limits->max_message_bytes, (uint64_t)limits->max_image_bytes,
        (uint64_t)limits->max_pixels, (uint64_t)limits->max_images, (uint64_t)limits->n_ctx, limits->model,
        limits->vision ? "[\"text\",\"image\"]" : "[\"text\"]", (uint64_t)limits->image_tokens);
}

// What went wrong, without details of the server's insides.
static const char *message_out_text(const struct err *error) {
    switch (error->code) {
    case ERR_NOMEM:
        return "the server is out of memory for this request";
    case ERR_CANCELLED:
        return "cancelled";
    case ERR_MODEL:
    case ERR_IO:
    case ERR_INTERNAL:
        return "internal error";
    default:
        return error->msg;
    }
}

static const char *message_out_error_type(const struct err *error) {
    bool ours = error->code == ERR_BUSY || error->code >= ERR_MODEL;
    return ours ? "server_error" : "invalid_request_error";
}

bool message_out_error(struct buf *out, uint64_t sequence, const struct message_error *error,
                       struct err *err) {
    const struct err *e = error->err;
    return json_text(out, err, "{'type':'error','sequence_number':%u", sequence) &&
           (!error->stream_id || json_text(out, err, ",'stream_id':%s", error->stream_id)) &&
           (error->upload_id < 0 || json_text(out, err, ",'upload_id':%d", error->upload_id)) &&
           json_text(out, err, ",'error':{'type':%s,'code':%s,'message':%s,'param':%s,'event_id':%s}}",
                     message_out_error_type(e), err_code_name(e->code), message_out_text(e),
                     e->param[0] ? e->param : NULL, error->event_id);
}

bool message_out_image_ready(struct buf *out, uint64_t sequence, uint32_t upload_id, const char *event_id,
                             struct err *err) {
    return json_text(out, err, "{'type':'image.ready','sequence_number':%u,'upload_id':%u", sequence,
                     (uint64_t)upload_id) &&
           (!event_id || json_text(out, err, ",'event_id':%s", event_id)) && json_text(out, err, "}");
}

bool message_out_image_stored(struct buf *out, uint64_t sequence, const struct message_image *image,
                              struct err *err) {
    return json_text(out, err, "{'type':'image.stored','sequence_number':%u", sequence) &&
           (image->upload_id < 0 || json_text(out, err, ",'upload_id':%d", image->upload_id)) &&
           (!image->event_id || json_text(out, err, ",'event_id':%s", image->event_id)) &&
           json_text(out, err, ",'image_id':%s,'width_px':%u,'height_px':%u,'n_tokens':%u,'known':%b}",
                     image->image_id, (uint64_t)image->width_px, (uint64_t)image->height_px,
                     (uint64_t)image->n_tokens, image->known);
}

// The start of every event of a response.
static bool message_out_head(struct buf *out, uint64_t sequence, const char *type,
                             const struct message_response *r, struct err *err) {
    return json_text(out, err, "{'type':%s,'sequence_number':%u,'response_id':%s", type, sequence, r->id) &&
           (!r->stream_id || json_text(out, err, ",'stream_id':%s", r->stream_id));
}

// text NULL: too long to be repeated.
static bool message_out_part(struct buf *out, const struct message_response *r, const char *text,
                             struct err *err) {
    return json_text(out, err, "{'type':'output_text','text':%s,'annotations':[]", text ? text : "") &&
           (!r->logprobs ||
            json_text(out, err, ",'logprobs':[%r]%r", text && text[0] ? r->logprobs : "",
                      text && text[0] && r->logprobs_truncated ? ",\"logprobs_truncated\":true" : "")) &&
           json_text(out, err, text ? "}" : ",'truncated':true}");
}

static bool message_out_item(struct buf *out, const struct message_response *r, const char *text,
                             bool complete, struct err *err) {
    return json_text(out, err, "{'id':%s,'type':'message','status':%s,'role':'assistant','content':[",
                     r->item_id, complete ? "completed" : "incomplete") &&
           message_out_part(out, r, text, err) && json_text(out, err, "]}");
}

static bool message_out_usage(struct buf *out, const struct usage *usage, struct err *err) {
    return json_text(out, err,
                     "{'input_tokens':%u,'input_tokens_details':{'cached_tokens':%u,'image_tokens':%u},"
                     "'output_tokens':%u,'output_tokens_details':{'reasoning_tokens':0},'total_tokens':%u}",
                     (uint64_t)usage->input_tokens, (uint64_t)usage->cached_tokens,
                     (uint64_t)usage->image_tokens, (uint64_t)usage->output_tokens,
                     (uint64_t)(usage->input_tokens + usage->output_tokens));
}

// ,"response":{ ... up to what differs from event to event.
static bool message_out_body(struct buf *out, const struct message_response *r, const char *status,
                             struct err *err) {
    return json_text(out, err,
                     ",'response':{'id':%s,'object':'response','created_at':%d,'status':%s,"
                     "'background':false,'instructions':null,'metadata':%r,'model':%s,"
                     "'parallel_tool_calls':false,'previous_response_id':%s,'temperature':%f,'top_p':%f,"
                     "'text':{'format':%r},'tool_choice':'none','tools':[],"
                     "'top_logprobs':%u,'truncation':'disabled'",
                     r->id, r->created_at, status, r->metadata, r->model, r->previous_response_id,
                     r->temperature, r->top_p, r->format, (uint64_t)r->n_top_logprobs) &&
           (r->max_output_tokens
                ? json_text(out, err, ",'max_output_tokens':%u", (uint64_t)r->max_output_tokens)
                : json_text(out, err, ",'max_output_tokens':null"));
}

bool message_out_response(struct buf *out, uint64_t sequence, const char *type,
                          const struct message_response *r, struct err *err) {
    return message_out_head(out, sequence, type, r, err) && message_out_body(out, r, "in_progress", err) &&
           json_text(out, err, ",'output':[],'usage':null,'error':null,'incomplete_details':null}}");
}

bool message_out_progress(struct buf *out, uint64_t sequence, const struct message_response *r,
                          const struct event *event, struct err *err) {
    return message_out_head(out, sequence, "response.progress", r, err) &&
           json_text(out, err, ",'stage':%s,'done':%u,'total':%u", stage_name(event->stage),
                     (uint64_t)event->done, (uint64_t)event->total) &&
           (event->stage != STAGE_QUEUED ||
            json_text(out, err, ",'queue_position':%u", (uint64_t)event->queue_position)) &&
           (event->eta_ms <= 0 || json_text(out, err, ",'eta_ms':%f", event->eta_ms)) &&
           json_text(out, err, "}");
}

bool message_out_notice(struct buf *out, uint64_t sequence, const struct message_response *r,
                        const struct notice *notice, struct err *err) {
    char text[NOTICE_TEXT_SIZE];
    return message_out_head(out, sequence, "response.notice", r, err) &&
           json_text(out, err, ",'code':%s,'message':%s", notice_name(notice->code),
                     notice_text(notice, text)) &&
           (!notice->image_id[0] || json_text(out, err, ",'image_id':%s,'n_tokens':%u", notice->image_id,
                                              (uint64_t)notice->n_tokens)) &&
           json_text(out, err, "}");
}

// What was noticed, by code; "notices":[].
static bool message_out_notices(struct buf *out, const struct message_response *r, struct err *err) {
    bool any = false, ok = json_text(out, err, ",'notices':[");
    for (size_t i = 0; ok && i < N_NOTICE_CODES; i++) {
        if (r->n_notices[i] == 0)
            continue;
        ok = json_text(out, err, "%r{'code':%s,'count':%u}", any ? "," : "", notice_name((enum notice_code)i),
                       (uint64_t)r->n_notices[i]);
        any = true;
    }
    return ok && json_text(out, err, "]");
}

bool message_out_item_added(struct buf *out, uint64_t sequence, const struct message_response *r,
                            struct err *err) {
    return message_out_head(out, sequence, "response.output_item.added", r, err) &&
           json_text(out, err,
                     ",'output_index':0,'item':{'id':%s,'type':'message','status':'in_progress',"
                     "'role':'assistant','content':[]}}",
                     r->item_id);
}

// ,"item_id" ... of the events about the one part of the one item.
static bool message_out_place(struct buf *out, const struct message_response *r, struct err *err) {
    return json_text(out, err, ",'item_id':%s,'output_index':0,'content_index':0", r->item_id);
}

bool message_out_part_added(struct buf *out, uint64_t sequence, const struct message_response *r,
                            struct err *err) {
    return message_out_head(out, sequence, "response.content_part.added", r, err) &&
           message_out_place(out, r, err) && json_text(out, err, ",'part':") &&
           message_out_part(out, r, "", err) && json_text(out, err, "}");
}

bool message_out_delta_head(struct buf *out, uint64_t sequence, const struct message_response *r,
                            const char *logprobs, struct err *err) {
    return message_out_head(out, sequence, "response.output_text.delta", r, err) &&
           message_out_place(out, r, err) && json_text(out, err, ",'logprobs':[%r],'delta':'", logprobs);
}

bool message_out_text_done(struct buf *out, uint64_t sequence, const struct message_response *r,
                           const char *text, struct err *err) {
    return message_out_head(out, sequence, "response.output_text.done", r, err) &&
           message_out_place(out, r, err) &&
           json_text(out, err, ",'logprobs':[%r],'text':%s%r%r}", text && r->logprobs ? r->logprobs : "",
                     text ? text : "", r->logprobs_truncated ? ",\"logprobs_truncated\":true" : "",
                     text ? "" : ",\"truncated\":true");
}

bool message_out_part_done(struct buf *out, uint64_t sequence, const struct message_response *r,
                           const char *text, struct err *err) {
    return message_out_head(out, sequence, "response.content_part.done", r, err) &&
           message_out_place(out, r, err) && json_text(out, err, ",'part':") &&
           message_out_part(out, r, text, err) && json_text(out, err, "}");
}

bool message_out_item_done(struct buf *out, uint64_t sequence, const struct message_response *r,
                           const char *text, bool complete, struct err *err) {
    return message_out_head(out, sequence, "response.output_item.done", r, err) &&
           json_text(out, err, ",'output_index':0,'item':") &&
           message_out_item(out, r, text, complete, err) && json_text(out, err, "}");
}

bool message_out_stats(struct buf *out, uint64_t sequence, const struct message_response *r,
                       const struct stats *stats, struct err *err) {
    return message_out_head(out, sequence, "response.stats", r, err) &&
           json_text(out, err,
                     ",'ttft_ms':%f,'prompt_tps':%f,'decode_tps':%f,'cache':{'images_encoded':%u,"
                     "'images_cached':%u,'prefix_tokens':%u}}",
                     stats->ttft_ms, stats->prompt_tps, stats->decode_tps, (uint64_t)stats->images_encoded,
                     (uint64_t)stats->images_cached, (uint64_t)stats->prefix_tokens);
}

static const char *message_out_status(enum finish finish) {
    static const char *const names[] = {
        [FINISH_COMPLETED] = "completed",
        [FINISH_INCOMPLETE] = "incomplete",
        [FINISH_FAILED] = "failed",
        [FINISH_CANCELLED] = "cancelled",
    };
    return names[finish];
}

bool message_out_done(struct buf *out, uint64_t sequence, const struct message_response *r,
                      const struct event *event, bool has_item, const char *text, struct err *err) {
    static const char *const types[] = {
        [FINISH_COMPLETED] = "response.completed",
        [FINISH_INCOMPLETE] = "response.incomplete",
        [FINISH_FAILED] = "response.failed",
        [FINISH_CANCELLED] = "response.cancelled",
    };
    bool ok = message_out_head(out, sequence, types[event->finish], r, err) &&
              message_out_body(out, r, message_out_status(event->finish), err) &&
              message_out_notices(out, r, err) && json_text(out, err, ",'output':[") &&
              (!has_item || message_out_item(out, r, text, event->finish == FINISH_COMPLETED, err)) &&
              json_text(out, err, "],'usage':") && message_out_usage(out, &event->usage, err);
    if (ok && event->finish == FINISH_FAILED)
        ok = json_text(out, err, ",'error':{'code':%s,'message':%s,'param':%s}",
                       err_code_name(event->err.code), message_out_text(&event->err),
                       event->err.param[0] ? event->err.param : NULL);
    else if (ok)
        ok = json_text(out, err, ",'error':null");
    if (ok && event->finish == FINISH_INCOMPLETE)
        ok = json_text(out, err, ",'incomplete_details':{'reason':%s}", event->incomplete_reason);
    else if (ok)
        ok = json_text(out, err, ",'incomplete_details':null");
    return ok && json_text(out, err, "}}");
}
