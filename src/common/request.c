/* request.c - see request.h: one pass over the JSON tree that collects refusals. */
#include "request.h"

#include "error.h"
#include "json.h"
#include "limits.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    FAULTS_MAX = 16,     /* refusals listed in one answer */
    LOC_MAX = 160,       /* bytes of a location written as JSON */
    NUMBER_TEXT_MAX = 64 /* digits of a number given as a string */
};

/* The answer being made: entries are appended as they are found. */
struct faults {
    struct bytes *out;
    int count;
};

/* loc is JSON text without brackets, e.g. "messages",0,"role". */
static void fault(struct faults *f, const char *loc, const char *type, const char *message)
{
    if (f->count >= FAULTS_MAX)
        return;
    bytes_printf(f->out, "%s{\"type\":\"%s\",\"loc\":[\"body\"%s%s],\"msg\":\"%s\"}",
                 f->count ? "," : "{\"detail\":[", type, *loc ? "," : "", loc, message);
    f->count++;
}

/* JSON null counts as absent. */
static struct json_object *member(struct json_object *o, const char *key)
{
    struct json_object *v = NULL;
    return json_object_object_get_ex(o, key, &v) ? v : NULL;
}

static struct request_text text_of(struct json_object *v)
{
    struct request_text t = { json_object_get_string(v), (size_t)json_object_get_string_len(v) };
    return t;
}

/* A name: present when required, a string of at most LIMIT_NAME_BYTES. */
static void read_name(struct json_object *root, const char *key, bool required,
                      struct request_text *out, struct faults *f)
{
    char loc[LOC_MAX];
    snprintf(loc, sizeof loc, "\"%s\"", key);
    struct json_object *v = member(root, key);
    if (!v && !required)
        return;
    if (!v && !json_object_object_get_ex(root, key, NULL)) {
        fault(f, loc, "missing", "Field required");
        return;
    }
    if (!json_object_is_type(v, json_type_string)) {
        fault(f, loc, "string_type", "Input should be a valid string");
        return;
    }
    if (json_object_get_string_len(v) > LIMIT_NAME_BYTES) {
        fault(f, loc, "string_too_long", "String should have at most 128 bytes");
        return;
    }
    *out = text_of(v);
}

/* A list within its limit, or NULL with a fault when it is something else. */
static struct json_object *read_list(struct json_object *root, const char *key, size_t max,
                                     struct faults *f)
{
    char loc[LOC_MAX], message[128];
    snprintf(loc, sizeof loc, "\"%s\"", key);
    struct json_object *v = member(root, key);
    if (!json_object_is_type(v, json_type_array)) {
        fault(f, loc, "list_type", "Input should be a valid list");
        return NULL;
    }
    if (json_object_array_length(v) > max) {
        snprintf(message, sizeof message, "List should have at most %zu items, not %zu", max,
                 json_object_array_length(v));
        fault(f, loc, "too_long", message);
        return NULL;
    }
    return v;
}

static const struct {
    const char *name;
    enum request_role role;
} roles[] = { { "user", ROLE_USER },
              { "assistant", ROLE_ASSISTANT },
              { "system", ROLE_SYSTEM },
              { "tool", ROLE_TOOL } };

const char *request_role_name(enum request_role role)
{
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (roles[i].role == role)
            return roles[i].name;
    return "";
}

static void read_role(struct json_object *v, const char *loc, enum request_role *out,
                      struct faults *f)
{
    if (json_object_is_type(v, json_type_string)) {
        struct request_text t = text_of(v);
        for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
            if (t.size == strlen(roles[i].name) && memcmp(t.data, roles[i].name, t.size) == 0) {
                *out = roles[i].role;
                return;
            }
        }
    }
    fault(f, loc, "enum", "Input should be 'user', 'assistant', 'system' or 'tool'");
}

static void read_message(struct json_object *v, size_t i, struct request_message *out,
                         struct faults *f)
{
    char loc[LOC_MAX];
    if (!json_object_is_type(v, json_type_object)) {
        snprintf(loc, sizeof loc, "\"messages\",%zu", i);
        fault(f, loc, "model_attributes_type",
              "Input should be a valid dictionary or object to extract fields from");
        return;
    }
    struct json_object *field = NULL;
    snprintf(loc, sizeof loc, "\"messages\",%zu,\"role\"", i);
    if (!json_object_object_get_ex(v, "role", &field))
        fault(f, loc, "missing", "Field required");
    else
        read_role(field, loc, &out->role, f);

