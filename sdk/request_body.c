/*
 * request_body.c - turns the SDK's request into the JSON that the bridge reads; what is unset is
 * left out.
 */
#include "request_body.h"

#include "common/base64.h"
#include "common/utf8.h"

#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int sdk_fail(airlock_error *err, int code, int http_status, const char *format, ...)
{
    va_list args;
    if (!err)
        return -1;
    err->code = code;
    err->http_status = http_status;
    va_start(args, format);
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    for (char *p = err->text; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 127)
            *p = ' ';
    return -1;
}

static int out_of_memory(airlock_error *err)
{
    return sdk_fail(err, AIRLOCK_ERR_MEMORY, 0, "out of memory, or a request of more than 1 GiB");
}

int body_check_text(const char *what, const char *text, airlock_error *err)
{
    struct utf8_cleaner cleaner = { 0 };
    size_t n = strlen(text);
    struct bytes clean = BYTES_INIT(4 * n + 16);
    int rc = 0;
    if (utf8_clean(&cleaner, text, n, &clean) != 0 || utf8_clean_end(&cleaner, &clean) != 0)
        rc = out_of_memory(err);
    else if (clean.size != n || (n && memcmp(clean.data, text, n) != 0))
        rc = sdk_fail(err, AIRLOCK_ERR_ARGUMENT, 0, "%s is not valid UTF-8", what);
    bytes_free(&clean);
    return rc;
}

int body_add_string(struct bytes *out, const char *what, const char *text, airlock_error *err)
{
    if (!text)
        return sdk_fail(err, AIRLOCK_ERR_ARGUMENT, 0, "%s is missing", what);
    if (body_check_text(what, text, err) != 0)
        return -1;
    int rc = bytes_add(out, "\"", 1);
    while (*text && rc == 0) {
        size_t plain = 0;
        while ((unsigned char)text[plain] >= ' ' && text[plain] != '"' && text[plain] != '\\')
            plain++;
        rc = bytes_add(out, text, plain);
        text += plain;
        if (*text && rc == 0)
            rc = bytes_printf(out, "\\u%04x", (unsigned)(unsigned char)*text++);
    }
    return rc == 0 && bytes_add(out, "\"", 1) == 0 ? 0 : out_of_memory(err);
}

/* ,"key":"text" */
int body_add_member(struct bytes *out, const char *key, const char *text, airlock_error *err)
{
    return bytes_printf(out, "%s\"%s\":", out->size > 1 ? "," : "", key) == 0
               ? body_add_string(out, key, text, err)
               : out_of_memory(err);
}

static int add_messages(struct bytes *out, const airlock_request *r, airlock_error *err)
{
    if (r->n_messages && !r->messages)
        return sdk_fail(err, AIRLOCK_ERR_ARGUMENT, 0, "messages is NULL");
    int rc = bytes_add_text(out, ",\"messages\":[");
    for (size_t i = 0; i < r->n_messages && rc == 0; i++) {
        char role[48], content[48];
        snprintf(role, sizeof role, "messages[%zu].role", i);
        snprintf(content, sizeof content, "messages[%zu].content", i);
        if (bytes_add_text(out, i ? ",{\"role\":" : "{\"role\":") != 0)
            return out_of_memory(err);
        if (body_add_string(out, role, r->messages[i].role, err) != 0)
            return -1;
        if (bytes_add_text(out, ",\"content\":") != 0)
            return out_of_memory(err);
        if (body_add_string(out, content, r->messages[i].content, err) != 0)
            return -1;
        rc = bytes_add(out, "}", 1);
    }
    return rc == 0 && bytes_add(out, "]", 1) == 0 ? 0 : out_of_memory(err);
}

static int add_number(struct bytes *out, const char *key, double value, airlock_error *err)
{
    if (!isfinite(value))
        return sdk_fail(err, AIRLOCK_ERR_ARGUMENT, 0, "parameters.%s is not a finite number", key);
    return bytes_printf(out, ",\"%s\":%.17g", key, value) == 0 ? 0 : out_of_memory(err);
}

