/* test_sdk_media.c - libairlock's pictures, sounds and files: what goes over the wire byte by byte,
 * and what is refused before anything is sent. */
#include "sdk_stub.h"
#include "suite.h"

#include <airlock/airlock.h>
#include <locale.h>
#include <sys/stat.h>

#define OK(type, text) "HTTP/1.1 200 OK\r\nContent-Type: " type "\r\nContent-Length: " text
#define PNG "\x89PNG\r\n\x1a\nx"
#define WAV "RIFF\x04\0\0\0WAVE\0\xff"
#define WAV_BYTES (sizeof WAV - 1)

static const char WORDS[] = OK("text/plain; charset=utf-8", "11\r\n\r\nhello world");
static const char CHAT[] =
    OK("application/json",
       "97\r\n\r\n{\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"a "
       "cat\"},\"finish_reason\":\"stop\"}]}");
static const airlock_audio wav = { WAV, WAV_BYTES };
static const airlock_image png = { PNG, sizeof PNG - 1 };

START_TEST(generate_sends_sounds_as_well)
{
    struct stub s;
    airlock_error err = { 0 };
    const airlock_message message = { "user", "<|image_1|><|audio_1|><|audio_2|>" };
    const airlock_audio audios[] = { wav, { "x", 1 } };
    airlock_request r = { .struct_size = sizeof r,
                          .container = "phi",
                          .model = "M",
                          .messages = &message,
                          .n_messages = 1,
                          .images = &png,
                          .n_images = 1,
                          .audios = audios,
                          .n_audios = 2 };
    char *answer = NULL;
    stub_start(&s, WORDS, 0);
    airlock_client *c = airlock_client_new(s.host, &err);
    ck_assert_msg(airlock_client_generate(c, &r, &answer, NULL, &err) == 0, "%s", err.text);
    ck_assert_str_eq(answer, "hello world");
    ck_assert_ptr_nonnull(strstr(body_of(&s), ",\"images\":[\"iVBORw0KGgp4\"],\"audios\":["
                                              "\"UklGRgQAAABXQVZFAP8=\",\"eA==\"],"));
    airlock_free(answer);
    r.audios = NULL;
    ck_assert_int_eq(airlock_client_generate(c, &r, &answer, NULL, &err), -1);
    ck_assert_str_eq(err.text, "audios is NULL");
    airlock_client_free(c);
    stub_stop(&s);
}
END_TEST

/* A caller that was compiled when requests ended with their parameters. */
START_TEST(an_older_and_shorter_request_has_no_sounds)
{
    struct stub s;
    airlock_error err = { 0 };
    const airlock_message message = { "user", "x" };
    airlock_request r = { .struct_size = offsetof(airlock_request, audios),
                          .container = "phi",
                          .model = "M",
                          .messages = &message,
                          .n_messages = 1,
                          .audios = (const airlock_audio *)1,
                          .n_audios = 9 };
    char *answer = NULL;
    stub_start(&s, WORDS, 0);
    airlock_client *c = airlock_client_new(s.host, &err);
    ck_assert_msg(airlock_client_generate(c, &r, &answer, NULL, &err) == 0, "%s", err.text);
    ck_assert_ptr_null(strstr(body_of(&s), "audios"));
    airlock_free(answer);
    airlock_client_free(c);
    stub_stop(&s);
}
END_TEST

static airlock_chat_answer *chat(airlock_client *c, const airlock_chat_message *m,
                                 airlock_error *err)
{
    airlock_chat_request r = { .struct_size = sizeof r, .model = "M" };
    r.messages = m;
    r.n_messages = 1;
    return airlock_client_chat(c, &r, err);
}

START_TEST(a_chats_pictures_and_sounds_are_parts_in_front_of_its_text)
{
    struct stub s;
    airlock_error err = { 0 };
    airlock_chat_message m = { .role = "user",
                               .content = "what?",
                               .images = &png,
                               .n_images = 1,
                               .audios = &wav,
                               .n_audios = 1 };
    stub_start(&s, CHAT, 0);
    airlock_client *c = airlock_client_new(s.host, &err);
    airlock_chat_answer *a = chat(c, &m, &err);
    ck_assert_msg(a != NULL, "%s", err.text);
    ck_assert_str_eq(a->text, "a cat");
    airlock_chat_answer_free(a);
    ck_assert_str_eq(
        body_of(&s),
        "{\"model\":\"M\",\"messages\":[{\"role\":\"user\",\"content\":[ {\"type\":\"image_url\","
        "\"image_url\":{\"url\":\"data:image/png;base64,iVBORw0KGgp4\"}},{\"type\":\"input_audio\","
        "\"input_audio\":{\"data\":\"UklGRgQAAABXQVZFAP8=\",\"format\":\"wav\"}},{\"type\":"
        "\"text\",\"text\":\"what?\"}]}]}");
    airlock_client_free(c);
    stub_stop(&s);
}
END_TEST

