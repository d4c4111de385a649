/*
 * chat_template.h - messages to token ids, as Phi-4 was trained: <|ROLE|>CONTENT<|end|>, then
 * <|assistant|>.
 *
 * Content is encoded as text: nothing in it becomes a control token, unless raw_content asks for
 * the original's behaviour (one string, control tokens recognised everywhere).
 */
#ifndef AIRLOCK_CHAT_TEMPLATE_H
#define AIRLOCK_CHAT_TEMPLATE_H

#include "tokenizer.h"

enum chat_role { CHAT_SYSTEM = 1, CHAT_USER, CHAT_ASSISTANT, CHAT_TOOL };

struct chat_message {
    enum chat_role role;
    const char *content; /* [size] UTF-8 */
    size_t size;
};

/* Appends the prompt's ids.  The role tool is written as <|user|>, as the original does. */
int chat_template_encode(const struct tokenizer *t, const struct chat_message *messages, size_t n,
                         bool raw_content, struct token_list *out, struct airlock_error *err);

#endif
