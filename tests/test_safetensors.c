/* test_safetensors.c - tests of plugins/engine/safetensors.c and safetensors_header.c. */
#include "engine/safetensors.h"
#include "engine/weights_reader.h"
#include "tmpdir.h"

#include <check.h>
#include <unistd.h>

static struct airlock_error err;

#define A2 "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}"
#define B2 "\"b\":{\"dtype\":\"BF16\",\"shape\":[2,2],\"data_offsets\":[0,8]}"

static struct safetensors *open_header(const char *header, size_t data)
{
    err = (struct airlock_error){ 0 };
    tmpdir_write_safetensors("x.safetensors", header, data);
    return safetensors_open_file(tmpdir_path("x.safetensors"), &err);
}

/* Refused, and the sentence holds both words. */
static void refused(const char *header, size_t data, const char *word1, const char *word2)
{
    struct safetensors *st = open_header(header, data);
    ck_assert_ptr_null(st);
    ck_assert_msg(strstr(err.text, word1) && strstr(err.text, word2), "%s", err.text);
    ck_assert_int_eq(err.code, AIRLOCK_E_CONFIG);
}

static void refused_dir(const char *word1, const char *word2)
{
    err = (struct airlock_error){ 0 };
    struct safetensors *st = safetensors_open_dir(tmpdir, &err);
    ck_assert_ptr_null(st);
    ck_assert_msg(strstr(err.text, word1) && strstr(err.text, word2), "%s", err.text);
}

START_TEST(a_view_has_name_dtype_shape_and_data)
{
    struct safetensors *st = open_header(
        "{\"__metadata__\":{\"format\":\"pt\"},\"b\":{\"dtype\":\"BF16\",\"shape\":[3,1],\"data_"
        "offsets\":[8,14]}," A2 "}",
        14);
    ck_assert_msg(st != NULL, "%s", err.text);
    ck_assert_uint_eq(safetensors_count(st), 2);
    const struct safetensors_view *a = safetensors_at(st, 0), *b = safetensors_find(st, "b");
    ck_assert_str_eq(a->name, "a");
    ck_assert_ptr_eq(safetensors_at(st, 1), b);
    ck_assert_ptr_null(safetensors_at(st, 2));
    ck_assert_ptr_null(safetensors_find(st, "c"));
    ck_assert_str_eq(b->dtype, "BF16");
    ck_assert_uint_eq(b->n_dims, 2);
    ck_assert_uint_eq(b->shape[0], 3);
    ck_assert_uint_eq(b->shape[1], 1);
    ck_assert_uint_eq(b->bytes, 6);
    ck_assert_mem_eq(b->data, "\10\11\12\13\14\15", 6);
    safetensors_close(st);
}
END_TEST

START_TEST(an_escaped_name_is_found_under_its_text)
{
    struct safetensors *st = open_header("{\"\\u00e9\\ud83d\\ude00\\n\":{\"dtype\":\"U8\","
                                         "\"shape\":[1],\"data_offsets\":[0,1]}}",
                                         1);
    ck_assert_msg(st != NULL, "%s", err.text);
    ck_assert_ptr_nonnull(safetensors_find(st, "\xc3\xa9\xf0\x9f\x98\x80\n"));
    safetensors_close(st);
}
END_TEST

START_TEST(an_overlap_names_the_tensor)
{
    refused("{" A2 ",\"over\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", 12,
            "tensor over", "inside another");
}
END_TEST

START_TEST(a_hole_names_the_tensor)
{
    refused("{" A2 ",\"far\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[12,20]}}", 20,
            "tensor far", "hole");
}
END_TEST

START_TEST(reversed_offsets_name_the_tensor)
{
    refused("{\"rev\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, "tensor rev",
            "reversed");
}
END_TEST

START_TEST(a_shape_product_that_overflows_names_the_tensor)
{
    refused("{\"big\":{\"dtype\":\"F32\",\"shape\":[4194305,4194305,211106198978564],"
            "\"data_offsets\":[0,16]}}",
            16, "tensor big", "too large");
}
END_TEST

START_TEST(a_size_that_is_not_shape_times_dtype_names_the_tensor)
{
    refused("{\"odd\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8, "tensor odd",
            "need 12");
}
END_TEST

