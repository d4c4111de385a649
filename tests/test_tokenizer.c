/* test_tokenizer.c - token ids and back, equal to Hugging Face's on golden text; bad files refused
 * with a reason. */
#include "common/bytes.h"
#include "common/io.h"
#include "common/json.h"
#include "engine/tokenizer.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const vocabularies[] = { "o200k", "gpt2", "cl100k", "prefix" };
enum { N_VOCABULARIES = 4 };

static const char *golden_path(const char *name, const char *file)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s/tests/golden/tokenizer/%s%s", getenv("top_srcdir"), name, file);
    return path;
}

static struct tokenizer *open_golden(const char *name)
{
    struct airlock_error err;
    struct tokenizer *t = tokenizer_open(golden_path(name, ""), &err);
    ck_assert_msg(t != NULL, "%s", t ? "" : err.text);
    return t;
}

static struct token_list encode(const struct tokenizer *t, const char *text, size_t size,
                                enum tokenizer_mode mode)
{
    struct airlock_error err;
    struct token_list ids = { 0 };
    const int rc = tokenizer_encode(t, text, size, mode, false, &ids, &err);
    ck_assert_msg(rc == 0, "%s", rc ? err.text : "");
    return ids;
}

static struct bytes decode(const struct tokenizer *t, const struct token_list *ids)
{
    struct bytes text = BYTES_INIT(64 << 20);
    for (size_t i = 0; i < ids->n; i++) {
        size_t size;
        const char *bytes = tokenizer_bytes(t, ids->ids[i], &size);
        if (!bytes || bytes_add(&text, bytes, size) < 0) /* an assertion per token costs seconds */
            ck_abort_msg("id %ld has no bytes", (long)ids->ids[i]);
    }
    return text;
}

/* ---- golden text ------------------------------------------------------------------------------
 */

/* One line of cases.txt. */
struct golden {
    struct json_object *root, *special, *plain;
    struct bytes text;
    bool valid; /* UTF-8 */
};

static struct golden golden_parse(const char *line, size_t size)
{
    struct airlock_error err;
    struct golden g = { .text = BYTES_INIT(1 << 20) };
    const char *text = NULL, *hex = NULL;
    size_t n = 0;
    g.root = json_parse(line, size, &err);
    ck_assert_ptr_nonnull(g.root);
    ck_assert_int_eq(json_get_array(g.root, "", "special", &g.special, &err), 1);
    ck_assert_int_eq(json_get_array(g.root, "", "plain", &g.plain, &err), 1);
    g.valid = json_get_string(g.root, "", "text", &text, &n, &err) == 1;
    if (g.valid) {
        ck_assert_int_eq(bytes_add(&g.text, text, n), 0);
        return g;
    }
    ck_assert_int_eq(json_get_string(g.root, "", "hex", &hex, NULL, &err), 1);
    for (; hex[0]; hex += 2) {
        const char byte = (char)strtol((char[]){ hex[0], hex[1], 0 }, NULL, 16);
        ck_assert_int_eq(bytes_add(&g.text, &byte, 1), 0);
    }
    return g;
}

static void golden_free(struct golden *g)
{
    json_object_put(g->root);
    bytes_free(&g->text);
}

static void assert_ids(const struct token_list *ids, struct json_object *want, const char *line)
{
    const size_t n = json_object_array_length(want);
    bool same = ids->n == n;
    for (size_t i = 0; same && i < n; i++)
        same = ids->ids[i] == json_object_get_int(json_object_array_get_idx(want, i));
    ck_assert_msg(same, "other ids for %.300s", line);
}

/* Calls check() for every line of a vocabulary's cases. */
static void each_case(const char *name,
                      void (*check)(const struct tokenizer *, struct golden *, const char *line))
{
    struct airlock_error err;
    struct bytes file = BYTES_INIT(1 << 20);
    struct tokenizer *t = open_golden(name);
    ck_assert_int_eq(io_read_file(golden_path(name, "/cases.txt"), &file, &err), 0);
    size_t n = 0;
    for (char *line = file.data, *end; (end = strchr(line, '\n')); line = end + 1, n++) {
        *end = 0;
        struct golden g = golden_parse(line, (size_t)(end - line));
        check(t, &g, line);
        golden_free(&g);
    }
    ck_assert_uint_gt(n, 200);
    bytes_free(&file);
    tokenizer_close(t);
}

