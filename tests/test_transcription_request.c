/* test_transcription_request.c - tests of src/server/transcription_request.c: what a form asks of
 * the model, and every field that is refused by its name. */
#include "server/transcription_request.h"

#include "common/limits.h"
#include "server/languages.h"
#include "suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TYPE "multipart/form-data; boundary=b0"
#define FIELD(name, data)                                                                          \
    "\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n" data "\r\n--b0"
#define FILE_FIELD                                                                                 \
    "\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n"                    \
    "Content-Type: audio/wav\r\n\r\nRIFF\r\n--b0"
#define FORM(more) "--b0" FILE_FIELD FIELD("model", "able:dates") more "--\r\n"

static struct transcription_request request;
static struct abi_request abi;
static struct openai_error refusal;

static int parse(const char *type, const char *text)
{
    refusal = (struct openai_error){ 0 };
    abi_request_init(&abi);
    return transcription_parse(type, text, strlen(text), &request, &abi, &refusal);
}

static void release(void)
{
    openai_request_free(&request.openai);
    abi_request_free(&abi);
}

/* The question that a form becomes. */
static void asks(const char *text, const char *wanted)
{
    struct airlock_error err;
    ck_assert_msg(parse(TYPE, text) == 0, "%s: %s", text, refusal.message);
    ck_assert_int_eq(abi_request_finish(&abi, &err), 0);
    ck_assert_uint_eq(abi.abi.n_messages, 1);
    ck_assert_int_eq(abi.messages[0].role, LLM_ROLE_USER);
    ck_assert_str_eq(abi.messages[0].content.ptr, wanted);
    ck_assert_uint_eq(abi.abi.n_images, 0);
    ck_assert_uint_eq(abi.abi.n_audios, 1);
    ck_assert_uint_eq(abi.abi.audios[0]->bytes.len, 4);
    ck_assert_int_eq(memcmp(abi.abi.audios[0]->bytes.ptr, "RIFF", 4), 0);
}

static void refuses(const char *text, const char *param, const char *code, const char *words)
{
    ck_assert_msg(parse(TYPE, text) < 0, "%s", text);
    ck_assert_int_eq((int)refusal.status, 400);
    ck_assert_msg(strcmp(refusal.param, param) == 0 && strcmp(refusal.code, code) == 0 &&
                      strstr(refusal.message, words),
                  "%s: %s %s %s", text, refusal.param, refusal.code, refusal.message);
    release();
}

START_TEST(the_question_is_the_one_that_the_model_is_measured_with)
{
    asks(FORM(""), "<|audio_1|>Transcribe the audio clip into text.");
    ck_assert(!request.text && !request.openai.stream && !request.openai.logprobs);
    ck_assert_uint_eq(abi.params.set, 0);
    ck_assert_str_eq(request.openai.model.ptr, "able:dates");
    release();
    asks(FORM(FIELD("language", "DE") FIELD("prompt", "Gr\xc3\xbc\xc3\x9f")),
         "<|audio_1|>Transcribe the audio clip into text. The audio is in German. Follow the "
         "spelling and style of this text: Gr\xc3\xbc\xc3\x9f");
    release();
    asks(FORM(FIELD("prompt", "")), "<|audio_1|>Transcribe the audio clip into text.");
    release();
    asks("--b0" FIELD("stream", "true") FIELD("include[]", "logprobs")
             FIELD("response_format", "json") FIELD("model", "able") FILE_FIELD "--",
         "<|audio_1|>Transcribe the audio clip into text.");
    ck_assert(request.openai.stream && request.openai.logprobs && !request.text);
    ck_assert_uint_eq(abi.params.set, LLM_P_LOGPROBS);
    ck_assert_ptr_eq(openai_unsupported(&request.openai, LLM_CAP_LOGPROBS), NULL);
    ck_assert_str_eq(openai_unsupported(&request.openai, LLM_CAP_AUDIOS), "include[]");
    release();
    asks(FORM(FIELD("response_format", "text") FIELD("stream", "false")),
         "<|audio_1|>Transcribe the audio clip into text.");
    ck_assert(request.text && !request.openai.stream);
    release();
}
END_TEST

