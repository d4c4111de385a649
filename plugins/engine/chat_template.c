/* chat_template.c - messages to token ids: <|ROLE|>CONTENT<|end|> for each, then <|assistant|>. */
#include "chat_template.h"

#include "common/bytes.h"

#include <string.h>

enum { RAW_BYTES = 128 << 20 /* of a whole conversation as one string */ };

static const char answer_text[] = "<|assistant|>", end_text[] = "<|end|>";

/* NULL: no such role.  The answers of tools come as user messages: the model was trained on no
 * other form. */
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
    }
    return NULL;
}

static int no_role(const struct chat_message *m, size_t i, struct airlock_error *err)
{
    return airlock_error_set(err, AIRLOCK_E_INVALID, "messages[%zu] has no known role (%d)", i,
                             (int)m->role);
}

/* Every token of the template must exist, whichever of them this conversation needs. */
static int check_tokens(const struct tokenizer *t, struct airlock_error *err)
{
    static const char *const needed[] = { "<|user|>", "<|system|>", "<|assistant|>", "<|end|>" };
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (tokenizer_added(t, needed[i], NULL) < 0)
            return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                     "tokenizer.json has no added token \"%s\": it is not one of "
                                     "a Phi-4 chat model",
                                     needed[i]);
    return 0;
}

static int add_control(const struct tokenizer *t, const char *text, bool *rstrip,
                       struct token_list *out, struct airlock_error *err)
{
    if (token_list_add(out, tokenizer_added(t, text, rstrip)) < 0)
        return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for token ids");
    return 0;
}

/* Each content stands between two added tokens, which cut text in any case, so encoding it by
 * itself gives the ids that it has in the whole string. */
static int add_message(const struct tokenizer *t, const struct chat_message *m, size_t i,
                       struct token_list *out, struct airlock_error *err)
{
    const char *role = role_text(m->role);
    bool rstrip = false;
    if (!role)
        return no_role(m, i, err);
    if (add_control(t, role, &rstrip, out, err) < 0 ||
        tokenizer_encode(t, m->content, m->size, TOKENIZER_TEXT, rstrip, out, err) < 0)
        return -1;
    return add_control(t, end_text, NULL, out, err);
}

static int encode_raw(const struct tokenizer *t, const struct chat_message *messages, size_t n,
                      struct token_list *out, struct airlock_error *err)
{
    struct bytes text = BYTES_INIT(RAW_BYTES);
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        const char *role = role_text(messages[i].role);
        if (!role)
            rc = no_role(&messages[i], i, err);
        else if (bytes_add_text(&text, role) < 0 ||
                 bytes_add(&text, messages[i].content, messages[i].size) < 0 ||
                 bytes_add_text(&text, end_text) < 0)
            rc = airlock_error_set(err, AIRLOCK_E_TOO_LARGE, "the messages have more than %d bytes",
                                   RAW_BYTES);
    }
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
    int rc = check_tokens(t, err);
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
