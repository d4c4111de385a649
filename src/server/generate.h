/*
 * generate.h - POST /generate: the original's request and answers, to the letter.
 */
#ifndef AIRLOCK_GENERATE_H
#define AIRLOCK_GENERATE_H

#include "common/http_server.h"

/* arg: struct service *. */
void generate_handle(const struct http_request *request, struct http_reply *reply, void *arg);

#endif
