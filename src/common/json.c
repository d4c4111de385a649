/* json.c - strict JSON over json-c; see json.h. */
#include "json.h"

#include "bytes.h"
#include "io.h"

#include <limits.h>
#include <math.h>
#include <string.h>

bool utf8_valid(const char *text, size_t size)
{
    const unsigned char *p = (const unsigned char *)text, *end = p + size;
    while (p < end) {
        unsigned c = *p++;
        if (c < 0x80)
            continue;
        int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
        if (c < 0xc2 || c > 0xf4 || end - p < more)
            return false;
        unsigned first = *p;
        if ((c == 0xe0 && first < 0xa0) || (c == 0xed && first > 0x9f) ||
            (c == 0xf0 && first < 0x90) || (c == 0xf4 && first > 0x8f))
            return false;
        for (; more; more--, p++)
            if ((*p & 0xc0) != 0x80)
                return false;
    }
    return true;
}

/*
 * What json-c's strict mode still lets through is found here: NaN and Infinity, single quotes,
 * control characters inside strings, "1.".  Also counts: each value but the first follows one of
 * "[{,", so *values is at least their number.  0, or -1 with *at where the wrong byte is.
 */
static int prescan(const char *text, size_t size, size_t *values, size_t *at)
{
    static const char outside[] = "[]{}:, \t\r\n+-.0123456789eEtrufalsn";
    bool in_string = false;
    *values = 1;
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        *at = i;
        if (in_string) {
            if (c < 0x20)
                return -1;
            in_string = c != '"';
            if (c == '\\')
                i++;
        } else if (c == '"') {
            in_string = true;
        } else if (c == 0 || !strchr(outside, c)) {
            return -1;
        } else if (c == '.' && (i + 1 == size || text[i + 1] < '0' || text[i + 1] > '9')) {
            return -1;
        } else {
            *values += c == '[' || c == '{' || c == ',';
        }
    }
    return 0;
}

struct json_object *json_parse(const char *text, size_t size, struct airlock_error *err)
{
    return json_parse_max(text, size, JSON_MAX_VALUES, err);
}

struct json_object *json_parse_max(const char *text, size_t size, size_t max_values,
                                   struct airlock_error *err)
{
    if (size > INT_MAX) {
        airlock_error_set(err, AIRLOCK_E_TOO_LARGE, "JSON text of %zu bytes is too large", size);
        return NULL;
    }
    if (!utf8_valid(text, size)) {
        airlock_error_set(err, AIRLOCK_E_SHAPE, "JSON text is not valid UTF-8");
        return NULL;
    }
    size_t values, at;
    if (prescan(text, size, &values, &at) < 0) {
        airlock_error_set(err, AIRLOCK_E_SHAPE, "JSON: unexpected character at byte %zu", at);
        return NULL;
    }
    if (values > max_values) {
        airlock_error_set(err, AIRLOCK_E_SHAPE, "JSON text has more than %zu values", max_values);
        return NULL;
    }
    struct json_tokener *tok = json_tokener_new_ex(JSON_MAX_DEPTH);
    if (!tok) {
        airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for JSON");
        return NULL;
    }
    json_tokener_set_flags(tok, JSON_TOKENER_STRICT);
    struct json_object *o = json_tokener_parse_ex(tok, text, (int)size);
    enum json_tokener_error code = json_tokener_get_error(tok);
    size_t end = json_tokener_get_parse_end(tok);
    if (code == json_tokener_continue && !o) /* a bare number needs its end to be seen */
        o = json_tokener_parse_ex(tok, "", 1), code = json_tokener_get_error(tok);
    json_tokener_free(tok);

    while (end < size &&
           (text[end] == ' ' || text[end] == '\n' || text[end] == '\r' || text[end] == '\t'))
        end++;
    if (code == json_tokener_success && o && end >= size)
        return o;
    if (code == json_tokener_success && o)
        airlock_error_set(err, AIRLOCK_E_SHAPE, "JSON: text after the value at byte %zu", end);
    else
        airlock_error_set(err, AIRLOCK_E_SHAPE, "JSON: %s at byte %zu",
                          code == json_tokener_success    ? "null is not a document"
                          : code == json_tokener_continue ? "unexpected end of text"
                                                          : json_tokener_error_desc(code),
                          end);
    json_object_put(o);
    return NULL;
}

struct json_object *json_parse_file(const char *path, size_t max_bytes, struct airlock_error *err)
{
    struct bytes text = BYTES_INIT(max_bytes);
    if (io_read_file(path, &text, err) < 0)
        return NULL;
    struct json_object *o = json_parse(text.data ? text.data : "", text.size, err);
    bytes_free(&text);
    if (!o)
        airlock_error_wrap(err, "%s", path);
    return o;
}

static struct json_object *member(struct json_object *o, const char *key)
{
    struct json_object *v = NULL;
    return json_object_object_get_ex(o, key, &v) ? v : NULL;
}

static int wrong(struct airlock_error *err, const char *where, const char *key, const char *want)
{
    return airlock_error_set(err, AIRLOCK_E_SHAPE, "%s%s must be %s", where, key, want);
}

