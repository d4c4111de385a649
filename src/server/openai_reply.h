/*
 * openai_reply.h - the bodies that OpenAI's routes answer with, whole or as chunks of a stream.
 *
 * Objects that are returned are the caller's, as json-c has it.
 */
#ifndef AIRLOCK_OPENAI_REPLY_H
#define AIRLOCK_OPENAI_REPLY_H

#include "common/http_server.h"
#include "server/answer.h"
#include "server/openai_request.h"

struct json_object;

/* What all bodies of one answer share. */
struct openai_head {
    bool chat;
    char id[48]; /* "chatcmpl-..." or "cmpl-..." */
    int64_t created;
    llm_str model; /* as asked for */
};

/* What has been written of one choice: where the next chunk goes on. */
struct openai_choice {
    bool begun;      /* the role was sent */
    uint64_t offset; /* characters of the tokens so far (completions' text_offset) */
    unsigned calls;  /* tool calls so far */
    /* of an answer that is collected whole */
    struct bytes text;
    struct json_object *calls_list, *tokens; /* owned */
};

void openai_head_init(struct openai_head *head, bool chat, llm_str model, int64_t now);

/* Sets reply to {"error":{...}}. */
void openai_reply_error(struct http_reply *reply, const struct openai_error *err);
struct json_object *openai_error_json(unsigned status, const char *message, const char *param,
                                      const char *code);

/* A chunk for this event; ANSWER_END carries the finish reason.  usage_null: "usage":null, because
 * the client asked for a last chunk with it. */
struct json_object *openai_chunk(const struct openai_head *head, struct openai_choice *choice,
                                 const struct answer_event *event, const char *finish,
                                 bool logprobs, bool usage_null);
/* The first chunk of a chat's choice: only the role; completions have none (NULL). */
struct json_object *openai_role_chunk(const struct openai_head *head, size_t index,
                                      bool usage_null);
/* The last chunk: no choices, the usage. */
struct json_object *openai_usage_chunk(const struct openai_head *head, const llm_stats *stats);

/* Keeps an event for openai_body().  0, or -1: the text is too long or memory is out. */
int openai_collect(const struct openai_head *head, struct openai_choice *choice,
                   struct answer_event *event);
/* The whole answer; finish: a reason for each choice. */
struct json_object *openai_body(const struct openai_head *head, struct openai_choice *choices,
                                const char *const *finish, size_t n, bool logprobs,
                                const llm_stats *stats);
void openai_choice_free(struct openai_choice *choice);

const char *openai_finish(const struct answer_choice_result *result);

#endif