START_TEST(data_after_the_last_tensor_is_refused)
{
    refused("{" A2 "}", 9, "x.safetensors", "1 bytes after the last tensor");
}
END_TEST

START_TEST(a_file_that_is_cut_short_names_the_tensor)
{
    refused("{" A2 "}", 7, "tensor a", "cut short");
}
END_TEST

START_TEST(two_tensors_of_one_name_are_refused_by_name)
{
    refused("{" A2 "," A2 "}", 8, "tensor a", "twice");
}
END_TEST

START_TEST(an_unknown_dtype_names_the_tensor)
{
    refused("{\"q\":{\"dtype\":\"Q4_K\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "tensor q",
            "unknown dtype");
}
END_TEST

START_TEST(metadata_that_is_not_strings_is_refused)
{
    refused("{\"__metadata__\":{\"a\":1}}", 0, "__metadata__", "strings");
}
END_TEST

START_TEST(a_missing_member_names_tensor_and_member)
{
    refused("{\"t\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "tensor t", "data_offsets is missing");
}
END_TEST

START_TEST(deep_nesting_is_refused_without_recursion)
{
    enum { DEPTH = 1000000 };
    char *text = malloc(2 * DEPTH + 64);
    int n = sprintf(text, "{\"deep\":{\"x\":");
    memset(text + n, '[', DEPTH);
    memset(text + n + DEPTH, ']', DEPTH);
    strcpy(text + n + 2 * DEPTH, "}}");
    refused(text, 0, "tensor deep", "nested too deeply");
    free(text);
}
END_TEST

START_TEST(a_header_above_100_MB_is_refused_before_it_is_read)
{
    char eight[8] = { 1, (char)0xe1, (char)0xf5, 5 }; /* 100000001 */
    FILE *f = fopen(tmpdir_path("big.safetensors"), "wb");
    ck_assert_uint_eq(fwrite(eight, 1, 8, f), 8);
    fclose(f);
    ck_assert_int_eq(truncate(tmpdir_path("big.safetensors"), 200000000), 0); /* sparse */
    ck_assert_ptr_null(safetensors_open_file(tmpdir_path("big.safetensors"), &err));
    ck_assert_msg(strstr(err.text, "header length 100000001"), "%s", err.text);
}
END_TEST

START_TEST(a_hundred_thousand_tensors_open)
{
    enum { N = 100000 };
    char *text = malloc(N * 80 + 2), *p = text;
    *p++ = '{';
    for (int i = 0; i < N; i++)
        p += sprintf(p, "%s\"t%d\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[%d,%d]}",
                     i ? "," : "", i, i, i + 1);
    strcpy(p, "}");
    struct safetensors *st = open_header(text, N);
    ck_assert_msg(st != NULL, "%s", err.text);
    ck_assert_int_eq(*(const unsigned char *)safetensors_find(st, "t99999")->data, 99999 % 256);
    safetensors_close(st);
    free(text);
}
END_TEST

START_TEST(a_fifo_a_directory_and_a_missing_file_are_refused)
{
    ck_assert_int_eq(mkfifo(tmpdir_path("fifo"), 0600), 0);
    ck_assert_ptr_null(safetensors_open_file(tmpdir_path("fifo"), &err));
    ck_assert_msg(strstr(err.text, "not a regular file"), "%s", err.text);
    ck_assert_ptr_null(safetensors_open_file(tmpdir, &err));
    ck_assert_msg(strstr(err.text, "not a regular file"), "%s", err.text);
    ck_assert_ptr_null(safetensors_open_file(tmpdir_path("none"), &err));
    ck_assert_msg(strstr(err.text, "No such file"), "%s", err.text);
}
END_TEST

/* ---- the reference's verdicts ---- */

static size_t unhex(const char *hex, unsigned char *out)
{
    size_t n = 0;
    unsigned byte;
    for (; hex[0] != '-' && sscanf(hex, "%2x", &byte) == 1; hex += 2)
        out[n++] = (unsigned char)byte;
    return n;
}

START_TEST(verdicts_equal_the_reference_readers)
{
    char path[512], name[64], reference[16], ours[16];
    static char line[65536], hex[65536];
    static unsigned char data[32768];
    int cases = 0;
    snprintf(path, sizeof path, "%s/tests/golden/safetensors_verdicts.txt", getenv("top_srcdir"));
    FILE *f = fopen(path, "r");
    ck_assert_msg(f != NULL, "%s", path);
    while (fgets(line, sizeof line, f)) {
        ck_assert_int_eq(sscanf(line, "%63s %15s %15s %65535s", name, reference, ours, hex), 4);
        tmpdir_write("v.safetensors", data, unhex(hex, data));
        err = (struct airlock_error){ 0 };
        struct safetensors *st = safetensors_open_file(tmpdir_path("v.safetensors"), &err);
        ck_assert_msg((st != NULL) == (strcmp(ours, "accept") == 0), "%s: %s is wanted, got %s",
                      name, ours, st ? "accept" : err.text);
        ck_assert_msg(st || (err.text[0] && !strchr(err.text, '\n')), "%s: no sentence", name);
        safetensors_close(st);
        cases++;
    }
    fclose(f);
    ck_assert_int_gt(cases, 150);
}
END_TEST

/* ---- several files ---- */

static void two_shards(void)
{
    tmpdir_write_safetensors("m-1.safetensors", "{" A2 "}", 8);
    tmpdir_write_safetensors("m-2.safetensors", "{" B2 "}", 8);
}

static void index_of(const char *a, const char *b)
{
    char text[512];
    snprintf(text, sizeof text,
             "{\"metadata\":{\"total_size\":16},\"weight_map\":{\"a\":\"%s\",\"b\":\"%s\"}}", a, b);
    tmpdir_write_text("model.safetensors.index.json", text);
}

START_TEST(shards_of_an_index_open_as_one)
{
    two_shards();
    index_of("m-1.safetensors", "m-2.safetensors");
    struct safetensors *st = safetensors_open_dir(tmpdir, &err);
    ck_assert_msg(st != NULL, "%s", err.text);
    ck_assert_uint_eq(safetensors_count(st), 2);
    ck_assert_ptr_nonnull(safetensors_find(st, "a"));
    ck_assert_str_eq(safetensors_find(st, "b")->dtype, "BF16");
    ck_assert_uint_eq(safetensors_total_bytes(st), 2 * 8 + strlen("{" A2 "}{" B2 "}") + 16);
    safetensors_close(st);
}
END_TEST

START_TEST(a_shard_name_that_is_a_path_is_refused)
{
    static const char *const names[] = {
        "../m-2.safetensors", "/etc/passwd", "sub/m-2", "..", ".", ".hidden", ""
    };
    two_shards();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        index_of("m-1.safetensors", names[i]);
        refused_dir("weight_map[\"b\"]", "plain file name");
    }
    tmpdir_write_text("model.safetensors.index.json", "{\"weight_map\":{\"a\":7}}");
    refused_dir("weight_map[\"a\"]", "string");
}
END_TEST

