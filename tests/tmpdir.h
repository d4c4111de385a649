/* tmpdir.h - a test's own scratch directory, and files in it. */
#ifndef AIRLOCK_TESTS_TMPDIR_H
#define AIRLOCK_TESTS_TMPDIR_H

#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char tmpdir[256]; /* set by tmpdir_make() */

static inline void tmpdir_make(void)
{
    const char *base = getenv("TMPDIR");
    snprintf(tmpdir, sizeof tmpdir, "%s/airlock-test-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(tmpdir)) {
        perror(tmpdir);
        abort();
    }
}

static inline int tmpdir_remove_one(const char *path, const struct stat *s, int type,
                                    struct FTW *ftw)
{
    (void)s, (void)type, (void)ftw;
    return remove(path);
}

static inline void tmpdir_remove(void)
{
    nftw(tmpdir, tmpdir_remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* A path in the directory; four may be in use at a time. */
static inline const char *tmpdir_path(const char *name)
{
    static char paths[4][2048];
    static unsigned next;
    char *p = paths[next++ % 4];
    snprintf(p, sizeof paths[0], "%s/%s", tmpdir, name);
    return p;
}

static inline void tmpdir_write(const char *name, const void *data, size_t n)
{
    FILE *f = fopen(tmpdir_path(name), "wb");
    if (!f || fwrite(data, 1, n, f) != n || fclose(f)) {
        perror(name);
        abort();
    }
}

static inline void tmpdir_write_text(const char *name, const char *text)
{
    tmpdir_write(name, text, strlen(text));
}

/* Length, JSON header and data_bytes bytes of data 0, 1, 2, ... */
static inline void tmpdir_write_safetensors(const char *name, const char *header, size_t data_bytes)
{
    uint64_t n = strlen(header);
    unsigned char *all = malloc(8 + n + data_bytes);
    if (!all)
        abort();
    for (int i = 0; i < 8; i++)
        all[i] = (unsigned char)(n >> 8 * i);
    memcpy(all + 8, header, n);
    for (size_t i = 0; i < data_bytes; i++)
        all[8 + n + i] = (unsigned char)i;
    tmpdir_write(name, all, 8 + n + data_bytes);
    free(all);
}

#endif