    snprintf(loc, sizeof loc, "\"messages\",%zu,\"content\"", i);
    if (!json_object_object_get_ex(v, "content", &field))
        fault(f, loc, "missing", "Field required");
    else if (!json_object_is_type(field, json_type_string))
        fault(f, loc, "string_type", "Input should be a valid string");
    else
        out->content = text_of(field);
}

/* Memory for n structs, at least one, zeroed. */
static void *table(size_t n, size_t size)
{
    return calloc(n ? n : 1, size);
}

/* 0, or -1: out of memory. */
static int read_messages(struct json_object *root, struct request *out, struct faults *f)
{
    if (!json_object_object_get_ex(root, "messages", NULL)) {
        fault(f, "\"messages\"", "missing", "Field required");
        return 0;
    }
    struct json_object *list = read_list(root, "messages", LIMIT_MESSAGES, f);
    if (!list)
        return 0;
    size_t n = json_object_array_length(list);
    out->messages = table(n, sizeof *out->messages);
    if (!out->messages)
        return -1;
    out->n_messages = n;
    for (size_t i = 0; i < n; i++)
        read_message(json_object_array_get_idx(list, i), i, &out->messages[i], f);
    return 0;
}

/* 0, or -1: out of memory. */
static int read_media(struct json_object *root, const char *key, struct request_text **out,
                      size_t *n_out, struct faults *f)
{
    if (!member(root, key))
        return 0;
    struct json_object *list = read_list(root, key, LIMIT_MEDIA, f);
    if (!list)
        return 0;
    size_t n = json_object_array_length(list);
    *out = table(n, sizeof **out);
    if (!*out)
        return -1;
    *n_out = n;
    for (size_t i = 0; i < n; i++) {
        struct json_object *v = json_object_array_get_idx(list, i);
        char loc[LOC_MAX];
        snprintf(loc, sizeof loc, "\"%s\",%zu", key, i);
        if (!json_object_is_type(v, json_type_string))
            fault(f, loc, "string_type", "Input should be a valid string");
        else
            (*out)[i] = text_of(v);
    }
    return 0;
}

/* Strings hold numbers too: "0.5", " 7 ".  False unless the whole text is a decimal number. */
static bool number_from_text(struct json_object *v, double *out)
{
    struct request_text t = text_of(v);
    while (t.size && isspace((unsigned char)t.data[0]))
        t.data++, t.size--;
    while (t.size && isspace((unsigned char)t.data[t.size - 1]))
        t.size--;
    char copy[NUMBER_TEXT_MAX];
    if (t.size == 0 || t.size >= sizeof copy)
        return false;
    memcpy(copy, t.data, t.size);
    copy[t.size] = 0;
    if (strspn(copy, "+-.0123456789eE") != t.size)
        return false;
    char *end;
    *out = strtod(copy, &end);
    return *end == 0;
}

/* A number in one of the JSON types that stand for one.  False with a fault. */
static bool read_number(struct json_object *v, const char *loc, bool integer, double *out,
                        struct faults *f)
{
    switch (json_object_get_type(v)) {
    case json_type_int:
    case json_type_double:
        *out = json_object_get_double(v);
        break;
    case json_type_boolean:
        *out = json_object_get_boolean(v);
        break;
    case json_type_string:
        if (number_from_text(v, out))
            break;
        if (integer)
            fault(f, loc, "int_parsing",
                  "Input should be a valid integer, unable to parse string as an integer");
        else
            fault(f, loc, "float_parsing",
                  "Input should be a valid number, unable to parse string as a number");
        return false;
    default:
        if (integer)
            fault(f, loc, "int_type", "Input should be a valid integer");
        else
            fault(f, loc, "float_type", "Input should be a valid number");
        return false;
    }
    if (!isfinite(*out)) {
        fault(f, loc, "finite_number", "Input should be a finite number");
        return false;
    }
    if (integer && *out != trunc(*out)) {
        fault(f, loc, "int_from_float",
              "Input should be a valid integer, got a number with a fractional part");
        return false;
    }
    return true;
}

