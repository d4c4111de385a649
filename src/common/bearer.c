/* bearer.c - reads token files and finds the token of a header; see bearer.h. */
#include "bearer.h"

#include "bytes.h"
#include "io.h"
#include "limits.h"

#include <errno.h>
#include <sha2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { TOKEN_MIN = 16 };

static void digest_of(const char *text, size_t n, unsigned char out[32])
{
    SHA2_CTX context;
    SHA256Init(&context);
    SHA256Update(&context, (const uint8_t *)text, n);
    SHA256Final(out, &context);
    explicit_bzero(&context, sizeof context);
}

/* In the same time whatever differs where. */
static bool digests_equal(const unsigned char *a, const unsigned char *b)
{
    unsigned difference = 0;
    for (int i = 0; i < 32; i++)
        difference |= (unsigned)(a[i] ^ b[i]);
    return difference == 0;
}

/* ---- the file -------------------------------------------------------------------------------- */

static bool is_name(const char *text, size_t n)
{
    if (n == 0 || n > BEARER_NAME_MAX)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!strchr("._-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", text[i]))
            return false;
    return true;
}

static bool is_token(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    return n >= TOKEN_MIN;
}

static int add(struct bearer *out, const char *name, size_t name_size, const char *token,
               size_t size, struct airlock_error *err)
{
    if (out->n == LIMIT_BEARER_TOKENS)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "more than %d tokens", LIMIT_BEARER_TOKENS);
    struct bearer_token *t = &out->token[out->n];
    digest_of(token, size, t->digest);
    for (int i = 0; i < 16; i++)
        sprintf(t->id + 2 * i, "%02x", t->digest[i]);
    memcpy(t->name, name_size ? name : t->id, name_size ? name_size : 8);
    for (size_t i = 0; i < out->n; i++)
        if (digests_equal(out->token[i].digest, t->digest))
            return airlock_error_set(err, AIRLOCK_E_CONFIG, "the token stands in the file twice");
    out->n++;
    return 0;
}

/* One line of n bytes.  Its text is not repeated in an error: it may be a token. */
static int take_line(struct bearer *out, const char *line, size_t n, struct airlock_error *err)
{
    static const char space[] = " \t\r";
    while (n && strchr(space, line[n - 1]))
        n--;
    while (n && strchr(space, *line))
        line++, n--;
    if (n == 0 || *line == '#')
        return 0;
    size_t first = 0;
    while (first < n && !strchr(space, line[first]))
        first++;
    if (first == n && is_token(line, n))
        return add(out, NULL, 0, line, n, err);
    size_t second = first;
    while (second < n && strchr(space, line[second]))
        second++;
    if (second < n && is_name(line, first) && is_token(line + second, n - second))
        return add(out, line, first, line + second, n - second, err);
    return airlock_error_set(err, AIRLOCK_E_CONFIG,
                             "expected TOKEN or NAME TOKEN, the token of at least %d printable "
                             "characters without spaces",
                             TOKEN_MIN);
}

static int take_lines(struct bearer *out, const struct bytes *text, struct airlock_error *err)
{
    const char *line = text->data, *end = text->data + text->size;
    for (unsigned number = 1; line < end; number++) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        size_t n = newline ? (size_t)(newline - line) : (size_t)(end - line);
        if (memchr(line, 0, n) || take_line(out, line, n, err) < 0)
            return memchr(line, 0, n)
                       ? airlock_error_set(err, AIRLOCK_E_CONFIG, "line %u has a NUL", number)
                       : airlock_error_wrap(err, "line %u", number);
        line += n + 1;
    }
    return out->n ? 0 : airlock_error_set(err, AIRLOCK_E_CONFIG, "there is no token in it");
}

int bearer_load(const char *path, struct bearer *out, struct airlock_error *err)
{
    struct stat st;
    struct bytes text = BYTES_INIT(LIMIT_TOKEN_BYTES);
    *out = (struct bearer){ 0 };
    if (stat(path, &st) < 0)
        return airlock_error_errno(err, errno, "%s", path);
    if (st.st_mode & (S_IROTH | S_IWOTH | S_IWGRP))
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "%s: others can read or change this token: chmod 600 it", path);
    if (io_read_file(path, &text, err) < 0)
        return -1;
    out->token = calloc(LIMIT_BEARER_TOKENS, sizeof *out->token);
    int rc = out->token ? take_lines(out, &text, err)
                        : airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory");
    if (text.data)
        explicit_bzero(text.data, text.size);
    bytes_free(&text);
    if (rc == 0)
        return 0;
    bearer_free(out);
    return airlock_error_wrap(err, "%s", path);
}

/* ---- headers --------------------------------------------------------------------------------- */

const struct bearer_token *bearer_find(const struct bearer *bearer, const char *header)
{
    static const char scheme[] = "Bearer ";
    if (!header || strncasecmp(header, scheme, sizeof scheme - 1) != 0)
        return NULL;
    unsigned char given[32];
    const struct bearer_token *found = NULL;
    digest_of(header + sizeof scheme - 1, strlen(header + sizeof scheme - 1), given);
    for (size_t i = 0; i < bearer->n; i++) /* all of them, found or not */
        if (digests_equal(bearer->token[i].digest, given))
            found = &bearer->token[i];
    return found;
}

bool bearer_matches(const struct bearer *bearer, const char *header)
{
    return !bearer->token || bearer_find(bearer, header);
}

void bearer_free(struct bearer *bearer)
{
    free(bearer->token);
    *bearer = (struct bearer){ 0 };
}
