/* test_stop_strings.c - stop strings end an answer and never leak, however its bytes arrive. */
#include "engine/stop_strings.h"

#include <check.h>
#include <string.h>

/* Adds text in pieces of `piece` bytes; what was released, and whether a stop was found. */
static bool feed(const char *text, size_t piece, const struct stop_string *stops, size_t n,
                 bool flush, char *out, size_t size)
{
    struct stop_strings s;
    struct bytes released = BYTES_INIT(1000);
    bool found = false;
    size_t length = strlen(text);
    ck_assert_int_eq(stop_strings_init(&s, stops, n), 0);
    for (size_t at = 0; at < length && !found; at += piece) {
        size_t take = length - at < piece ? length - at : piece;
        ck_assert_int_eq(stop_strings_add(&s, text + at, take, &released, &found), 0);
    }
    if (flush && !found)
        ck_assert_int_eq(stop_strings_flush(&s, &released), 0);
    ck_assert_uint_lt(released.size, size);
    memcpy(out, released.data ? released.data : "", released.size);
    out[released.size] = 0;
    bytes_free(&released);
    stop_strings_free(&s);
    return found;
}

static const struct stop_string stops[] = { { "\nUser:", 6 }, { "END", 3 } };

START_TEST(nothing_of_a_stop_string_or_after_it_is_released)
{
    char out[100];
    for (size_t piece = 1; piece < 20; piece++) {
        ck_assert(feed("one\ntwo\nUser: three END", piece, stops, 2, true, out, sizeof out));
        ck_assert_str_eq(out, "one\ntwo");
        ck_assert(feed("ENEND", piece, stops, 2, true, out, sizeof out));
        ck_assert_str_eq(out, "EN");
    }
}
END_TEST

START_TEST(a_beginning_is_held_back_until_it_is_decided)
{
    char out[100];
    ck_assert(!feed("a\nUs", 1, stops, 2, false, out, sizeof out));
    ck_assert_str_eq(out, "a");
    ck_assert(!feed("a\nUsage", 1, stops, 2, false, out, sizeof out));
    ck_assert_str_eq(out, "a\nUsage");
    ck_assert(!feed("a\nUs", 1, stops, 2, true, out, sizeof out)); /* the answer ended */
    ck_assert_str_eq(out, "a\nUs");
}
END_TEST

START_TEST(the_first_of_several_counts)
{
    char out[100];
    static const struct stop_string both[] = { { "cd", 2 }, { "bcde", 4 }, { "", 0 } };
    ck_assert(feed("abcdef", 6, both, 3, true, out, sizeof out));
    ck_assert_str_eq(out, "a");
    ck_assert(!feed("aaaa", 2, both + 2, 1, true, out, sizeof out)); /* an empty one is none */
    ck_assert_str_eq(out, "aaaa");
}
END_TEST

START_TEST(without_stop_strings_everything_comes_at_once)
{
    char out[100];
    ck_assert(!feed("abc", 1, NULL, 0, false, out, sizeof out));
    ck_assert_str_eq(out, "abc");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stop_strings");
    TCase *t = tcase_create("search");
    tcase_add_test(t, nothing_of_a_stop_string_or_after_it_is_released);
    tcase_add_test(t, a_beginning_is_held_back_until_it_is_decided);
    tcase_add_test(t, the_first_of_several_counts);
    tcase_add_test(t, without_stop_strings_everything_comes_at_once);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
