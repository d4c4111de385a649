/*
 * transcription_request.h - reads the form of POST /v1/audio/transcriptions strictly, as
 * openai_request.h does its JSON, and makes the question that a speech model is asked.
 */
#ifndef AIRLOCK_TRANSCRIPTION_REQUEST_H
#define AIRLOCK_TRANSCRIPTION_REQUEST_H

#include "server/openai_request.h"

struct transcription_request {
    struct openai_request openai; /* model, stream, logprobs, what it asks of the model */
    bool text;                    /* response_format: the bare text, not JSON */
};

/*
 * content_type: of the request, NULL: it has none.  abi is initialised and gets one message of the
 * user with one sound; the text is copied, the sound borrowed from body until
 * abi_request_finish().  0, or -1 with err; both out and abi are to be freed in any case
 * (openai_request_free(&out->openai)).
 */
int transcription_parse(const char *content_type, const char *body, size_t size,
                        struct transcription_request *out, struct abi_request *abi,
                        struct openai_error *err);

#endif