START_TEST(a_missing_shard_is_named)
{
    two_shards();
    index_of("m-1.safetensors", "m-3.safetensors");
    refused_dir("m-3.safetensors", "No such file");
}
END_TEST

START_TEST(a_listed_tensor_that_no_shard_has_is_named)
{
    two_shards();
    tmpdir_write_text("model.safetensors.index.json",
                      "{\"weight_map\":{\"a\":\"m-1.safetensors\",\"c\":\"m-1.safetensors\"}}");
    refused_dir("tensor c", "not there");
    index_of("m-1.safetensors", "m-1.safetensors");
    refused_dir("tensor b", "not there");
    index_of("m-2.safetensors", "m-1.safetensors");
    refused_dir("tensor ", "but is in");
}
END_TEST

START_TEST(a_tensor_in_two_shards_is_named)
{
    two_shards();
    tmpdir_write_safetensors("m-2.safetensors", "{" A2 "}", 8);
    index_of("m-1.safetensors", "m-2.safetensors");
    refused_dir("tensor a", "and in");
}
END_TEST

START_TEST(an_index_that_is_no_index_is_refused)
{
    static const char *const texts[] = { "[]", "{}", "{\"weight_map\":[]}", "{", "" };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        tmpdir_write_text("model.safetensors.index.json", texts[i]);
        refused_dir("model.safetensors.index.json", " ");
    }
}
END_TEST

