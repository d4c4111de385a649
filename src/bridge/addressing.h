/*
 * addressing.h - which container a request is for: its model is CONTAINER/NAME, or there is only
 * one.
 */
#ifndef AIRLOCK_BRIDGE_ADDRESSING_H
#define AIRLOCK_BRIDGE_ADDRESSING_H

#include "bridge.h"

#include "common/bytes.h"
#include "common/http_server.h"

#include <stdbool.h>

/*
 * The container for an OpenAI request, with the body to send in out: "CONTAINER/" is taken off the
 * model of a JSON body, or of a form's part "model".  NULL with the refusal in reply.
 */
struct pool *address(const struct bridge *bridge, const struct http_request *request, bool form,
                     struct bytes *out, struct http_reply *reply);

#endif
