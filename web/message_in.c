// Takes the text of one message -> gives struct message: its type and the fields that are not a conversation.
// The input of a response is read by message_input.c, how
// it is sampled by message_sampling.c.
#include "message_in.h"

#include "base/base64.h"
#include "base/json.h"
#include "base/mem.h"
#include "message_input.h"
#include "message_sampling.h"

#include <stdlib.h>

// jansson's lexer doubles its buffer as a string grows and then copies it: a long string costs up to five
// times its length in all. The rest is for the many small values of an ordinary message.
static size_t message_budget(size_t len) {
    return ((size_t)8 << 20) + 6 * len;
}

const char *message_json_type(const json_t *value) {
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a real number";
    case JSON_TRUE:
        return "true";
    case JSON_FALSE:
        return "false";
    case JSON_NULL:
        break;
    }
    return "null";
}

bool message_invalid(struct err *err, const char *param, const char *want, const json_t *found) {
    err_set(err, ERR_INVALID_VALUE, "%s: expected %s, found %s", param, want,
            found ? message_json_type(found) : "nothing");
    return err_set_param(err, "%s", param);
}

// Copies an optional short string; absent and null leave *out NULL.
static bool message_id(const json_t *root, const char *name, char **out, struct err *err) {
    const json_t *value = json_object_get(root, name);
    if (!value || json_is_null(value))
        return true;
    if (!json_is_string(value))
        return message_invalid(err, name, "a string", value);
    size_t len = json_string_length(value);
    if (len == 0 || len > MESSAGE_ID_MAX || strlen(json_string_value(value)) != len) {
        err_set(err, ERR_INVALID_VALUE, "%s: expected 1 to %d bytes, found %zu", name, MESSAGE_ID_MAX, len);
        return err_set_param(err, "%s", name);
    }
    *out = xstrdup(json_string_value(value));
    return true;
}

static bool message_stop(const json_t *value, const char *param, struct request *r, struct err *err) {
    if (!json_is_string(value))
        return message_invalid(err, param, "a string", value);
    size_t len = json_string_length(value);
    if (len == 0 || len > MESSAGE_ID_MAX || strlen(json_string_value(value)) != len) {
        err_set(err, ERR_INVALID_VALUE, "%s: expected 1 to %d bytes, found %zu", param, MESSAGE_ID_MAX, len);
        return err_set_param(err, "%s", param);
    }
    r->stops[r->n_stops++] = xstrdup(json_string_value(value));
    return true;
}

static bool message_stops(const json_t *root, struct request *r, struct err *err) {
    const json_t *value = json_object_get(root, "stop");
    if (!value || json_is_null(value))
        return true;
    r->stops = xcalloc(MESSAGE_STOPS_MAX, sizeof *r->stops);
    if (!json_is_array(value))
        return json_is_string(value) ? message_stop(value, "stop", r, err)
                                     : message_invalid(err, "stop", "a string or an array of strings", value);
    if (json_array_size(value) > MESSAGE_STOPS_MAX) {
        err_set(err, ERR_INVALID_VALUE, "stop: expected at most %d strings, found %zu", MESSAGE_STOPS_MAX,
                json_array_size(value));
        return err_set_param(err, "stop");
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        char param[32];
        snprintf(param, sizeof param, "stop[%zu]", i);
        if (!message_stop(json_array_get(value, i), param, r, err))
            return false;
    }
    return true;
}

// An object of short strings, kept as JSON text and given back with every response event that has room.
static bool message_metadata(const json_t *root, struct message *m, struct err *err) {
    json_t *value = json_object_get(root, "metadata");
    if (!value || json_is_null(value))
        return true;
    if (!json_is_object(value))
        return message_invalid(err, "metadata", "an object", value);
    const char *key;
    json_t *item;
    json_object_foreach(value, key, item) {
        if (!json_is_string(item))
            return message_invalid(err, "metadata", "strings as values", item);
    }
    m->metadata = json_dumps(value, JSON_COMPACT);
    if (!m->metadata)
        return err_set(err, ERR_NOMEM, "metadata: no memory");
    if (strlen(m->metadata) > MESSAGE_METADATA_MAX) {
        err_set(err, ERR_INVALID_VALUE, "metadata: expected at most %d bytes of JSON, found %zu",
                MESSAGE_METADATA_MAX, strlen(m->metadata));
        return err_set_param(err, "metadata");
    }
    return true;
}

static bool message_refuse(struct err *err, const char *param) {
    err_set(err, ERR_INVALID_VALUE, "%s: not supported by this server", param);
    return err_set_param(err, "%s", param);
}

// Fields that would change the answer in a way that this server cannot.
static bool message_unsupported(const json_t *root, struct err *err) {
    const json_t *tools = json_object_get(root, "tools");
    if (json_array_size(tools) > 0)
        return message_refuse(err, "tools");
    return true;
}

static bool message_model(const json_t *root, const struct message_limits *limits, struct err *err) {
    const json_t *value = json_object_get(root, "model");
    if (!value || json_is_null(value))
        return true;
    if (!json_is_string(value))
        return message_invalid(err, "model", "a string", value);
    const char *name = json_string_value(value);
    if (!strcmp(name, "default") || !strcmp(name, limits->model))
        return true;
    err_set(err, ERR_MODEL_NOT_FOUND, "model: expected \"default\" or \"%s\", found \"%.64s\"", limits->model,
            name);
    return err_set_param(err, "model");
}

