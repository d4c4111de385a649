/*
 * log.h - the one logger: a line per event on stderr, as text or JSON, never a prompt.
 *
 * Control characters (ESC, CR, LF, C1) of what is logged come out escaped, so that nobody's input
 * can forge a line or move the reader's cursor.  All functions are thread-safe; a line is one
 * write().
 */
#ifndef AIRLOCK_LOG_H
#define AIRLOCK_LOG_H

#include <stdarg.h>
#include <stddef.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/* program is kept as a pointer.  Before this call lines go out as text at level info. */
void log_setup(const char *program, enum log_format format, enum log_level level);

/* Option values: "text" or "json"; "debug", "info", "warning", "error".  0, or -1: not one of them.
 */
int log_parse_format(const char *word, enum log_format *out);
int log_parse_level(const char *word, enum log_level *out);

void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_linev(enum log_level level, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)

#endif
