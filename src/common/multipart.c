/* multipart.c - boundaries, part headers and their parameters; see multipart.h. */
#include "multipart.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* The letters of a token (RFC 9110) but those that would need care elsewhere. */
#define TOKEN                                                                                      \
    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"                               \
    "!#$%&'*+-.^_`|~"
#define BOUNDARY                                                                                   \
    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"                               \
    "'+_.-"

/* ---- parameters of a header ------------------------------------------------------------------ */

/* Text being read; never beyond end. */
struct cursor {
    const char *at, *end;
};

static void skip_space(struct cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t'))
        c->at++;
}

static size_t token_size(const struct cursor *c)
{
    size_t n = 0;
    while (c->at + n < c->end && c->at[n] && strchr(TOKEN, c->at[n]))
        n++;
    return n;
}

/* A value as a token or between quotes, where a backslash takes the next byte's meaning; the bytes
 * as they stand.  False: it is neither, or has control characters. */
static bool take_value(struct cursor *c, const char **value, size_t *size)
{
    bool quoted = c->at < c->end && *c->at == '"';
    if (!quoted) {
        *value = c->at;
        c->at += *size = token_size(c);
        return *size > 0;
    }
    *value = ++c->at;
    while (c->at < c->end && *c->at != '"') {
        if (*c->at == '\\' && c->at + 1 < c->end)
            c->at++;
        unsigned char byte = (unsigned char)*c->at++;
        if (byte < ' ' || byte == 0x7f)
            return false;
    }
    *size = (size_t)(c->at - *value);
    return c->at < c->end && c->at++; /* the closing quote */
}

/* The next "; name=value".  1, 0: there is none, -1: something else stands there. */
static int take_parameter(struct cursor *c, struct cursor *name, struct cursor *value)
{
    size_t n;
    skip_space(c);
    if (c->at == c->end)
        return 0;
    if (*c->at++ != ';')
        return -1;
    skip_space(c);
    name->at = c->at;
    c->at += n = token_size(c);
    name->end = c->at;
    if (n == 0 || c->at == c->end || *c->at++ != '=' || !take_value(c, &value->at, &n))
        return -1;
    value->end = value->at + n;
    return 1;
}

static bool is_word(const struct cursor *text, const char *word)
{
    size_t n = (size_t)(text->end - text->at);
    return n == strlen(word) && strncasecmp(text->at, word, n) == 0;
}

/* ---- the boundary ---------------------------------------------------------------------------- */

int multipart_boundary(const char *content_type, char out[MULTIPART_BOUNDARY_MAX + 1])
{
    static const char form[] = "multipart/form-data";
    struct cursor c = { content_type, content_type + strlen(content_type) }, name, value;
    int found = 0, rc;
    if (strncasecmp(content_type, form, sizeof form - 1) != 0)
        return -1;
    c.at += sizeof form - 1;
    while ((rc = take_parameter(&c, &name, &value)) > 0) {
        size_t n = (size_t)(value.end - value.at);
        if (!is_word(&name, "boundary"))
            continue;
        if (found++ || n == 0 || n > MULTIPART_BOUNDARY_MAX)
            return -1;
        memcpy(out, value.at, n);
        out[n] = 0;
        if (strlen(out) != n || strspn(out, BOUNDARY) != n)
            return -1;
    }
    return rc == 0 && found ? 0 : -1;
}

int multipart_begin(struct multipart *form, const char *boundary, const char *body, size_t size,
                    struct airlock_error *err)
{
    *form = (struct multipart){ body, body + size, "", 0, 0 };
    int n = snprintf(form->mark, sizeof form->mark, "\r\n--%s", boundary);
    if (n < 0 || (size_t)n >= sizeof form->mark)
        return airlock_error_set(err, AIRLOCK_E_REQUEST, "the boundary is too long");
    form->mark_size = (size_t)n;
    if (size < form->mark_size - 2 || memcmp(body, form->mark + 2, form->mark_size - 2) != 0)
        return airlock_error_set(err, AIRLOCK_E_REQUEST,
                                 "the form does not begin with the boundary of its Content-Type");
    form->at += form->mark_size - 2;
    return 0;
}

/* ---- parts ----------------------------------------------------------------------------------- */

