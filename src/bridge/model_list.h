/*
 * model_list.h - the models of several containers as one list of CONTAINER/NAME.
 */
#ifndef AIRLOCK_BRIDGE_MODEL_LIST_H
#define AIRLOCK_BRIDGE_MODEL_LIST_H

#include "bridge.h"
#include "exchange.h"

/* Asks all containers for GET /v1/models with `ask`.  One that does not answer adds nothing. */
void model_list_merged(const struct bridge *bridge, const struct exchange_ask *ask,
                       struct http_reply *reply);

#endif
