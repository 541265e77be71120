#include "peers.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

struct peer {
    struct peer *next;
    size_t bucket;
    size_t n_sockets;
    char address[64];
};

static size_t peers_bucket(const char *address) {
    size_t hash = 5381;
    for (; *address; address++)
        hash = hash * 33 + (unsigned char)*address;
    return hash % PEERS_BUCKETS;
}

static struct peer *peers_find(const struct peers *p, const char *address) {
    struct peer *peer = p->buckets[peers_bucket(address)];
    while (peer && strcmp(peer->address, address) != 0)
        peer = peer->next;
    return peer;
}

bool peers_has_room(const struct peers *p, const char *address) {
    const struct peer *peer = peers_find(p, address);
    return !peer || peer->n_sockets < PEERS_SOCKETS_MAX;
}

struct peer *peers_add(struct peers *p, const char *address) {
    struct peer *peer = peers_find(p, address);
    if (!peer) {
        peer = xcalloc(1, sizeof *peer);
        peer->bucket = peers_bucket(address);
        snprintf(peer->address, sizeof peer->address, "%s", address);
        peer->next = p->buckets[peer->bucket];
        p->buckets[peer->bucket] = peer;
    }
    peer->n_sockets++;
    return peer;
}

void peers_remove(struct peers *p, struct peer *peer) {
    if (--peer->n_sockets > 0)
        return;
    struct peer **at = &p->buckets[peer->bucket];
    while (*at != peer)
        at = &(*at)->next;
    *at = peer->next;
    free(peer);
}

void peers_clear(struct peers *p) {
    for (size_t i = 0; i < PEERS_BUCKETS; i++)
        while (p->buckets[i]) {
            struct peer *peer = p->buckets[i];
            p->buckets[i] = peer->next;
            free(peer);
        }
}