START_TEST(a_picture_needs_no_text)
{
    struct stub s;
    airlock_error err = { 0 };
    airlock_chat_message m = { .role = "user", .images = &png, .n_images = 1 };
    stub_start(&s, CHAT, 0);
    airlock_client *c = airlock_client_new(s.host, &err);
    airlock_chat_answer *a = chat(c, &m, &err);
    ck_assert_msg(a != NULL, "%s", err.text);
    airlock_chat_answer_free(a);
    ck_assert_ptr_nonnull(strstr(body_of(&s), "iVBORw0KGgp4\"}}]}]}"));
    airlock_client_free(c);
    stub_stop(&s);
}
END_TEST

/* The first bytes of every kind, and of what is none. */
static const struct {
    const char *bytes;
    size_t size;
    const char *image, *audio; /* what stands in the request; NULL: refused */
} kinds[] = {
    { "\x89PNG\r\n\x1a\n", 8, "data:image/png;", NULL },
    { "\xff\xd8\xff\xe0", 4, "data:image/jpeg;", NULL },
    { "GIF89a", 6, "data:image/gif;", NULL },
    { "GIF87a", 6, "data:image/gif;", NULL },
    { "RIFF0000WEBP", 12, "data:image/webp;", NULL },
    { "RIFF0000WAVE", 12, NULL, "\"format\":\"wav\"" },
    { "RF640000WAVE", 12, NULL, "\"format\":\"wav\"" },
    { "fLaC", 4, NULL, "\"format\":\"flac\"" },
    { "OggS", 4, NULL, "\"format\":\"ogg\"" },
    { "ID3", 3, NULL, "\"format\":\"mp3\"" },
    { "\xff\xfb", 2, NULL, "\"format\":\"mp3\"" },
    { "\xff\xf1", 2, NULL, NULL }, /* AAC */
    { "RIFF0000WAV", 11, NULL, NULL },
    { "\x89PNG", 4, NULL, NULL },
    { "x", 1, NULL, NULL },
};

START_TEST(a_kind_is_told_by_its_first_bytes)
{
    airlock_image media = { kinds[_i].bytes, kinds[_i].size };
    for (int audio = 0; audio < 2; audio++) {
        const char *wanted = audio ? kinds[_i].audio : kinds[_i].image;
        airlock_chat_message m = { .role = "user", .content = "x" };
        airlock_error err = { 0 };
        struct stub s;
        m.images = audio ? NULL : &media;
        m.n_images = !audio;
        m.audios = audio ? &media : NULL;
        m.n_audios = (size_t)audio;
        if (wanted)
            stub_start(&s, CHAT, 0);
        airlock_client *c = airlock_client_new(wanted ? s.host : NULL, &err);
        airlock_chat_answer *a = chat(c, &m, &err);
        ck_assert_msg(!a == !wanted, "%d %d: %s", _i, audio, err.text);
        if (wanted)
            ck_assert_msg(strstr(body_of(&s), wanted) != NULL, "%s", body_of(&s));
        else
            ck_assert_msg(err.code == AIRLOCK_ERR_ARGUMENT &&
                              strstr(err.text, audio ? "audios[0] is no" : "images[0] is no"),
                          "%s", err.text);
        airlock_chat_answer_free(a);
        airlock_client_free(c);
        if (wanted)
            stub_stop(&s);
    }
}
END_TEST

/* ---- recordings ------------------------------------------------------------------------------ */

static int transcribe(const struct stub *s, const airlock_transcription_request *r,
                      const char *token, char **text, airlock_error *err)
{
    airlock_client *c = airlock_client_new(s->host, err);
    size_t size = 0;
    if (token)
        airlock_client_set_token(c, token, err);
    int rc = airlock_client_transcribe(c, r, text, &size, err);
    ck_assert(rc != 0 || size == strlen(*text));
    airlock_client_free(c);
    return rc;
}

