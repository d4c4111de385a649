/* test_bytes.c - tests of the byte helpers of src/common: growing buffers, base64 (attack
 * case A37), UTF-8 from pieces, bearer tokens. */
#include "common/base64.h"
#include "common/bearer.h"
#include "common/bytes.h"
#include "common/json.h"
#include "common/utf8.h"
#include "suite.h"
#include "tmpdir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

START_TEST(a_buffer_keeps_its_maximum_and_its_nul)
{
    struct bytes b = BYTES_INIT(5);
    ck_assert_int_eq(bytes_add(&b, "abc", 3), 0);
    ck_assert_int_eq(bytes_add(&b, "def", 3), -1);
    ck_assert_str_eq(b.data, "abc");
    ck_assert_int_eq(bytes_printf(&b, "%d", 123), -1);
    ck_assert_int_eq(bytes_printf(&b, "%d", 12), 0);
    ck_assert_str_eq(b.data, "abc12");
    ck_assert_int_eq(bytes_reserve(&b, SIZE_MAX), -1);
    bytes_drop_front(&b, 2);
    ck_assert_str_eq(b.data, "c12");
    bytes_clear(&b);
    ck_assert_uint_eq(b.size, 0);
    bytes_free(&b);
}
END_TEST

START_TEST(base64_is_undone_and_made)
{
    static const struct {
        const char *text, *plain;
    } pairs[] = { { "", "" },
                  { "Zg==", "f" },
                  { "Zm8=", "fo" },
                  { "Zm9v", "foo" },
                  { "Zm9vYg==", "foob" },
                  { "Zm9vYmE=", "fooba" },
                  { "Zm9vYmFy", "foobar" } };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct bytes b = BYTES_INIT(100);
        ck_assert_int_eq(base64_decode(pairs[i].text, strlen(pairs[i].text), &b), 0);
        ck_assert_str_eq(b.data, pairs[i].plain);
        bytes_clear(&b);
        ck_assert_int_eq(base64_encode(pairs[i].plain, strlen(pairs[i].plain), &b), 0);
        ck_assert_str_eq(b.data, pairs[i].text);
        bytes_free(&b);
    }
    struct bytes b = BYTES_INIT(100);
    ck_assert_int_eq(base64_decode(" Zm\r\n9v ", 8, &b), 0);
    ck_assert_str_eq(b.data, "foo");
    bytes_free(&b);
}
END_TEST

START_TEST(what_is_not_base64_is_refused_and_nothing_is_added)
{
    static const char *const wrong[] = {
        "Z",     "Zg",   "Zg=",   "Zg===",    "=",
        "====",  "Z===", "Zm9v=", "Zm9-",     "Zm_v",
        "Zm9v!", "Zh==", "Zm9=",  "Zg==Zg==", "data:image/png;base64,Zm9v"
    };
    struct bytes b = BYTES_INIT(100);
    bytes_add(&b, "x", 1);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ck_assert_msg(base64_decode(wrong[i], strlen(wrong[i]), &b) == -1, "%s", wrong[i]);
        ck_assert_str_eq(b.data, "x");
    }
    ck_assert_int_eq(base64_decode("Zm9v\0Zm9v", 9, &b), -1);
    bytes_free(&b);
    struct bytes small = BYTES_INIT(6);
    ck_assert_int_eq(base64_decode("Zm9vYmFyZm9vYmFy", 16, &small), -1);
    bytes_free(&small);
}
END_TEST

/* The text that pieces of `step` bytes make. */
static void cleaned(const char *in, size_t n, size_t step, struct bytes *out)
{
    struct utf8_cleaner c = { { 0 }, 0 };
    bytes_clear(out);
    for (size_t i = 0; i < n; i += step)
        ck_assert_int_eq(utf8_clean(&c, in + i, n - i < step ? n - i : step, out), 0);
    ck_assert_int_eq(utf8_clean_end(&c, out), 0);
}

START_TEST(pieces_become_whole_characters_and_wrong_bytes_are_replaced)
{
#define R "\xef\xbf\xbd"
    static const struct {
        const char *in, *out;
    } pairs[] = { { "plain", "plain" },
                  { "h\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80!",
                    "h\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80!" },
                  { "\xff"
                    "A",
                    R "A" },
                  { "\xc3", R },
                  { "\xe2\x82", R },
                  { "\xe2\x82"
                    "A",
                    R "A" },
                  { "\xf0\x9f\x98", R },
                  { "\xc0\x80", R R },
                  { "\xed\xa0\x80", R R R },
                  { "\xf4\x90\x80\x80", R R R R },
                  { "\xe2\xe2\x82\xac", R "\xe2\x82\xac" },
                  { "a\x80"
                    "b",
                    "a" R "b" } };
    struct bytes out = BYTES_INIT(100);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        for (size_t step = 1; step < 6; step++) {
            cleaned(pairs[i].in, strlen(pairs[i].in), step, &out);
            ck_assert_str_eq(out.data, pairs[i].out);
            ck_assert(utf8_valid(out.data, out.size));
        }
    bytes_free(&out);
}
END_TEST

START_TEST(random_bytes_always_become_valid_utf8)
{
    struct bytes out = BYTES_INIT(1000);
    srand(1);
    for (int i = 0; i < 20000; i++) {
        char in[64];
        for (size_t k = 0; k < sizeof in; k++) /* mostly lead and continuation bytes */
            in[k] = (char)(rand() % 3 ? 0x80 + rand() % 128 : rand());
        cleaned(in, sizeof in, 1 + (size_t)rand() % 7, &out);
        ck_assert(utf8_valid(out.data, out.size));
    }
    bytes_free(&out);
}
END_TEST

