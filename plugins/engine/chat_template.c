/* chat_template.c - messages to token ids: <|ROLE|>CONTENT<|end|> for each, then <|assistant|>. */
#include "chat_template.h"

#include "common/bytes.h"

#include <string.h>

enum { RAW_BYTES = 128 << 20 /* of a whole conversation as one string */ };

static const char answer_text[] = "<|assistant|>", end_text[] = "<|end|>";
static const char tools_text[] = "<|tool|>", tools_end_text[] = "<|/tool|>";
static const char calls_text[] = "<|tool_call|>", calls_end_text[] = "<|/tool_call|>";

/* NULL: no such role. */
static const char *role_text(enum chat_role role)
{
    switch (role) {
    case CHAT_SYSTEM:
        return "<|system|>";
    case CHAT_USER:
    case CHAT_TOOL:
        return "<|user|>";
    case CHAT_ASSISTANT:
        return answer_text;
    case CHAT_RESULT:
        return tools_text;
    }
    return NULL;
}

static int no_role(const struct chat_message *m, size_t i, struct airlock_error *err)
{
    return airlock_error_set(err, AIRLOCK_E_INVALID, "messages[%zu] has no known role (%d)", i,
                             (int)m->role);
}

/* Every token of the template must exist, whichever of them this conversation needs; those for
 * tools when there is a tool. */
static int check_tokens(const struct tokenizer *t, const struct chat_message *messages, size_t n,
                        struct airlock_error *err)
{
    static const char *const needed[] = { "<|user|>", "<|system|>", "<|assistant|>", "<|end|>" };
    static const char *const for_tools[] = { tools_text, tools_end_text, calls_text,
                                             calls_end_text };
    bool tools = false;
    for (size_t i = 0; i < n; i++)
        tools = tools || messages[i].tools_size || messages[i].calls_size ||
                messages[i].role == CHAT_RESULT;
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (tokenizer_added(t, needed[i], NULL) < 0)
            return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                     "tokenizer.json has no added token \"%s\": it is not one of "
                                     "a Phi-4 chat model",
                                     needed[i]);
    for (size_t i = 0; tools && i < sizeof for_tools / sizeof *for_tools; i++)
        if (tokenizer_added(t, for_tools[i], NULL) < 0)
            return airlock_error_set(err, AIRLOCK_E_UNSUPPORTED,
                                     "this model takes no tools: its vocabulary has no %s",
                                     for_tools[i]);
    return 0;
}

static int add_control(const struct tokenizer *t, const char *text, bool *rstrip,
                       struct token_list *out, struct airlock_error *err)
{
    if (token_list_add(out, tokenizer_added(t, text, rstrip)) < 0)
        return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for token ids");
    return 0;
}

/* One text of a message and the control tokens around it. */
struct part {
    const char *before, *text;
    size_t size;
    const char *after; /* NULL: none */
};

enum { MAX_PARTS = 4 };

/* A message in parts; how many, or -1: no such role. */
static int take_apart(const struct chat_message *m, struct part parts[MAX_PARTS])
{
    int n = 0;
    const char *role = role_text(m->role);
    if (!role)
        return -1;
    parts[n++] = (struct part){ role, m->content, m->size, NULL };
    if (m->role == CHAT_SYSTEM && m->tools_size)
        parts[n++] = (struct part){ tools_text, m->tools, m->tools_size, tools_end_text };
    if (m->role == CHAT_ASSISTANT && m->calls_size)
        parts[n++] = (struct part){ calls_text, m->calls, m->calls_size, calls_end_text };
    parts[n++] = (struct part){ end_text, "", 0, NULL };
    return n;
}

/* Each text stands between two added tokens, which cut text in any case, so encoding it by itself
 * gives the ids that it has in the whole string. */
static int add_message(const struct tokenizer *t, const struct chat_message *m, size_t i,
                       struct token_list *out, struct airlock_error *err)
{
    struct part parts[MAX_PARTS];
    int n = take_apart(m, parts);
    if (n < 0)
        return no_role(m, i, err);
    for (int k = 0; k < n; k++) {
        bool rstrip = false;
        if (add_control(t, parts[k].before, &rstrip, out, err) < 0 ||
            tokenizer_encode(t, parts[k].text, parts[k].size, TOKENIZER_TEXT, rstrip, out, err) <
                0 ||
            (parts[k].after && add_control(t, parts[k].after, NULL, out, err) < 0))
            return -1;
    }
    return 0;
}

static int add_raw(const struct chat_message *m, size_t i, struct bytes *text,
                   struct airlock_error *err)
{
    struct part parts[MAX_PARTS];
    int n = take_apart(m, parts);
    if (n < 0)
        return no_role(m, i, err);
    for (int k = 0; k < n; k++)
        if (bytes_add_text(text, parts[k].before) < 0 ||
            bytes_add(text, parts[k].text, parts[k].size) < 0 ||
            (parts[k].after && bytes_add_text(text, parts[k].after) < 0))
            return airlock_error_set(err, AIRLOCK_E_TOO_LARGE,
                                     "the messages have more than %d bytes", RAW_BYTES);
    return 0;
}

static int encode_raw(const struct tokenizer *t, const struct chat_message *messages, size_t n,
                      struct token_list *out, struct airlock_error *err)
{
    struct bytes text = BYTES_INIT(RAW_BYTES);
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = add_raw(&messages[i], i, &text, err);
    if (rc == 0 && bytes_add_text(&text, answer_text) < 0)
        rc = airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for the messages");
    if (rc == 0)
        rc = tokenizer_encode(t, text.data, text.size, TOKENIZER_SPECIAL, false, out, err);
    bytes_free(&text);
    return rc;
}

int chat_template_encode(const struct tokenizer *t, const struct chat_message *messages, size_t n,
                         bool raw_content, struct token_list *out, struct airlock_error *err)
{
    const size_t before = out->n;
    int rc = check_tokens(t, messages, n, err);
    if (rc == 0 && raw_content) {
        rc = encode_raw(t, messages, n, out, err);
    } else if (rc == 0) {
        for (size_t i = 0; i < n && rc == 0; i++)
            rc = add_message(t, &messages[i], i, out, err);
        if (rc == 0)
            rc = add_control(t, answer_text, NULL, out, err);
    }
    if (rc < 0)
        out->n = before;
    return rc;
}
