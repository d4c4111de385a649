/* sse.c - see sse.h. */
#include "server/sse.h"

#include "common/json.h"

int sse_json(struct json_object *o, struct bytes *out)
{
    size_t size = 0;
    const char *text = json_object_to_json_string_length(
        o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &size);
    int rc = -1;
    if (text && bytes_add_text(out, "data: ") == 0 && bytes_add(out, text, size) == 0)
        rc = bytes_add_text(out, "\n\n");
    json_object_put(o);
    return rc;
}

int sse_done(struct bytes *out)
{
    return bytes_add_text(out, "data: [DONE]\n\n");
}
