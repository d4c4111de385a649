/*
 * openai.h - POST /v1/chat/completions and /v1/completions, whole and as streams.
 */
#ifndef AIRLOCK_OPENAI_H
#define AIRLOCK_OPENAI_H

#include "common/http_server.h"
#include "server/exchange.h"
#include "server/openai_request.h"

/* arg of each: struct service *. */
void openai_chat(const struct http_request *request, struct http_reply *reply, void *arg);
void openai_completions(const struct http_request *request, struct http_reply *reply, void *arg);

/* For the other routes that name a model as OpenAI's do: reads the body (exchange_init() was done),
 * takes the caller's header, finds model and adapter, and checks what the model can.  0, or -1 with
 * the refusal in reply.  q is to be freed in any case. */
int openai_begin(struct exchange *x, enum openai_route route, const struct http_request *request,
                 struct openai_request *q, struct http_reply *reply);

/* The second half of it, for a request that was read in another way: the caller's header, model and
 * adapter, and what the model can.  0, or -1 with the refusal in reply. */
int openai_find(struct exchange *x, const struct http_request *request,
                const struct openai_request *q, struct http_reply *reply);

/* Sets reply to a refusal in OpenAI's form.  Always returns -1. */
int openai_refusal(struct http_reply *reply, unsigned status, const char *param, const char *code,
                   const char *message);

/* x->failure as a reply. */
void openai_reply_failure(const struct exchange *x, struct http_reply *reply);

/* stream_format.failed: a failure as an event, and the end.  0, or -1: out of memory; ctx is not
 * looked at. */
int openai_stream_failed(void *ctx, const struct failure *failure, struct bytes *out);

#endif