static void check_special(const struct tokenizer *t, struct golden *g, const char *line)
{
    struct token_list ids = encode(t, g->text.data, g->text.size, TOKENIZER_SPECIAL);
    assert_ids(&ids, g->special, line);
    free(ids.ids);
}

START_TEST(ids_are_those_of_hugging_face)
{
    each_case(vocabularies[_i], check_special);
}
END_TEST

static void check_plain(const struct tokenizer *t, struct golden *g, const char *line)
{
    static const char *const added[] = { "<|end|>",  "<|user|>", "<|endoftext|>", "<|tool|>",
                                         "[L]",      "[R]",      "[LR]",          "word",
                                         "[N",       "[LL]",     "<|assistant|>", "<|system|>",
                                         "<|/tool|>" };
    struct token_list ids = encode(t, g->text.data, g->text.size, TOKENIZER_TEXT);
    assert_ids(&ids, g->plain, line);
    for (size_t i = 0; i < ids.n; i++) {
        if (tokenizer_is_special(t, ids.ids[i]))
            ck_abort_msg("a special token from %.300s", line);
        for (size_t k = 0; k < sizeof added / sizeof *added; k++)
            if (ids.ids[i] == tokenizer_added(t, added[k], NULL))
                ck_abort_msg("%s from %.300s", added[k], line);
    }
    free(ids.ids);
}

START_TEST(text_mode_never_gives_an_added_token)
{
    each_case(vocabularies[_i], check_plain);
}
END_TEST

static void check_round_trip(const struct tokenizer *t, struct golden *g, const char *line)
{
    struct token_list ids = encode(t, g->text.data, g->text.size, TOKENIZER_TEXT);
    struct bytes back = decode(t, &ids);
    if (g->valid) {
        ck_assert_msg(back.size == g->text.size &&
                          (!back.size || !memcmp(back.data, g->text.data, back.size)),
                      "not the text again: %.300s", line);
    } else {
        ck_assert(utf8_valid(back.data, back.size));
        ck_assert_ptr_nonnull(strstr(back.data, "\xef\xbf\xbd"));
    }
    bytes_free(&back);
    free(ids.ids);
}

START_TEST(the_bytes_of_the_ids_are_the_text_again)
{
    each_case(vocabularies[_i], check_round_trip); /* not "prefix": it adds a space */
}
END_TEST

START_TEST(white_space_after_a_token_that_swallows_it_is_dropped)
{
    struct tokenizer *t = open_golden("o200k");
    struct airlock_error err;
    struct token_list ids = { 0 }, want = encode(t, "hello ", 6, TOKENIZER_TEXT);
    static const char text[] = " \n\t\xc2\xa0\xe2\x80\xa8hello ";
    ck_assert_int_eq(tokenizer_encode(t, text, sizeof text - 1, TOKENIZER_TEXT, true, &ids, &err),
                     0);
    ck_assert_uint_eq(ids.n, want.n);
    ck_assert_mem_eq(ids.ids, want.ids, ids.n * sizeof *ids.ids);
    ids.n = 0;
    ck_assert_int_eq(tokenizer_encode(t, " \n ", 3, TOKENIZER_TEXT, true, &ids, &err), 0);
    ck_assert_uint_eq(ids.n, 0);
    free(ids.ids);
    free(want.ids);
    tokenizer_close(t);
}
END_TEST

START_TEST(ids_are_appended_and_an_error_leaves_the_list_as_it_was)
{
    struct tokenizer *t = open_golden("o200k");
    struct airlock_error err;
    struct token_list ids = encode(t, "a", 1, TOKENIZER_TEXT);
    const size_t size = ((size_t)16 << 20) + 1;
    ck_assert_int_eq(tokenizer_encode(t, "b", 1, TOKENIZER_TEXT, false, &ids, &err), 0);
    ck_assert_uint_eq(ids.n, 2);
    char *word = malloc(size);
    memset(word, 'a', size);
    ck_assert_int_eq(tokenizer_encode(t, word, size, TOKENIZER_TEXT, false, &ids, &err), -1);
    ck_assert_int_eq(err.code, AIRLOCK_E_TOO_LARGE);
    ck_assert_uint_eq(ids.n, 2);
    free(word);
    free(ids.ids);
    tokenizer_close(t);
}
END_TEST

