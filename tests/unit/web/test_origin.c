// The allow-lists of Host and Origin, and the values of the caching and encoding headers.
#include "check.h"

#include "config.h"
#include "web/origin.h"
#include "web/static_files.h"

int main(void) {
    static const char *const hosts[] = {"box.example", "proxy.example:8443"};
    static const char *const origins[] = {"https://app.example"};
    struct config c = {.host = "192.168.1.5",
                       .allow_hosts = hosts,
                       .n_allow_hosts = 2,
                       .allow_origins = origins,
                       .n_allow_origins = 1};
    static const char *const good[] = {"localhost",        "LOCALHOST:8080",    "127.0.0.1:8080",
                                       "[::1]:8080",       "192.168.1.5:8080",  "box.example",
                                       "box.example:8080", "proxy.example:8443"};
    static const char *const bad[] = {"",     "localhost:80",    "localhost:8080 ", "localhost.evil",
                                      "evil", "127.0.0.1:80800", "box.example:1",   "proxy.example",
                                      "[::1", "0.0.0.0:8080"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        CHECK(origin_host_allowed(&c, 8080, good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(!origin_host_allowed(&c, 8080, bad[i]));
    c.host = "0.0.0.0";
    CHECK(!origin_host_allowed(&c, 8080, "0.0.0.0:8080"));

    CHECK(origin_allowed(&c, "http://localhost:8080", "localhost:8080"));
    CHECK(origin_allowed(&c, "https://box.example", "box.example"));
    CHECK(origin_allowed(&c, "https://app.example", "localhost:8080"));
    CHECK(!origin_allowed(&c, "null", "localhost:8080"));
    CHECK(!origin_allowed(&c, "http://localhost", "localhost:8080"));
    CHECK(!origin_allowed(&c, "http://localhost:8080.evil", "localhost:8080"));
    CHECK(!origin_allowed(&c, "ftp://localhost:8080", "localhost:8080"));
    CHECK(!origin_allowed(&c, "https://app.example.evil", "localhost:8080"));

    CHECK(static_accepts_gzip("gzip") && static_accepts_gzip("br, gzip;q=0.5") &&
          static_accepts_gzip("deflate,gzip"));
    CHECK(!static_accepts_gzip("br") && !static_accepts_gzip("gzip;q=0") && !static_accepts_gzip("xgzip"));
    CHECK(static_etag_matches("*", "\"a\"") && static_etag_matches("W/\"b\", \"a\"", "\"a\""));
    CHECK(!static_etag_matches("\"a-gzip\"", "\"a\""));
    return check_result();
}
