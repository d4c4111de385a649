/*
 * transcription.h - POST /v1/audio/transcriptions: a recording in a form, its words as JSON, as
 * text, or as events.
 */
#ifndef AIRLOCK_TRANSCRIPTION_H
#define AIRLOCK_TRANSCRIPTION_H

#include "common/http_server.h"

/* arg: struct service *. */
void transcription_handle(const struct http_request *request, struct http_reply *reply, void *arg);

#endif
