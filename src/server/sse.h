/*
 * sse.h - server-sent events: "data: TEXT" and an empty line.
 */
#ifndef AIRLOCK_SSE_H
#define AIRLOCK_SSE_H

#include "common/bytes.h"

struct json_object;

#define SSE_CONTENT_TYPE "text/event-stream; charset=utf-8"
#define SSE_PING ": ping\n\n" /* a comment: clients skip it */

/* Appends an event of o (freed; its JSON is one line).  0, or -1: out of memory. */
int sse_json(struct json_object *o, struct bytes *out);
int sse_done(struct bytes *out); /* "data: [DONE]", as OpenAI ends a stream */

#endif
