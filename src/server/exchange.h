/*
 * exchange.h - one request for text on its way: what it asks for, the answer being made, and the
 * line in the log when it is over.
 *
 * Made by a handler; lives until the handler is done, or, when the answer is a stream, until the
 * connection is done with it.
 */
#ifndef AIRLOCK_EXCHANGE_H
#define AIRLOCK_EXCHANGE_H

#include "common/http_server.h"
#include "server/answer.h"
#include "server/service.h"

/* What a failure is to a client: its status, and a sentence that tells nothing of the inside. */
struct failure {
    unsigned status;
    char text[AIRLOCK_ERROR_TEXT_MAX]; /* valid UTF-8 */
};

struct exchange {
    struct service *service;
    const char *route; /* for the log, eg: "chat" */
    char id[LIMIT_REQUEST_ID_BYTES + 1];
    int fd;
    uint64_t start_ns;
    struct model *model;           /* NULL: none was found */
    struct model_adapter *adapter; /* held */
    struct abi_request request;
    struct answer *answer;
    struct failure failure;           /* status 0: none */
    char why[AIRLOCK_ERROR_TEXT_MAX]; /* for the log; empty: nothing to say */
};

void exchange_init(struct exchange *x, const struct http_request *request, struct service *service,
                   const char *route);

/* Takes the Airlock-Caller header, which keeps callers' cached prefixes apart.  0, or -1: it is
 * malformed. */
int exchange_caller(struct exchange *x, const struct http_request *request);

/* Starts the answer: what the order leaves empty is filled in from x.  0, or -1 with x->failure. */
int exchange_start(struct exchange *x, struct answer_order *order);

/* Notes why the answer ended early (its ANSWER_ERROR). */
void exchange_failed(struct exchange *x);
void exchange_fail(struct exchange *x, const struct airlock_error *err);

/* Stops the answer, counts it, writes the line, drops the adapter and frees what x holds, not x.
 * status: what the client was told, of a stream how it ended. */
void exchange_end(struct exchange *x, unsigned status);

/* The status and Retry-After of a refusal that can still be one. */
void exchange_retry_after(const struct exchange *x, struct http_reply *reply);

#endif
