/*
 * answer.h - the answer to one request while it is made: a thread for each choice that calls the
 * model, and a bounded queue between them and the one who sends.
 *
 * The model's threads only append to the queue: they never wait for a network.  When a queue that
 * is sent while it is filled (a stream) is full, the model waits LIMIT_STALL_MS at most and is then
 * stopped; a reader who is so slow gets an error.  A reader who goes away stops all choices.
 */
#ifndef AIRLOCK_ANSWER_H
#define AIRLOCK_ANSWER_H

#include "server/abi_request.h"
#include "server/generation.h"

struct json_object;
struct answer;

/* What an answer is made of; borrowed until answer_free(). */
struct answer_order {
    struct model *model;
    struct model_adapter *adapter; /* held by the caller; NULL: the base model */
    const struct abi_request *request;
    const llm_str *prompts; /* one for each group of choices; NULL: the request's own */
    size_t n_prompts;       /* 0 counts as 1 */
    size_t n;               /* choices of each prompt; 1 to LIMIT_CHOICES of all */
    bool stream;            /* the queue is sent while it is filled */
    bool tokens;            /* log-probabilities are wanted */
    bool tools, one_call;   /* tool calls may come; only the first counts */
    int fd;                 /* the client's socket: see http_request_fd() */
    const atomic_bool *abort;
    atomic_ullong *ids; /* of calls */
    uint64_t start_ns, deadline_ns;
};

enum answer_kind {
    ANSWER_TEXT,   /* whole characters, with the tokens that they come from */
    ANSWER_CALL,   /* a tool call */
    ANSWER_END,    /* of this choice: stats and finish are known */
    ANSWER_ERROR,  /* of the whole answer; nothing follows */
    ANSWER_OVER,   /* nothing follows */
    ANSWER_SILENCE /* nothing came in the time that the caller had */
};

struct answer_event {
    enum answer_kind kind;
    size_t choice;
    char *text; /* NUL-terminated */
    size_t size;
    struct json_object *tokens; /* array of token_json(); NULL: none */
    char *name;                 /* of the tool; text holds its arguments */
    unsigned index;             /* of the call */
};

/* What is known of a choice; after its ANSWER_END. */
struct answer_choice_result {
    llm_stats stats;
    bool called; /* a tool */
};

/* Starts the threads.  0, or -1 with err and *out NULL. */
int answer_start(const struct answer_order *order, struct answer **out, struct airlock_error *err);

/* [one thread] The next thing that happened; frees what the event held before.  Zero-initialise the
 * event once; answer_event_free() after the last.  timeout_ms below 0: however long it takes. */
void answer_next(struct answer *answer, int timeout_ms, struct answer_event *event);
void answer_event_free(struct answer_event *event);

/* Waits for the first event, at most timeout_ms, and leaves it where it is: ANSWER_ERROR,
 * ANSWER_SILENCE, or ANSWER_TEXT for any other. */
enum answer_kind answer_first(struct answer *answer, int timeout_ms);

/* After ANSWER_ERROR: why, as generation_run() says. */
const struct airlock_error *answer_error(const struct answer *answer);

const struct answer_choice_result *answer_result(const struct answer *answer, size_t choice);
size_t answer_choices(const struct answer *answer);

/* Of all choices so far: tokens (the prompt once for each prompt), and the times of the longest. */
void answer_totals(const struct answer *answer, llm_stats *stats, uint64_t *wait_ns,
                   uint64_t *run_ns);

/* Nobody reads any more: stops the choices and waits for their threads. */
void answer_stop(struct answer *answer);
void answer_free(struct answer *answer); /* stops it too; NULL is fine */

/* A token as OpenAI's chat API writes it: {"token","logprob","bytes","top_logprobs"}. */
struct json_object *token_json(const llm_token *token);

#endif
