/* openai_messages.c - messages of OpenAI's chat API: roles, text, images and sounds. */
#include "common/limits.h"
#include "server/openai_parse.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { PARTS_MAX = 1024, MIME_BYTES = 64, NAME_BYTES = 256, PLACE_BYTES = 128 };

static const char *const image_types[] = { "image/png", "image/jpeg", "image/webp",
                                           "image/gif", "image/bmp",  NULL };
static const struct {
    const char *format, *mime;
} sounds[] = { { "wav", "audio/wav" },
               { "mp3", "audio/mpeg" },
               { "flac", "audio/flac" },
               { "ogg", "audio/ogg" } };

/* One part of a content, and the text that the message becomes. */
struct part {
    struct openai_reader *r;
    const char *where; /* "messages[0].content[1]" */
    struct bytes *text;
};

static int add(struct part *p, const char *data, size_t n)
{
    return bytes_add(p->text, data, n) < 0 ? openai_no_memory(p->r) : 0;
}

/* ---- media ----------------------------------------------------------------------------------- */

/* data:image/png;base64,... : the type, and the base64 behind it.  False: it is something else. */
static bool data_uri(llm_str url, const char **mime, llm_str *base64)
{
    static const char scheme[] = "data:", marker[] = ";base64,";
    const char *comma = url.len ? memchr(url.ptr, ',', url.len) : NULL;
    if (!comma || url.len < sizeof scheme || strncasecmp(url.ptr, scheme, sizeof scheme - 1) != 0)
        return false;
    const char *type = url.ptr + sizeof scheme - 1;
    size_t head = (size_t)(comma + 1 - type);
    if (head <= sizeof marker - 1 || head > MIME_BYTES ||
        strncasecmp(comma + 1 - (sizeof marker - 1), marker, sizeof marker - 1) != 0)
        return false;
    size_t n = head - (sizeof marker - 1);
    for (size_t i = 0; image_types[i]; i++) {
        if (strlen(image_types[i]) == n && strncasecmp(image_types[i], type, n) == 0) {
            *mime = image_types[i];
            *base64 = (llm_str){ comma + 1, url.len - (size_t)(comma + 1 - url.ptr) };
            return true;
        }
    }
    return false;
}

/* Notes the medium and writes where it goes in the text. */
static int add_media(struct part *p, bool image, llm_str base64, const char *mime,
                     const char *field)
{
    struct abi_request *abi = p->r->abi;
    llm_str type = { mime, strlen(mime) };
    char place[32];
    if ((image ? abi->n_images : abi->n_audios) >= LIMIT_MEDIA)
        return openai_refuse(p->r, p->where, "there are more than %d images or sounds",
                             LIMIT_MEDIA);
    openai_need(p->r, image ? LLM_CAP_IMAGES : LLM_CAP_AUDIOS, image ? "image_url" : "input_audio");
    if (abi_request_media(abi, image, base64, type, field) < 0)
        return openai_no_memory(p->r);
    int n = snprintf(place, sizeof place, image ? "<|image_%zu|>" : "<|audio_%zu|>",
                     image ? abi->n_images : abi->n_audios);
    return add(p, place, (size_t)n);
}

static int take_image(struct part *p, struct json_object *part)
{
    static const char *const known[] = { "type", "image_url", NULL };
    static const char *const inner[] = { "url", "detail", NULL };
    struct json_object *o = openai_member(part, "image_url");
    char param[OPENAI_PARAM_BYTES];
    llm_str url, detail, base64;
    const char *mime;
    snprintf(param, sizeof param, "%.100s.image_url", p->where);
    if (openai_only(p->r, part, p->where, known) < 0)
        return -1;
    if (!json_object_is_type(o, json_type_object))
        return openai_refuse(p->r, param, "image_url must be an object with url");
    if (openai_only(p->r, o, param, inner) < 0)
        return -1;
    struct json_object *level = openai_member(o, "detail");
    strcat(param, ".detail");
    if (level && openai_string(p->r, param, level, NAME_BYTES, &detail) < 0)
        return -1;
    if (level && !openai_is(detail, "auto"))
        return openai_not_supported(p->r, param, "only auto is");
    snprintf(param, sizeof param, "%.100s.image_url.url", p->where);
    if (openai_string(p->r, param, openai_member(o, "url"), LIMIT_REQUEST_BYTES, &url) < 0)
        return -1;
    if (!data_uri(url, &mime, &base64))
        return openai_refuse(p->r, param,
                             "only data:image/TYPE;base64, URLs are taken, of type png, jpeg, "
                             "webp, gif or bmp: nothing is ever fetched");
    return add_media(p, true, base64, mime, param);
}