START_TEST(a_temperature_is_a_plain_number)
{
    static const struct {
        const char *text;
        double value; /* below 0: refused; 0: greedy */
    } cases[] = { { "0", 0 },     { "0.0", 0 },   { "1", 1 },     { "0.25", 0.25 },
                  { ".5", 0.5 },  { "1.", 1 },    { "", -1 },     { ".", -1 },
                  { "1.01", -1 }, { "-0.1", -1 }, { "1e-1", -1 }, { "0,5", -1 },
                  { "nan", -1 },  { " 1", -1 },   { "0x1", -1 },  { "1.0.0", -1 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[512];
        snprintf(text, sizeof text,
                 "--b0" FILE_FIELD FIELD("model", "m") FIELD("temperature", "%s") "--",
                 cases[i].text);
        if (cases[i].value < 0) {
            refuses(text, "temperature", "invalid_value", "a number from 0 to 1");
            continue;
        }
        ck_assert_msg(parse(TYPE, text) == 0, "%s: %s", cases[i].text, refusal.message);
        ck_assert_int_eq(abi.params.do_sample, cases[i].value > 0);
        if (cases[i].value > 0)
            ck_assert_msg(abi.params.temperature > cases[i].value - 1e-12 &&
                              abi.params.temperature < cases[i].value + 1e-12,
                          "%s", cases[i].text);
        release();
    }
}
END_TEST

START_TEST(what_would_change_the_answer_but_is_not_done_is_refused_by_name)
{
    refuses(FORM(FIELD("response_format", "verbose_json")), "response_format",
            "unsupported_parameter", "neither times nor speakers");
    refuses(FORM(FIELD("response_format", "srt")), "response_format", "unsupported_parameter",
            "neither times");
    refuses(FORM(FIELD("response_format", "xml")), "response_format", "invalid_value", "json or");
    refuses(FORM(FIELD("timestamp_granularities[]", "word")), "timestamp_granularities[]",
            "unsupported_parameter", "no times");
    refuses(FORM(FIELD("chunking_strategy", "auto")), "chunking_strategy", "unsupported_parameter",
            "as a whole");
    refuses(FORM(FIELD("include[]", "usage")), "include[]", "unsupported_parameter",
            "only logprobs");
    refuses(FORM(FIELD("include[]", "logprobs") FIELD("response_format", "text")), "include[]",
            "invalid_value", "json");
    refuses(FORM(FIELD("hotwords", "x")), "hotwords", "unknown_parameter", "'hotwords'");
    refuses(FORM(FIELD("Model", "x")), "Model", "unknown_parameter", "'Model'");
    refuses(FORM(FIELD("language", "english")), "language", "invalid_value", "ISO 639-1");
    refuses(FORM(FIELD("language", "xx")), "language", "invalid_value", "ISO 639-1");
    refuses(FORM(FIELD("stream", "yes")), "stream", "invalid_value", "true or false");
}
END_TEST

START_TEST(a_form_that_is_not_whole_is_refused)
{
    refuses("--b0" FIELD("model", "m") "--", "file", "missing_parameter", "file is missing");
    refuses("--b0" FILE_FIELD "--", "model", "missing_parameter", "model is missing");
    refuses("--b0" FIELD("file", "RIFF") FIELD("model", "m") "--", "file", "invalid_value",
            "with a filename");
    refuses("--b0" FILE_FIELD "\r\nContent-Disposition: form-data; name=\"model\"; filename=\"m\""
            "\r\n\r\nm\r\n--b0--",
            "model", "invalid_value", "not a file");
    refuses("--b0\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n\r\n"
            "--b0" FIELD("model", "m") "--",
            "file", "invalid_value", "empty");
    refuses(FORM(FIELD("model", "other")), "model", "invalid_value", "twice");
    refuses(FORM(FILE_FIELD), "file", "invalid_value", "twice");
    refuses(FORM(FIELD("prompt", "\xff")), "prompt", "invalid_value", "UTF-8");
    refuses("--b0" FILE_FIELD FIELD("model", "") "--", "model", "invalid_value", "bytes");
    refuses("--b0" FILE_FIELD, "", "invalid_form", "cut off");
    refuses("{}", "", "invalid_form", "boundary");
    static const char *const types[] = { NULL, "application/json", "multipart/form-data" };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        ck_assert_int_lt(parse(types[i], FORM("")), 0);
        ck_assert_str_eq(refusal.param, "Content-Type");
        release();
    }
}
END_TEST

START_TEST(long_texts_have_a_ceiling)
{
    enum { PROMPT = 64 << 10 };
    char *text = malloc(PROMPT + 1024);
    ck_assert_ptr_nonnull(text);
    for (int extra = 0; extra < 2; extra++) {
        int n = sprintf(
            text, "--b0" FILE_FIELD FIELD(
                      "model", "m") "\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\n");
        memset(text + n, 'p', PROMPT + extra);
        sprintf(text + n + PROMPT + extra, "\r\n--b0--");
        if (extra)
            refuses(text, "prompt", "invalid_value", "65536 bytes");
        else
            ck_assert_int_eq(parse(TYPE, text), 0);
        release();
    }
    free(text);
}
END_TEST

START_TEST(languages_have_names)
{
    ck_assert_str_eq(language_name("en", 2), "English");
    ck_assert_str_eq(language_name("PTx", 2), "Portuguese");
    ck_assert_ptr_null(language_name("e", 1));
    ck_assert_ptr_null(language_name("eng", 3));
    ck_assert_ptr_null(language_name("", 0));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = { the_question_is_the_one_that_the_model_is_measured_with,
                                   a_temperature_is_a_plain_number,
                                   what_would_change_the_answer_but_is_not_done_is_refused_by_name,
                                   a_form_that_is_not_whole_is_refused,
                                   long_texts_have_a_ceiling,
                                   languages_have_names,
                                   NULL };
    return suite_run("transcription_request", tests);
}