START_TEST(a_recording_goes_as_a_form)
{
    static const char wanted[] =
        "------airlock-form-0\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nphi/M\r\n"
        "------airlock-form-0\r\nContent-Disposition: form-data; name=\"response_format\"\r\n\r\n"
        "text\r\n"
        "------airlock-form-0\r\nContent-Disposition: form-data; name=\"language\"\r\n\r\nde\r\n"
        "------airlock-form-0\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\n"
        "Gr\xc3\xbc\xc3\x9f\r\n"
        "------airlock-form-0\r\nContent-Disposition: form-data; name=\"temperature\"\r\n\r\n"
        "0.250000\r\n"
        "------airlock-form-0\r\nContent-Disposition: form-data; name=\"file\"; filename=\"audio\""
        "\r\nContent-Type: application/octet-stream\r\n\r\n" WAV "\r\n------airlock-form-0--\r\n";
    airlock_transcription_request r = { .struct_size = sizeof r,
                                        .model = "phi/M",
                                        .audio = wav,
                                        .language = "de",
                                        .prompt = "Gr\xc3\xbc\xc3\x9f",
                                        .use_temperature = 1,
                                        .temperature = 0.25 };
    struct stub s;
    airlock_error err = { 0 };
    char *text = NULL;
    setlocale(LC_ALL, "de_DE.UTF-8"); /* a comma in numbers, where it is installed */
    stub_start(&s, WORDS, 0);
    ck_assert_msg(transcribe(&s, &r, NULL, &text, &err) == 0, "%s", err.text);
    pthread_join(s.thread, NULL);
    ck_assert_str_eq(text, "hello world");
    const char *body = body_of(&s);
    ck_assert_uint_eq(s.n_seen - (size_t)(body - s.seen), sizeof wanted - 1);
    ck_assert_int_eq(memcmp(body, wanted, sizeof wanted - 1), 0);
    ck_assert_ptr_nonnull(strstr(s.seen, "POST /v1/audio/transcriptions HTTP/1.1\r\n"));
    ck_assert_ptr_nonnull(
        strstr(s.seen, "\r\nContent-Type: multipart/form-data; boundary=----airlock-form-0\r\n"));
    ck_assert_ptr_nonnull(strstr(s.seen, "\r\nAuthorization: Bearer none\r\n"));
    ck_assert_ptr_null(strstr(s.seen, "application/json"));
    ck_assert_ptr_null(strstr(s.seen, "Expect"));
    airlock_free(text);
    close(s.listener);
    free(s.seen);
}
END_TEST

START_TEST(a_boundary_that_stands_in_the_recording_is_not_used)
{
    static const char sound[] = "RIFF\x04\0\0\0WAVE\r\n------airlock-form-0--\r\n";
    airlock_transcription_request r = { .struct_size = sizeof r,
                                        .model = "M",
                                        .audio = { sound, sizeof sound - 1 },
                                        .prompt = "----airlock-form-1" };
    struct stub s;
    airlock_error err = { 0 };
    char *text = NULL;
    stub_start(&s, WORDS, 0);
    ck_assert_msg(transcribe(&s, &r, "secret", &text, &err) == 0, "%s", err.text);
    pthread_join(s.thread, NULL);
    ck_assert_ptr_nonnull(strstr(s.seen, "boundary=----airlock-form-2\r\n"));
    ck_assert_ptr_nonnull(strstr(s.seen, "\r\nAuthorization: Bearer secret\r\n"));
    ck_assert_ptr_null(strstr(s.seen, "Bearer none"));
    airlock_free(text);
    close(s.listener);
    free(s.seen);
}
END_TEST

START_TEST(a_client_that_transcribed_asks_in_json_again)
{
    static const airlock_message hello = { "user", "hello" };
    airlock_transcription_request r = { .struct_size = sizeof r, .model = "M", .audio = wav };
    airlock_request g = { .struct_size = sizeof g,
                          .container = "phi",
                          .model = "M",
                          .messages = &hello,
                          .n_messages = 1 };
    struct stub s;
    airlock_error err = { 0 };
    char *text = NULL;
    stub_start(&s, WORDS, 0);
    s.times = 2;
    airlock_client *c = airlock_client_new(s.host, &err);
    ck_assert_msg(airlock_client_transcribe(c, &r, &text, NULL, &err) == 0, "%s", err.text);
    airlock_free(text);
    ck_assert_msg(airlock_client_generate(c, &g, &text, NULL, &err) == 0, "%s", err.text);
    airlock_free(text);
    ck_assert_ptr_nonnull(strstr(s.seen, "\r\nContent-Type: application/json\r\n"));
    ck_assert_ptr_null(strstr(s.seen, "Authorization"));
    airlock_client_free(c);
    stub_stop(&s);
}
END_TEST

START_TEST(what_is_no_recording_is_refused_before_it_is_sent)
{
    const airlock_transcription_request good = { .struct_size = sizeof good,
                                                 .model = "M",
                                                 .audio = wav };
    struct {
        airlock_transcription_request r;
        const char *words;
    } cases[8];
    const size_t n = sizeof cases / sizeof *cases;
    for (size_t i = 0; i < n; i++)
        cases[i].r = good;
    cases[0].r.struct_size = 8, cases[0].words = "struct_size";
    cases[1].r.model = NULL, cases[1].words = "model is missing";
    cases[2].r.audio.size = 0, cases[2].words = "audio is empty";
    cases[3].r.audio = png, cases[3].words = "audio is no WAV";
    cases[4].r.use_temperature = 1, cases[4].r.temperature = 1.5, cases[4].words = "from 0 to 1";
    cases[5].r.language = "\xff", cases[5].words = "language is not valid UTF-8";
    cases[6].r.prompt = "\xff", cases[6].words = "prompt is not valid UTF-8";
    cases[7].r.model = "\xff", cases[7].words = "model is not valid UTF-8";
    airlock_error err;
    airlock_client *c = airlock_client_new("http://127.0.0.1:1", &err);
    for (size_t i = 0; i < n; i++) {
        char *text = (char *)1;
        ck_assert_int_eq(airlock_client_transcribe(c, &cases[i].r, &text, NULL, &err), -1);
        ck_assert_ptr_null(text);
        ck_assert_msg(err.code == AIRLOCK_ERR_ARGUMENT && strstr(err.text, cases[i].words),
                      "%zu: %s", i, err.text);
    }
    airlock_client_free(c);
}
END_TEST

