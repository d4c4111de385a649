/* test_stream_filter.c - tests of src/bridge/stream_filter.c: whatever pieces a body comes in, what
 * passes is whole, early, and together the right text. */
#include "bridge/stream_filter.h"
#include "common/strip.h"
#include "suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM = 1 << 16 };

/* All that passes of `size` bytes put in pieces of at most `piece` and taken by at most `take`. */
static size_t run(enum stream_kind kind, const char *data, size_t size, size_t piece, size_t take,
                  char *out)
{
    struct stream_filter f;
    size_t n = 0, got;
    filter_init(&f, kind, ROOM);
    for (size_t at = 0; at < size; at += piece) {
        ck_assert_int_eq(filter_put(&f, data + at, size - at < piece ? size - at : piece), 0);
        while ((got = filter_take(&f, out + n, take)) > 0)
            n += got;
    }
    filter_end(&f);
    while ((got = filter_take(&f, out + n, take)) > 0)
        n += got;
    filter_free(&f);
    return n;
}

static void expect_stripped(const char *data, size_t size)
{
    static char out[ROOM];
    const char *text = data;
    size_t want = size;
    strip_space(&text, &want);
    for (size_t piece = 1; piece <= 7; piece++) {
        size_t n = run(STREAM_TEXT, data, size, piece, 4 + piece, out);
        ck_assert_uint_eq(n, want);
        ck_assert_mem_eq(out, text, want);
    }
}

START_TEST(text_in_any_pieces_is_together_what_strip_leaves)
{
    static const char *const texts[] = { "",
                                         " ",
                                         "a",
                                         " \n a b \t c\n\n",
                                         "\xc2\xa0\xe3\x80\x80x\xe2\x80\x89",
                                         "\xe2\x82\xac \xf0\x9f\x98\x80 ",
                                         "x \xe2\x80",
                                         "\xe2\x80",
                                         " \xf0\x9f",
                                         "\xe3\xc2\xa0",
                                         "\xff \xc2 \xa0",
                                         "\xf1\x80\xe2\x80\x80z" };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        expect_stripped(texts[i], strlen(texts[i]));
}
END_TEST

START_TEST(random_text_is_stripped_like_the_whole)
{
    static const char *const parts[] = { "a",    " ",    "\n",           "\xc2\xa0", "\xe2\x80\x83",
                                         "\xe2", "\x80", "\xf0\x9f\x98", "\xc3\xa9", "" };
    srand(7);
    for (int round = 0; round < 3000; round++) {
        char data[64] = "";
        size_t n = 0;
        for (int i = rand() % 12; i > 0; i--) {
            const char *part = parts[rand() % 10];
            size_t size = *part ? strlen(part) : 1; /* "": a NUL */
            memcpy(data + n, part, size);
            n += size;
        }
        expect_stripped(data, n);
    }
}
END_TEST

START_TEST(text_passes_as_soon_as_it_is_known_to_stay)
{
    struct stream_filter f;
    char out[64];
    filter_init(&f, STREAM_TEXT, ROOM);
    filter_put(&f, "  one ", 6);
    ck_assert_uint_eq(filter_take(&f, out, sizeof out), 3);
    ck_assert_mem_eq(out, "one", 3);
    filter_put(&f, "\n", 1);
    ck_assert_uint_eq(filter_take(&f, out, sizeof out), 0);
    filter_put(&f, "two\xe2", 4); /* not the first byte of a character */
    ck_assert_uint_eq(filter_take(&f, out, sizeof out), 5);
    ck_assert_mem_eq(out, " \ntwo", 5);
    filter_break(&f, NULL);
    ck_assert_uint_eq(filter_take(&f, out, sizeof out), 0);
    filter_free(&f);
}
END_TEST

START_TEST(no_character_is_split_when_it_is_taken_in_pieces)
{
    struct stream_filter f;
    char out[8];
    size_t n, total = 0;
    filter_init(&f, STREAM_TEXT, ROOM);
    filter_put(&f, "ab\xe2\x82\xac\xf0\x9f\x98\x80\xc3\xa9z", 12);
    while ((n = filter_take(&f, out, 4)) > 0) {
        ck_assert((out[0] & 0xc0) != 0x80);
        total += n;
    }
    ck_assert_uint_eq(total, 12);
    filter_free(&f);
}
END_TEST

START_TEST(an_event_passes_when_its_blank_line_has_come)
{
    static const char *const ends[] = { "\n\n", "\r\n\r\n", "\n\r\n" };
    for (int i = 0; i < 3; i++) {
        struct stream_filter f;
        char event[64], out[64];
        size_t n = (size_t)sprintf(event, "event: x\ndata: 1%s", ends[i]);
        filter_init(&f, STREAM_EVENTS, ROOM);
        for (size_t k = 0; k < n; k++) {
            ck_assert_uint_eq(filter_take(&f, out, sizeof out), 0);
            ck_assert_int_eq(filter_put(&f, event + k, 1), 0);
        }
        ck_assert_uint_eq(filter_take(&f, out, sizeof out), n);
        ck_assert_mem_eq(out, event, n);
        filter_free(&f);
    }
}
END_TEST

START_TEST(a_broken_stream_ends_with_a_whole_event)
{
    struct stream_filter f;
    char out[64];
    filter_init(&f, STREAM_EVENTS, 32);
    filter_put(&f, ": ping\n\ndata: {\"half", 20);
    ck_assert_uint_eq(filter_take(&f, out, sizeof out), 8);
    filter_break(&f, "data: {}\n\n");
    ck_assert_uint_eq(filter_take(&f, out, sizeof out), 10);
    ck_assert_mem_eq(out, "data: {}\n\n", 10);
    ck_assert(!f.said_done);
    filter_free(&f);
}
END_TEST

START_TEST(the_last_event_is_known_and_what_has_no_blank_line_passes_at_the_end)
{
    struct stream_filter f;
    char out[64];
    filter_init(&f, STREAM_EVENTS, ROOM);
    filter_put(&f, "data: x\n\n", 9);
    ck_assert(!f.said_done);
    filter_put(&f, "data: [DONE]\n\nrest", 18);
    ck_assert(f.said_done);
    ck_assert_uint_eq(filter_take(&f, out, sizeof out), 23);
    filter_end(&f);
    ck_assert_uint_eq(filter_take(&f, out, sizeof out), 4);
    filter_free(&f);
}
END_TEST

START_TEST(a19_more_than_may_wait_is_refused)
{
    for (int kind = 0; kind < 2; kind++) {
        struct stream_filter f;
        int put = 0;
        filter_init(&f, (enum stream_kind)kind, 100);
        while (put < 200 && filter_put(&f, kind == STREAM_TEXT && put ? " " : "x", 1) == 0) {
            char out[8];
            filter_take(&f, out, sizeof out);
            put++;
        }
        ck_assert_int_ge(put, 100);
        ck_assert_int_le(put, 101); /* text: the x has passed */
        filter_free(&f);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        text_in_any_pieces_is_together_what_strip_leaves,
        random_text_is_stripped_like_the_whole,
        text_passes_as_soon_as_it_is_known_to_stay,
        no_character_is_split_when_it_is_taken_in_pieces,
        an_event_passes_when_its_blank_line_has_come,
        a_broken_stream_ends_with_a_whole_event,
        the_last_event_is_known_and_what_has_no_blank_line_passes_at_the_end,
        a19_more_than_may_wait_is_refused,
        NULL
    };
    return suite_run("stream filter", tests);
}
