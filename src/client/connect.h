/*
 * connect.h - from a server's address as text to a connected socket.
 */
#ifndef AIRLOCK_CLIENT_CONNECT_H
#define AIRLOCK_CLIENT_CONNECT_H

#include "common/error.h"

#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

struct server_address {
    union {
        struct sockaddr any;
        struct sockaddr_storage inet;
        struct sockaddr_un local;
    } u;
    socklen_t size;
};

/* "127.0.0.1:8000", "[::1]:8000", "localhost:8000" or "unix:PATH".  No names are looked up: there
 * is no network to ask. */
int server_address_parse(const char *text, struct server_address *out, struct airlock_error *err);

/* A connected non-blocking socket, closed on exec, or -1.  deadline_ns: io_now_ns() time, 0 for
 * none. */
int server_connect(const struct server_address *address, uint64_t deadline_ns,
                   struct airlock_error *err);

/* Milliseconds for poll(2) until deadline_ns: -1 when it is 0, 0 when it has passed. */
int milliseconds_until(uint64_t deadline_ns);

#endif
