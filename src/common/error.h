/*
 * error.h - the one error type: a code for programs and one sentence for people, in the caller's
 * memory.
 *
 * A function that can fail takes `struct airlock_error *err` last and returns 0 or -1 (or a pointer
 * or NULL).  On success err is not touched.  On failure the place that knows best sets code and
 * text; callers on the way up add context in front with airlock_error_wrap().  err may be NULL: the
 * caller does not want to know why.  No allocation: works when out of memory.  [thread-safe: err is
 * the caller's]
 */
#ifndef AIRLOCK_ERROR_H
#define AIRLOCK_ERROR_H

#include <stdarg.h>

enum airlock_status {
    AIRLOCK_OK = 0,
    AIRLOCK_E_INVALID,     /* our own mistake: 500 */
    AIRLOCK_E_UNSUPPORTED, /* 501 */
    AIRLOCK_E_REQUEST,     /* the client's fault: 400 */
    AIRLOCK_E_SHAPE,       /* a body that is not of the documented shape: 422 */
    AIRLOCK_E_NOT_FOUND,   /* 404 */
    AIRLOCK_E_DENIED,      /* 401 or 403 */
    AIRLOCK_E_TOO_LARGE,   /* 413 */
    AIRLOCK_E_BUSY,        /* 503 with Retry-After */
    AIRLOCK_E_CONFIG,      /* the operator's fault: do not start */
    AIRLOCK_E_NO_MEMORY,   /* 503 */
    AIRLOCK_E_IO,          /* a file or socket failed */
    AIRLOCK_E_TIMEOUT,     /* 504 */
    AIRLOCK_E_UPSTREAM,    /* what we asked further down failed: 502 */
    AIRLOCK_E_DEVICE,      /* the device or instance is lost: 500 */
    AIRLOCK_E_CANCELLED,   /* the caller gave up */
    AIRLOCK_E_INTERNAL     /* anything else: 500 */
};

enum { AIRLOCK_ERROR_TEXT_MAX = 508 }; /* bytes with the NUL; longer text is cut */

struct airlock_error {
    enum airlock_status code;
    char text[AIRLOCK_ERROR_TEXT_MAX]; /* one line, no final full stop needed, NUL-terminated */
};

/* Sets code and text.  Always returns -1, so that `return airlock_error_set(...)` reads well. */
int airlock_error_set(struct airlock_error *err, enum airlock_status code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int airlock_error_setv(struct airlock_error *err, enum airlock_status code, const char *format,
                       va_list args) __attribute__((format(printf, 3, 0)));

/* As airlock_error_set with code AIRLOCK_E_IO and ": strerror(errnum)" at the end. */
int airlock_error_errno(struct airlock_error *err, int errnum, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "context: " in front of the text; the code stays.  Always returns -1. */
int airlock_error_wrap(struct airlock_error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The HTTP status that a failure of this kind gets. */
int airlock_status_http(enum airlock_status code);

#endif
