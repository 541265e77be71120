// Takes "input" of a response.create -> gives the turns and parts of a request.
//
//   "text"  |  [ {"role", "content": "text" | [part]} ]
//   part: input_text, output_text, text {text} | input_image {image_url: data URI | image_id, detail}
//         | image_url {image_url: {url, detail}}
#include "message_input.h"

#include "base/base64.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>

enum { PARAM_SIZE = 64 }; // "input[12].content[3].image_url"

// A field's name for messages; one that is too long is cut.
static void message_param(char *out, size_t size_bytes, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void message_param(char *out, size_t size_bytes, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    vsnprintf(out, size_bytes, fmt, args);
    va_end(args);
}

bool message_base64(const char *text, size_t len, const char *param, const struct message_limits *limits,
                    uint8_t **bytes, size_t *size_bytes, struct err *err) {
    if (len / 4 * 3 > limits->max_image_bytes + 3) {
        err_set(err, ERR_IMAGE_TOO_LARGE, "%s: a picture of %zu bytes, limit %zu", param, len / 4 * 3,
                limits->max_image_bytes);
        return err_set_param(err, "%s", param);
    }
    *bytes = base64_decode(text, len, param, size_bytes, err);
    if (!*bytes)
        return err_set_param(err, "%s", param);
    if (*size_bytes > limits->max_image_bytes) {
        err_set(err, ERR_IMAGE_TOO_LARGE, "%s: a picture of %zu bytes, limit %zu", param, *size_bytes,
                limits->max_image_bytes);
        return err_set_param(err, "%s", param);
    }
    return true;
}

// data:[mime][;params];base64,....  What the bytes are is told by the bytes.
static bool message_data_uri(const json_t *value, const char *param, const struct message_limits *limits,
                             struct request_part *part, struct err *err) {
    if (!json_is_string(value))
        return message_invalid(err, param, "a data: URI", value);
    const char *uri = json_string_value(value);
    size_t len = json_string_length(value);
    const char *comma = memchr(uri, ',', len < 256 ? len : 256);
    static const char marker[] = ";base64";
    size_t marker_len = sizeof marker - 1;
    if (len < 5 || strncmp(uri, "data:", 5) != 0 || !comma || (size_t)(comma - uri) < 5 + marker_len ||
        memcmp(comma - marker_len, marker, marker_len) != 0) {
        err_set(err, ERR_INVALID_VALUE,
                "%s: expected a URI of the form data:...;base64,... (this server fetches nothing)", param);
        return err_set_param(err, "%s", param);
    }
    const char *data = comma + 1;
    return message_base64(data, len - (size_t)(data - uri), param, limits, &part->image_bytes,
                          &part->image_size_bytes, err);
}

static bool message_detail(const json_t *value, const char *param, enum request_detail *detail,
                           struct err *err) {
    static const char *const names[] = {"auto", "low", "high"};
    if (!value || json_is_null(value))
        return true;
    if (!json_is_string(value))
        return message_invalid(err, param, "a string", value);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(json_string_value(value), names[i])) {
            *detail = (enum request_detail)i;
            return true;
        }
    err_set(err, ERR_INVALID_VALUE, "%s: expected auto, low or high, found \"%.40s\"", param,
            json_string_value(value));
    return err_set_param(err, "%s", param);
}

static bool message_image_part(json_t *value, const char *param, const struct message_limits *limits,
                               struct request_part *part, struct err *err) {
    char field[PARAM_SIZE];
    if (!limits->vision) {
        err_set(err, ERR_IMAGE_UNSUPPORTED, "%s: model %s has no vision", param, limits->model);
        return err_set_param(err, "%s", param);
    }
    json_t *id = json_object_get(value, "image_id"), *url = json_object_get(value, "image_url");
    json_t *detail = json_object_get(json_is_object(url) ? url : value, "detail");
    message_param(field, sizeof field, "%s.detail", param);
    if (!message_detail(detail, field, &part->detail, err))
        return false;
    if (id && !json_is_null(id)) {
        message_param(field, sizeof field, "%s.image_id", param);
        message_param(part->param, sizeof part->param, "%s", field);
        if (!json_is_string(id))
            return message_invalid(err, field, "a string", id);
        part->image_id = xstrdup(json_string_value(id));
        return true;
    }
    message_param(field, sizeof field, "%s.image_url", param);
    message_param(part->param, sizeof part->param, "%s", field);
    if (json_is_object(url))
        url = json_object_get(url, "url");
    return message_data_uri(url, field, limits, part, err);
}

