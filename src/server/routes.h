/*
 * routes.h - every route of the server, in one table.
 */
#ifndef AIRLOCK_ROUTES_H
#define AIRLOCK_ROUTES_H

#include "common/http_server.h"
#include "server/service.h"

enum { ROUTES_MAX = 16 };

/* Fills the table for http_server_options.routes. */
void routes_fill(struct service *service, struct http_route routes[ROUTES_MAX]);

#endif