START_TEST(added_tokens_are_known_by_text_and_id)
{
    struct tokenizer *t = open_golden("o200k");
    bool rstrip = false;
    size_t size;
    const int32_t end = tokenizer_added(t, "<|end|>", &rstrip);
    ck_assert_int_ge(end, 900);
    ck_assert(rstrip);
    ck_assert(tokenizer_is_special(t, end));
    ck_assert_str_eq(tokenizer_bytes(t, end, &size), "<|end|>");
    ck_assert_uint_eq(size, 7);
    ck_assert(!tokenizer_is_special(t, tokenizer_added(t, "<|tool|>", NULL)));
    ck_assert_int_ge(tokenizer_added(t, "<|endoftext|>", &rstrip), 0);
    ck_assert(!rstrip);
    ck_assert_int_eq(tokenizer_added(t, "<|nobody|>", NULL), -1);
    ck_assert_int_eq(tokenizer_size(t), 912);
    tokenizer_close(t);
}
END_TEST

START_TEST(ids_that_no_token_has_have_no_bytes)
{
    struct tokenizer *t = open_golden("o200k");
    static const int32_t ids[] = { -1, 912, 200064, INT32_MAX, INT32_MIN };
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        size_t size = 7;
        ck_assert_ptr_null(tokenizer_bytes(t, ids[i], &size));
        ck_assert_uint_eq(size, 0);
        ck_assert(!tokenizer_is_special(t, ids[i]));
    }
    tokenizer_close(t);
}
END_TEST

/* ---- long runs and threads --------------------------------------------------------------------
 */

static const char *const runs[] = { "a",
                                    "_",
                                    " ",
                                    "\n",
                                    "\xe2\x80\x8d",
                                    "\xe6\xbc\xa2",
                                    ("\xe6\xbc\xa2"
                                     "A"),
                                    "'" };

static void *encode_run(void *arg)
{
    const struct tokenizer *t = arg;
    for (size_t k = 0; k < sizeof runs / sizeof *runs; k++) {
        struct bytes text = BYTES_INIT(2 << 20);
        while (text.size < 1 << 20 && bytes_add_text(&text, runs[k]) == 0)
            continue;
        struct token_list ids = encode(t, text.data, text.size, TOKENIZER_SPECIAL);
        struct bytes back = decode(t, &ids);
        ck_assert_uint_eq(back.size, text.size);
        ck_assert_mem_eq(back.data, text.data, text.size);
        bytes_free(&back);
        bytes_free(&text);
        free(ids.ids);
    }
    return NULL;
}

START_TEST(a_megabyte_of_one_character_needs_no_stack)
{
    struct tokenizer *t = open_golden(vocabularies[_i]);
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    ck_assert_int_eq(pthread_attr_setstacksize(&attr, 64 << 10), 0);
    ck_assert_int_eq(pthread_create(&thread, &attr, encode_run, t), 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attr);
    tokenizer_close(t);
}
END_TEST

static void *encode_often(void *arg)
{
    static const char text[] = "The door of the airlock opens only when the other door is closed.";
    const struct tokenizer *t = arg;
    struct token_list *first = calloc(1, sizeof *first);
    *first = encode(t, text, sizeof text - 1, TOKENIZER_SPECIAL);
    for (int i = 0; i < 200; i++) {
        struct token_list ids = encode(t, text, sizeof text - 1, TOKENIZER_SPECIAL);
        ck_assert_uint_eq(ids.n, first->n);
        ck_assert_mem_eq(ids.ids, first->ids, ids.n * sizeof *ids.ids);
        free(ids.ids);
    }
    return first;
}