/* form-data; name="..." and perhaps a filename.  0 or -1. */
static int take_disposition(struct cursor c, struct multipart_part *part)
{
    struct cursor name, value, kind = c;
    int rc;
    c.at += token_size(&c);
    kind.end = c.at;
    if (!is_word(&kind, "form-data"))
        return -1;
    while ((rc = take_parameter(&c, &name, &value)) > 0) {
        if (is_word(&name, "name")) {
            if (part->name)
                return -1;
            part->name = value.at;
            part->name_size = (size_t)(value.end - value.at);
        }
        part->file = part->file || is_word(&name, "filename") || is_word(&name, "filename*");
    }
    if (rc < 0 || !part->name || part->name_size == 0 || part->name_size > MULTIPART_NAME_MAX)
        return -1;
    for (size_t i = 0; i < part->name_size; i++)
        if ((unsigned char)part->name[i] >= 0x7f)
            return -1;
    return 0;
}

/* One header line of a part.  0 or -1 with err. */
static int take_line(struct cursor line, struct multipart_part *part, struct airlock_error *err)
{
    struct cursor name = line;
    line.at += token_size(&line);
    name.end = line.at;
    if (name.at == name.end || line.at == line.end || *line.at++ != ':')
        return airlock_error_set(err, AIRLOCK_E_REQUEST, "a header of a part is malformed");
    skip_space(&line);
    if (is_word(&name, "Content-Transfer-Encoding") && !is_word(&line, "binary") &&
        !is_word(&line, "8bit") && !is_word(&line, "7bit"))
        return airlock_error_set(err, AIRLOCK_E_REQUEST,
                                 "a part has a transfer encoding: send its bytes as they are");
    if (!is_word(&name, "Content-Disposition"))
        return 0;
    if (part->name || take_disposition(line, part) < 0)
        return airlock_error_set(err, AIRLOCK_E_REQUEST,
                                 "a part has no Content-Disposition of the form "
                                 "form-data; name=\"NAME\"");
    return 0;
}

/* The headers of a part, from behind its boundary's line end to the empty line. */
static int take_head(struct multipart *form, struct multipart_part *part, struct airlock_error *err)
{
    size_t left = (size_t)(form->end - form->at);
    size_t most = left < MULTIPART_HEAD_MAX ? left : MULTIPART_HEAD_MAX;
    const char *head_end = memmem(form->at, most, "\r\n\r\n", 4);
    if (!head_end)
        return airlock_error_set(err, AIRLOCK_E_REQUEST,
                                 "the headers of a part do not end within %d bytes",
                                 MULTIPART_HEAD_MAX);
    for (const char *at = form->at; at < head_end;) {
        const char *end = memmem(at, (size_t)(head_end + 2 - at), "\r\n", 2);
        struct cursor line = { at, end };
        if (take_line(line, part, err) < 0)
            return -1;
        at = end + 2;
    }
    if (!part->name)
        return airlock_error_set(err, AIRLOCK_E_REQUEST, "a part has no Content-Disposition");
    form->at = head_end + 4;
    return 0;
}

int multipart_next(struct multipart *form, struct multipart_part *part, struct airlock_error *err)
{
    size_t left = (size_t)(form->end - form->at);
    *part = (struct multipart_part){ 0 };
    if (left >= 2 && memcmp(form->at, "--", 2) == 0) {
        if (left == 2 || (left == 4 && memcmp(form->at + 2, "\r\n", 2) == 0))
            return 0;
        return airlock_error_set(err, AIRLOCK_E_REQUEST, "something follows the form's end");
    }
    if (left < 2 || memcmp(form->at, "\r\n", 2) != 0)
        return airlock_error_set(err, AIRLOCK_E_REQUEST,
                                 "a boundary is not followed by a line end: the form is cut off, "
                                 "or its boundary stands in a part");
    if (form->n++ == MULTIPART_PARTS_MAX)
        return airlock_error_set(err, AIRLOCK_E_REQUEST, "the form has more than %d parts",
                                 MULTIPART_PARTS_MAX);
    form->at += 2;
    if (take_head(form, part, err) < 0)
        return -1;
    const char *mark =
        memmem(form->at, (size_t)(form->end - form->at), form->mark, form->mark_size);
    if (!mark)
        return airlock_error_set(err, AIRLOCK_E_REQUEST, "the form is cut off: it has no end");
    part->data = form->at;
    part->size = (size_t)(mark - form->at);
    form->at = mark + form->mark_size;
    return 1;
}

bool multipart_is(const struct multipart_part *part, const char *name)
{
    return part->name_size == strlen(name) && memcmp(part->name, name, part->name_size) == 0;
}
