/*
 * api.h - the server's routes beside generation: models, health, metrics.
 */
#ifndef AIRLOCK_API_H
#define AIRLOCK_API_H

#include "common/http_server.h"

/* arg of each: struct service *. */
void api_models(const struct http_request *request, struct http_reply *reply, void *arg);
void api_livez(const struct http_request *request, struct http_reply *reply, void *arg);
void api_readyz(const struct http_request *request, struct http_reply *reply, void *arg);
void api_metrics(const struct http_request *request, struct http_reply *reply, void *arg);

#endif
