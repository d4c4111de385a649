/*
 * chat_parse.h - reads chat completions, their events, and lists of models, from JSON.
 *
 * It knows nothing of airlock.h, whose airlock_error has the name of common/error.h's.
 */
#ifndef AIRLOCK_SDK_CHAT_PARSE_H
#define AIRLOCK_SDK_CHAT_PARSE_H

#include "common/bytes.h"

#include <stddef.h>

enum { CHAT_CALLS_MAX = 128, CHAT_REASON_MAX = 32, CHAT_WORDS_MAX = 512 };

/* An answer as far as it has come.  Zero but for `max`. */
struct chat_parts {
    size_t max, used; /* bytes of all texts together */
    struct bytes text;
    size_t new_text; /* where the last event's part of it begins */
    struct chat_call {
        struct bytes id, name, arguments;
    } call[CHAT_CALLS_MAX];
    size_t n_calls;
    char finish_reason[CHAT_REASON_MAX];
    long prompt_tokens, completion_tokens, cached_tokens; /* -1: not said */
    char words[CHAT_WORDS_MAX];                           /* why it is wrong */
};

void chat_parts_init(struct chat_parts *parts, size_t max);
void chat_parts_free(struct chat_parts *parts);

/* Adds a whole chat completion, or one chat.completion.chunk.  0; -1: it is no such thing, it says
 * an error, or it is too large, and words say so. */
int chat_parse(struct chat_parts *parts, const char *json, size_t size);

/* The sentence in {"error":{"message"}} or {"detail":TEXT}.  0, or -1: it is no such thing. */
int chat_parse_refusal(const char *json, size_t size, char words[CHAT_WORDS_MAX]);

/* The ids of GET /v1/models, each with a NUL behind it, into out.  Their number, or -1. */
int chat_parse_models(const char *json, size_t size, struct bytes *out);

#endif