static bool message_response_create(json_t *root, const struct message_limits *limits, struct message *m,
                                    struct err *err) {
    struct request *r = m->request = request_create();
    if (limits->sampling)
        message_sampling_defaults(limits->sampling, limits->seed, r);
    if (!message_model(root, limits, err) || !message_unsupported(root, err))
        return false;
    if (!message_sampling(root, r, err) || !message_stops(root, r, err) || !message_metadata(root, m, err) ||
        !message_echo_format(root, &m->format, err) ||
        !message_id(root, "previous_response_id", &r->previous_response_id, err))
        return false;
    json_t *instructions = json_object_get(root, "instructions");
    if (instructions && !json_is_null(instructions)) {
        if (!json_is_string(instructions))
            return message_invalid(err, "instructions", "a string", instructions);
        r->instructions = xstrdup(json_string_value(instructions));
    }
    return message_input(json_object_get(root, "input"), limits, r, err);
}

static bool message_response_cancel(json_t *root, struct message *m, struct err *err) {
    return message_id(root, "response_id", &m->response_id, err);
}

static bool message_image_put(json_t *root, const struct message_limits *limits, struct message *m,
                              struct err *err) {
    const json_t *data = json_object_get(root, "data");
    if (!json_is_string(data))
        return message_invalid(err, "data", "a base64 string", data);
    return message_base64(json_string_value(data), json_string_length(data), "data", limits, &m->bytes,
                          &m->size_bytes, err);
}

static bool message_sha256(const json_t *value, struct message *m, struct err *err) {
    if (!value || json_is_null(value))
        return true;
    if (!json_is_string(value))
        return message_invalid(err, "sha256", "a string", value);
    const char *digits = json_string_value(value);
    if (strspn(digits, "0123456789abcdef") != SHA256_HEX_SIZE - 1 || digits[SHA256_HEX_SIZE - 1]) {
        err_set(err, ERR_INVALID_VALUE, "sha256: expected 64 lower-case hexadecimal digits");
        return err_set_param(err, "sha256");
    }
    memcpy(m->sha256, digits, SHA256_HEX_SIZE);
    return true;
}

static bool message_image_begin(json_t *root, const struct message_limits *limits, struct message *m,
                                struct err *err) {
    const json_t *id = json_object_get(root, "upload_id"), *size = json_object_get(root, "size_bytes");
    if (!json_is_integer(id))
        return message_invalid(err, "upload_id", "an integer", id);
    if (json_integer_value(id) < 0 || json_integer_value(id) > UINT32_MAX) {
        err_set(err, ERR_INVALID_VALUE, "upload_id: expected 0 to 4294967295, found %lld",
                (long long)json_integer_value(id));
        return err_set_param(err, "upload_id");
    }
    m->upload_id = (uint32_t)json_integer_value(id);
    if (!json_is_integer(size))
        return message_invalid(err, "size_bytes", "an integer", size);
    if (json_integer_value(size) < 1) {
        err_set(err, ERR_INVALID_VALUE, "size_bytes: expected at least 1, found %lld",
                (long long)json_integer_value(size));
        return err_set_param(err, "size_bytes");
    }
    m->size_bytes = (size_t)json_integer_value(size);
    if (m->size_bytes > limits->max_image_bytes) {
        err_set(err, ERR_IMAGE_TOO_LARGE, "size_bytes: %zu, limit %zu", m->size_bytes,
                limits->max_image_bytes);
        return err_set_param(err, "size_bytes");
    }
    return message_sha256(json_object_get(root, "sha256"), m, err);
}

static bool message_read(json_t *root, const struct message_limits *limits, struct message *m,
                         struct err *err) {
    if (!json_is_object(root))
        return err_set(err, ERR_INVALID_JSON, "a message is a JSON object, found %s",
                       message_json_type(root));
    if (!message_id(root, "event_id", &m->event_id, err) ||
        !message_id(root, "stream_id", &m->stream_id, err))
        return false;
    const json_t *type = json_object_get(root, "type");
    if (!json_is_string(type))
        return message_invalid(err, "type", "a string", type);
    const char *name = json_string_value(type);
    if (!strcmp(name, "response.create")) {
        m->type = MESSAGE_RESPONSE_CREATE;
        return message_response_create(root, limits, m, err);
    }
    if (!strcmp(name, "response.cancel")) {
        m->type = MESSAGE_RESPONSE_CANCEL;
        return message_response_cancel(root, m, err);
    }
    if (strncmp(name, "image.", 6) == 0 && !limits->vision)
        return err_set(err, ERR_IMAGE_UNSUPPORTED, "model %s has no vision", limits->model);
    if (!strcmp(name, "image.put")) {
        m->type = MESSAGE_IMAGE_PUT;
        return message_image_put(root, limits, m, err);
    }
    if (!strcmp(name, "image.begin")) {
        m->type = MESSAGE_IMAGE_BEGIN;
        return message_image_begin(root, limits, m, err);
    }
    err_set(err, ERR_UNKNOWN_TYPE,
            "type \"%.64s\" is not one of response.create, response.cancel, image.put, image.begin", name);
    return err_set_param(err, "type");
}

bool message_parse(const char *text, size_t len, const struct message_limits *limits, struct message *out,
                   struct err *err) {
    *out = (struct message){0};
    json_t *root = json_parse(text, len, message_budget(len), err);
    if (!root)
        return false;
    bool ok = message_read(root, limits, out, err);
    json_decref(root);
    return ok;
}

void message_clear(struct message *m) {
    free(m->event_id);
    free(m->stream_id);
    request_destroy(m->request);
    free(m->metadata);
    free(m->format);
    free(m->response_id);
    free(m->bytes);
    *m = (struct message){0};
}
