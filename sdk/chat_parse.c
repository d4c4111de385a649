/* chat_parse.c - picks what the SDK gives back out of an answer's JSON; see chat_parse.h. */
#include "chat_parse.h"

#include "common/json.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

enum { VALUES_MAX = 1 << 20, MODELS_MAX = 65536 };

void chat_parts_init(struct chat_parts *p, size_t max)
{
    memset(p, 0, sizeof *p);
    p->max = max;
    p->text.max = max;
    p->prompt_tokens = p->completion_tokens = p->cached_tokens = -1;
}

void chat_parts_free(struct chat_parts *p)
{
    bytes_free(&p->text);
    for (size_t i = 0; i < p->n_calls; i++) {
        bytes_free(&p->call[i].id);
        bytes_free(&p->call[i].name);
        bytes_free(&p->call[i].arguments);
    }
}

static int wrong(struct chat_parts *p, const char *what)
{
    snprintf(p->words, sizeof p->words, "%s", what);
    return -1;
}

/* Adds the string member of o, if it is there.  It may hold no NUL, which C's strings cannot tell
 * from their end. */
static int add(struct chat_parts *p, struct bytes *to, struct json_object *o, const char *key)
{
    struct airlock_error err;
    const char *text;
    int found = json_get_string(o, "", key, &text, NULL, &err);
    if (found < 0)
        return wrong(p, err.text);
    if (found == 0)
        return 0;
    size_t n = strlen(text);
    to->max = p->max;
    if (n > p->max - p->used || bytes_add(to, text, n) != 0)
        return wrong(p, "it is larger than the limit (airlock_client_set_max_answer), or out of "
                        "memory");
    p->used += n;
    return 0;
}

/* One of tool_calls, whole or a part of it. */
static int add_call(struct chat_parts *p, struct json_object *o, int64_t position)
{
    struct airlock_error err;
    struct json_object *function = NULL;
    if (!json_object_is_type(o, json_type_object) ||
        json_get_int(o, "tool_calls.", "index", 0, CHAT_CALLS_MAX - 1, &position, &err) < 0 ||
        position >= CHAT_CALLS_MAX || position > (int64_t)p->n_calls)
        return wrong(p, "tool_calls are not in order, or too many");
    struct chat_call *call = &p->call[position];
    if (position == (int64_t)p->n_calls)
        p->n_calls++;
    if (json_get_object(o, "", "function", &function, &err) < 0)
        return wrong(p, err.text);
    if (add(p, &call->id, o, "id") < 0)
        return -1;
    return function && (add(p, &call->name, function, "name") < 0 ||
                        add(p, &call->arguments, function, "arguments") < 0)
               ? -1
               : 0;
}

/* "message" or "delta" */
static int add_message(struct chat_parts *p, struct json_object *o)
{
    struct airlock_error err;
    struct json_object *calls = NULL;
    if (add(p, &p->text, o, "content") < 0)
        return -1;
    if (json_get_array(o, "", "tool_calls", &calls, &err) < 0)
        return wrong(p, err.text);
    for (size_t i = 0; calls && i < json_object_array_length(calls); i++)
        if (add_call(p, json_object_array_get_idx(calls, i), (int64_t)i) < 0)
            return -1;
    return 0;
}

static int add_choice(struct chat_parts *p, struct json_object *o)
{
    struct airlock_error err;
    struct json_object *message = NULL;
    const char *reason = NULL;
    if (!json_object_is_type(o, json_type_object) ||
        json_get_object(o, "choices[0].", "message", &message, &err) < 0 ||
        (!message && json_get_object(o, "choices[0].", "delta", &message, &err) < 0) ||
        json_get_string(o, "choices[0].", "finish_reason", &reason, NULL, &err) < 0)
        return wrong(p, "choices[0] is not of the right form");
    if (reason)
        snprintf(p->finish_reason, sizeof p->finish_reason, "%s", reason);
    return message ? add_message(p, message) : 0;
}

static void add_usage(struct chat_parts *p, struct json_object *root)
{
    struct airlock_error err;
    struct json_object *usage = NULL, *details = NULL;
    int64_t n;
    if (json_get_object(root, "", "usage", &usage, &err) <= 0)
        return;
    if (json_get_int(usage, "", "prompt_tokens", 0, INT_MAX, &n, &err) > 0)
        p->prompt_tokens = (long)n;
    if (json_get_int(usage, "", "completion_tokens", 0, INT_MAX, &n, &err) > 0)
        p->completion_tokens = (long)n;
    if (json_get_object(usage, "", "prompt_tokens_details", &details, &err) > 0 &&
        json_get_int(details, "", "cached_tokens", 0, INT_MAX, &n, &err) > 0)
        p->cached_tokens = (long)n;
}

/* The message of {"error":{...}} or {"detail":...}: 1, else 0. */
static int error_words(struct json_object *root, char words[CHAT_WORDS_MAX])
{
    struct airlock_error err;
    struct json_object *error = NULL;
    const char *text = NULL;
    if (!json_object_is_type(root, json_type_object))
        return 0;
    if (json_get_object(root, "", "error", &error, &err) > 0)
        json_get_string(error, "", "message", &text, NULL, &err);
    else
        json_get_string(root, "", "detail", &text, NULL, &err);
    if (text)
        snprintf(words, CHAT_WORDS_MAX, "%s", text);
    return text != NULL;
}

int chat_parse(struct chat_parts *p, const char *json, size_t size)
{
    struct airlock_error err;
    struct json_object *choices = NULL, *root = json_parse_max(json, size, VALUES_MAX, &err);
    int rc = 0;
    p->new_text = p->text.size;
    if (!root)
        return wrong(p, err.text);
    if (error_words(root, p->words))
        rc = -1;
    else if (!json_object_is_type(root, json_type_object) ||
             json_get_array(root, "", "choices", &choices, &err) <= 0)
        rc = wrong(p, "it has no choices");
    else if (json_object_array_length(choices) > 0)
        rc = add_choice(p, json_object_array_get_idx(choices, 0));
    if (rc == 0)
        add_usage(p, root);
    json_object_put(root);
    return rc;
}

int chat_parse_refusal(const char *json, size_t size, char words[CHAT_WORDS_MAX])
{
    struct airlock_error err;
    struct json_object *root = json_parse_max(json, size, VALUES_MAX, &err);
    int rc = root && error_words(root, words) ? 0 : -1;
    json_object_put(root);
    return rc;
}

int chat_parse_models(const char *json, size_t size, struct bytes *out)
{
    struct airlock_error err;
    struct json_object *list = NULL, *root = json_parse_max(json, size, VALUES_MAX, &err);
    int n = json_object_is_type(root, json_type_object) &&
                    json_get_array(root, "", "data", &list, &err) > 0 &&
                    json_object_array_length(list) <= MODELS_MAX
                ? 0
                : -1;
    for (size_t i = 0; n >= 0 && i < json_object_array_length(list); i++) {
        struct json_object *o = json_object_array_get_idx(list, i);
        const char *id;
        if (json_object_is_type(o, json_type_object) &&
            json_get_string(o, "", "id", &id, NULL, &err) > 0)
            n = bytes_add(out, id, strlen(id) + 1) == 0 ? n + 1 : -1;
    }
    json_object_put(root);
    return n;
}
