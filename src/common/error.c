/* error.c - sets and wraps errors; maps their codes to HTTP statuses. */
#include "error.h"

#include <stdio.h>
#include <string.h>

int airlock_error_setv(struct airlock_error *err, enum airlock_status code, const char *format,
                       va_list args)
{
    if (!err)
        return -1;
    err->code = code;
    vsnprintf(err->text, sizeof err->text, format, args);
    return -1;
}

int airlock_error_set(struct airlock_error *err, enum airlock_status code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    airlock_error_setv(err, code, format, args);
    va_end(args);
    return -1;
}

int airlock_error_errno(struct airlock_error *err, int errnum, const char *format, ...)
{
    if (!err)
        return -1;
    va_list args;
    va_start(args, format);
    airlock_error_setv(err, AIRLOCK_E_IO, format, args);
    va_end(args);

    char reason[128];
    const char *text = strerror_r(errnum, reason, sizeof reason); /* GNU's, returns the text */
    size_t used = strlen(err->text);
    snprintf(err->text + used, sizeof err->text - used, ": %s", text);
    return -1;
}

int airlock_error_wrap(struct airlock_error *err, const char *format, ...)
{
    if (!err)
        return -1;
    char inner[AIRLOCK_ERROR_TEXT_MAX];
    memcpy(inner, err->text, sizeof inner);

    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    size_t used = strlen(err->text);
    snprintf(err->text + used, sizeof err->text - used, ": %.*s", (int)(sizeof err->text - used),
             inner);
    return -1;
}

int airlock_status_http(enum airlock_status code)
{
    switch (code) {
    case AIRLOCK_OK:
        return 200;
    case AIRLOCK_E_REQUEST:
        return 400;
    case AIRLOCK_E_DENIED:
        return 403;
    case AIRLOCK_E_NOT_FOUND:
        return 404;
    case AIRLOCK_E_TOO_LARGE:
        return 413;
    case AIRLOCK_E_SHAPE:
        return 422;
    case AIRLOCK_E_UNSUPPORTED:
        return 501;
    case AIRLOCK_E_UPSTREAM:
        return 502;
    case AIRLOCK_E_BUSY:
    case AIRLOCK_E_NO_MEMORY:
        return 503;
    case AIRLOCK_E_TIMEOUT:
        return 504;
    case AIRLOCK_E_INVALID:
    case AIRLOCK_E_CONFIG:
    case AIRLOCK_E_IO:
    case AIRLOCK_E_DEVICE:
    case AIRLOCK_E_CANCELLED:
    case AIRLOCK_E_INTERNAL:
        break;
    }
    return 500;
}
