/* tool_calls.c - looks for markers in growing text, and reads the JSON between them once it is
 * whole; see tool_calls.h. */
#include "tool_calls.h"

#include "common/json.h"

#include <stdlib.h>
#include <string.h>

enum { PIECE = 256 /* bytes looked at together: what is behind a marker is moved */ };

static const char open_marker[] = "<|tool_call|>", close_marker[] = "<|/tool_call|>";

void tool_calls_init(struct tool_calls *t)
{
    *t = (struct tool_calls){ .held = BYTES_INIT(TOOL_CALLS_MAX_BYTES + sizeof close_marker) };
}

static void free_call(struct tool_call *call)
{
    free(call->name);
    free(call->arguments);
}

void tool_calls_free(struct tool_calls *t)
{
    for (size_t i = 0; i < t->n; i++)
        free_call(&t->calls[i]);
    free(t->calls);
    bytes_free(&t->held);
    *t = (struct tool_calls){ 0 };
}

/* ---- the calls between two markers ----------------------------------------------------------- */

static char *copy(const char *text, size_t size)
{
    char *out = malloc(size + 1);
    if (out) {
        memcpy(out, text, size);
        out[size] = 0;
    }
    return out;
}

/* 1: a call, 0: not one, -1: out of memory. */
static int read_call(struct json_object *o, struct tool_call *out)
{
    struct json_object *name = NULL, *arguments = NULL;
    if (!json_object_is_type(o, json_type_object) || !json_object_object_get_ex(o, "name", &name) ||
        !json_object_is_type(name, json_type_string) || json_object_get_string_len(name) == 0)
        return 0;
    if (!json_object_object_get_ex(o, "arguments", &arguments))
        json_object_object_get_ex(o, "parameters", &arguments);
    if (!json_object_is_type(arguments, json_type_object))
        return 0;
    size_t size = 0;
    const char *text = json_object_to_json_string_length(
        arguments, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &size);
    *out = (struct tool_call){ .name_size = (size_t)json_object_get_string_len(name),
                               .arguments_size = size };
    out->name = copy(json_object_get_string(name), out->name_size);
    out->arguments = text ? copy(text, size) : NULL;
    if (out->name && out->arguments)
        return 1;
    free_call(out);
    return -1;
}

/* As read_call(), for all: either every item is a call, or none is taken. */
static int read_calls(struct tool_calls *t, struct json_object *o)
{
    bool list = json_object_is_type(o, json_type_array);
    size_t n = list ? json_object_array_length(o) : 1;
    if (n == 0 || n > TOOL_CALLS_MAX - t->n)
        return 0;
    struct tool_call *calls = realloc(t->calls, (t->n + n) * sizeof *calls);
    if (!calls)
        return -1;
    t->calls = calls;
    for (size_t i = 0; i < n; i++) {
        int found = read_call(list ? json_object_array_get_idx(o, i) : o, &calls[t->n + i]);
        if (found == 1)
            continue;
        while (i-- > 0)
            free_call(&calls[t->n + i]);
        return found;
    }
    t->n += n;
    return 1;
}

/* Judges the held text, which is whole: calls, or text. */
static int finish(struct tool_calls *t, size_t size, struct bytes *text)
{
    struct json_object *o =
        size ? json_parse_max(t->held.data, size, TOOL_CALLS_MAX_JSON, NULL) : NULL;
    int found = o ? read_calls(t, o) : 0;
    json_object_put(o);
    if (found < 0)
        return -1;
    return found ? 0 : bytes_add(text, t->held.data ? t->held.data : "", size);
}

/* ---- markers --------------------------------------------------------------------------------- */

/* How much of the end of the text is the beginning of the marker. */
static size_t partial(const struct bytes *held, size_t from, const char *marker)
{
    size_t n = strlen(marker) - 1, have = held->size - from;
    for (n = n < have ? n : have; n > 0; n--)
        if (memcmp(held->data + held->size - n, marker, n) == 0)
            return n;
    return 0;
}

/* Outside: passes text on up to a marker or what may become one. */
static int outside(struct tool_calls *t, struct bytes *text, bool *more)
{
    char *at = t->held.size
                   ? memmem(t->held.data, t->held.size, open_marker, sizeof open_marker - 1)
                   : NULL;
    size_t size =
        at ? (size_t)(at - t->held.data) : t->held.size - partial(&t->held, 0, open_marker);
    if (bytes_add(text, t->held.data ? t->held.data : "", size))
        return -1;
    bytes_drop_front(&t->held, size + (at ? sizeof open_marker - 1 : 0));
    t->inside = at != NULL;
    t->searched = 0;
    *more = at != NULL;
    return 0;
}

/* Inside: looks for the end marker in what is new. */
static int inside(struct tool_calls *t, struct bytes *text, bool *more)
{
    size_t margin = sizeof close_marker - 2; /* of a marker that came in two parts */
    size_t from = t->searched > margin ? t->searched - margin : 0;
    char *at = t->held.size > from ? memmem(t->held.data + from, t->held.size - from, close_marker,
                                            sizeof close_marker - 1)
                                   : NULL;
    *more = at != NULL;
    if (!at) {
        t->searched = t->held.size;
        return 0;
    }
    size_t size = (size_t)(at - t->held.data);
    if (finish(t, size, text))
        return -1;
    bytes_drop_front(&t->held, size + sizeof close_marker - 1);
    t->inside = false;
    return 0;
}

static int scan(struct tool_calls *t, struct bytes *text)
{
    for (bool more = true; more;)
        if (t->inside ? inside(t, text, &more) : outside(t, text, &more))
            return -1;
    return 0;
}

int tool_calls_add(struct tool_calls *t, const char *bytes, size_t size, struct bytes *text)
{
    while (size > 0) {
        size_t room = TOOL_CALLS_MAX_BYTES - t->held.size, n = size < room ? size : room;
        n = n < PIECE ? n : PIECE;
        if (n == 0) { /* too long to be calls */
            if (bytes_add(text, t->held.data, t->held.size))
                return -1;
            bytes_clear(&t->held);
            t->inside = false;
            continue;
        }
        if (bytes_add(&t->held, bytes, n) || scan(t, text))
            return -1;
        bytes += n;
        size -= n;
    }
    return 0;
}

int tool_calls_end(struct tool_calls *t, struct bytes *text)
{
    size_t size = t->held.size;
    int rc =
        t->inside ? finish(t, size, text) : bytes_add(text, t->held.data ? t->held.data : "", size);
    bytes_clear(&t->held);
    t->inside = false;
    return rc;
}