static bool message_text_part(const json_t *text, const char *param, struct request_part *part,
                              struct err *err) {
    message_param(part->param, sizeof part->param, "%s", param);
    if (!json_is_string(text))
        return message_invalid(err, param, "a string", text);
    if (strlen(json_string_value(text)) != json_string_length(text)) {
        err_set(err, ERR_INVALID_VALUE, "%s: a text may not hold a NUL character", param);
        return err_set_param(err, "%s", param);
    }
    part->text = try_malloc(json_string_length(text) + 1, param, err);
    if (!part->text)
        return false;
    memcpy(part->text, json_string_value(text), json_string_length(text) + 1);
    return true;
}

static bool message_part(json_t *value, const char *param, const struct message_limits *limits,
                         struct request_turn *turn, struct err *err) {
    char field[PARAM_SIZE];
    if (!json_is_object(value))
        return message_invalid(err, param, "an object", value);
    const json_t *type = json_object_get(value, "type");
    message_param(field, sizeof field, "%s.type", param);
    if (!json_is_string(type))
        return message_invalid(err, field, "a string", type);
    const char *name = json_string_value(type);
    if (!strcmp(name, "input_text") || !strcmp(name, "output_text") || !strcmp(name, "text")) {
        message_param(field, sizeof field, "%s.text", param);
        return message_text_part(json_object_get(value, "text"), field, request_add_part(turn), err);
    }
    if (!strcmp(name, "input_image") || !strcmp(name, "image_url"))
        return message_image_part(value, param, limits, request_add_part(turn), err);
    err_set(err, ERR_INVALID_VALUE, "%s: expected input_text, input_image or output_text, found \"%.40s\"",
            field, name);
    return err_set_param(err, "%s", field);
}

static bool message_role(const json_t *value, const char *param, enum llm_role *role, struct err *err) {
    static const struct {
        const char *name;
        enum llm_role role;
    } roles[] = {
        {"user", LLM_USER}, {"assistant", LLM_ASSISTANT}, {"system", LLM_SYSTEM}, {"developer", LLM_SYSTEM}};
    if (!json_is_string(value))
        return message_invalid(err, param, "a string", value);
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (!strcmp(json_string_value(value), roles[i].name)) {
            *role = roles[i].role;
            return true;
        }
    err_set(err, ERR_INVALID_VALUE, "%s: expected user, assistant, system or developer, found \"%.40s\"",
            param, json_string_value(value));
    return err_set_param(err, "%s", param);
}

static bool message_item(json_t *item, size_t index, const struct message_limits *limits, struct request *r,
                         struct err *err) {
    char param[PARAM_SIZE];
    message_param(param, sizeof param, "input[%zu]", index);
    if (!json_is_object(item))
        return message_invalid(err, param, "an object", item);
    const json_t *type = json_object_get(item, "type");
    if (type && (!json_is_string(type) || strcmp(json_string_value(type), "message") != 0)) {
        err_set(err, ERR_INVALID_VALUE,
                "input[%zu].type: expected \"message\"; other items are not supported", index);
        return err_set_param(err, "input[%zu].type", index);
    }
    enum llm_role role = LLM_USER;
    message_param(param, sizeof param, "input[%zu].role", index);
    if (!message_role(json_object_get(item, "role"), param, &role, err))
        return false;
    json_t *content = json_object_get(item, "content");
    message_param(param, sizeof param, "input[%zu].content", index);
    struct request_turn *turn = request_add_turn(r, role);
    if (json_is_string(content))
        return message_text_part(content, param, request_add_part(turn), err);
    if (!json_is_array(content) || json_array_size(content) == 0)
        return message_invalid(err, param, "a string or an array of parts",
                               json_is_array(content) ? NULL : content);
    for (size_t i = 0; i < json_array_size(content); i++) {
        message_param(param, sizeof param, "input[%zu].content[%zu]", index, i);
        if (!message_part(json_array_get(content, i), param, limits, turn, err))
            return false;
    }
    return true;
}

bool message_input(json_t *input, const struct message_limits *limits, struct request *r, struct err *err) {
    if (json_is_string(input))
        return message_text_part(input, "input", request_add_part(request_add_turn(r, LLM_USER)), err);
    if (!json_is_array(input) || json_array_size(input) == 0)
        return message_invalid(err, "input", "a string or an array of items",
                               json_is_array(input) ? NULL : input);
    for (size_t i = 0; i < json_array_size(input); i++)
        if (!message_item(json_array_get(input, i), i, limits, r, err))
            return false;
    return true;
}
