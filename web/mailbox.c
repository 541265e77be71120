// Takes letters on any thread -> gives them, in order, to the service thread.
#include "mailbox.h"

#include <stdbool.h>
#include <stddef.h>

void mailbox_init(struct mailbox *m, void (*wake)(void *ud), void *ud) {
    *m = (struct mailbox){.wake = wake, .ud = ud};
    pthread_mutex_init(&m->lock, NULL);
}

void mailbox_clear(struct mailbox *m) {
    pthread_mutex_destroy(&m->lock);
}

void mailbox_post(struct mailbox *m, struct mail *mail) { // any thread
    mail->next = NULL;
    pthread_mutex_lock(&m->lock);
    bool was_empty = !m->head;
    if (was_empty)
        m->head = mail;
    else
        m->tail->next = mail;
    m->tail = mail;
    pthread_mutex_unlock(&m->lock);
    if (was_empty)
        m->wake(m->ud);
}

struct mail *mailbox_take_all(struct mailbox *m) { // service thread
    pthread_mutex_lock(&m->lock);
    struct mail *all = m->head;
    m->head = m->tail = NULL;
    pthread_mutex_unlock(&m->lock);
    return all;
}
