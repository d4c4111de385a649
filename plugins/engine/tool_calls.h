/*
 * tool_calls.h - takes the calls of functions out of a model's text as its bytes come.
 *
 * The model writes <|tool_call|>[{"name": NAME, "arguments": {...}}, ...]<|/tool_call|>, a single
 * object instead of the list, or "parameters" for "arguments"; the end marker may be missing at the
 * end of the answer.  A call is taken as soon as its object is whole, so that what a limit cuts off
 * costs no call before it.  What stands between markers and is no call comes out as text, unchanged
 * but for the markers, so that nothing is lost.  A byte is read a bounded number of times.
 */
#ifndef AIRLOCK_TOOL_CALLS_H
#define AIRLOCK_TOOL_CALLS_H

#include "common/bytes.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    TOOL_CALLS_MAX = 128,           /* in one answer; more are text */
    TOOL_CALLS_MAX_BYTES = 4 << 20, /* between two markers; more is text */
    TOOL_CALLS_MAX_JSON = 1 << 16   /* JSON values between two markers */
};

struct tool_call {
    char *name;      /* [name_size] */
    char *arguments; /* [arguments_size] JSON object, as the model wrote it but for white space */
    size_t name_size, arguments_size;
};

/* The reader of what stands between two markers. */
struct tool_list {
    enum {
        TOOL_LIST_START, /* nothing yet */
        TOOL_LIST_NEXT,  /* in the list: an object is to come */
        TOOL_LIST_ITEM,  /* in an object */
        TOOL_LIST_AFTER, /* behind a call of the list */
        TOOL_LIST_END,   /* behind the list or the single object */
        TOOL_LIST_TEXT   /* what follows is no call */
    } state;
    bool listed, in_string, escaped, taken; /* taken: at least one call */
    unsigned depth;                         /* of brackets in the object */
    size_t item, read;                      /* offsets in held: the object's start; what was read */
};

struct tool_calls {
    struct bytes held;       /* what may yet become a marker, or the text since one */
    bool inside;             /* between the markers */
    size_t searched;         /* bytes of held in which no end marker begins */
    struct tool_list list;   /* inside: how far the list of calls has been read */
    struct tool_call *calls; /* [n] complete ones; the caller takes note of how many it has seen */
    size_t n;
};

void tool_calls_init(struct tool_calls *t);
void tool_calls_free(struct tool_calls *t);

/* Reads [size] bytes of the answer; appends to text what is no call.  0, or -1: out of memory. */
int tool_calls_add(struct tool_calls *t, const char *bytes, size_t size, struct bytes *text);
/* The answer ends here. */
int tool_calls_end(struct tool_calls *t, struct bytes *text);

#endif
