/*
 * health.h - is the bridge alive, are the containers behind it ready, and what has it done.
 */
#ifndef AIRLOCK_BRIDGE_HEALTH_H
#define AIRLOCK_BRIDGE_HEALTH_H

#include "bridge.h"

#include "common/error.h"
#include "common/http_server.h"

/* Handlers; arg is the struct bridge. */
void health_livez(const struct http_request *request, struct http_reply *reply, void *arg);
void health_readyz(const struct http_request *request, struct http_reply *reply, void *arg);
void health_metrics(const struct http_request *request, struct http_reply *reply, void *arg);

/* A thread that closes channels nobody needs and opens the first one to each container before it is
 * asked for, so that the first request does not pay for it.  0, or -1. */
int keeper_start(struct bridge *bridge, struct airlock_error *err);
void keeper_stop(void);

#endif