START_TEST(threads_that_share_a_tokenizer_get_the_same_ids)
{
    struct tokenizer *t = open_golden(vocabularies[_i]);
    pthread_t threads[4];
    struct token_list *ids[4];
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, encode_often, t), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], (void **)&ids[i]);
        ck_assert_uint_eq(ids[i]->n, ids[0]->n);
        ck_assert_mem_eq(ids[i]->ids, ids[0]->ids, ids[0]->n * sizeof(int32_t));
    }
    for (int i = 0; i < 4; i++) {
        free(ids[i]->ids);
        free(ids[i]);
    }
    tokenizer_close(t);
}
END_TEST

/* ---- files ------------------------------------------------------------------------------------
 */

#define MODEL_START "\"model\":{\"type\":\"BPE\",\"dropout\":null,\"byte_fallback\":false,"
#define ADDED_END                                                                                  \
    "{\"id\":300,\"content\":\"<|end|>\",\"single_word\":false,\"lstrip\":false,"                  \
    "\"rstrip\":true,\"normalized\":false,\"special\":true}"
#define PRE_TOKENIZER "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}"

/* A small tokenizer.json; each part can be another one.  The vocabulary has all bytes as ids 0 to
 * 255, "th" as 256 and "the" as 257. */
struct file {
    const char *added, *normalizer, *pre_tokenizer, *decoder, *model_start, *more_vocab, *merges,
        *after;
    int missing_byte; /* 1 to 255, 0: none */
};

static const struct file good_file = { ADDED_END,
                                       "null",
                                       PRE_TOKENIZER,
                                       "{\"type\":\"ByteLevel\"}",
                                       MODEL_START,
                                       "",
                                       "\"t h\",[\"th\",\"e\"]",
                                       "",
                                       0 };

static struct bytes file_text(const struct file *f)
{
    struct bytes b = BYTES_INIT(64 << 20);
    bytes_printf(&b,
                 "{\"version\":\"1.0\",\"truncation\":null,\"added_tokens\":[%s],"
                 "\"normalizer\":%s,\"pre_tokenizer\":%s,\"post_processor\":null,\"decoder\":%s,%s"
                 "\"vocab\":{",
                 f->added, f->normalizer, f->pre_tokenizer, f->decoder, f->model_start);
    int other = 0;
    for (int i = 0; i < 256; i++) {
        const bool printed = (i >= 0x21 && i <= 0x7e) || (i >= 0xa1 && i != 0xad);
        const int code = printed ? i : 0x100 + other++;
        if (!f->missing_byte || i != f->missing_byte)
            bytes_printf(&b, "\"\\u%04x\":%d,", (unsigned)code, i);
    }
    bytes_printf(&b, "\"th\":256,\"t\\u0068e\":257%s},\"merges\":[%s]}%s}", f->more_vocab,
                 f->merges, f->after);
    return b;
}

START_TEST(a_small_file_with_every_part_is_read)
{
    struct airlock_error err;
    struct bytes text = file_text(&good_file);
    struct tokenizer *t = tokenizer_parse(text.data, text.size, &err);
    ck_assert_msg(t != NULL, "%s", t ? "" : err.text);
    struct token_list ids = encode(t, "the<|end|> th", 13, TOKENIZER_SPECIAL);
    static const int32_t want[] = { 257, 300, 256 };
    ck_assert_uint_eq(ids.n, 3);
    ck_assert_mem_eq(ids.ids, want, sizeof want);
    free(ids.ids);
    bytes_free(&text);
    tokenizer_close(t);
}
END_TEST

