/* test_multipart.c - tests of src/common/multipart.c: forms as clients send them, and everything
 * that is none. */
#include "common/multipart.h"
#include "suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PART(name, more, data)                                                                     \
    "\r\nContent-Disposition: form-data; name=\"" name "\"" more "\r\n\r\n" data "\r\n--b0"

/* Reads a whole form from memory that is exactly as long: what it says of each part, or why not. */
static int read_form(const char *boundary, const char *text, size_t size, char *out, size_t max,
                     struct airlock_error *err)
{
    struct multipart form;
    struct multipart_part p;
    char *body = malloc(size ? size : 1);
    ck_assert_ptr_nonnull(body);
    memcpy(body, text, size);
    size_t used = 0;
    *out = 0;
    int rc = multipart_begin(&form, boundary, body, size, err);
    while (rc == 0 && (rc = multipart_next(&form, &p, err)) > 0) {
        used += (size_t)snprintf(out + used, max - used, "%.*s%s(%.*s)", (int)p.name_size, p.name,
                                 p.file ? "*" : "", (int)p.size, p.data);
        rc = 0;
    }
    free(body);
    return rc;
}

static void is_form(const char *text, const char *wanted)
{
    struct airlock_error err = { 0 };
    char got[512];
    int rc = read_form("b0", text, strlen(text), got, sizeof got, &err);
    ck_assert_msg(rc == 0 && strcmp(got, wanted) == 0, "%s: %d %s %s", text, rc, got, err.text);
}

static void is_no_form(const char *text, const char *why)
{
    struct airlock_error err = { 0 };
    char got[512];
    int rc = read_form("b0", text, strlen(text), got, sizeof got, &err);
    ck_assert_msg(rc < 0 && err.code == AIRLOCK_E_REQUEST && strstr(err.text, why), "%s: %d %s %s",
                  text, rc, got, err.text);
}

START_TEST(a_boundary_is_taken_from_its_content_type)
{
    static const struct {
        const char *type, *boundary;
    } cases[] = {
        { "multipart/form-data; boundary=b0", "b0" },
        { "Multipart/Form-Data;BOUNDARY=\"b0\" ; charset=x", "b0" },
        { "multipart/form-data; x=\"a; boundary=no\"; boundary=yes", "yes" },
        { "multipart/form-data; boundary=----WebKitFormBoundaryAb12",
          "----WebKitFormBoundaryAb12" },
        { "multipart/form-data; "
          "boundary=0123456789012345678901234567890123456789012345678901234567890123456789",
          "0123456789012345678901234567890123456789012345678901234567890123456789" },
        { "multipart/form-data", NULL },
        { "multipart/form-data;", NULL },
        { "multipart/form-data; boundary", NULL },
        { "multipart/form-data; boundary=", NULL },
        { "multipart/form-data; boundary=\"\"", NULL },
        { "multipart/form-data; boundary=\"b0", NULL },
        { "multipart/form-data; boundary=a b", NULL },
        { "multipart/form-data; boundary=\"a b\"", NULL },
        { "multipart/form-data; boundary=a;X: y", NULL },
        { "multipart/form-data; boundary=a, b", NULL },
        { "multipart/form-data; boundary=a; boundary=a", NULL },
        { "multipart/form-data; boundary=\"a\\b\"", NULL },
        { "multipart/form-datax; boundary=a", NULL },
        { "multipart/mixed; boundary=a", NULL },
        { "application/json; boundary=a", NULL },
        { "multipart/form-data; "
          "boundary=01234567890123456789012345678901234567890123456789012345678901234567890",
          NULL },
        { "", NULL },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char got[MULTIPART_BOUNDARY_MAX + 1] = "";
        int rc = multipart_boundary(cases[i].type, got);
        ck_assert_msg(rc == (cases[i].boundary ? 0 : -1), "%s: %d", cases[i].type, rc);
        if (cases[i].boundary)
            ck_assert_str_eq(got, cases[i].boundary);
    }
}
END_TEST

START_TEST(parts_are_read_as_clients_write_them)
{
    is_form("--b0" PART("a", "", "1") PART("b", "; filename=\"x.wav\"", "") "--\r\n", "a(1)b*()");
    is_form("--b0--", "");
    is_form("--b0" PART("a", "", "\r\n-b0\r\n--\r\r\n") "--", "a(\r\n-b0\r\n--\r\r\n)");
    is_form("--b0\r\nContent-Type: audio/wav\r\ncontent-disposition:form-data;name=f;"
            "filename*=UTF-8''x\r\nContent-Length: 2\r\nContent-Transfer-Encoding: binary"
            "\r\n\r\nhi\r\n--b0--",
            "f*(hi)");
    is_form("--b0" PART("a\\\"b", "; filename=\"; name=\\\"c\"", "x") "--", "a\\\"b*(x)");
}
END_TEST

