/* test_media_prompt.c - placeholders, modes and digests of a request's pictures and sounds: attack
 * case A32. */
#include "phi4-multimodal/media_prompt.h"
#include "suite.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct airlock_error err;

static struct chat_message say(enum chat_role role, const char *content)
{
    return (struct chat_message){ .role = role, .content = content, .size = strlen(content) };
}

static void accepted(const char *content, size_t images, size_t audios)
{
    const struct chat_message m = say(CHAT_USER, content);
    ck_assert_msg(media_prompt_check(&m, 1, images, audios, &err) == 0, "%s: %s", content,
                  err.text);
}

static void refused(const char *content, size_t images, size_t audios, const char *words)
{
    const struct chat_message m = say(CHAT_USER, content);
    ck_assert_int_eq(media_prompt_check(&m, 1, images, audios, &err), -1);
    ck_assert_int_eq(err.code, AIRLOCK_E_REQUEST);
    ck_assert_msg(strstr(err.text, words) != NULL, "%s: %s", words, err.text);
}

START_TEST(each_medium_has_its_placeholder)
{
    accepted("no media", 0, 0);
    accepted("<|image_1|>what is it?", 1, 0);
    accepted("<|image_1|><|image_2|> <|audio_1|>", 2, 1);
    accepted("<|audio_1|><|image_1|><|audio_2|>", 1, 2);
    accepted("<|image_1|><|image_2|><|image_3|><|image_4|><|image_5|><|image_6|><|image_7|>"
             "<|image_8|><|image_9|><|image_10|>",
             10, 0);
    accepted("<|image_01|>", 1, 0); /* the reference reads any digits */
    accepted("<<|image_1|><", 1, 0);
}
END_TEST

START_TEST(a_mismatch_names_both_numbers)
{
    refused("what is it?", 1, 0,
            "0 image placeholders (<|image_1|>, ...) for the request's 1 image");
    refused("<|image_1|>", 0, 0,
            "1 image placeholder (<|image_1|>, ...) for the request's 0 images");
    refused("<|image_1|><|image_2|>", 1, 0, "2 image placeholders");
    refused("<|image_1|>", 1, 3,
            "0 audio placeholders (<|audio_1|>, ...) for the request's 3 audios");
    refused("<|audio_1|>", 1, 0, "0 image placeholders");
    refused("<|image_1|><|image_1|>", 1, 0, "2 image placeholders");
}
END_TEST

START_TEST(numbers_out_of_order_are_refused)
{
    refused("<|image_0|>", 1, 0, "<|image_1|> should be");
    refused("<|image_99|>", 1, 0, "<|image_1|> should be");
    refused("<|image_2|><|image_1|>", 2, 0, "<|image_1|> should be");
    refused("<|image_1|><|image_1|>", 2, 0, "<|image_2|> should be");
    refused("<|audio_18446744073709551617|>", 0, 1, "<|audio_1|> should be");
    refused("<|audio_99999999999999999999999999999999999999999999999999|>", 0, 1,
            "numbered from 1");
}
END_TEST

