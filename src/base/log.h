// Levelled log on stderr, one line an event: ids, sizes and timings, never prompts or pictures.
#ifndef BASE_LOG_H
#define BASE_LOG_H

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

// Events above this level are dropped; the default is LOG_LEVEL_INFO. Call before threads start.
void log_set_level(enum log_level level);

// Any thread; a line is written whole, control characters in it become spaces.
void log_event(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
