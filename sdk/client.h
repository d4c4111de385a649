/*
 * client.h - the inside of airlock_client: one HTTP exchange after the other with the bridge.
 */
#ifndef AIRLOCK_SDK_CLIENT_H
#define AIRLOCK_SDK_CLIENT_H

#include "common/bytes.h"
#include "request_body.h"

#include <airlock/airlock.h>
#include <curl/curl.h>
#include <stdatomic.h>

struct airlock_client {
    CURL *curl;
    CURLM *multi; /* keeps the connection; waked by airlock_client_cancel() */
    struct curl_slist *headers;
    char *base;        /* URL without the path */
    char *socket_path; /* NULL: by the URL */
    char *host;        /* as given, for sentences */
    long connect_ms, request_ms;
    size_t max_answer;
    atomic_int cancelled;
};

/* One exchange.  Zero it, then set what is above the line. */
struct transfer {
    const char *path;         /* eg: "/generate" */
    const struct bytes *body; /* NULL: GET */
    const char *form;         /* the body's type; NULL: it is JSON */
    /* Takes a piece of a 200's body; events: it is text/event-stream.  0, or -1 with t->failure. */
    int (*take)(struct transfer *t, const char *data, size_t n, int events);
    void *ctx;
    /* ---- */
    CURL *curl;
    struct curl_slist *form_headers;
    airlock_error failure; /* code 0: none */
    struct bytes refusal;  /* of other answers, their beginning */
};

/* Performs it.  0: a 200 was taken to its end; -1 with err. */
int sdk_transfer(airlock_client *client, struct transfer *t, airlock_error *err);

#endif
