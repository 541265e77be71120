// How many sockets each address holds open. Service thread only.
#ifndef PEERS_H
#define PEERS_H

#include <stdbool.h>
#include <stddef.h>

enum { PEERS_SOCKETS_MAX = 64, PEERS_BUCKETS = 256 };

struct peer; // one address with at least one socket

struct peers {
    struct peer *buckets[PEERS_BUCKETS];
};

void peers_clear(struct peers *p);
bool peers_has_room(const struct peers *p, const char *address);
struct peer *peers_add(struct peers *p, const char *address); // one socket more
void peers_remove(struct peers *p, struct peer *peer);        // one less; it may be gone then

#endif
