// Takes messages from a session -> gives them one at a time to a socket that is writable.
#include "outbox.h"

#include "base/buf.h"
#include "base/mem.h"
#include "json_text.h"

#include <stdlib.h>

struct outbox_item {
    struct outbox_item *next, *previous;
    uint64_t response; // of a delta, else 0
    bool open;         // a delta whose string is not closed yet
    struct buf bytes;  // headroom and message
};

void outbox_init(struct outbox *o) {
    *o = (struct outbox){0};
}

void outbox_clear(struct outbox *o) {
    while (o->head)
        outbox_pop(o);
}

static struct outbox_item *outbox_item_create(uint64_t response) {
    static const char headroom[OUTBOX_HEADROOM];
    struct outbox_item *item = xcalloc(1, sizeof *item);
    item->response = response;
    item->open = response != 0;
    if (!buf_append(&item->bytes, headroom, sizeof headroom, NULL)) {
        free(item);
        return NULL;
    }
    return item;
}

static void outbox_append(struct outbox *o, struct outbox_item *item) {
    item->previous = o->tail;
    if (o->tail)
        o->tail->next = item;
    else
        o->head = item;
    o->tail = item;
    o->n_bytes += item->bytes.len;
}

bool outbox_push(struct outbox *o, const char *text, size_t len, struct err *err) {
    struct outbox_item *item = outbox_item_create(0);
    if (item && buf_append(&item->bytes, text, len, NULL)) {
        outbox_append(o, item);
        return true;
    }
    if (item)
        buf_clear(&item->bytes);
    free(item);
    return err_set(err, ERR_NOMEM, "no memory for a message of %zu bytes", len);
}

bool outbox_push_delta(struct outbox *o, uint64_t response, const char *head, const char *text, size_t len,
                       struct err *err) {
    struct outbox_item *item = outbox_item_create(response);
    if (item && buf_append_str(&item->bytes, head, NULL) && json_text_escape(&item->bytes, text, len, NULL)) {
        outbox_append(o, item);
        return true;
    }
    if (item)
        buf_clear(&item->bytes);
    free(item);
    return err_set(err, ERR_NOMEM, "no memory for a delta of %zu bytes", len);
}

bool outbox_join_delta(struct outbox *o, uint64_t response, const char *text, size_t len) {
    struct outbox_item *item = o->tail;
    while (item && item->response != response)
        item = item->previous;
    if (!item || !item->open)
        return false;
    size_t before = item->bytes.len;
    if (before + json_text_escaped_size(text, len) > OUTBOX_DELTA_MAX ||
        !json_text_escape(&item->bytes, text, len, NULL))
        return false;
    o->n_bytes += item->bytes.len - before;
    return true;
}

bool outbox_front(struct outbox *o, unsigned char **data, size_t *len) {
    struct outbox_item *item = o->head;
    if (!item)
        return false;
    if (item->open) {
        if (!buf_append_str(&item->bytes, "\"}", NULL))
            return false;
        item->open = false;
        o->n_bytes += 2;
    }
    *data = (unsigned char *)item->bytes.data + OUTBOX_HEADROOM;
    *len = item->bytes.len - OUTBOX_HEADROOM;
    return true;
}

void outbox_pop(struct outbox *o) {
    struct outbox_item *item = o->head;
    o->head = item->next;
    if (o->head)
        o->head->previous = NULL;
    else
        o->tail = NULL;
    o->n_bytes -= item->bytes.len;
    buf_clear(&item->bytes);
    free(item);
}
