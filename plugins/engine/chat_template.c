/* chat_template.c - messages to token ids: <|ROLE|>CONTENT<|end|> for each, then <|assistant|>. */
#include "chat_template.h"

#include "common/bytes.h"

#include <stdlib.h>
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

/* ---- content with inserts -------------------------------------------------------------------- */

/* A text and what is cut out of it. */
struct text {
    const char *data;
    size_t size;
    struct chat_insert *inserts; /* at: within this text */
    size_t n_inserts;
    enum tokenizer_mode mode;
    bool after_rstrip;
};

static int add_insert(struct chat_insert *insert, struct token_list *out, struct airlock_error *err)
{
    insert->first = out->n;
    for (size_t i = 0; i < insert->count; i++)
        if (token_list_add(out, insert->id) < 0)
            return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for token ids");
    return 0;
}

/* Where special tokens are recognised, the ids that stand for something else may be written out. */
static int check_forged(const struct text *t, const struct token_list *out, size_t from,
                        struct airlock_error *err)
{
    for (size_t i = from; t->mode == TOKENIZER_SPECIAL && i < out->n; i++)
        for (size_t k = 0; k < t->n_inserts; k++)
            if (out->ids[i] == t->inserts[k].id)
                return airlock_error_set(err, AIRLOCK_E_REQUEST,
                                         "messages: a token that stands for a picture or a sound "
                                         "is written out in the text");
    return 0;
}

/* What is inserted are added tokens without rstrip, which cut text in any case, so the pieces have
 * the ids that they have in the whole text. */
static int encode_text(const struct tokenizer *t, const struct text *text, struct token_list *out,
                       struct airlock_error *err)
{
    size_t from = 0;
    for (size_t i = 0; i <= text->n_inserts; i++) {
        struct chat_insert *insert = i < text->n_inserts ? &text->inserts[i] : NULL;
        const size_t end = insert ? insert->at : text->size, before = out->n;
        if (end < from || end > text->size || (insert && insert->size > text->size - end))
            return airlock_error_set(err, AIRLOCK_E_INVALID, "inserts overlap or leave the text");
        if (tokenizer_encode(t, text->data + from, end - from, text->mode,
                             i == 0 && text->after_rstrip, out, err) < 0 ||
            check_forged(text, out, before, err) < 0 ||
            (insert && add_insert(insert, out, err) < 0))
            return -1;
        from = insert ? end + insert->size : end;
    }
    return 0;
}

/* ---- a message ---------------------------------------------------------------------------------
 */

/* One text of a message and the control tokens around it. */
struct part {
    const char *before, *text;
    size_t size;
    const char *after;           /* NULL: none */
    struct chat_insert *inserts; /* [n_inserts] of text */
    size_t n_inserts;
};

enum { MAX_PARTS = 4 };

/* A message in parts; how many, or -1: no such role. */
static int take_apart(const struct chat_message *m, struct part parts[MAX_PARTS])
{
    int n = 0;
    const char *role = role_text(m->role);
    if (!role)
        return -1;
    parts[n++] = (struct part){ role, m->content, m->size, NULL, m->inserts, m->n_inserts };
    if (m->role == CHAT_SYSTEM && m->tools_size)
        parts[n++] = (struct part){ tools_text, m->tools, m->tools_size, tools_end_text, NULL, 0 };
    if (m->role == CHAT_ASSISTANT && m->calls_size)
        parts[n++] = (struct part){ calls_text, m->calls, m->calls_size, calls_end_text, NULL, 0 };
    parts[n++] = (struct part){ end_text, "", 0, NULL, NULL, 0 };
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
        if (add_control(t, parts[k].before, &rstrip, out, err) < 0)
            return -1;
        const struct text text = { parts[k].text,      parts[k].size,  parts[k].inserts,
                                   parts[k].n_inserts, TOKENIZER_TEXT, rstrip };
        if (encode_text(t, &text, out, err) < 0 ||
            (parts[k].after && add_control(t, parts[k].after, NULL, out, err) < 0))
            return -1;
    }
    return 0;
}

/* The inserts of all messages, with their places in the whole string. */
struct raw_inserts {
    struct chat_insert *all;
    size_t n;
};

static int raw_inserts_new(struct raw_inserts *r, const struct chat_message *messages, size_t n,
                           struct airlock_error *err)
{
    size_t total = 0;
    for (size_t i = 0; i < n; i++)
        total += messages[i].n_inserts;
    *r = (struct raw_inserts){ calloc(total ? total : 1, sizeof *r->all), 0 };
    return r->all ? 0 : airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for inserts");
}

/* m's content begins at `at` of the whole string. */
static void raw_inserts_add(struct raw_inserts *r, const struct chat_message *m, size_t at)
{
    for (size_t i = 0; i < m->n_inserts; i++) {
        r->all[r->n] = m->inserts[i];
        r->all[r->n++].at += at;
    }
}

static void raw_inserts_take_back(const struct raw_inserts *r, const struct chat_message *messages,
                                  size_t n)
{
    size_t next = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < messages[i].n_inserts; k++)
            messages[i].inserts[k].first = r->all[next++].first;
}

static int add_raw(const struct chat_message *m, size_t i, struct bytes *text,
                   struct raw_inserts *inserts, struct airlock_error *err)
{
    struct part parts[MAX_PARTS];
    int n = take_apart(m, parts);
    if (n < 0)
        return no_role(m, i, err);
    raw_inserts_add(inserts, m, text->size + strlen(parts[0].before));
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
    struct raw_inserts inserts;
    int rc = raw_inserts_new(&inserts, messages, n, err);
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = add_raw(&messages[i], i, &text, &inserts, err);
    if (rc == 0 && bytes_add_text(&text, answer_text) < 0)
        rc = airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for the messages");
    const struct text whole = { text.data, text.size,         inserts.all,
                                inserts.n, TOKENIZER_SPECIAL, false };
    if (rc == 0)
        rc = encode_text(t, &whole, out, err);
    if (rc == 0)
        raw_inserts_take_back(&inserts, messages, n);
    free(inserts.all);
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
