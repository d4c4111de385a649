/*
 * request_body.h - writes the JSON body of POST /generate from the SDK's request.
 */
#ifndef AIRLOCK_SDK_REQUEST_BODY_H
#define AIRLOCK_SDK_REQUEST_BODY_H

#include "common/bytes.h"

#include <airlock/airlock.h>

/* Appends the body.  0, or -1 with err: an argument that cannot be sent, or out of memory. */
int request_body_write(const airlock_request *request, struct bytes *out, airlock_error *err);

/* Sets err (NULL is fine) and returns -1; control characters of the text become spaces. */
int sdk_fail(airlock_error *err, int code, int http_status, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
