// Who may talk to this server: the Host that was asked for (a foreign name that leads here is DNS rebinding)
// and the Origin of the page that asks (a foreign page may not use the visitor's server).
#ifndef ORIGIN_H
#define ORIGIN_H

#include <stdbool.h>

struct config;

// host: the Host header. Allowed are localhost, the loopback addresses, config->host and allow_hosts, each
// alone or with this port; an entry of allow_hosts that holds a port must match whole.
bool origin_host_allowed(const struct config *config, int port, const char *host);

// origin: the Origin header of a request whose Host is allowed. Allowed are http and https of that very host
// and port, and allow_origins.
bool origin_allowed(const struct config *config, const char *origin, const char *host);

#endif
