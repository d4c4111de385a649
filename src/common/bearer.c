/* bearer.c - see bearer.h. */
#include "bearer.h"

#include "bytes.h"
#include "io.h"
#include "limits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { TOKEN_MIN = 16 };

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
    while (text.size && (text.data[text.size - 1] == '\n' || text.data[text.size - 1] == '\r'))
        text.data[--text.size] = 0;
    bool good = text.size >= TOKEN_MIN;
    for (size_t i = 0; i < text.size; i++)
        good = good && text.data[i] > ' ' && text.data[i] <= '~';
    if (!good) {
        bytes_free(&text);
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "%s: a token is one line of at least %d printable characters "
                                 "without spaces",
                                 path, TOKEN_MIN);
    }
    out->token = text.data;
    out->size = text.size;
    return 0;
}

bool bearer_matches(const struct bearer *bearer, const char *header)
{
    static const char scheme[] = "Bearer ";
    if (!bearer->token)
        return true;
    if (!header || strncasecmp(header, scheme, sizeof scheme - 1) != 0)
        return false;
    const char *given = header + sizeof scheme - 1;
    size_t n = strlen(given);
    unsigned difference = n != bearer->size;
    /* every byte of the token is looked at, whatever was given */
    for (size_t i = 0; i < bearer->size; i++)
        difference |= (unsigned char)bearer->token[i] ^ (unsigned char)given[n ? i % n : 0];
    return difference == 0;
}

void bearer_free(struct bearer *bearer)
{
    if (bearer->token)
        explicit_bzero(bearer->token, bearer->size);
    free(bearer->token);
    *bearer = (struct bearer){ 0 };
}