START_TEST(what_is_no_form_is_refused_with_a_reason)
{
    is_no_form("", "begin with the boundary");
    is_no_form("\r\n--b0--", "begin with the boundary");
    is_no_form("--b1--", "begin with the boundary");
    is_no_form("preamble\r\n--b0--", "begin with the boundary");
    is_no_form("--b0", "cut off");
    is_no_form("--b0-", "cut off");
    is_no_form("--b0--\r\nmore", "follows the form's end");
    is_no_form("--b0 \r\n", "not followed by a line end");
    is_no_form("--b01\r\n", "not followed by a line end");
    is_no_form("--b0\n--b0--", "not followed by a line end");
    is_no_form("--b0\r\n", "do not end");
    is_no_form("--b0\r\nContent-Disposition: form-data; name=\"a\"\r\n", "do not end");
    is_no_form("--b0\r\n\r\nx\r\n--b0--", "do not end");
    is_no_form("--b0\r\nX: y\r\n\r\nx\r\n--b0--", "no Content-Disposition");
    is_no_form("--b0\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx", "has no end");
    is_no_form("--b0\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\n--b0--", "has no end");
    is_no_form("--b0\r\nno colon\r\n\r\nx\r\n--b0--", "malformed");
    is_no_form("--b0\r\n folded: x\r\n\r\nx\r\n--b0--", "malformed");
    static const char *const odd[] = {
        "attachment; name=\"a\"",
        "form-data",
        "form-data; name=\"\"",
        "form-data; name=\"a\"; name=\"b\"",
        "form-data; name=\"a",
        "form-data; name=\"a\x01\"",
        "form-data; name=\"\xc3\xa9\"",
        "form-data name=\"a\"",
        "form-data; name=\"a\" x",
        "form-data; name = \"a\"",
        "form-data; name=\"a\"\r\nContent-Disposition: form-data; name=\"b\"",
    };
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        char text[256];
        snprintf(text, sizeof text, "--b0\r\nContent-Disposition: %s\r\n\r\nx\r\n--b0--", odd[i]);
        is_no_form(text, "Content-Disposition");
    }
    is_no_form("--b0\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: form-data; "
               "name=a\r\n\r\neA==\r\n--b0--",
               "transfer encoding");
}
END_TEST

START_TEST(any_bytes_may_stand_in_a_part)
{
    char body[1024];
    struct multipart form;
    struct multipart_part p;
    struct airlock_error err;
    int n = snprintf(body, sizeof body,
                     "--b0\r\nContent-Disposition: form-data; name=\"f\"; filename=x\r\n\r\n");
    for (int i = 0; i < 256; i++)
        body[n + i] = (char)(255 - i);
    memcpy(body + n + 256, "\r\n--b0--", 9);
    ck_assert_int_eq(multipart_begin(&form, "b0", body, (size_t)n + 256 + 8, &err), 0);
    ck_assert_int_eq(multipart_next(&form, &p, &err), 1);
    ck_assert_uint_eq(p.size, 256);
    ck_assert(p.data == body + n && p.file && multipart_is(&p, "f"));
    ck_assert(!multipart_is(&p, "fo") && !multipart_is(&p, ""));
    ck_assert_int_eq(multipart_next(&form, &p, &err), 0);
}
END_TEST

START_TEST(parts_and_their_headers_have_a_ceiling)
{
    static char body[(MULTIPART_PARTS_MAX + 2) * 64], out[(MULTIPART_PARTS_MAX + 2) * 64];
    for (int extra = 0; extra < 2; extra++) {
        struct airlock_error err = { 0 };
        size_t n = (size_t)sprintf(body, "--b0");
        for (int i = 0; i < MULTIPART_PARTS_MAX + extra; i++)
            n += (size_t)sprintf(body + n, "%s", PART("a", "", "1"));
        n += (size_t)sprintf(body + n, "--");
        ck_assert_int_eq(read_form("b0", body, n, out, sizeof out, &err), -extra);
        if (extra)
            ck_assert_ptr_nonnull(strstr(err.text, "more than 64 parts"));
    }
    static char head[2 * MULTIPART_HEAD_MAX];
    for (int extra = 0; extra < 2; extra++) {
        struct airlock_error err = { 0 };
        int n = sprintf(head, "--b0\r\nContent-Disposition: form-data; name=\"a\"\r\nX: ");
        int fill = MULTIPART_HEAD_MAX + 6 - n - 4 + extra;
        memset(head + n, 'x', (size_t)fill);
        sprintf(head + n + fill, "\r\n\r\nv\r\n--b0--");
        ck_assert_int_eq(read_form("b0", head, strlen(head), out, sizeof out, &err), -extra);
    }
}
END_TEST

/* Bytes that nearly are a boundary, again and again: a search that went back for each would take
 * minutes. */
START_TEST(a_large_part_of_half_boundaries_takes_linear_time)
{
    enum { SIZE = 32 << 20 };
    char boundary[MULTIPART_BOUNDARY_MAX + 1], out[16];
    struct airlock_error err;
    memset(boundary, '-', MULTIPART_BOUNDARY_MAX - 1);
    strcpy(boundary + MULTIPART_BOUNDARY_MAX - 1, "x");
    char *body = malloc(SIZE);
    ck_assert_ptr_nonnull(body);
    int n = sprintf(body, "--%s\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\n", boundary);
    memset(body + n, '-', SIZE - (size_t)n);
    for (size_t i = (size_t)n; i + 72 < SIZE; i += 72)
        memcpy(body + i, "\r\n", 2);
    clock_t begin = clock();
    ck_assert_int_eq(read_form(boundary, body, SIZE, out, sizeof out, &err), -1);
    ck_assert_msg((clock() - begin) / CLOCKS_PER_SEC < 20, "it is not linear");
    ck_assert_ptr_nonnull(strstr(err.text, "has no end"));
    free(body);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = { a_boundary_is_taken_from_its_content_type,
                                   parts_are_read_as_clients_write_them,
                                   what_is_no_form_is_refused_with_a_reason,
                                   any_bytes_may_stand_in_a_part,
                                   parts_and_their_headers_have_a_ceiling,
                                   a_large_part_of_half_boundaries_takes_linear_time,
                                   NULL };
    return suite_run("multipart", tests);
}
