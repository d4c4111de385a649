/*
 * tokenize.h - POST /tokenize and /detokenize: token ids of models whose plugin tells them.
 */
#ifndef AIRLOCK_TOKENIZE_H
#define AIRLOCK_TOKENIZE_H

#include "common/http_server.h"

/* arg of each: struct service *. */
void tokenize_handle(const struct http_request *request, struct http_reply *reply, void *arg);
void detokenize_handle(const struct http_request *request, struct http_reply *reply, void *arg);

#endif
