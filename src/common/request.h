/*
 * request.h - the one schema of POST /generate: reads, checks and writes it, for bridge, server and
 * SDK.
 *
 * Everything a parsed request points to lives in its JSON tree until request_free().  Unknown
 * members are ignored, as the original does; values are coerced as it does (pydantic's lax mode:
 * "5" and 5.0 are integers, "yes" is true), and numbers out of range are refused by name.
 */
#ifndef AIRLOCK_REQUEST_H
#define AIRLOCK_REQUEST_H

#include "bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_object;

enum request_role { ROLE_SYSTEM = 1, ROLE_USER, ROLE_ASSISTANT, ROLE_TOOL };

struct request_text {
    const char *data; /* valid UTF-8, may contain NUL; NULL: absent */
    size_t size;
};

struct request_message {
    enum request_role role;
    struct request_text content;
};

/* Bits of request_parameters.set; a clear bit: absent or null. */
enum {
    PARAMETER_TEMPERATURE = 1 << 0,
    PARAMETER_TOP_P = 1 << 1,
    PARAMETER_REPETITION_PENALTY = 1 << 2,
    PARAMETER_PRESENCE_PENALTY = 1 << 3,
    PARAMETER_FREQUENCY_PENALTY = 1 << 4,
    PARAMETER_TOP_K = 1 << 5,
    PARAMETER_MAX_NEW_TOKENS = 1 << 6,
    PARAMETER_DO_SAMPLE = 1 << 7
};

struct request_parameters {
    unsigned set;
    double temperature;        /* [0, 100]; 0 is greedy */
    double top_p;              /* [0, 1] */
    double repetition_penalty; /* [0.01, 100] */
    double presence_penalty;   /* [-2, 2] */
    double frequency_penalty;  /* [-2, 2] */
    int64_t top_k;             /* [0, 2^31); 0 is no limit */
    int64_t max_new_tokens;    /* [1, 2^31) */
    bool do_sample;
};

struct request {
    struct json_object *root; /* owned */
    struct request_text model;
    struct request_text adapter;        /* data NULL: the base model */
    struct request_text container_name; /* data NULL unless asked for */
    struct request_message *messages;   /* owned */
    size_t n_messages;
    struct request_text *images; /* owned; base64, not decoded */
    size_t n_images;
    struct request_text *audios; /* owned; base64, not decoded */
    size_t n_audios;
    bool stream;
    struct request_parameters parameters;
};

/*
 * Parses and checks a body.  want_container: container_name is required (the bridge); otherwise it
 * is not looked at.  0, or the HTTP status of the refusal (422, or 503 when out of memory) with its
 * JSON body in *refusal: {"detail":[{"type","loc","msg"}, ...]}.  refusal is an empty buffer of at
 * least 4 KiB maximum.  On failure there is nothing to free but refusal.
 */
int request_parse(const char *text, size_t size, bool want_container, struct request *out,
                  struct bytes *refusal);

/* The request as JSON without container_name, members that the schema does not know left out:
 * what was judged here is what the next one reads.  0, or -1: beyond out->max or out of memory. */
int request_write(const struct request *request, struct bytes *out);

void request_free(struct request *request); /* a zeroed one is fine */

const char *request_role_name(enum request_role role);

#endif
