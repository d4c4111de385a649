/*
 * admin.h - POST /v1/load_lora_adapter and /v1/unload_lora_adapter: adapters that come and go while
 * the server runs, from one directory and for whoever has the admin token.
 */
#ifndef AIRLOCK_ADMIN_H
#define AIRLOCK_ADMIN_H

#include "common/http_server.h"

/* arg of each: struct service *. */
void admin_load_adapter(const struct http_request *request, struct http_reply *reply, void *arg);
void admin_unload_adapter(const struct http_request *request, struct http_reply *reply, void *arg);

#endif