/* Every row changes one part of the good file; the error must name the place. */
static const struct {
    struct file f;
    const char *want;
} bad_files[] = {
    { { .merges = "\"t zz\"" }, "model.merges[0]: its right part is not in the vocabulary" },
    { { .merges = "\"t h\",\"zz h\"" }, "model.merges[1]: its left part" },
    { { .merges = "\"e t\"" }, "model.merges[0]: what it makes is not in the vocabulary" },
    { { .merges = "\"t  h\"" }, "not two tokens and one space" },
    { { .merges = "\"th\"" }, "not two tokens and one space" },
    { { .merges = "\" h\"" }, "its left part" },
    { { .merges = "[\"t\"]" }, "model.merges[0]: ',' should be" },
    { { .merges = "[\"t\",\"h\",\"e\"]" }, "model.merges[0]: ']' should be" },
    { { .merges = "[\"\",\"h\"]" }, "its left part" },
    { { .merges = "17" }, "model.merges[0]: '\"' should be" },
    { { .merges = "\"t h\"," }, "model.merges[1]" },
    { { .merges = "[\"t\",\"\\u4e00\"]" }, "outside of the byte alphabet" },
    { { .merges = "[\"t\",\"\\ud800\"]" }, "wrong escape" },
    { { .more_vocab = ",\"q\":300" }, "are the same token" },
    { { .more_vocab = ",\"qq\":256" }, "\"qq\": id 256 is given twice" },
    { { .more_vocab = ",\"qq\":524288" }, "id 524288 is not in 0..524287" },
    { { .more_vocab = ",\"qq\":99999999999" }, "\"qq\": its id is not a number" },
    { { .more_vocab = ",\"qq\":-1" }, "its id is not a number" },
    { { .more_vocab = ",\"qq\":1.5" }, "its id is not a number" },
    { { .more_vocab = ",\"qq\":\"1\"" }, "its id is not a number" },
    { { .more_vocab = ",\"qq\":007" }, "its id is not a number" },
    { { .more_vocab = ",\"qq\":null" }, "its id is not a number" },
    { { .more_vocab = ",\"\":400" }, "has 0 bytes" },
    { { .more_vocab = "," }, "model.vocab" },
    { { .more_vocab = ",\"\\x\":400" }, "wrong escape" },
    { { .more_vocab = ",\"\\u12\":400" }, "wrong escape" },
    { { .more_vocab = ",\"<|end|>\":299" }, "has id 300 here and 299 in the vocabulary" },
    { { .more_vocab = ",\"<|fin|>\":300" }, "added_tokens[0]: \"<|end|>\": id 300 is given twice" },
    { { .missing_byte = 0xe4 }, "no token for the byte 0xe4" },
    { { .added = "{\"id\":256,\"content\":\"th\"}" }, "\"th\" is also what ordinary text becomes" },
    { { .added = "{\"id\":33,\"content\":\"!\"}" }, "\"!\" is also what ordinary text becomes" },
    { { .added = ADDED_END "," ADDED_END }, "\"<|end|>\" (id 300) is given twice" },
    { { .added = "17" }, "added_tokens[0] must be an object" },
    { { .added = "{\"content\":\"x\"}" }, "added_tokens[0].id is missing" },
    { { .added = "{\"id\":-1,\"content\":\"x\"}" }, "added_tokens[0].id" },
    { { .added = "{\"id\":524288,\"content\":\"xy\"}" }, "added_tokens[0].id" },
    { { .added = "{\"id\":301,\"content\":\"\"}" }, "added_tokens[0].content" },
    { { .added = "{\"id\":301,\"content\":\"a\\u0000b\"}" }, "added_tokens[0].content" },
    { { .added = "{\"id\":301,\"content\":7}" }, "added_tokens[0].content must be a string" },
    { { .added = "{\"id\":301,\"content\":\"xy\",\"rstrip\":1}" }, "added_tokens[0].rstrip" },
    { { .added = "{\"id\":301,\"content\":\"xy\",\"magic\":1}" }, "magic" },
    { { .normalizer = "{\"type\":\"NFC\"}" }, "normalizer {\"type\":\"NFC\"} is not supported" },
    { { .pre_tokenizer = "null" }, "pre_tokenizer is missing" },
    { { .pre_tokenizer = "{\"type\":\"Metaspace\"}" }, "pre_tokenizer.type \"Metaspace\"" },
    { { .pre_tokenizer = "{\"type\":\"ByteLevel\",\"x\":1}" }, "pre_tokenizer.x" },
    { { .pre_tokenizer = "{\"type\":\"Sequence\",\"pretokenizers\":[]}" }, "has 0 steps" },
    { { .pre_tokenizer = "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\"}]}" },
      "pre_tokenizer.pretokenizers[0].type \"Digits\"" },
    { { .pre_tokenizer = "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\","
                         "\"pattern\":{\"String\":\" \"},\"behavior\":\"Isolated\"},"
                         "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
                         "\"use_regex\":false}]}" },
      "pattern.Regex is missing" },
    { { .pre_tokenizer = "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\","
                         "\"pattern\":{\"Regex\":\"a(\"},\"behavior\":\"Isolated\"},"
                         "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
                         "\"use_regex\":false}]}" },
      "pattern.Regex: the pattern is wrong" },
    { { .pre_tokenizer = "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\","
                         "\"pattern\":{\"Regex\":\"a\"},\"behavior\":\"MergedWithNext\"},"
                         "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
                         "\"use_regex\":false}]}" },
      "behavior \"MergedWithNext\"" },
    { { .pre_tokenizer = "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\","
                         "\"pattern\":{\"Regex\":\"a\"},\"behavior\":\"Isolated\"},"
                         "{\"type\":\"ByteLevel\",\"add_prefix_space\":false}]}" },
      "pretokenizers[1].use_regex true" },
    { { .decoder = "null" }, "decoder is missing" },
    { { .decoder = "{\"type\":\"WordPiece\"}" }, "decoder.type \"WordPiece\"" },
    { { .model_start = "\"model\":{\"type\":\"Unigram\"," }, "model.type \"Unigram\"" },
    { { .model_start = "\"model\":{\"byte_fallback\":true," }, "model.byte_fallback true" },
    { { .model_start = "\"model\":{\"dropout\":0.1," }, "model.dropout" },
    { { .model_start = "\"model\":{\"end_of_word_suffix\":\"</w>\"," },
      "model.end_of_word_suffix \"<\\/w>\"" },
    { { .model_start = "\"model\":{\"magic\":1," }, "model.magic" },
    { { .model_start = "\"model\":{\"vocab\":{}," }, "model.vocab is given twice" },
    { { .model_start = "\"model\":7,\"model\":{" }, "'{' should be" },
    { { .model_start = "\"model\":{},\"model\":{" }, "model is given twice" },
    { { .model_start = "\"m\\u006fdel\":{" }, "model.vocab is missing" },
    { { .model_start = "\"model\":{\"merges\":[],\"ignore_merges\":7," }, "model.merges is given" },
    { { .model_start = "\"model\":{\"ignore_merges\":7," }, "model.ignore_merges" },
    { { .after = ",\"magic\":1" }, "magic" },
    { { .after = ",\"post_processor\":{\"type\":\"TemplateProcessing\"}" },
      "post_processor.type \"TemplateProcessing\"" },
    { { .after = "} x" }, "JSON: " },
    { { .after = "," }, "'\"' should be" },
};