static bool in_range(double value, double min, double max, const char *loc, struct faults *f)
{
    char message[96];
    if (value < min) {
        snprintf(message, sizeof message, "Input should be greater than or equal to %.10g", min);
        fault(f, loc, "greater_than_equal", message);
        return false;
    }
    if (value > max) {
        snprintf(message, sizeof message, "Input should be less than or equal to %.10g", max);
        fault(f, loc, "less_than_equal", message);
        return false;
    }
    return true;
}

/* True, false, 1, 0, and their usual words.  -1 with a fault. */
static int read_bool(struct json_object *v, const char *loc, struct faults *f)
{
    static const char *const words[2][6] = { { "false", "0", "no", "off", "f", "n" },
                                             { "true", "1", "yes", "on", "t", "y" } };
    if (json_object_is_type(v, json_type_boolean))
        return json_object_get_boolean(v);
    bool number = json_object_is_type(v, json_type_int) || json_object_is_type(v, json_type_double);
    if (number && (json_object_get_double(v) == 0 || json_object_get_double(v) == 1))
        return json_object_get_double(v) == 1;
    if (json_object_is_type(v, json_type_string)) {
        struct request_text t = text_of(v);
        for (int value = 0; value < 2; value++)
            for (size_t i = 0; i < 6; i++)
                if (t.size == strlen(words[value][i]) &&
                    strncasecmp(t.data, words[value][i], t.size) == 0)
                    return value;
    }
    if (number || json_object_is_type(v, json_type_string))
        fault(f, loc, "bool_parsing", "Input should be a valid boolean, unable to interpret input");
    else
        fault(f, loc, "bool_type", "Input should be a valid boolean");
    return -1;
}

static const double INT_LIMIT = 2147483647; /* more tokens than any model's context */

static const struct {
    const char *key;
    unsigned bit;
    bool integer;
    double min, max;
    size_t offset;
} numbers[] = {
#define NUMBER(key_, BIT, integer_, min_, max_)                                                    \
    {                                                                                              \
#key_, PARAMETER_##BIT, integer_, min_, max_, offsetof(struct request_parameters, key_)    \
    }
    NUMBER(temperature, TEMPERATURE, false, 0, 100),
    NUMBER(top_p, TOP_P, false, 0, 1),
    NUMBER(repetition_penalty, REPETITION_PENALTY, false, 0.01, 100),
    NUMBER(presence_penalty, PRESENCE_PENALTY, false, -2, 2),
    NUMBER(frequency_penalty, FREQUENCY_PENALTY, false, -2, 2),
    NUMBER(top_k, TOP_K, true, 0, INT_LIMIT),
    NUMBER(max_new_tokens, MAX_NEW_TOKENS, true, 1, INT_LIMIT),
#undef NUMBER
};

enum { N_NUMBERS = sizeof numbers / sizeof *numbers };

static void read_parameters(struct json_object *root, struct request_parameters *out,
                            struct faults *f)
{
    struct json_object *o = member(root, "parameters");
    if (!o)
        return;
    if (!json_object_is_type(o, json_type_object)) {
        fault(f, "\"parameters\"", "model_attributes_type",
              "Input should be a valid dictionary or object to extract fields from");
        return;
    }
    char loc[LOC_MAX];
    for (size_t i = 0; i < N_NUMBERS; i++) {
        struct json_object *v = member(o, numbers[i].key);
        double value;
        snprintf(loc, sizeof loc, "\"parameters\",\"%s\"", numbers[i].key);
        if (!v || !read_number(v, loc, numbers[i].integer, &value, f) ||
            !in_range(value, numbers[i].min, numbers[i].max, loc, f))
            continue;
        void *field = (char *)out + numbers[i].offset;
        if (numbers[i].integer)
            *(int64_t *)field = (int64_t)value;
        else
            *(double *)field = value;
        out->set |= numbers[i].bit;
    }
    struct json_object *v = member(o, "do_sample");
    int value = v ? read_bool(v, "\"parameters\",\"do_sample\"", f) : -1;
    if (value >= 0) {
        out->do_sample = value;
        out->set |= PARAMETER_DO_SAMPLE;
    }
}

/* 0, or -1: out of memory. */
static int read_all(struct json_object *root, bool want_container, struct request *out,
                    struct faults *f)
{
    read_name(root, "model", true, &out->model, f);
    read_name(root, "adapter", false, &out->adapter, f);
    if (want_container)
        read_name(root, "container_name", true, &out->container_name, f);
    if (read_messages(root, out, f) < 0 ||
        read_media(root, "images", &out->images, &out->n_images, f) < 0 ||
        read_media(root, "audios", &out->audios, &out->n_audios, f) < 0)
        return -1;
    read_parameters(root, &out->parameters, f);
    struct json_object *v = member(root, "stream");
    out->stream = v && read_bool(v, "\"stream\"", f) == 1;
    return 0;
}