START_TEST(a_refused_recording_is_told_and_a_long_answer_cut)
{
    airlock_transcription_request r = { .struct_size = sizeof r, .model = "M", .audio = wav };
    struct stub s;
    airlock_error err = { 0 };
    char *text = NULL;
    stub_start(&s,
               "HTTP/1.1 400 Bad\r\nContent-Type: application/json\r\nContent-Length: 44\r\n\r\n"
               "{\"error\":{\"message\":\"no\\u001b words in it\"}}",
               0);
    ck_assert_int_eq(transcribe(&s, &r, NULL, &text, &err), -1);
    ck_assert_int_eq(err.http_status, 400);
    ck_assert_msg(strstr(err.text, "no  words in it") != NULL, "%s", err.text);
    stub_stop(&s);
    stub_start(&s, WORDS, 0);
    airlock_client *c = airlock_client_new(s.host, &err);
    airlock_client_set_max_answer(c, 10);
    ck_assert_int_eq(airlock_client_transcribe(c, &r, &text, NULL, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "larger than 10 bytes"));
    airlock_client_free(c);
    stub_stop(&s);
}
END_TEST

/* ---- files ----------------------------------------------------------------------------------- */

START_TEST(a_file_is_read_whole_and_only_a_file)
{
    char path[] = "/tmp/test_sdk_media-XXXXXX", fifo[64];
    airlock_error err = { 0 };
    size_t size = 7;
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    char *data = airlock_read_file(path, &size, &err);
    ck_assert_msg(data && size == 0 && data[0] == 0, "%s", err.text);
    airlock_free(data);
    ck_assert_int_eq(write(fd, WAV, WAV_BYTES), WAV_BYTES);
    data = airlock_read_file(path, &size, &err);
    ck_assert(data && size == WAV_BYTES && memcmp(data, WAV, size) == 0);
    airlock_free(data);
    ck_assert_int_eq(ftruncate(fd, AIRLOCK_MAX_FILE + 1), 0);
    ck_assert_ptr_null(airlock_read_file(path, &size, &err));
    ck_assert_msg(strstr(err.text, "at most 50000000") != NULL, "%s", err.text);
    ck_assert_int_eq(ftruncate(fd, AIRLOCK_MAX_FILE), 0);
    data = airlock_read_file(path, &size, &err);
    ck_assert(data && size == AIRLOCK_MAX_FILE);
    airlock_free(data);
    close(fd);
    unlink(path);
    snprintf(fifo, sizeof fifo, "%s", path);
    ck_assert_int_eq(mkfifo(fifo, 0600), 0);
    const char *const none[] = { fifo, "/tmp", "/nowhere/at/all" };
    for (size_t i = 0; i < 3; i++) {
        ck_assert_ptr_null(airlock_read_file(none[i], &size, &err));
        ck_assert_int_eq(err.code, AIRLOCK_ERR_ARGUMENT);
        ck_assert_msg(strstr(err.text, none[i]) != NULL, "%s", err.text);
    }
    unlink(fifo);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sdk_media");
    TCase *t = tcase_create("sdk_media");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, generate_sends_sounds_as_well);
    tcase_add_test(t, an_older_and_shorter_request_has_no_sounds);
    tcase_add_test(t, a_chats_pictures_and_sounds_are_parts_in_front_of_its_text);
    tcase_add_test(t, a_picture_needs_no_text);
    tcase_add_loop_test(t, a_kind_is_told_by_its_first_bytes, 0, sizeof kinds / sizeof *kinds);
    tcase_add_test(t, a_recording_goes_as_a_form);
    tcase_add_test(t, a_boundary_that_stands_in_the_recording_is_not_used);
    tcase_add_test(t, a_client_that_transcribed_asks_in_json_again);
    tcase_add_test(t, what_is_no_recording_is_refused_before_it_is_sent);
    tcase_add_test(t, a_refused_recording_is_told_and_a_long_answer_cut);
    tcase_add_test(t, a_file_is_read_whole_and_only_a_file);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
