/*
 * record.h - one request from its arrival to its line in the log and its place in the metrics;
 * never what it said.
 */
#ifndef AIRLOCK_BRIDGE_RECORD_H
#define AIRLOCK_BRIDGE_RECORD_H

#include "bridge.h"
#include "carried.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct record {
    struct bridge *bridge;
    enum bridge_route route;
    const struct pool *pool; /* NULL: no container was chosen */
    uint64_t began_ns, first_ns;
    struct carried carried;
};

/* Begins a record and reads the headers that are carried on.  False: a refusal is in reply. */
bool record_begin(struct record *record, struct bridge *bridge, enum bridge_route route,
                  const struct http_request *request, struct http_reply *reply);

/* The first byte of the answer's body has come; later calls do nothing. */
void record_first_byte(struct record *record);

/* The whole answer is in reply: counts and logs it. */
void record_reply(struct record *record, const struct http_reply *reply);

/* A stream has ended; aborted: NULL, or why it broke off. */
void record_stream(struct record *record, const enum stream_abort *aborted);

#endif