START_TEST(a_single_file_comes_before_an_index)
{
    tmpdir_write_text("model.safetensors.index.json", "nonsense");
    tmpdir_write_safetensors("model.safetensors", "{" A2 "}", 8);
    struct safetensors *st = safetensors_open_dir(tmpdir, &err);
    ck_assert_msg(st != NULL, "%s", err.text);
    safetensors_close(st);
}
END_TEST

START_TEST(a_directory_without_weights_says_what_was_looked_for)
{
    refused_dir(tmpdir, "model.safetensors.index.json");
}
END_TEST

/* ---- prefault ---- */

struct told {
    uint64_t last, total;
    int calls, stop_at;
};

static int note(void *ctx, uint64_t done, uint64_t total)
{
    struct told *t = ctx;
    ck_assert_uint_gt(done, t->last);
    t->last = done;
    t->total = total;
    return ++t->calls == t->stop_at;
}

static struct safetensors *open_big(void)
{
    enum { DATA = 40 << 20 };
    char header[128];
    snprintf(header, sizeof header,
             "{\"a\":{\"dtype\":\"U8\",\"shape\":[%d],\"data_offsets\":[0,%d]}}", DATA, DATA);
    struct safetensors *st = open_header(header, DATA);
    ck_assert_msg(st != NULL, "%s", err.text);
    return st;
}

START_TEST(prefault_tells_progress_up_to_the_whole)
{
    struct told t = { 0 };
    struct safetensors *st = open_big();
    ck_assert_int_eq(safetensors_prefault(st, note, &t, &err), 0);
    ck_assert_uint_eq(t.last, safetensors_total_bytes(st));
    ck_assert_uint_eq(t.total, t.last);
    ck_assert_int_ge(t.calls, 2);
    ck_assert_int_eq(safetensors_prefault(st, NULL, NULL, &err), 0);
    safetensors_close(st);
}
END_TEST

START_TEST(prefault_stops_when_told)
{
    struct told t = { .stop_at = 1 };
    struct safetensors *st = open_big();
    ck_assert_int_eq(safetensors_prefault(st, note, &t, &err), -1);
    ck_assert_int_eq(err.code, AIRLOCK_E_CANCELLED);
    ck_assert_int_eq(t.calls, 1);
    safetensors_close(st);
}
END_TEST

START_TEST(a_file_cut_after_it_was_opened_is_an_error_and_no_crash)
{
    struct safetensors *st = open_big();
    ck_assert_int_eq(truncate(tmpdir_path("x.safetensors"), 20 << 20), 0);
    ck_assert_int_eq(safetensors_prefault(st, NULL, NULL, &err), -1);
    ck_assert_msg(strstr(err.text, "x.safetensors") && strstr(err.text, "cut short"), "%s",
                  err.text);
    safetensors_close(st);
}
END_TEST

START_TEST(a_file_cut_inside_its_last_page_is_an_error)
{
    struct safetensors *st = open_header("{" A2 "}", 8);
    ck_assert_int_eq(truncate(tmpdir_path("x.safetensors"), 20), 0);
    ck_assert_int_eq(safetensors_prefault(st, NULL, NULL, &err), -1);
    ck_assert_msg(strstr(err.text, "cut short"), "%s", err.text);
    safetensors_close(st);
}
END_TEST

/* ---- reading ahead of copies ---- */

static int never(void *ctx)
{
    (void)ctx;
    return 0;
}

static int stop_at_once(void *ctx)
{
    ++*(int *)ctx;
    return 1;
}

START_TEST(a_reader_reaches_every_tensor_and_no_more_than_the_end)
{
    struct safetensors *st = open_big();
    const uint64_t total = safetensors_total_bytes(st);
    struct weights_reader *r = weights_reader_start(st, &err);
    ck_assert_ptr_nonnull(r);
    for (size_t i = 0; i < safetensors_count(st); i++) {
        const uint64_t end = safetensors_end_of(st, safetensors_at(st, i));
        ck_assert_uint_le(end, total);
        ck_assert_int_eq(weights_reader_wait(r, end, never, NULL, &err), 0);
    }
    ck_assert_uint_eq(safetensors_end_of(st, safetensors_at(st, safetensors_count(st) - 1)), total);
    ck_assert_int_eq(weights_reader_wait(r, total, NULL, NULL, &err), 0);
    weights_reader_stop(r);
    r = weights_reader_start(st, &err); /* stopped early */
    weights_reader_stop(r);
    weights_reader_stop(NULL);
    safetensors_close(st);
}
END_TEST

