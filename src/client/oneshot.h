/*
 * oneshot.h - one request posted to the server and its answer read.
 */
#ifndef AIRLOCK_CLIENT_ONESHOT_H
#define AIRLOCK_CLIENT_ONESHOT_H

#include "common/bytes.h"
#include "common/error.h"

#include <stdint.h>

/*
 * Sends body as POST /generate over server, a connected non-blocking socket that is used up, and
 * adds the answer's body to answer.  deadline_ns: io_now_ns() time, 0 for none.  While it waits it
 * watches the descriptor `watch` (-1: none) for its end, which cancels the request.
 *
 * 0, or -1 with err: no connection, no HTTP, "HTTP 400: TEXT" for a refusal, too large, too late.
 */
int oneshot_post(int server, const char *body, size_t size, uint64_t deadline_ns, int watch,
                 struct bytes *answer, struct airlock_error *err);

#endif