START_TEST(a_full_buffer_is_told)
{
    struct bytes out = BYTES_INIT(4);
    struct utf8_cleaner c = { { 0 }, 0 };
    ck_assert_int_eq(utf8_clean(&c, "abcde", 5, &out), -1);
    ck_assert_int_eq(utf8_clean(&c, "\xff\xff", 2, &out), -1);
    bytes_free(&out);
}
END_TEST

START_TEST(a_bearer_token_matches_only_itself)
{
    struct bearer b;
    struct airlock_error err;
    tmpdir_make();
    const char *path = tmpdir_path("token");
    FILE *f = fopen(path, "w");
    fputs("0123456789abcdef0123\n", f);
    fclose(f);
    chmod(path, 0644);
    ck_assert_int_eq(bearer_load(path, &b, &err), -1);
    chmod(path, 0600);
    ck_assert_int_eq(bearer_load(path, &b, &err), 0);
    ck_assert(bearer_matches(&b, "Bearer 0123456789abcdef0123"));
    ck_assert(bearer_matches(&b, "bearer 0123456789abcdef0123"));
    static const char *const wrong[] = { NULL,
                                         "",
                                         "Bearer",
                                         "Bearer ",
                                         "Bearer 0123456789abcdef012",
                                         "Bearer 0123456789abcdef01234",
                                         "Basic 0123456789abcdef0123",
                                         "Bearer  0123456789abcdef0123",
                                         "Bearer 0",
                                         "Bearer 0123456789abcdef01230123456789abcdef0123",
                                         "0123456789abcdef0123" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        ck_assert_msg(!bearer_matches(&b, wrong[i]), "%s", wrong[i]);
    bearer_free(&b);
    ck_assert(bearer_matches(&b, NULL)); /* none is asked for */
    f = fopen(path, "w");
    fputs("short\n", f);
    fclose(f);
    ck_assert_int_eq(bearer_load(path, &b, &err), -1);
    tmpdir_remove();
}
END_TEST

static const char *token_file(const char *text)
{
    const char *path = tmpdir_path("token");
    FILE *f = fopen(path, "w");
    fputs(text, f);
    fclose(f);
    chmod(path, 0600);
    return path;
}

START_TEST(a_token_file_tells_its_callers_apart)
{
    struct bearer b;
    struct airlock_error err;
    tmpdir_make();
    const char *path = token_file("# who may ask\n\n  alice  alice-0123456789abc\r\n"
                                  "bob\t#bob-0123456789abcd\n0123456789abcdef\n");
    ck_assert_int_eq(bearer_load(path, &b, &err), 0);
    ck_assert_uint_eq(b.n, 3);
    const struct bearer_token *alice = bearer_find(&b, "Bearer alice-0123456789abc"),
                              *bob = bearer_find(&b, "Bearer #bob-0123456789abcd"),
                              *other = bearer_find(&b, "Bearer 0123456789abcdef");
    ck_assert(alice && bob && other);
    ck_assert_str_eq(alice->name, "alice");
    ck_assert_str_eq(bob->name, "bob");
    /* printf 0123456789abcdef | sha256sum */
    ck_assert_str_eq(other->id, "9f9f5111f7b27a781f1f1ddde5ebc2dd");
    ck_assert_str_eq(other->name, "9f9f5111");
    ck_assert_str_ne(alice->id, bob->id);
    ck_assert_ptr_null(bearer_find(&b, "Bearer alice"));
    ck_assert_ptr_null(bearer_find(&b, "Bearer # who may ask"));
    ck_assert(!bearer_matches(&b, "Bearer alice  alice-0123456789abc"));
    bearer_free(&b);
    tmpdir_remove();
}
END_TEST

START_TEST(a_bad_token_file_is_refused_by_its_line_and_never_quoted)
{
    static const struct {
        const char *text, *words;
    } bad[] = {
        { "", "there is no token" },
        { "# only this\n\n", "there is no token" },
        { "0123456789abcdef\nshort\n", "line 2: expected TOKEN" },
        { "al ice 0123456789abcdef\n", "line 1: expected" },
        { "a/b 0123456789abcdef\n", "line 1: expected" },
        { "0123456789\x7f"
          "abcdef\n",
          "line 1: expected" },
        { "a 0123456789abcdef\n\nb 0123456789abcdef\n", "line 3: the token stands" },
    };
    struct bearer b;
    struct airlock_error err;
    tmpdir_make();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_int_eq(bearer_load(token_file(bad[i].text), &b, &err), -1);
        ck_assert_msg(strstr(err.text, bad[i].words) != NULL, "%s", err.text);
        ck_assert_ptr_null(strstr(err.text, "0123"));
        ck_assert_ptr_null(b.token);
    }
    tmpdir_remove();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = { a_buffer_keeps_its_maximum_and_its_nul,
                                   base64_is_undone_and_made,
                                   what_is_not_base64_is_refused_and_nothing_is_added,
                                   pieces_become_whole_characters_and_wrong_bytes_are_replaced,
                                   random_bytes_always_become_valid_utf8,
                                   a_full_buffer_is_told,
                                   a_bearer_token_matches_only_itself,
                                   a_token_file_tells_its_callers_apart,
                                   a_bad_token_file_is_refused_by_its_line_and_never_quoted,
                                   NULL };
    return suite_run("bytes", tests);
}