static int add_numbers(struct bytes *out, const airlock_parameters *p, int openai,
                       airlock_error *err)
{
    const struct {
        unsigned bit;
        const char *key;
        double value;
    } numbers[] = {
        { AIRLOCK_SET_TEMPERATURE, "temperature", p->temperature },
        { AIRLOCK_SET_TOP_P, "top_p", p->top_p },
        { AIRLOCK_SET_REPETITION_PENALTY, "repetition_penalty", p->repetition_penalty },
        { AIRLOCK_SET_PRESENCE_PENALTY, "presence_penalty", p->presence_penalty },
        { AIRLOCK_SET_FREQUENCY_PENALTY, "frequency_penalty", p->frequency_penalty },
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if ((p->set & numbers[i].bit) &&
            add_number(out, numbers[i].key, numbers[i].value, err) != 0)
            return -1;
    int rc = 0;
    if (p->set & AIRLOCK_SET_TOP_K)
        rc = bytes_printf(out, ",\"top_k\":%ld", p->top_k);
    if (rc == 0 && (p->set & AIRLOCK_SET_MAX_NEW_TOKENS))
        rc = bytes_printf(out, ",\"%s\":%ld", openai ? "max_completion_tokens" : "max_new_tokens",
                          p->max_new_tokens);
    if (rc == 0 && (p->set & AIRLOCK_SET_DO_SAMPLE) && !openai)
        rc = bytes_printf(out, ",\"do_sample\":%s", p->do_sample ? "true" : "false");
    if (rc == 0 && (p->set & AIRLOCK_SET_DO_SAMPLE) && openai && !p->do_sample)
        rc = bytes_add_text(out, ",\"temperature\":0");
    return rc == 0 ? 0 : out_of_memory(err);
}

int body_add_parameters(struct bytes *out, const airlock_parameters *p, int openai,
                        airlock_error *err)
{
    airlock_parameters sent = *p;
    if (openai && (p->set & AIRLOCK_SET_DO_SAMPLE) && !p->do_sample)
        sent.set &= ~(unsigned)AIRLOCK_SET_TEMPERATURE; /* greedy is temperature 0 there */
    /* the caller's locale may write numbers with a comma */
    locale_t c = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0);
    if (!c)
        return out_of_memory(err);
    locale_t callers = uselocale(c);
    int rc = add_numbers(out, &sent, openai, err);
    uselocale(callers);
    freelocale(c);
    return rc;
}

static int add_parameters(struct bytes *out, const airlock_parameters *p, airlock_error *err)
{
    struct bytes members = BYTES_INIT(4096);
    if (!p || !p->set)
        return 0;
    int rc = body_add_parameters(&members, p, 0, err);
    if (rc == 0 &&
        bytes_printf(out, ",\"parameters\":{%s}", members.data ? members.data + 1 : "") != 0)
        rc = out_of_memory(err);
    bytes_free(&members);
    return rc;
}

int request_body_write(const airlock_request *r, int stream, struct bytes *out, airlock_error *err)
{
    if (bytes_add(out, "{", 1) != 0)
        return out_of_memory(err);
    if (body_add_member(out, "model", r->model, err) != 0 ||
        (r->adapter && body_add_member(out, "adapter", r->adapter, err) != 0) ||
        add_messages(out, r, err) != 0 ||
        body_add_media(out, "images", r->images, r->n_images, err) != 0 ||
        body_add_media(out, "audios", r->audios, r->n_audios, err) != 0 ||
        body_add_member(out, "container_name", r->container, err) != 0 ||
        add_parameters(out, r->parameters, err) != 0)
        return -1;
    if (stream && bytes_add_text(out, ",\"stream\":true") != 0)
        return out_of_memory(err);
    return bytes_add(out, "}", 1) == 0 ? 0 : out_of_memory(err);
}