static int out_of_memory(struct bytes *refusal)
{
    bytes_clear(refusal);
    bytes_add_text(refusal, "{\"detail\":\"Out of memory, try again later\"}");
    return 503;
}

int request_parse(const char *text, size_t size, bool want_container, struct request *out,
                  struct bytes *refusal)
{
    *out = (struct request){ 0 };
    struct airlock_error err = { 0 };
    out->root = json_parse_max(text, size, LIMIT_REQUEST_VALUES, &err);
    if (!out->root && err.code == AIRLOCK_E_NO_MEMORY)
        return out_of_memory(refusal);
    if (!out->root) { /* its text holds numbers and fixed words only: nothing to escape */
        bytes_printf(refusal,
                     "{\"detail\":[{\"type\":\"json_invalid\",\"loc\":[\"body\"],\"msg\":\"%s\"}]}",
                     err.text);
        return 422;
    }
    struct faults f = { refusal, 0 };
    int rc = 0;
    if (!json_object_is_type(out->root, json_type_object))
        fault(&f, "", "model_attributes_type",
              "Input should be a valid dictionary or object to extract fields from");
    else
        rc = read_all(out->root, want_container, out, &f);
    if (rc == 0 && f.count == 0)
        return 0;
    request_free(out);
    if (rc < 0)
        return out_of_memory(refusal);
    bytes_add_text(refusal, "]}");
    return 422;
}

static struct json_object *text_json(struct request_text t)
{
    return json_object_new_string_len(t.data ? t.data : "", (int)t.size);
}

static void put_text(struct json_object *o, const char *key, struct request_text t)
{
    if (t.data)
        json_object_object_add(o, key, text_json(t));
}

static void put_media(struct json_object *o, const char *key, const struct request_text *media,
                      size_t n)
{
    if (!n)
        return;
    struct json_object *list = json_object_new_array_ext((int)n);
    for (size_t i = 0; i < n; i++)
        json_object_array_add(list, text_json(media[i]));
    json_object_object_add(o, key, list);
}

static void put_messages(struct json_object *o, const struct request *request)
{
    struct json_object *list = json_object_new_array();
    for (size_t i = 0; i < request->n_messages; i++) {
        struct json_object *m = json_object_new_object();
        json_object_object_add(
            m, "role", json_object_new_string(request_role_name(request->messages[i].role)));
        json_object_object_add(m, "content", text_json(request->messages[i].content));
        json_object_array_add(list, m);
    }
    json_object_object_add(o, "messages", list);
}

static void put_parameters(struct json_object *o, const struct request_parameters *p)
{
    if (!p->set)
        return;
    struct json_object *out = json_object_new_object();
    for (size_t i = 0; i < N_NUMBERS; i++) {
        const void *field = (const char *)p + numbers[i].offset;
        if (p->set & numbers[i].bit)
            json_object_object_add(out, numbers[i].key,
                                   numbers[i].integer
                                       ? json_object_new_int64(*(const int64_t *)field)
                                       : json_object_new_double(*(const double *)field));
    }
    if (p->set & PARAMETER_DO_SAMPLE)
        json_object_object_add(out, "do_sample", json_object_new_boolean(p->do_sample));
    json_object_object_add(o, "parameters", out);
}

int request_write(const struct request *request, struct bytes *out)
{
    struct json_object *o = json_object_new_object();
    if (!o)
        return -1;
    put_text(o, "model", request->model);
    put_text(o, "adapter", request->adapter);
    put_messages(o, request);
    put_media(o, "images", request->images, request->n_images);
    put_media(o, "audios", request->audios, request->n_audios);
    if (request->stream)
        json_object_object_add(o, "stream", json_object_new_boolean(true));
    put_parameters(o, &request->parameters);

    size_t size = 0;
    const char *text = json_object_to_json_string_length(
        o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &size);
    int rc = text ? bytes_add(out, text, size) : -1;
    json_object_put(o);
    return rc;
}

void request_free(struct request *request)
{
    json_object_put(request->root);
    free(request->messages);
    free(request->images);
    free(request->audios);
    *request = (struct request){ 0 };
}
