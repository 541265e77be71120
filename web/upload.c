// Takes binary messages -> gives the whole bytes of a picture.
#include "upload.h"

#include "base/mem.h"

#include <stdlib.h>

static uint64_t upload_read_le(const uint8_t *p, size_t n) {
    uint64_t value = 0;
    for (size_t i = n; i > 0; i--)
        value = value << 8 | p[i - 1];
    return value;
}

static void upload_clear(struct upload *upload) {
    free(upload->bytes);
    free(upload->event_id);
    *upload = (struct upload){0};
}

void uploads_clear(struct uploads *u) {
    for (size_t i = 0; i < UPLOADS_MAX; i++)
        upload_clear(&u->items[i]);
}

static struct upload *uploads_find(struct uploads *u, uint32_t id) {
    for (size_t i = 0; i < UPLOADS_MAX; i++)
        if (u->items[i].used && u->items[i].id == id)
            return &u->items[i];
    return NULL;
}

bool uploads_begin(struct uploads *u, const struct message *begin, struct err *err) {
    if (uploads_find(u, begin->upload_id)) {
        err_set(err, ERR_INVALID_VALUE, "upload_id: %u is under way already", begin->upload_id);
        return err_set_param(err, "upload_id");
    }
    struct upload *place = NULL;
    for (size_t i = 0; i < UPLOADS_MAX && !place; i++)
        if (!u->items[i].used)
            place = &u->items[i];
    if (!place)
        return err_set(err, ERR_BUSY, "%d uploads are under way on this connection, limit %d", UPLOADS_MAX,
                       UPLOADS_MAX);
    place->bytes = try_malloc(begin->size_bytes, "upload", err);
    if (!place->bytes)
        return false;
    place->used = true;
    place->id = begin->upload_id;
    place->size_bytes = begin->size_bytes;
    memcpy(place->sha256, begin->sha256, sizeof place->sha256);
    place->event_id = begin->event_id ? xstrdup(begin->event_id) : NULL;
    return true;
}

bool uploads_receive(struct uploads *u, const uint8_t *data, size_t len, struct upload **finished,
                     int64_t *upload_id, struct err *err) {
    *finished = NULL;
    *upload_id = -1;
    if (len < UPLOAD_HEADER_SIZE)
        return err_set(err, ERR_INVALID_VALUE, "binary message: expected a header of %d bytes, found %zu",
                       UPLOAD_HEADER_SIZE, len);
    if (data[0] != 1 || data[1] != 1 || data[2] || data[3])
        return err_set(err, ERR_INVALID_VALUE,
                       "binary message: expected version 1, kind 1, reserved 0, found %d, %d, %d", data[0],
                       data[1], data[2] | data[3] << 8);
    uint32_t id = (uint32_t)upload_read_le(data + 4, 4);
    uint64_t offset = upload_read_le(data + 8, 8);
    *upload_id = id;
    struct upload *upload = uploads_find(u, id);
    if (!upload)
        return err_set(err, ERR_UPLOAD_UNKNOWN, "no upload %u is under way", id);
    if (offset != upload->n_received)
        return err_set(err, ERR_UPLOAD_OUT_OF_ORDER, "upload %u: expected offset %zu, found %llu", id,
                       upload->n_received, (unsigned long long)offset);
    size_t n = len - UPLOAD_HEADER_SIZE;
    if (n > upload->size_bytes - upload->n_received)
        return err_set(err, ERR_UPLOAD_OUT_OF_ORDER, "upload %u: %zu bytes at offset %zu pass its end at %zu",
                       id, n, upload->n_received, upload->size_bytes);
    memcpy(upload->bytes + upload->n_received, data + UPLOAD_HEADER_SIZE, n);
    upload->n_received += n;
    if (upload->n_received == upload->size_bytes)
        *finished = upload;
    return true;
}

uint8_t *upload_take(struct upload *upload) {
    uint8_t *bytes = upload->bytes;
    upload->bytes = NULL;
    upload_clear(upload);
    return bytes;
}