START_TEST(a_reader_tells_of_a_file_that_was_cut_and_of_a_caller_who_wants_no_more)
{
    int asked = 0;
    struct safetensors *st = open_big();
    const uint64_t total = safetensors_total_bytes(st);
    struct weights_reader *r = weights_reader_start(st, &err);
    if (weights_reader_wait(r, UINT64_MAX, stop_at_once, &asked, &err) != 0)
        ck_assert_int_eq(err.code, AIRLOCK_E_CANCELLED);
    else
        ck_assert_int_eq(asked, 0); /* it had ended before anybody was asked */
    weights_reader_stop(r);
    ck_assert_int_eq(truncate(tmpdir_path("x.safetensors"), 20 << 20), 0);
    r = weights_reader_start(st, &err);
    ck_assert_int_eq(weights_reader_wait(r, total, never, NULL, &err), -1);
    ck_assert_msg(strstr(err.text, "cut short") != NULL, "%s", err.text);
    weights_reader_stop(r);
    safetensors_close(st);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("safetensors");
    TCase *t = tcase_create("safetensors");
    tcase_add_checked_fixture(t, tmpdir_make, tmpdir_remove);
    tcase_set_timeout(t, 300);
    tcase_add_test(t, a_view_has_name_dtype_shape_and_data);
    tcase_add_test(t, an_escaped_name_is_found_under_its_text);
    tcase_add_test(t, an_overlap_names_the_tensor);
    tcase_add_test(t, a_hole_names_the_tensor);
    tcase_add_test(t, reversed_offsets_name_the_tensor);
    tcase_add_test(t, a_shape_product_that_overflows_names_the_tensor);
    tcase_add_test(t, a_size_that_is_not_shape_times_dtype_names_the_tensor);
    tcase_add_test(t, data_after_the_last_tensor_is_refused);
    tcase_add_test(t, a_file_that_is_cut_short_names_the_tensor);
    tcase_add_test(t, two_tensors_of_one_name_are_refused_by_name);
    tcase_add_test(t, an_unknown_dtype_names_the_tensor);
    tcase_add_test(t, metadata_that_is_not_strings_is_refused);
    tcase_add_test(t, a_missing_member_names_tensor_and_member);
    tcase_add_test(t, deep_nesting_is_refused_without_recursion);
    tcase_add_test(t, a_header_above_100_MB_is_refused_before_it_is_read);
    tcase_add_test(t, a_hundred_thousand_tensors_open);
    tcase_add_test(t, a_fifo_a_directory_and_a_missing_file_are_refused);
    tcase_add_test(t, verdicts_equal_the_reference_readers);
    tcase_add_test(t, shards_of_an_index_open_as_one);
    tcase_add_test(t, a_shard_name_that_is_a_path_is_refused);
    tcase_add_test(t, a_missing_shard_is_named);
    tcase_add_test(t, a_listed_tensor_that_no_shard_has_is_named);
    tcase_add_test(t, a_tensor_in_two_shards_is_named);
    tcase_add_test(t, an_index_that_is_no_index_is_refused);
    tcase_add_test(t, a_single_file_comes_before_an_index);
    tcase_add_test(t, a_directory_without_weights_says_what_was_looked_for);
    tcase_add_test(t, prefault_tells_progress_up_to_the_whole);
    tcase_add_test(t, prefault_stops_when_told);
    tcase_add_test(t, a_file_cut_after_it_was_opened_is_an_error_and_no_crash);
    tcase_add_test(t, a_file_cut_inside_its_last_page_is_an_error);
    tcase_add_test(t, a_reader_reaches_every_tensor_and_no_more_than_the_end);
    tcase_add_test(t, a_reader_tells_of_a_file_that_was_cut_and_of_a_caller_who_wants_no_more);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
