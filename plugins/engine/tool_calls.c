/* tool_calls.c - looks for markers in growing text, and reads each object between them once it is
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

/* The object held[list.item .. end) is whole: takes it, and drops it with what stands before it. */
static int take_item(struct tool_calls *t, size_t end)
{
    struct tool_list *l = &t->list;
    l->state = TOOL_LIST_TEXT;
    struct json_object *o =
        json_parse_max(t->held.data + l->item, end - l->item, TOOL_CALLS_MAX_JSON, NULL);
    struct tool_call call;
    int found = o && t->n < TOOL_CALLS_MAX ? read_call(o, &call) : 0;
    json_object_put(o);
    if (found <= 0)
        return found;
    struct tool_call *calls = realloc(t->calls, (t->n + 1) * sizeof *calls);
    if (!calls) {
        free_call(&call);
        return -1;
    }
    t->calls = calls;
    t->calls[t->n++] = call;
    bytes_drop_front(&t->held, end);
    t->searched = l->read = 0;
    l->taken = true;
    l->state = l->listed ? TOOL_LIST_AFTER : TOOL_LIST_END;
    return 0;
}

/* One byte in an object.  True: it was the last one. */
static bool read_item_byte(struct tool_list *l, char c)
{
    if (l->in_string) {
        l->in_string = l->escaped || c != '"';
        l->escaped = !l->escaped && c == '\\';
        return false;
    }
    l->in_string = c == '"';
    if (c == '{' || c == '[')
        l->depth++;
    if (c == '}' || c == ']')
        l->depth--;
    return l->depth == 0;
}

/* One byte between objects. */
static void read_list_byte(struct tool_list *l, char c)
{
    if (c == ' ' || c == '\n' || c == '\r' || c == '\t')
        return;
    bool starts = l->state == TOOL_LIST_START;
    if (c == '{' && (starts || l->state == TOOL_LIST_NEXT)) {
        l->item = l->read;
        l->depth = 1;
        l->in_string = l->escaped = false;
        l->state = TOOL_LIST_ITEM;
    } else if (c == '[' && starts) {
        l->listed = true;
        l->state = TOOL_LIST_NEXT;
    } else if (c == ',' && l->state == TOOL_LIST_AFTER) {
        l->state = TOOL_LIST_NEXT;
    } else if (c == ']' && l->state == TOOL_LIST_AFTER) {
        l->state = TOOL_LIST_END;
    } else {
        l->state = TOOL_LIST_TEXT;
    }
}

/* Reads held up to end, which shrinks by what is dropped.  0, or -1. */
static int read_list(struct tool_calls *t, size_t *end)
{
    struct tool_list *l = &t->list;
    while (l->read < *end && l->state != TOOL_LIST_TEXT) {
        char c = t->held.data[l->read];
        if (l->state != TOOL_LIST_ITEM) {
            read_list_byte(l, c);
            l->read++;
        } else if (read_item_byte(l, c)) {
            size_t size = t->held.size, whole = l->read + 1;
            if (take_item(t, whole))
                return -1;
            *end -= size - t->held.size;
        } else {
            l->read++;
        }
    }
    return 0;
}

/* The end of what stands between the markers, the first [size] bytes of held: what was not taken is
 * text. */
static int finish(struct tool_calls *t, size_t size, struct bytes *text)
{
    size_t skip = t->list.taken && size ? strspn(t->held.data, " \n\r\t,]") : 0;
    skip = skip < size ? skip : size;
    t->list = (struct tool_list){ 0 };
    return bytes_add(text, size ? t->held.data + skip : "", size - skip);
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
    t->list = (struct tool_list){ 0 };
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
    size_t size =
        at ? (size_t)(at - t->held.data) : t->held.size - partial(&t->held, 0, close_marker);
    if (read_list(t, &size))
        return -1;
    if (!at) {
        t->searched = t->held.size;
        return 0;
    }
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
            t->list = (struct tool_list){ 0 };
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
    if (t->inside && read_list(t, &size))
        return -1;
    int rc =
        t->inside ? finish(t, size, text) : bytes_add(text, t->held.data ? t->held.data : "", size);
    bytes_clear(&t->held);
    t->inside = false;
    return rc;
}
