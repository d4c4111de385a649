/*
 * openai_request.h - reads the bodies of OpenAI's routes strictly: what is not understood is
 * refused by its name, never ignored.
 *
 * A field that is null is absent.  Everything that a parsed request points to lives in its JSON
 * tree or in its abi_request until openai_request_free().
 */
#ifndef AIRLOCK_OPENAI_REQUEST_H
#define AIRLOCK_OPENAI_REQUEST_H

#include "server/abi_request.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_object;

/* Which body it is; a field of the table belongs to one or more. */
enum openai_route {
    OPENAI_CHAT = 1,      /* POST /v1/chat/completions */
    OPENAI_TEXT = 2,      /* POST /v1/completions */
    OPENAI_TOKENIZE = 4,  /* POST /tokenize */
    OPENAI_DETOKENIZE = 8 /* POST /detokenize */
};

enum { OPENAI_MESSAGE_BYTES = 512, OPENAI_PARAM_BYTES = 160, OPENAI_CAPS = 16 };

/* A refusal: {"error":{"message","type","param","code"}} and its status. */
struct openai_error {
    unsigned status;
    const char *type, *code;            /* static; code NULL: null */
    char message[OPENAI_MESSAGE_BYTES]; /* may hold a cut character: clean it */
    char param[OPENAI_PARAM_BYTES];     /* empty: null */
};

struct openai_request {
    struct json_object *root; /* owned */
    llm_str model;            /* as asked for: NAME or NAME:ADAPTER */
    bool stream, include_usage;
    size_t n;             /* choices of each prompt */
    bool logprobs;        /* are wanted, with abi.params.logprobs alternatives */
    bool tools, one_call; /* tools may be called; no two of them */
    llm_str *prompts;     /* owned; of OPENAI_TEXT and OPENAI_TOKENIZE */
    size_t n_prompts;
    int64_t *tokens; /* owned; of OPENAI_DETOKENIZE */
    size_t n_tokens;
    const char *asked[OPENAI_CAPS]; /* by bit of LLM_CAP_*: the field that needs it, or NULL */
};

/* abi is initialised and gets everything that the model is told.  0, or -1 with err; both out and
 * abi are to be freed in any case. */
int openai_parse(enum openai_route route, const char *text, size_t size, struct openai_request *out,
                 struct abi_request *abi, struct openai_error *err);

void openai_request_free(struct openai_request *request); /* a zeroed one is fine */

/* The field that asks for what a model with these capabilities has not; NULL: it can do all. */
const char *openai_unsupported(const struct openai_request *request, uint32_t caps);

#endif