START_TEST(a_bad_file_gets_one_error_that_names_the_place)
{
    struct airlock_error err = { .text = "" };
    struct file f = bad_files[_i].f;
#define DEFAULT(part) f.part = f.part ? f.part : good_file.part
    DEFAULT(added);
    DEFAULT(normalizer);
    DEFAULT(pre_tokenizer);
    DEFAULT(decoder);
    DEFAULT(model_start);
    DEFAULT(more_vocab);
    DEFAULT(merges);
    DEFAULT(after);
    struct bytes text = file_text(&f);
    struct tokenizer *t = tokenizer_parse(text.data, text.size, &err);
    ck_assert_msg(t == NULL, "accepted; wanted: %s", bad_files[_i].want);
    ck_assert_msg(strstr(err.text, bad_files[_i].want) != NULL, "got: %s\nwanted: %s", err.text,
                  bad_files[_i].want);
    ck_assert_int_ne(err.code, AIRLOCK_OK);
    bytes_free(&text);
}
END_TEST

START_TEST(a_file_cut_at_any_byte_is_refused)
{
    struct airlock_error err;
    struct bytes text = file_text(&good_file);
    for (size_t n = 0; n < text.size; n++) {
        char *copy = malloc(n + 1); /* so that a sanitizer sees a read behind the end */
        memcpy(copy, text.data, n);
        if (tokenizer_parse(copy, n, &err))
            ck_abort_msg("accepted with %zu of %zu bytes", n, text.size);
        free(copy);
    }
    bytes_free(&text);
}
END_TEST

