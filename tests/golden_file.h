/* golden_file.h - reads a file of tests/golden. */
#ifndef AIRLOCK_TESTS_GOLDEN_FILE_H
#define AIRLOCK_TESTS_GOLDEN_FILE_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

/* The bytes of $top_srcdir/tests/golden/FOLDER/NAME; the caller frees.  Fails the test when it is
 * not there. */
static inline void *golden_file(const char *folder, const char *name, size_t *size)
{
    char path[1024];
    const char *top = getenv("top_srcdir");
    snprintf(path, sizeof path, "%s/tests/golden/%s/%s", top ? top : ".", folder, name);
    FILE *f = fopen(path, "rb");
    ck_assert_msg(f != NULL, "%s cannot be opened", path);
    ck_assert_int_eq(fseek(f, 0, SEEK_END), 0);
    *size = (size_t)ftell(f);
    rewind(f);
    char *data = malloc(*size + 1);
    ck_assert_msg(data && fread(data, 1, *size, f) == *size, "%s cannot be read", path);
    fclose(f);
    return data;
}

#endif
