// Letters from other threads to the service thread: scheduler events and finished tasks.
#ifndef MAILBOX_H
#define MAILBOX_H

#include <pthread.h>
#include <stdint.h>

enum mail_kind { MAIL_EVENT, MAIL_TASK };

struct mail { // the first member of what is sent
    struct mail *next;
    enum mail_kind kind;
    uint64_t connection; // whom it concerns; it may be gone by the time of reading
};

struct mailbox {
    pthread_mutex_t lock;
    struct mail *head, *tail; // {lock}
    void (*wake)(void *ud);   // called after a letter fell into an empty mailbox, on the poster's thread
    void *ud;
};

void mailbox_init(struct mailbox *m, void (*wake)(void *ud), void *ud);
void mailbox_clear(struct mailbox *m); // must be empty

// Any thread. Takes the letter.
void mailbox_post(struct mailbox *m, struct mail *mail);
// Service thread. Gives away all letters, oldest first, linked by next; NULL when there are none.
struct mail *mailbox_take_all(struct mailbox *m);

#endif
