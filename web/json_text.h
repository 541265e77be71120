// JSON text straight into a buffer: what the server says is small, fixed in form, and written once.
#ifndef JSON_TEXT_H
#define JSON_TEXT_H

#include "base/buf.h"

#include <stdint.h>

// Appends fmt, in which ' stands for " and these take an argument:
//   %s  const char *: a JSON string, NULL is null     %r  const char *: raw JSON, NULL is null
//   %u  uint64_t      %d  int64_t      %f  double with up to three decimals      %b  int: true or false
// A client's text goes through %s only. False with ERR_NOMEM, or ERR_MESSAGE_TOO_BIG at the buf's limit.
bool json_text(struct buf *out, struct err *err, const char *fmt, ...);

// Appends UTF-8 text as the inside of a JSON string.
bool json_text_escape(struct buf *out, const char *text, size_t len, struct err *err);
// How many bytes that takes.
size_t json_text_escaped_size(const char *text, size_t len);

#endif