int json_get_string(struct json_object *o, const char *where, const char *key, const char **out,
                    size_t *size, struct airlock_error *err)
{
    struct json_object *v = member(o, key);
    if (!v)
        return 0;
    if (!json_object_is_type(v, json_type_string))
        return wrong(err, where, key, "a string");
    size_t n = (size_t)json_object_get_string_len(v);
    const char *text = json_object_get_string(v);
    if (!size && strlen(text) != n)
        return wrong(err, where, key, "a string without NUL");
    *out = text;
    if (size)
        *size = n;
    return 1;
}

int json_get_int(struct json_object *o, const char *where, const char *key, int64_t min,
                 int64_t max, int64_t *out, struct airlock_error *err)
{
    struct json_object *v = member(o, key);
    if (!v)
        return 0;
    if (!json_object_is_type(v, json_type_int))
        return wrong(err, where, key, "an integer");
    int64_t n = json_object_get_int64(v);
    if (n < min || n > max)
        return airlock_error_set(err, AIRLOCK_E_SHAPE, "%s%s must be from %lld to %lld, not %s",
                                 where, key, (long long)min, (long long)max,
                                 json_object_get_string(v));
    *out = n;
    return 1;
}

/* "2GiB", "512 MiB", "1.5GiB".  False: not a size. */
static bool parse_size(const char *text, uint64_t *out)
{
    static const struct {
        const char *unit;
        double bytes;
    } units[] = { { "B", 1 },
                  { "KiB", 1024.0 },
                  { "MiB", 1024.0 * 1024 },
                  { "GiB", 1024.0 * 1024 * 1024 },
                  { "TiB", 1024.0 * 1024 * 1024 * 1024 } };
    char number[32];
    size_t n = strspn(text, "0123456789.");
    if (n == 0 || n >= sizeof number)
        return false;
    memcpy(number, text, n);
    number[n] = 0;
    char *end;
    double value = strtod(number, &end);
    if (*end)
        return false;
    const char *unit = text + n + strspn(text + n, " ");
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcmp(unit, units[i].unit) == 0 && value * units[i].bytes >= 1 &&
            value * units[i].bytes < 0x1p62) {
            *out = (uint64_t)(value * units[i].bytes);
            return true;
        }
    }
    return false;
}

int json_get_size(struct json_object *o, const char *where, const char *key, uint64_t *out,
                  struct airlock_error *err)
{
    struct json_object *v = member(o, key);
    const char *text;
    int64_t n;
    if (!v)
        return 0;
    if (json_object_is_type(v, json_type_int)) {
        int found = json_get_int(o, where, key, 1, (int64_t)1 << 62, &n, err);
        if (found > 0)
            *out = (uint64_t)n;
        return found;
    }
    if (!json_object_is_type(v, json_type_string))
        return wrong(err, where, key, "a number of bytes or a text like \"2GiB\"");
    if (json_get_string(o, where, key, &text, NULL, err) < 0)
        return -1;
    if (!parse_size(text, out))
        return wrong(err, where, key, "a size with a unit of B, KiB, MiB, GiB or TiB");
    return 1;
}

int json_get_double(struct json_object *o, const char *where, const char *key, double min,
                    double max, double *out, struct airlock_error *err)
{
    struct json_object *v = member(o, key);
    if (!v)
        return 0;
    if (!json_object_is_type(v, json_type_double) && !json_object_is_type(v, json_type_int))
        return wrong(err, where, key, "a number");
    double d = json_object_get_double(v);
    if (!isfinite(d))
        return wrong(err, where, key, "a finite number");
    if (d < min || d > max)
        return airlock_error_set(err, AIRLOCK_E_SHAPE, "%s%s must be from %g to %g, not %g", where,
                                 key, min, max, d);
    *out = d;
    return 1;
}

int json_get_bool(struct json_object *o, const char *where, const char *key, bool *out,
                  struct airlock_error *err)
{
    struct json_object *v = member(o, key);
    if (!v)
        return 0;
    if (!json_object_is_type(v, json_type_boolean))
        return wrong(err, where, key, "true or false");
    *out = json_object_get_boolean(v);
    return 1;
}

int json_get_object(struct json_object *o, const char *where, const char *key,
                    struct json_object **out, struct airlock_error *err)
{
    struct json_object *v = member(o, key);
    if (!v)
        return 0;
    if (!json_object_is_type(v, json_type_object))
        return wrong(err, where, key, "an object");
    *out = v;
    return 1;
}

int json_get_array(struct json_object *o, const char *where, const char *key,
                   struct json_object **out, struct airlock_error *err)
{
    struct json_object *v = member(o, key);
    if (!v)
        return 0;
    if (!json_object_is_type(v, json_type_array))
        return wrong(err, where, key, "an array");
    *out = v;
    return 1;
}

int json_require(int found, const char *where, const char *key, struct airlock_error *err)
{
    if (found > 0)
        return 0;
    if (found == 0)
        airlock_error_set(err, AIRLOCK_E_SHAPE, "%s%s is missing", where, key);
    return -1;
}

int json_only_keys(struct json_object *o, const char *where, const char *const *known,
                   struct airlock_error *err)
{
    json_object_object_foreach(o, key, value)
    {
        (void)value;
        const char *const *k = known;
        while (*k && strcmp(*k, key) != 0)
            k++;
        if (!*k)
            return airlock_error_set(err, AIRLOCK_E_SHAPE, "%s%.64s is not a known key", where,
                                     key);
    }
    return 0;
}
