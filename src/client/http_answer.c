/* http_answer.c - a strict parser of an HTTP answer's head; see http_answer.h. */
#include "http_answer.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

static int bad(struct airlock_error *err, const char *why)
{
    return airlock_error_set(err, AIRLOCK_E_UPSTREAM, "the server's answer is not HTTP: %s", why);
}

/* "HTTP/1.1 200 OK" -> 200, or -1. */
static int parse_status_line(const char *line, size_t n)
{
    if (n < 12 || memcmp(line, "HTTP/1.", 7) != 0 || (line[7] != '0' && line[7] != '1') ||
        line[8] != ' ' || (n > 12 && line[12] != ' '))
        return -1;
    int status = 0;
    for (int i = 9; i < 12; i++) {
        if (line[i] < '0' || line[i] > '9')
            return -1;
        status = status * 10 + (line[i] - '0');
    }
    return status >= 100 && status <= 599 ? status : -1;
}

/* Decimal digits only.  0, or -1. */
static int parse_length(const char *text, size_t n, size_t *out)
{
    if (n == 0 || n > 18)
        return -1;
    size_t value = 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -1;
        value = value * 10 + (size_t)(text[i] - '0');
    }
    *out = value;
    return 0;
}

static int parse_header(const char *line, size_t n, struct http_answer *out,
                        struct airlock_error *err)
{
    const char *colon = memchr(line, ':', n);
    if (!colon || colon == line || line[0] == ' ' || line[0] == '\t')
        return bad(err, "a header line without a name");
    size_t name = (size_t)(colon - line);
    const char *value = colon + 1, *end = line + n;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    if (name == 17 && strncasecmp(line, "Transfer-Encoding", 17) == 0)
        return bad(err, "a transfer coding that was not asked for");
    if (name != 14 || strncasecmp(line, "Content-Length", 14) != 0)
        return 0;
    size_t length;
    if (parse_length(value, (size_t)(end - value), &length) < 0)
        return bad(err, "a wrong Content-Length");
    if (out->has_length && length != out->length)
        return bad(err, "two lengths");
    out->has_length = true;
    out->length = length;
    return 0;
}

/* One head from data, which it ends in.  As http_answer_parse(). */
static int parse_head(const char *data, size_t size, struct http_answer *out,
                      struct airlock_error *err)
{
    size_t at = 0;
    for (int first = 1;; first = 0) {
        const char *end = memchr(data + at, '\n', size - at);
        if (!end)
            return 0;
        size_t n = (size_t)(end - data) - at;
        const char *line = data + at;
        at += n + 1;
        if (n && line[n - 1] == '\r')
            n--;
        if (first) {
            out->status = parse_status_line(line, n);
            if (out->status < 0)
                return bad(err, "a wrong status line");
        } else if (n == 0) {
            out->head_size = at;
            return 1;
        } else if (parse_header(line, n, out, err) < 0) {
            return -1;
        }
    }
}

int http_answer_parse(const char *data, size_t size, struct http_answer *out,
                      struct airlock_error *err)
{
    if (size > HTTP_ANSWER_HEAD_MAX)
        size = HTTP_ANSWER_HEAD_MAX;
    size_t skipped = 0;
    for (;;) {
        *out = (struct http_answer){ 0 };
        int rc = parse_head(data + skipped, size - skipped, out, err);
        if (rc == 0 && size == HTTP_ANSWER_HEAD_MAX)
            return bad(err, "headers without end");
        if (rc <= 0)
            return rc;
        out->head_size += skipped;
        if (out->status >= 200)
            return 1;
        skipped = out->head_size;
    }
}
