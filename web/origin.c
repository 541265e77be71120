// Takes header values -> tells whether they are on the allow-list. Names compare without regard to case.
#include "origin.h"

#include "config.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

// Whether host is name, or name:port.
static bool origin_host_is(const char *host, const char *name, int port) {
    size_t len = strlen(name);
    if (strncasecmp(host, name, len) != 0)
        return false;
    if (!host[len])
        return true;
    char suffix[16];
    snprintf(suffix, sizeof suffix, ":%d", port);
    return strcmp(host + len, suffix) == 0;
}

bool origin_host_allowed(const struct config *config, int port, const char *host) {
    static const char *const always[] = {"localhost", "127.0.0.1", "[::1]"};
    for (size_t i = 0; i < sizeof always / sizeof *always; i++)
        if (origin_host_is(host, always[i], port))
            return true;
    for (size_t i = 0; i < config->n_allow_hosts; i++)
        if (origin_host_is(host, config->allow_hosts[i], port))
            return true;
    if (!strcmp(config->host, "0.0.0.0") || !strcmp(config->host, "::"))
        return false; // every address is listened on, none is named
    char own[300];
    snprintf(own, sizeof own, strchr(config->host, ':') ? "[%s]" : "%s", config->host);
    return origin_host_is(host, own, port);
}

bool origin_allowed(const struct config *config, const char *origin, const char *host) {
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        size_t len = strlen(schemes[i]);
        if (strncasecmp(origin, schemes[i], len) == 0 && strcasecmp(origin + len, host) == 0)
            return true;
    }
    for (size_t i = 0; i < config->n_allow_origins; i++)
        if (strcasecmp(origin, config->allow_origins[i]) == 0)
            return true;
    return false;
}
