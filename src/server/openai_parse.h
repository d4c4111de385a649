/*
 * openai_parse.h - what the parts of the reader of OpenAI's requests share: the place of a fault,
 * and its sentence.
 */
#ifndef AIRLOCK_OPENAI_PARSE_H
#define AIRLOCK_OPENAI_PARSE_H

#include "server/openai_request.h"

#include "common/json.h"

struct openai_reader {
    enum openai_route route;
    struct openai_request *out;
    struct abi_request *abi;
    struct openai_error *err;
};

/* All of these return -1: 400 for param, with a sentence. */
int openai_refuse(struct openai_reader *r, const char *param, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int openai_no_memory(struct openai_reader *r); /* 503 */
/* A field that exists elsewhere but not here. */
int openai_not_supported(struct openai_reader *r, const char *param, const char *why);

/* Notes that the request needs a capability because of a field (static text). */
void openai_need(struct openai_reader *r, uint32_t cap, const char *field);

/* The member, NULL when it is absent or null. */
struct json_object *openai_member(struct json_object *o, const char *key);
/* Refuses members that are not in the NULL-terminated list; where is the path of o. */
int openai_only(struct openai_reader *r, struct json_object *o, const char *where,
                const char *const *known);
/* v is a string (no more than max bytes), or refused.  0 or -1. */
int openai_string(struct openai_reader *r, const char *param, struct json_object *v, size_t max,
                  llm_str *out);
int openai_bool(struct openai_reader *r, const char *param, struct json_object *v, bool *out);
bool openai_is(llm_str text, const char *word);

/* The larger fields, each in openai_messages.c or openai_tools.c. */
int openai_messages(struct openai_reader *r, struct json_object *v);
int openai_tools(struct openai_reader *r, struct json_object *v);
int openai_tool_choice(struct openai_reader *r, struct json_object *v); /* after the tools */
int openai_response_format(struct openai_reader *r, struct json_object *v);
/* tool_calls of an assistant's message, rewritten as the ABI wants them. */
int openai_tool_calls(struct openai_reader *r, const char *where, struct json_object *v,
                      llm_str *out);

#endif
