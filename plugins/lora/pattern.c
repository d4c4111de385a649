/* pattern.c - PCRE2 with limits; see pattern.h. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "pattern.h"

#include <pcre2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_STEPS = 20000, /* of one match; plain lists of names need some hundreds */
    MAX_NUMBER = 1000000
};

struct pattern {
    pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *limits;
    char shown[64]; /* its beginning, for errors */
};

static bool compile(struct pattern *p, const char *expression, int *code)
{
    PCRE2_SIZE offset;
    p->code =
        pcre2_compile((PCRE2_SPTR)expression, PCRE2_ZERO_TERMINATED,
                      PCRE2_ANCHORED | PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C, code, &offset, NULL);
    if (!p->code)
        return false;
    p->data = pcre2_match_data_create_from_pattern(p->code, NULL);
    p->limits = pcre2_match_context_create(NULL);
    if (!p->data || !p->limits) {
        *code = PCRE2_ERROR_NOMEMORY;
        return false;
    }
    pcre2_set_match_limit(p->limits, MAX_STEPS);
    pcre2_set_heap_limit(p->limits, 1024); /* KiB */
    return true;
}

struct pattern *pattern_new(const char *format, const char *text, struct airlock_error *err)
{
    struct pattern *p = calloc(1, sizeof *p);
    char *expression = malloc(PATTERN_MAX_BYTES + 64);
    int code = PCRE2_ERROR_NOMEMORY;
    if (p && expression && strlen(text) <= PATTERN_MAX_BYTES) {
        snprintf(p->shown, sizeof p->shown, "%.60s", text);
        snprintf(expression, PATTERN_MAX_BYTES + 64, format, text);
        if (compile(p, expression, &code)) {
            free(expression);
            return p;
        }
    }
    if (strlen(text) > PATTERN_MAX_BYTES) {
        airlock_error_set(err, AIRLOCK_E_CONFIG, "expression \"%.60s...\" is longer than %d bytes",
                          text, PATTERN_MAX_BYTES);
    } else {
        unsigned char why[128] = "";
        pcre2_get_error_message(code, why, sizeof why);
        airlock_error_set(err, AIRLOCK_E_CONFIG, "\"%.60s\" is no regular expression: %s", text,
                          (const char *)why);
    }
    free(expression);
    pattern_free(p);
    return NULL;
}

void pattern_free(struct pattern *p)
{
    if (!p)
        return;
    pcre2_match_context_free(p->limits);
    pcre2_match_data_free(p->data);
    pcre2_code_free(p->code);
    free(p);
}

static long group_number(const struct pattern *p, const char *text)
{
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(p->data);
    int group = pcre2_substring_number_from_name(p->code, (PCRE2_SPTR) "idx");
    long v = 0;
    if (group < 0 || at[2 * group] == PCRE2_UNSET)
        return -1;
    for (PCRE2_SIZE i = at[2 * group]; i < at[2 * group + 1] && v < MAX_NUMBER; i++)
        v = 10 * v + (text[i] - '0');
    return v;
}

int pattern_match(const struct pattern *p, const char *text, long *number,
                  struct airlock_error *err)
{
    int rc =
        pcre2_match(p->code, (PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, 0, 0, p->data, p->limits);
    if (number)
        *number = rc > 0 ? group_number(p, text) : -1;
    if (rc == PCRE2_ERROR_NOMATCH)
        return 0;
    if (rc < 0)
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "expression \"%s\" takes too many steps on %.100s", p->shown,
                                 text);
    return 1;
}