static int take_audio(struct part *p, struct json_object *part)
{
    static const char *const known[] = { "type", "input_audio", NULL };
    static const char *const inner[] = { "data", "format", NULL };
    struct json_object *o = openai_member(part, "input_audio");
    char param[OPENAI_PARAM_BYTES];
    llm_str data, format;
    snprintf(param, sizeof param, "%.100s.input_audio", p->where);
    if (openai_only(p->r, part, p->where, known) < 0)
        return -1;
    if (!json_object_is_type(o, json_type_object))
        return openai_refuse(p->r, param, "input_audio must be an object with data and format");
    if (openai_only(p->r, o, param, inner) < 0)
        return -1;
    snprintf(param, sizeof param, "%.100s.input_audio.format", p->where);
    if (openai_string(p->r, param, openai_member(o, "format"), NAME_BYTES, &format) < 0)
        return -1;
    const char *mime = NULL;
    for (size_t i = 0; i < sizeof sounds / sizeof *sounds; i++)
        if (openai_is(format, sounds[i].format))
            mime = sounds[i].mime;
    if (!mime)
        return openai_refuse(p->r, param, "the format must be wav, mp3, flac or ogg");
    snprintf(param, sizeof param, "%.100s.input_audio.data", p->where);
    if (openai_string(p->r, param, openai_member(o, "data"), LIMIT_REQUEST_BYTES, &data) < 0)
        return -1;
    return add_media(p, false, data, mime, param);
}

/* ---- content --------------------------------------------------------------------------------- */

static int take_text(struct part *p, struct json_object *part)
{
    static const char *const known[] = { "type", "text", NULL };
    char param[OPENAI_PARAM_BYTES];
    llm_str text;
    snprintf(param, sizeof param, "%.100s.text", p->where);
    if (openai_only(p->r, part, p->where, known) < 0 ||
        openai_string(p->r, param, openai_member(part, "text"), LIMIT_REQUEST_BYTES, &text) < 0)
        return -1;
    return add(p, text.ptr, text.len);
}

static int take_part(struct part *p, struct json_object *part, bool media)
{
    char param[OPENAI_PARAM_BYTES];
    llm_str type;
    if (!json_object_is_type(part, json_type_object))
        return openai_refuse(p->r, p->where, "a part of content must be an object");
    snprintf(param, sizeof param, "%.100s.type", p->where);
    if (openai_string(p->r, param, openai_member(part, "type"), NAME_BYTES, &type) < 0)
        return -1;
    if (openai_is(type, "text"))
        return take_text(p, part);
    if (media && openai_is(type, "image_url"))
        return take_image(p, part);
    if (media && openai_is(type, "input_audio"))
        return take_audio(p, part);
    return openai_refuse(p->r, param,
                         media ? "a part must be text, image_url or input_audio"
                               : "only messages of the user have parts other than text");
}

/* Parts are put together as they stand, without anything between them. */
static int take_parts(struct openai_reader *r, const char *where, struct json_object *v, bool media,
                      llm_str *out)
{
    struct bytes text = BYTES_INIT(2 * LIMIT_REQUEST_BYTES);
    size_t n = json_object_array_length(v);
    char place[PLACE_BYTES];
    int rc =
        n <= PARTS_MAX ? 0 : openai_refuse(r, where, "%s has more than %d parts", where, PARTS_MAX);
    for (size_t i = 0; i < n && rc == 0; i++) {
        struct part p = { r, place, &text };
        snprintf(place, sizeof place, "%.80s[%zu]", where, i);
        rc = take_part(&p, json_object_array_get_idx(v, i), media);
    }
    if (rc == 0 && abi_request_own(r->abi, text.data, text.size, out) < 0)
        rc = openai_no_memory(r);
    bytes_free(&text);
    return rc;
}

/* ---- messages -------------------------------------------------------------------------------- */

