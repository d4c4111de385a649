/*
 * edge.h - who may ask: the checks that every request meets before anything else looks at it.
 *
 * A page in the user's browser is as hostile as a stranger, but for the bridge's own (page.h): a
 * foreign Host (DNS rebinding), an Origin other than that of the page served here under the same
 * name, a request that the browser says is of another site, and a body that is not declared to be
 * JSON (what a form can send) are refused on every path, known or not.  No CORS header is ever
 * sent.
 */
#ifndef AIRLOCK_BRIDGE_EDGE_H
#define AIRLOCK_BRIDGE_EDGE_H

#include "common/bearer.h"
#include "common/error.h"
#include "common/http_server.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

enum { EDGE_HOSTS_MAX = 16 };

struct edge {
    char hosts[EDGE_HOSTS_MAX][270]; /* what Host may be, to the letter */
    atomic_uint n_hosts;
    struct bearer tokens; /* owned; loaded: every request but GET / and /livez needs one */
};

/* Allows what a client of the bound address sends as Host: 127.0.0.1:PORT and localhost:PORT; for a
 * unix socket localhost.  One thread at a time adds hosts; requests may be judged meanwhile. */
void edge_allow_bound(struct edge *edge, const char *address);

/* One more "NAME" or "NAME:PORT".  0, or -1: too many, or not of that form. */
int edge_allow_host(struct edge *edge, const char *host, struct airlock_error *err);

/* True for multipart/form-data with whatever parameters. */
bool edge_is_form(const char *content_type);

/* Whose token a request brings; NULL when none is asked for. */
const struct bearer_token *edge_caller(const struct edge *edge, const struct http_request *request);

/* An admit function for http_server_options; arg is the edge. */
bool edge_admit(const struct http_request *request, struct http_reply *reply, void *arg);

#endif
