/*
 * carried.h - what of a request's headers is carried into the container: its id, who asks, the
 * adapters' admin token, and the type of its body.  Nothing else of them gets there.
 */
#ifndef AIRLOCK_BRIDGE_CARRIED_H
#define AIRLOCK_BRIDGE_CARRIED_H

#include "edge.h"
#include "routes.h"

#include "common/http_server.h"
#include "common/limits.h"

#include <stdbool.h>

enum { CARRIED_ID_MAX = LIMIT_REQUEST_ID_BYTES, CARRIED_LINES_MAX = 4, CARRIED_LINE_SIZE = 320 };

struct carried {
    char id[CARRIED_ID_MAX + 1];       /* http_request.id, which outlives the request here */
    const struct bearer_token *caller; /* the edge's; NULL: no tokens are asked for */
    char line[CARRIED_LINES_MAX][CARRIED_LINE_SIZE]; /* "Name: value" for hop 2 */
    unsigned n;
    bool form; /* the body is multipart/form-data, not JSON */
};

/*
 * Fills out from a request that the edge has admitted, of a server with request_ids.  route:
 * N_ROUTES for none.  False with a refusal in reply: a header that is carried is malformed.
 */
bool carried_read(const struct edge *edge, const struct http_request *request,
                  enum bridge_route route, struct carried *out, struct http_reply *reply);

/* The lines as a list that ends with NULL; they live in carried. */
void carried_list(const struct carried *carried, const char *out[CARRIED_LINES_MAX + 1]);

/* Overwrites what is secret in it. */
void carried_wipe(struct carried *carried);

#endif
