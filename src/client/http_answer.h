/*
 * http_answer.h - judges one HTTP answer that came whole, as a server gives it to a HTTP/1.0
 * client.
 */
#ifndef AIRLOCK_CLIENT_HTTP_ANSWER_H
#define AIRLOCK_CLIENT_HTTP_ANSWER_H

#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    HTTP_ANSWER_HEAD_MAX = 64 << 10
}; /* bytes of status line and headers; ours are below 1 KiB */

struct http_answer {
    int status; /* 100 to 599 */
    size_t head_size;
    bool has_length;
    size_t length; /* of the body, when has_length */
};

/*
 * Reads the head at the front of data.  1: out is set; 0: the head is not complete yet; -1: this is
 * no answer that can be read (err says why).  Interim answers (1xx) are passed over.
 */
int http_answer_parse(const char *data, size_t size, struct http_answer *out,
                      struct airlock_error *err);

#endif
