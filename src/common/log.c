/* log.c - formats, escapes and writes log lines. */
#include "log.h"

#include "json.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    TEXT_MAX = 2048,
    LINE_MAX_BYTES = 6 * TEXT_MAX + 256
}; /* each byte grows to \u00XX at most */

static struct {
    const char *program;
    enum log_format format;
    enum log_level level;
} config = { "airlock", LOG_FORMAT_TEXT, LOG_LEVEL_INFO };

static const char *const level_names[] = { "debug", "info", "warning", "error" };

void log_setup(const char *program, enum log_format format, enum log_level level)
{
    config.program = program;
    config.format = format;
    config.level = level;
}

int log_parse_format(const char *word, enum log_format *out)
{
    if (strcmp(word, "text") == 0)
        *out = LOG_FORMAT_TEXT;
    else if (strcmp(word, "json") == 0)
        *out = LOG_FORMAT_JSON;
    else
        return -1;
    return 0;
}

int log_parse_level(const char *word, enum log_level *out)
{
    for (size_t i = 0; i < sizeof level_names / sizeof *level_names; i++) {
        if (strcmp(word, level_names[i]) == 0) {
            *out = (enum log_level)i;
            return 0;
        }
    }
    return -1;
}

/* Bytes of the UTF-8 character at p, 0: there is none. */
static size_t character(const unsigned char *p)
{
    size_t n = *p < 0x80 ? 1 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;
    return utf8_valid((const char *)p, strnlen((const char *)p, n)) ? n : 0;
}

/* C1 controls (U+0080 to U+009F), line separators, and what turns the direction of writing. */
static int invisible(const unsigned char *p, size_t n)
{
    if (n == 2)
        return p[0] == 0xc2 && p[1] <= 0x9f;
    if (n != 3 || p[0] != 0xe2)
        return 0;
    return (p[1] == 0x80 && (p[2] == 0x8e || p[2] == 0x8f || (p[2] >= 0xa8 && p[2] <= 0xae))) ||
           (p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9);
}

static char *escape_byte(char *out, unsigned char c, int json)
{
    return out + sprintf(out, json ? "\\u00%02x" : "\\x%02x", c);
}

/* Writes text to out with control and invisible characters, bytes that are no UTF-8 and, for JSON,
 * quotes and backslashes escaped.  out holds 6 bytes for each byte of text. */
static char *escape(char *out, const char *text, int json)
{
    const unsigned char *p = (const unsigned char *)text;
    while (*p) {
        size_t n = character(p);
        if (n == 0 || *p < 0x20 || *p == 0x7f) {
            out = escape_byte(out, *p++, json);
        } else if (invisible(p, n)) {
            unsigned code =
                n == 2 ? p[1] : (unsigned)((p[0] & 15) << 12 | (p[1] & 63) << 6 | (p[2] & 63));
            out += sprintf(out, "\\u%04x", code);
            p += n;
        } else {
            if (json && (*p == '"' || *p == '\\'))
                *out++ = '\\';
            memcpy(out, p, n);
            out += n;
            p += n;
        }
    }
    return out;
}

void log_linev(enum log_level level, const char *format, va_list args)
{
    if (level < config.level)
        return;
    char text[TEXT_MAX], line[LINE_MAX_BYTES], when[32];
    vsnprintf(text, sizeof text, format, args);

    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &utc);

    int json = config.format == LOG_FORMAT_JSON;
    char *p = line;
    p += sprintf(p,
                 json ? "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\",\"program\":\"%s\",\"message\":\""
                      : "%s.%03ldZ %s %s: ",
                 when, now.tv_nsec / 1000000, level_names[level], config.program);
    p = escape(p, text, json);
    p += sprintf(p, json ? "\"}\n" : "\n");
    ssize_t n = write(STDERR_FILENO, line, (size_t)(p - line));
    (void)n; /* nowhere to report that the log is gone */
}

void log_line(enum log_level level, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    log_linev(level, format, args);
    va_end(args);
}
