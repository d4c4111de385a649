/*
 * proxy.h - the requests that cross the airlock: POST /generate, and the server's OpenAI paths.
 */
#ifndef AIRLOCK_BRIDGE_PROXY_H
#define AIRLOCK_BRIDGE_PROXY_H

#include "common/http_server.h"

/* Handlers; arg is the struct bridge. */

/* The original's: container_name names the container, the answer's text comes back without white
 * space around it, at once or with "stream": true as it is made, and the server's refusals come as
 * they are. */
void proxy_generate(const struct http_request *request, struct http_reply *reply, void *arg);

/* The other POST paths of routes.h, body and answer passed on; events are passed on as they come.
 * The container: CONTAINER/NAME as the body's model, else the only one that is enrolled. */
void proxy_pass(const struct http_request *request, struct http_reply *reply, void *arg);

/* GET /v1/models: the only container's own list, or one list of CONTAINER/NAME. */
void proxy_models(const struct http_request *request, struct http_reply *reply, void *arg);

#endif