static int take_role(struct openai_reader *r, const char *where, struct json_object *o,
                     int32_t *role)
{
    static const struct {
        const char *name;
        int32_t role;
    } roles[] = { { "system", LLM_ROLE_SYSTEM },
                  { "developer", LLM_ROLE_SYSTEM },
                  { "user", LLM_ROLE_USER },
                  { "assistant", LLM_ROLE_ASSISTANT },
                  { "tool", LLM_ROLE_TOOL } };
    char param[OPENAI_PARAM_BYTES];
    llm_str name;
    snprintf(param, sizeof param, "%s.role", where);
    if (openai_string(r, param, openai_member(o, "role"), NAME_BYTES, &name) < 0)
        return -1;
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        if (openai_is(name, roles[i].name)) {
            *role = roles[i].role;
            return 0;
        }
    }
    return openai_refuse(r, param, "the role must be system, developer, user, assistant or tool");
}

static int take_content(struct openai_reader *r, const char *where, struct json_object *o,
                        llm_message *m)
{
    struct json_object *v = openai_member(o, "content");
    char param[OPENAI_PARAM_BYTES];
    snprintf(param, sizeof param, "%s.content", where);
    if (json_object_is_type(v, json_type_array))
        return take_parts(r, param, v, m->role == LLM_ROLE_USER, &m->content);
    if (!v && m->role == LLM_ROLE_ASSISTANT && m->tool_calls.len)
        return 0;
    if (!json_object_is_type(v, json_type_string))
        return openai_refuse(r, param, "content must be a string or an array of parts");
    return openai_string(r, param, v, LIMIT_REQUEST_BYTES, &m->content);
}

/* What clients send back of an answer of ours must be empty, as we sent it. */
static int take_leftovers(struct openai_reader *r, const char *where, struct json_object *o)
{
    static const char *const keys[] = { "refusal", "audio", "function_call", "annotations" };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        struct json_object *v = openai_member(o, keys[i]);
        char param[OPENAI_PARAM_BYTES];
        if (!v || (json_object_is_type(v, json_type_array) && json_object_array_length(v) == 0))
            continue;
        snprintf(param, sizeof param, "%s.%s", where, keys[i]);
        return openai_not_supported(r, param, "leave it out");
    }
    return 0;
}

static int take_message(struct openai_reader *r, size_t i, struct json_object *o, llm_message *m)
{
    static const char *const known[] = { "role",         "content", "name",          "tool_calls",
                                         "refusal",      "audio",   "function_call", "annotations",
                                         "tool_call_id", NULL };
    char where[48], param[OPENAI_PARAM_BYTES];
    llm_str name;
    snprintf(where, sizeof where, "messages[%zu]", i);
    if (!json_object_is_type(o, json_type_object))
        return openai_refuse(r, where, "%s must be an object", where);
    if (openai_only(r, o, where, known) < 0 || take_role(r, where, o, &m->role) < 0 ||
        take_leftovers(r, where, o) < 0)
        return -1;
    struct json_object *calls = openai_member(o, "tool_calls"), *v = openai_member(o, "name");
    struct json_object *id = openai_member(o, "tool_call_id");
    snprintf(param, sizeof param, "%s.name", where);
    if (v && openai_string(r, param, v, NAME_BYTES, &name) < 0)
        return -1;
    snprintf(param, sizeof param, "%s.tool_calls", where);
    if (calls && m->role != LLM_ROLE_ASSISTANT)
        return openai_refuse(r, param, "only messages of the assistant have tool_calls");
    if (calls && openai_tool_calls(r, param, calls, &m->tool_calls) < 0)
        return -1;
    snprintf(param, sizeof param, "%s.tool_call_id", where);
    if (id && m->role != LLM_ROLE_TOOL)
        return openai_refuse(r, param, "only messages of a tool have a tool_call_id");
    if (id && openai_string(r, param, id, NAME_BYTES, &m->tool_call_id) < 0)
        return -1;
    return take_content(r, where, o, m);
}

int openai_messages(struct openai_reader *r, struct json_object *v)
{
    if (!json_object_is_type(v, json_type_array))
        return openai_refuse(r, "messages", "messages must be an array");
    size_t n = json_object_array_length(v);
    if (n == 0 || n > LIMIT_MESSAGES)
        return openai_refuse(r, "messages", "messages must have 1 to %d entries", LIMIT_MESSAGES);
    if (abi_request_messages(r->abi, n) < 0)
        return openai_no_memory(r);
    for (size_t i = 0; i < n; i++)
        if (take_message(r, i, json_object_array_get_idx(v, i), &r->abi->messages[i]) < 0)
            return -1;
    return 0;
}
