/*
 * relay.h - bytes both ways between two descriptors and a server's socket.
 */
#ifndef AIRLOCK_CLIENT_RELAY_H
#define AIRLOCK_CLIENT_RELAY_H

#include "common/error.h"

/*
 * Passes what comes from `in` to `server` and what comes from `server` to `out` until one side
 * ends. End of file on `in` closes the server's reading side; what the server still sends is passed
 * on for at most linger_ms.  The server's end, or a reader of `out` that has gone, ends everything.
 * in and out may be one socket and stay in the mode they are in; server is non-blocking.  0, or -1:
 * a descriptor failed.
 */
int relay_run(int in, int out, int server, int linger_ms, struct airlock_error *err);

#endif