START_TEST(a_file_with_any_byte_wrong_is_read_or_refused)
{
    struct airlock_error err;
    struct bytes text = file_text(&good_file);
    static const char bytes[] = { 0, '"', '{', ']', '\\', (char)0xff };
    for (size_t at = 0; at < text.size; at++) {
        const char was = text.data[at];
        text.data[at] = bytes[at % sizeof bytes];
        tokenizer_close(tokenizer_parse(text.data, text.size, &err));
        text.data[at] = was;
    }
    bytes_free(&text);
}
END_TEST

START_TEST(deep_nesting_is_refused)
{
    struct airlock_error err;
    struct bytes deep = BYTES_INIT(8 << 20);
    bytes_add_text(&deep, "null,\"truncation\":");
    for (int i = 0; i < 1 << 20; i++)
        bytes_add(&deep, "[", 1);
    struct file f = good_file;
    f.normalizer = deep.data;
    struct bytes text = file_text(&f);
    ck_assert_ptr_null(tokenizer_parse(text.data, text.size, &err));
    ck_assert_ptr_nonnull(strstr(err.text, "nested too deeply"));
    bytes_free(&text);
    bytes_free(&deep);
}
END_TEST

START_TEST(a_million_tokens_are_refused)
{
    struct airlock_error err;
    struct bytes more = BYTES_INIT(32 << 20);
    for (int i = 400; i < 1000400; i++)
        bytes_printf(&more, ",\"x%d\":%d", i, i);
    struct file f = good_file;
    f.more_vocab = more.data;
    struct bytes text = file_text(&f);
    ck_assert_ptr_null(tokenizer_parse(text.data, text.size, &err));
    ck_assert_ptr_nonnull(strstr(err.text, "is not in 0..524287"));
    bytes_free(&text);
    bytes_free(&more);
}
END_TEST

START_TEST(a_folder_without_the_file_is_named)
{
    struct airlock_error err;
    ck_assert_ptr_null(tokenizer_open("/nonexistent/model", &err));
    ck_assert_ptr_nonnull(strstr(err.text, "/nonexistent/model/tokenizer.json"));
    ck_assert_int_eq(err.code, AIRLOCK_E_IO);
}
END_TEST

START_TEST(closing_nothing_is_allowed)
{
    tokenizer_close(NULL);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("tokenizer");
    TCase *c = tcase_create("text");
    tcase_set_timeout(c, 300);
    tcase_add_loop_test(c, ids_are_those_of_hugging_face, 0, N_VOCABULARIES);
    tcase_add_loop_test(c, text_mode_never_gives_an_added_token, 0, N_VOCABULARIES);
    tcase_add_loop_test(c, the_bytes_of_the_ids_are_the_text_again, 0, N_VOCABULARIES - 1);
    tcase_add_test(c, white_space_after_a_token_that_swallows_it_is_dropped);
    tcase_add_test(c, ids_are_appended_and_an_error_leaves_the_list_as_it_was);
    tcase_add_test(c, added_tokens_are_known_by_text_and_id);
    tcase_add_test(c, ids_that_no_token_has_have_no_bytes);
    tcase_add_loop_test(c, a_megabyte_of_one_character_needs_no_stack, 0, N_VOCABULARIES - 1);
    tcase_add_loop_test(c, threads_that_share_a_tokenizer_get_the_same_ids, 0, N_VOCABULARIES);
    suite_add_tcase(s, c);

    TCase *f = tcase_create("files");
    tcase_set_timeout(f, 300);
    tcase_add_test(f, a_small_file_with_every_part_is_read);
    tcase_add_loop_test(f, a_bad_file_gets_one_error_that_names_the_place, 0,
                        (int)(sizeof bad_files / sizeof *bad_files));
    tcase_add_test(f, a_file_cut_at_any_byte_is_refused);
    tcase_add_test(f, a_file_with_any_byte_wrong_is_read_or_refused);
    tcase_add_test(f, deep_nesting_is_refused);
    tcase_add_test(f, a_million_tokens_are_refused);
    tcase_add_test(f, a_folder_without_the_file_is_named);
    tcase_add_test(f, closing_nothing_is_allowed);
    suite_add_tcase(s, f);

    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
