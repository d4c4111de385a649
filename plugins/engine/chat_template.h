/*
 * chat_template.h - messages to token ids, as Phi-4 was trained: <|ROLE|>CONTENT<|end|>, then
 * <|assistant|>.
 *
 * Tools stand in a system message, <|system|>CONTENT<|tool|>DEFINITIONS<|/tool|><|end|>; calls
 * behind an assistant's content, <|tool_call|>CALLS<|/tool_call|>; results are messages of the role
 * tool.  Content, definitions and calls are encoded as text: nothing in them becomes a control
 * token, unless raw_content asks for the original's behaviour (one string, control tokens
 * recognised everywhere).
 */
#ifndef AIRLOCK_CHAT_TEMPLATE_H
#define AIRLOCK_CHAT_TEMPLATE_H

#include "tokenizer.h"

enum chat_role {
    CHAT_SYSTEM = 1,
    CHAT_USER,
    CHAT_ASSISTANT,
    CHAT_TOOL,  /* written as <|user|>, as the original does */
    CHAT_RESULT /* written as <|tool|>, as the official template does: in conversations with tools
                 */
};

/* A piece of a content that is not encoded: [at, at + size) becomes count times the id, which other
 * embeddings than the id's own will replace. */
struct chat_insert {
    size_t at, size;
    int32_t id;
    size_t count;
    size_t first; /* out: index in the prompt of the first of them */
};

/* Texts are UTF-8 without a NUL at the end; size 0: none. */
struct chat_message {
    enum chat_role role;
    const char *content; /* [size] */
    size_t size;
    const char *tools; /* [tools_size] system: definitions of functions as JSON */
    size_t tools_size;
    const char *calls; /* [calls_size] assistant: calls as JSON */
    size_t calls_size;
    struct chat_insert *inserts; /* [n_inserts] in order, not overlapping, inside the content */
    size_t n_inserts;
};

/* Appends the prompt's ids.  -1 with err: AIRLOCK_E_UNSUPPORTED when tools are used and the
 * vocabulary has no tokens for them; AIRLOCK_E_REQUEST when with inserts and raw_content an id of
 * theirs is written out in the text. */
int chat_template_encode(const struct tokenizer *t, const struct chat_message *messages, size_t n,
                         bool raw_content, struct token_list *out, struct airlock_error *err);

#endif