START_TEST(what_is_almost_a_placeholder_is_text)
{
    static const char *const texts[] = {
        "<|image_|>",  "<|image_1|", "<|image_1 |>",       "<|image_-1|>",   "<|image_1",
        "<|image_",    "<|imag",     "< |image_1|>",       "<|Image_1|>",    "<|image1|>",
        "<|video_1|>", "<|image_1>", "<|image_\xd9\xa1|>", "<|endoftext10|>"
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        accepted(texts[i], 0, 0);
    accepted("<|image_<|image_1|>", 1, 0);
    accepted("<|image_1<|image_1|>", 1, 0);
}
END_TEST

START_TEST(placeholders_count_in_system_and_user_messages_only)
{
    const struct chat_message m[] = { say(CHAT_SYSTEM, "<|image_1|>"),
                                      say(CHAT_USER, "<|audio_1|>"),
                                      say(CHAT_ASSISTANT, "<|image_1|>"),
                                      say(CHAT_TOOL, "<|image_7|>"),
                                      say(CHAT_USER, "<|image_2|>") };
    ck_assert_msg(media_prompt_check(m, 5, 2, 1, &err) == 0, "%s", err.text);
    ck_assert_int_eq(media_prompt_check(m, 5, 4, 1, &err), -1);
}
END_TEST

START_TEST(inserts_follow_the_text)
{
    struct chat_message m[] = { say(CHAT_SYSTEM, "none"),
                                say(CHAT_USER, "a<|audio_1|>b<|image_1|>"),
                                say(CHAT_TOOL, "<|image_9|>"), say(CHAT_USER, "<|image_2|>") };
    const size_t image_tokens[] = { 545, 1841 }, audio_tokens[] = { 13 };
    const struct media_counts counts = { image_tokens, 2, audio_tokens, 1, 200010, 200011 };
    struct chat_insert inserts[3];
    size_t images[2], audios[1];
    ck_assert_int_eq(media_prompt_check(m, 4, 2, 1, &err), 0);
    media_prompt_inserts(m, 4, &counts, inserts, images, audios);
    ck_assert_uint_eq(m[0].n_inserts, 0);
    ck_assert_uint_eq(m[1].n_inserts, 2);
    ck_assert_uint_eq(m[2].n_inserts, 0);
    ck_assert_uint_eq(m[3].n_inserts, 1);
    ck_assert_ptr_eq(m[3].inserts, &inserts[2]);
    ck_assert(audios[0] == 0 && images[0] == 1 && images[1] == 2);
    const struct chat_insert want[] = { { 1, 11, 200011, 13, 0 },
                                        { 13, 11, 200010, 545, 0 },
                                        { 0, 11, 200010, 1841, 0 } };
    for (int i = 0; i < 3; i++)
        ck_assert(inserts[i].at == want[i].at && inserts[i].size == want[i].size &&
                  inserts[i].id == want[i].id && inserts[i].count == want[i].count);
    media_prompt_inserts(m, 4, &counts, inserts, NULL, NULL);
}
END_TEST

static double seconds_for(size_t n)
{
    static const char one[] = "<|image_1|>", almost[] = "<|image_1";
    char *text = malloc(n * 20);
    for (size_t i = 0; i < n; i++) {
        memcpy(text + i * 20, one, 11);
        memcpy(text + i * 20 + 11, almost, 9);
    }
    const struct chat_message m = { .role = CHAT_USER, .content = text, .size = n * 20 };
    struct timespec a, b;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
    ck_assert_int_eq(media_prompt_check(&m, 1, 1, 0, &err), -1);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
    free(text);
    return (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec);
}

/* A quadratic search would take a thousand seconds of processor time, not one. */
START_TEST(a_million_placeholders_are_counted_in_linear_time)
{
    ck_assert(seconds_for(1000000) < 20);
    ck_assert_ptr_nonnull(strstr(err.text, "1000000 image placeholders"));
}
END_TEST

/* One adapter and one projection for each mode, as in the reference. */
START_TEST(modes_choose_adapter_and_projection)
{
    ck_assert_int_eq(media_mode_of(0, 0), MEDIA_LANGUAGE);
    ck_assert_int_eq(media_mode_of(3, 0), MEDIA_VISION);
    ck_assert_int_eq(media_mode_of(0, 1), MEDIA_SPEECH);
    ck_assert_int_eq(media_mode_of(1, 2), MEDIA_VISION_SPEECH);
    ck_assert_ptr_null(media_mode_adapter(MEDIA_LANGUAGE));
    ck_assert_str_eq(media_mode_adapter(MEDIA_VISION), "vision");
    ck_assert_str_eq(media_mode_adapter(MEDIA_SPEECH), "speech");
    ck_assert_str_eq(media_mode_adapter(MEDIA_VISION_SPEECH), "vision");
    ck_assert_int_eq(media_mode_audio(MEDIA_SPEECH), AUDIO_SPEECH);
    ck_assert_int_eq(media_mode_audio(MEDIA_VISION_SPEECH), AUDIO_VISION);
    ck_assert(MEDIA_LANGUAGE == 0 && MEDIA_VISION == 1 && MEDIA_SPEECH == 2 &&
              MEDIA_VISION_SPEECH == 3);
}
END_TEST

START_TEST(keys_tell_kind_salt_content_numbers_and_order_apart)
{
    const struct media_file a = { "ab", 2 }, b = { "c", 1 }, empty = { NULL, 0 };
    const uint64_t numbers[] = { 1, 2 }, others[] = { 2, 1 };
    const struct media_key image = media_file_key(&a, true, NULL, 0);
    const struct media_key sound = media_file_key(&a, false, NULL, 0);
    const struct media_key keys[] = { image,
                                      sound,
                                      media_file_key(&b, true, NULL, 0),
                                      media_file_key(&b, true, "ab", 2),
                                      media_file_key(&b, true, "a", 1),
                                      media_file_key(&empty, true, "abc", 3),
                                      media_key_with(&image, NULL, 0),
                                      media_key_with(&image, numbers, 1),
                                      media_key_with(&image, numbers, 2),
                                      media_key_with(&image, others, 2),
                                      media_key_with(&sound, numbers, 2),
                                      media_key_chain(&image, &sound),
                                      media_key_chain(&sound, &image) };
    enum { N = sizeof keys / sizeof *keys };
    for (size_t i = 0; i < N; i++)
        for (size_t k = 0; k < i; k++)
            ck_assert_mem_ne(&keys[i], &keys[k], sizeof keys[0]);
    const struct media_key again = media_file_key(&a, true, NULL, 0);
    ck_assert_mem_eq(&again, &image, sizeof again);
    /* Python's hashlib.sha256(struct.pack('<QQQ', 1, 0, 2) + b'ab') */
    static const unsigned char sha256[] = { 0x52, 0xce, 0x67, 0x7c, 0x13, 0xd4, 0xc2, 0x98,
                                            0x9b, 0x6a, 0x56, 0xa0, 0x15, 0xe0, 0x63, 0x11,
                                            0x94, 0x94, 0x08, 0x6f, 0xfe, 0x94, 0x2b, 0x99,
                                            0x21, 0xc8, 0x35, 0xf5, 0xbc, 0x4b, 0x27, 0xef };
    ck_assert_mem_eq(image.digest, sha256, sizeof sha256);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = { each_medium_has_its_placeholder,
                                   a_mismatch_names_both_numbers,
                                   numbers_out_of_order_are_refused,
                                   what_is_almost_a_placeholder_is_text,
                                   placeholders_count_in_system_and_user_messages_only,
                                   inserts_follow_the_text,
                                   a_million_placeholders_are_counted_in_linear_time,
                                   modes_choose_adapter_and_projection,
                                   keys_tell_kind_salt_content_numbers_and_order_apart,
                                   NULL };
    return suite_run("media_prompt", tests);
}
