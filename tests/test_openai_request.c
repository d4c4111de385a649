/* test_openai_request.c - tests of src/server/openai_request.c and its parts: every field of
 * OpenAI's requests, right and wrong in every way: attack cases A9, A10, A12 and A14. */
#include "server/openai_request.h"
#include "suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct openai_request request;
static struct abi_request abi;
static struct openai_error error;

static void done(void)
{
    openai_request_free(&request);
    abi_request_free(&abi);
}

static int parse(enum openai_route route, const char *body)
{
    abi_request_init(&abi);
    error = (struct openai_error){ 0 };
    return openai_parse(route, body, strlen(body), &request, &abi, &error);
}

/* A chat with more members. */
static int chat(const char *more)
{
    char body[8192];
    snprintf(body, sizeof body,
             "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]%s%s}",
             *more ? "," : "", more);
    return parse(OPENAI_CHAT, body);
}

static int text(const char *more)
{
    char body[8192];
    snprintf(body, sizeof body, "{\"model\":\"m\",\"prompt\":\"x\"%s%s}", *more ? "," : "", more);
    return parse(OPENAI_TEXT, body);
}

static int message(const char *json)
{
    char body[8192];
    snprintf(body, sizeof body, "{\"model\":\"m\",\"messages\":[%s]}", json);
    return parse(OPENAI_CHAT, body);
}

#define TOOL "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]"
#define PART(part_) "{\"role\":\"user\",\"content\":[" part_ "]}"
#define CALL(call_) "{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[" call_ "]}"

struct wrong {
    const char *json, *param;
};

static void refused(int (*parse_it)(const char *), const struct wrong *all, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        ck_assert_msg(parse_it(all[i].json) == -1, "accepted: %s", all[i].json);
        ck_assert_msg(error.status == 400, "%u: %s", error.status, all[i].json);
        ck_assert_msg(strcmp(error.param, all[i].param) == 0, "param %s, not %s: %s", error.param,
                      all[i].param, all[i].json);
        ck_assert_msg(*error.message && error.code, "%s", all[i].json);
        done();
    }
}

#define REFUSED(parse_, list_) refused(parse_, list_, sizeof list_ / sizeof *list_)

static void accepted(int (*parse_it)(const char *), const char *const *all)
{
    for (; *all; all++) {
        ck_assert_msg(parse_it(*all) == 0, "%s: %s", *all, error.message);
        done();
    }
}

START_TEST(each_number_is_refused_in_every_wrong_form)
{
    static const char *const fields[] = { "temperature",
                                          "top_p",
                                          "presence_penalty",
                                          "frequency_penalty",
                                          "repetition_penalty",
                                          "top_k",
                                          "seed",
                                          "n",
                                          "max_tokens",
                                          "max_completion_tokens" };
    static const char *const values[] = { "\"1\"",
                                          "true",
                                          "[]",
                                          "{}",
                                          "1e308",
                                          "-1e308",
                                          "9223372036854775807",
                                          "9223372036854775808",
                                          "-9223372036854775808",
                                          "99999999999999999999999" };
    char body[128];
    for (size_t f = 0; f < sizeof fields / sizeof *fields; f++) {
        for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
            snprintf(body, sizeof body, "\"%s\":%s", fields[f], values[v]);
            ck_assert_msg(chat(body) == -1, "accepted: %s", body);
            ck_assert_str_eq(error.param, fields[f]);
            ck_assert_uint_eq(error.status, 400);
            done();
        }
        snprintf(body, sizeof body, "\"%s\":null", fields[f]);
        ck_assert_msg(chat(body) == 0, "%s", error.message);
        ck_assert_uint_eq(abi.params.set, 0);
        done();
    }
}
END_TEST

START_TEST(numbers_have_bounds)
{
    static const struct wrong wrong[] = {
        { "\"temperature\":2.1", "temperature" },
        { "\"temperature\":-0.1", "temperature" },
        { "\"top_p\":1.01", "top_p" },
        { "\"presence_penalty\":2.5", "presence_penalty" },
        { "\"frequency_penalty\":-2.5", "frequency_penalty" },
        { "\"repetition_penalty\":0", "repetition_penalty" },
        { "\"n\":0", "n" },
        { "\"n\":9", "n" },
        { "\"n\":1.0", "n" },
        { "\"top_k\":-1", "top_k" },
        { "\"max_tokens\":0", "max_tokens" },
        { "\"max_tokens\":2147483648", "max_tokens" },
        { "\"logprobs\":1", "logprobs" },
        { "\"logprobs\":true,\"top_logprobs\":21", "top_logprobs" },
        { "\"top_logprobs\":2", "top_logprobs" },
        { "\"logprobs\":false,\"top_logprobs\":2", "top_logprobs" },
        { "\"max_tokens\":1,\"max_completion_tokens\":2", "max_completion_tokens" }
    };
    static const char *const right[] = { "\"temperature\":0",
                                         "\"temperature\":2,\"top_p\":0",
                                         "\"top_logprobs\":20,\"logprobs\":true",
                                         "\"seed\":-9223372036854775807",
                                         "\"n\":8",
                                         "\"max_tokens\":7,\"max_completion_tokens\":7",
                                         "\"temperature\":1e-320",
                                         NULL };
    REFUSED(chat, wrong);
    accepted(chat, right);
}
END_TEST

START_TEST(numbers_arrive)
{
    ck_assert_int_eq(chat("\"temperature\":0.5,\"top_p\":0.25,\"presence_penalty\":-1,"
                          "\"frequency_penalty\":2,\"repetition_penalty\":1.5,\"top_k\":3,"
                          "\"seed\":-5,\"n\":4,\"max_tokens\":7,\"logprobs\":true,"
                          "\"top_logprobs\":2"),
                     0);
    const llm_params *p = &abi.params;
    ck_assert_uint_eq(p->set, 1023); /* all of ABI 1.0 */
    ck_assert(p->temperature == 0.5 && p->top_p == 0.25 && p->presence_penalty == -1 &&
              p->frequency_penalty == 2 && p->repetition_penalty == 1.5);
    ck_assert(p->top_k == 3 && p->seed == -5 && p->max_new_tokens == 7 && p->logprobs == 2 &&
              p->do_sample == 1);
    ck_assert_uint_eq(request.n, 4);
    ck_assert(request.logprobs);
    done();
    ck_assert_int_eq(chat("\"temperature\":0"), 0);
    ck_assert_uint_eq(p->set, LLM_P_DO_SAMPLE);
    ck_assert_int_eq(p->do_sample, 0);
    done();
    ck_assert_int_eq(chat(""), 0);
    ck_assert_uint_eq(p->set, 0);
    done();
}
END_TEST

START_TEST(unknown_and_unsupported_fields_are_refused_by_name)
{
    static const struct wrong wrong[] = {
        { "\"chat_template\":\"{{7*7}}\"", "chat_template" },
        { "\"chat_template_kwargs\":{}", "chat_template_kwargs" },
        { "\"guided_json\":{}", "guided_json" },
        { "\"min_p\":0.1", "min_p" },
        { "\"\":1", "" },
        { "\"prompt\":\"x\"", "prompt" },
        { "\"unknown\":null", "unknown" },
        { "\"functions\":[]", "functions" },
        { "\"function_call\":\"auto\"", "function_call" },
        { "\"reasoning_effort\":\"low\"", "reasoning_effort" },
        { "\"prediction\":{}", "prediction" },
        { "\"verbosity\":\"low\"", "verbosity" },
        { "\"web_search_options\":{}", "web_search_options" },
        { "\"audio\":{}", "audio" },
        { "\"modalities\":[\"audio\"]", "modalities" },
        { "\"modalities\":[\"text\",\"audio\"]", "modalities" },
        { "\"modalities\":\"text\"", "modalities" },
        { "\"store\":true", "store" },
        { "\"store\":1", "store" },
        { "\"service_tier\":\"flex\"", "service_tier" },
        { "\"user\":1", "user" },
        { "\"metadata\":[]", "metadata" },
        { "\"stream\":1", "stream" },
        { "\"stream\":\"true\"", "stream" },
        { "\"stream_options\":{}", "stream_options" },
        { "\"stream\":true,\"stream_options\":{\"x\":1}", "stream_options.x" },
        { "\"stream\":true,\"stream_options\":{\"include_usage\":1}",
          "stream_options.include_usage" },
        { "\"stream\":true,\"stream_options\":[]", "stream_options" },
        { "\"parallel_tool_calls\":\"no\"", "parallel_tool_calls" }
    };
    static const char *const right[] = {
        "\"user\":\"u\",\"metadata\":{\"a\":\"b\"},\"store\":false",
        "\"service_tier\":\"auto\",\"modalities\":[\"text\"]",
        "\"safety_identifier\":\"s\",\"prompt_cache_key\":\"k\"",
        "\"functions\":null,\"audio\":null",
        "\"stream\":true,\"stream_options\":{\"include_usage\":true,"
        "\"include_obfuscation\":false}",
        NULL
    };
    REFUSED(chat, wrong);
    accepted(chat, right);
}
END_TEST

START_TEST(completions_have_their_own_fields)
{
    static const struct wrong wrong[] = { { "\"messages\":[]", "messages" },
                                          { "\"tools\":[]", "tools" },
                                          { "\"response_format\":{\"type\":\"text\"}",
                                            "response_format" },
                                          { "\"logprobs\":true", "logprobs" },
                                          { "\"logprobs\":21", "logprobs" },
                                          { "\"logprobs\":-1", "logprobs" },
                                          { "\"echo\":true", "echo" },
                                          { "\"best_of\":2", "best_of" },
                                          { "\"suffix\":\"x\"", "suffix" },
                                          { "\"top_logprobs\":1", "top_logprobs" } };
    static const struct wrong prompts[] = {
        { "{\"model\":\"m\"}", "prompt" },
        { "{\"model\":\"m\",\"prompt\":null}", "prompt" },
        { "{\"model\":\"m\",\"prompt\":\"\"}", "prompt" },
        { "{\"model\":\"m\",\"prompt\":[]}", "prompt" },
        { "{\"model\":\"m\",\"prompt\":[1,2]}", "prompt" },
        { "{\"model\":\"m\",\"prompt\":[[1,2]]}", "prompt" },
        { "{\"model\":\"m\",\"prompt\":{}}", "prompt" },
        { "{\"model\":\"m\",\"prompt\":[\"a\",\"\"]}", "prompt[1]" },
        { "{\"model\":\"m\",\"prompt\":[\"a\",\"b\",\"c\"],\"n\":3}", "n" },
        { "{\"prompt\":\"x\"}", "model" },
        { "{\"prompt\":\"x\",\"model\":7}", "model" },
    };
    static const char *const right[] = { "\"echo\":false,\"best_of\":1,\"suffix\":null",
                                         "\"logprobs\":0", NULL };
    REFUSED(text, wrong);
    for (size_t i = 0; i < sizeof prompts / sizeof *prompts; i++) {
        ck_assert_msg(parse(OPENAI_TEXT, prompts[i].json) == -1, "%s", prompts[i].json);
        ck_assert_str_eq(error.param, prompts[i].param);
        done();
    }
    accepted(text, right);
    ck_assert_int_eq(parse(OPENAI_TEXT, "{\"model\":\"m:a\",\"prompt\":[\"a\",\"bc\"],\"n\":4}"),
                     0);
    ck_assert_uint_eq(request.n_prompts, 2);
    ck_assert_uint_eq(request.prompts[1].len, 2);
    ck_assert_str_eq(openai_unsupported(&request, 0), "prompt");
    ck_assert_ptr_null(openai_unsupported(&request, LLM_CAP_PROMPT));
    done();
}
END_TEST

START_TEST(stop_strings_and_biases)
{
    static const struct wrong wrong[] = {
        { "\"stop\":1", "stop" },
        { "\"stop\":\"\"", "stop" },
        { "\"stop\":[\"a\",1]", "stop[1]" },
        { "\"stop\":[\"a\",\"\"]", "stop[1]" },
        { "\"stop\":[null]", "stop[0]" },
        { "\"stop\":{}", "stop" },
        { "\"stop\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\",\"12\","
          "\"13\",\"14\",\"15\",\"16\",\"17\"]",
          "stop" },
        { "\"logit_bias\":[]", "logit_bias" },
        { "\"logit_bias\":{\"x\":1}", "logit_bias.x" },
        { "\"logit_bias\":{\"-1\":1}", "logit_bias.-1" },
        { "\"logit_bias\":{\"1.5\":1}", "logit_bias.1.5" },
        { "\"logit_bias\":{\"2147483648\":1}", "logit_bias.2147483648" },
        { "\"logit_bias\":{\"99999999999999999999\":1}", "logit_bias.99999999999999999999" },
        { "\"logit_bias\":{\"1\":\"1\"}", "logit_bias.1" },
        { "\"logit_bias\":{\"1\":null}", "logit_bias.1" },
        { "\"logit_bias\":{\"1\":100.5}", "logit_bias.1" },
        { "\"logit_bias\":{\"1\":-1e308}", "logit_bias.1" },
    };
    REFUSED(chat, wrong);
    ck_assert_int_eq(chat("\"stop\":\"a\\u0000b\",\"logit_bias\":{\"50256\":-100,\"7\":1.5}"), 0);
    ck_assert_uint_eq(abi.abi.n_stop, 1);
    ck_assert_uint_eq(abi.abi.stop[0].len, 3);
    ck_assert_uint_eq(abi.abi.n_logit_bias, 2);
    ck_assert_int_eq(abi.abi.logit_bias[0]->id, 50256);
    ck_assert(abi.abi.logit_bias[0]->bias == -100 && abi.abi.logit_bias[1]->bias == 1.5);
    done();
    ck_assert_int_eq(chat("\"stop\":[]"), 0);
    ck_assert_ptr_null(openai_unsupported(&request, 0));
    done();
}
END_TEST

START_TEST(messages_are_read_strictly)
{
    static const struct wrong wrong[] = {
        { "", "messages" },
        { "1", "messages[0]" },
        { "{}", "messages[0].role" },
        { "{\"role\":\"user\"}", "messages[0].content" },
        { "{\"role\":\"user\",\"content\":null}", "messages[0].content" },
        { "{\"role\":\"assistant\",\"content\":null}", "messages[0].content" },
        { "{\"role\":\"user\",\"content\":1}", "messages[0].content" },
        { "{\"role\":\"User\",\"content\":\"x\"}", "messages[0].role" },
        { "{\"role\":1,\"content\":\"x\"}", "messages[0].role" },
        { "{\"role\":\"function\",\"content\":\"x\"}", "messages[0].role" },
        { "{\"role\":\"user\",\"content\":\"x\",\"y\":1}", "messages[0].y" },
        { "{\"role\":\"user\",\"content\":\"x\",\"name\":1}", "messages[0].name" },
        { "{\"role\":\"user\",\"content\":\"x\",\"tool_calls\":[]}", "messages[0].tool_calls" },
        { "{\"role\":\"user\",\"content\":\"x\",\"tool_call_id\":\"y\"}",
          "messages[0].tool_call_id" },
        { "{\"role\":\"tool\",\"content\":\"x\",\"tool_call_id\":1}", "messages[0].tool_call_id" },
        { "{\"role\":\"assistant\",\"content\":\"x\",\"refusal\":\"no\"}", "messages[0].refusal" },
        { "{\"role\":\"assistant\",\"content\":\"x\",\"audio\":{}}", "messages[0].audio" },
        { "{\"role\":\"system\",\"content\":[{\"type\":\"image_url\",\"image_url\":{}}]}",
          "messages[0].content[0].type" },
        { PART("1"), "messages[0].content[0]" },
        { PART("{}"), "messages[0].content[0].type" },
        { PART("{\"type\":\"file\"}"), "messages[0].content[0].type" },
        { PART("{\"type\":\"text\"}"), "messages[0].content[0].text" },
        { PART("{\"type\":\"text\",\"text\":\"x\",\"y\":1}"), "messages[0].content[0].y" },
        { CALL("1"), "messages[0].tool_calls[0]" },
        { CALL("{\"type\":\"x\"}"), "messages[0].tool_calls[0].type" },
        { CALL("{\"type\":\"function\"}"), "messages[0].tool_calls[0].function" },
        { CALL("{\"type\":\"function\",\"function\":{\"name\":\"a b\",\"arguments\":\"{}\"}}"),
          "messages[0].tool_calls[0].function.name" },
        { CALL("{\"type\":\"function\",\"function\":{\"name\":\"a\",\"arguments\":{}}}"),
          "messages[0].tool_calls[0].function.arguments" },
        { CALL("{\"type\":\"function\",\"function\":{\"name\":\"a\",\"arguments\":\"[]\"}}"),
          "messages[0].tool_calls[0].function.arguments" },
        { CALL("{\"type\":\"function\",\"function\":{\"name\":\"a\",\"arguments\":\"{\"}}"),
          "messages[0].tool_calls[0].function.arguments" },
        { CALL("{\"type\":\"function\",\"id\":1,\"function\":{\"name\":\"a\"}}"),
          "messages[0].tool_calls[0].id" },
    };
    REFUSED(message, wrong);
    ck_assert_int_eq(
        message("{\"role\":\"developer\",\"content\":\"s\"},"
                "{\"role\":\"assistant\",\"content\":null,\"refusal\":null,"
                "\"annotations\":[],\"tool_calls\":[{\"id\":\"c\",\"type\":\"function\","
                "\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]},"
                "{\"role\":\"tool\",\"tool_call_id\":\"c\",\"content\":[{\"type\":"
                "\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"}]}"),
        0);
    ck_assert_int_eq(abi.messages[0].role, LLM_ROLE_SYSTEM);
    ck_assert_str_eq(abi.messages[1].tool_calls.ptr, "[{\"name\":\"f\",\"arguments\":{}}]");
    ck_assert_uint_eq(abi.messages[1].content.len, 0);
    ck_assert_str_eq(abi.messages[2].content.ptr, "ab");
    ck_assert_str_eq(abi.messages[2].tool_call_id.ptr, "c");
    ck_assert_str_eq(openai_unsupported(&request, 0), "tool_calls");
    done();
}
END_TEST

START_TEST(media_come_as_data_only)
{
    static const char *const urls[] = { "http://127.0.0.1/x",
                                        "https://x",
                                        "file:///etc/passwd",
                                        "ftp://x/",
                                        "gopher://x",
                                        "//x",
                                        "",
                                        "data:",
                                        "data:image/png",
                                        "data:,x",
                                        "data:;base64,aGk=",
                                        "data:text/html;base64,aGk=",
                                        "data:image/svg+xml;base64,aGk=",
                                        "data:image/png;charset=x;base64,aGk=",
                                        "data:image/png,aGk=",
                                        "javascript:alert(1)",
                                        " data:image/png;base64,aGk=",
                                        "DATA:image/pngg;base64,aGk=" };
    static const struct wrong wrong[] = {
        { PART("{\"type\":\"image_url\"}"), "messages[0].content[0].image_url" },
        { PART("{\"type\":\"image_url\",\"image_url\":\"data:image/png;base64,aGk=\"}"),
          "messages[0].content[0].image_url" },
        { PART("{\"type\":\"image_url\",\"image_url\":{\"url\":1}}"),
          "messages[0].content[0].image_url.url" },
        { PART("{\"type\":\"image_url\",\"image_url\":{\"url\":\"x\",\"detail\":\"high\"}}"),
          "messages[0].content[0].image_url.detail" },
        { PART("{\"type\":\"image_url\",\"image_url\":{\"url\":\"x\",\"y\":1}}"),
          "messages[0].content[0].image_url.y" },
        { PART("{\"type\":\"input_audio\"}"), "messages[0].content[0].input_audio" },
        { PART("{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"aGk=\"}}"),
          "messages[0].content[0].input_audio.format" },
        { PART("{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"aGk=\",\"format\":\"exe\"}}"),
          "messages[0].content[0].input_audio.format" },
        { PART("{\"type\":\"input_audio\",\"input_audio\":{\"data\":1,\"format\":\"wav\"}}"),
          "messages[0].content[0].input_audio.data" },
    };
    char json[512];
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        snprintf(json, sizeof json, PART("{\"type\":\"image_url\",\"image_url\":{\"url\":\"%s\"}}"),
                 urls[i]);
        ck_assert_msg(message(json) == -1, "accepted: %s", urls[i]);
        ck_assert_str_eq(error.param, "messages[0].content[0].image_url.url");
        done();
    }
    REFUSED(message, wrong);
    struct airlock_error err;
    ck_assert_int_eq(
        message(PART("{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"aGk=\",\"format\":"
                     "\"mp3\"}},{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/"
                     "JPEG;base64,aGVsbG8=\",\"detail\":\"auto\"}},{\"type\":\"text\",\"text\":"
                     "\"?\"}")),
        0);
    ck_assert_int_eq(abi_request_finish(&abi, &err), 0);
    ck_assert_str_eq(abi.messages[0].content.ptr, "<|audio_1|><|image_1|>?");
    ck_assert_uint_eq(abi.abi.n_images, 1);
    ck_assert_uint_eq(abi.abi.n_audios, 1);
    ck_assert(abi.abi.images[0]->bytes.len == 5 &&
              memcmp(abi.abi.images[0]->bytes.ptr, "hello", 5) == 0);
    ck_assert_str_eq(abi.abi.images[0]->mime.ptr, "image/jpeg");
    ck_assert(abi.abi.audios[0]->bytes.len == 2 &&
              memcmp(abi.abi.audios[0]->bytes.ptr, "hi", 2) == 0);
    ck_assert_str_eq(openai_unsupported(&request, LLM_CAP_IMAGES), "input_audio");
    done();
    ck_assert_int_eq(message(PART("{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/"
                                  "png;base64,?\"}}")),
                     0);
    ck_assert_int_eq(abi_request_finish(&abi, &err), -1);
    ck_assert_str_eq(err.text, "messages[0].content[0].image_url.url is not valid base64");
    done();
}
END_TEST

START_TEST(tools_are_read_strictly)
{
    static const struct wrong wrong[] = {
        { "\"tools\":1", "tools" },
        { "\"tools\":[1]", "tools[0]" },
        { "\"tools\":[{}]", "tools[0].type" },
        { "\"tools\":[{\"type\":\"web_search\"}]", "tools[0].type" },
        { "\"tools\":[{\"type\":\"function\"}]", "tools[0].function" },
        { "\"tools\":[{\"type\":\"function\",\"function\":{}}]", "tools[0].function.name" },
        { "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"a b\"}}]",
          "tools[0].function.name" },
        { "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"\"}}]",
          "tools[0].function.name" },
        { "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\\u0000\"}}]",
          "tools[0].function.name" },
        { "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"x\":1}}]",
          "tools[0].function.x" },
        { "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":1}}]",
          "tools[0].function.description" },
        { "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":\"\"}}]",
          "tools[0].function.parameters" },
        { "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"strict\":1}}]",
          "tools[0].function.strict" },
        { "\"tool_choice\":\"required\"", "tool_choice" },
        { TOOL ",\"tool_choice\":\"maybe\"", "tool_choice" },
        { TOOL ",\"tool_choice\":1", "tool_choice" },
        { TOOL ",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"g\"}}",
          "tool_choice.function.name" },
        { TOOL ",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\",\"x\":1}}",
          "tool_choice.function.x" },
        { TOOL ",\"tool_choice\":{\"type\":\"x\"}", "tool_choice.type" },
    };
    REFUSED(chat, wrong);
    ck_assert_int_eq(
        chat("\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}}," TOOL
             ",\"parallel_tool_calls\":false"),
        0);
    ck_assert_str_eq(abi.abi.tool_choice.ptr, "function:f");
    ck_assert_str_eq(abi.abi.tools.ptr, "[{\"name\":\"f\"}]");
    ck_assert(request.tools && request.one_call);
    ck_assert_str_eq(openai_unsupported(&request, 0), "tools");
    done();
    ck_assert_int_eq(chat(TOOL ",\"tool_choice\":\"none\""), 0);
    ck_assert(!request.tools && abi.abi.tools.len == 0);
    done();
    ck_assert_int_eq(chat("\"tools\":[],\"tool_choice\":\"auto\""), 0);
    ck_assert_ptr_null(openai_unsupported(&request, 0));
    done();
}
END_TEST

START_TEST(the_form_of_the_answer_is_read_strictly)
{
#define FORM "\"response_format\":"
    static const struct wrong wrong[] = {
        { FORM "1", "response_format" },
        { FORM "\"json\"", "response_format" },
        { FORM "{}", "response_format.type" },
        { FORM "{\"type\":\"grammar\"}", "response_format.type" },
        { FORM "{\"type\":\"text\",\"x\":1}", "response_format.x" },
        { FORM "{\"type\":\"json_object\",\"json_schema\":{}}", "response_format.json_schema" },
        { FORM "{\"type\":\"json_schema\"}", "response_format.json_schema" },
        { FORM "{\"type\":\"json_schema\",\"json_schema\":{}}",
          "response_format.json_schema.schema" },
        { FORM "{\"type\":\"json_schema\",\"json_schema\":{\"schema\":true}}",
          "response_format.json_schema.schema" },
        { FORM "{\"type\":\"json_schema\",\"json_schema\":{\"schema\":{},\"strict\":\"yes\"}}",
          "response_format.json_schema.strict" },
        { FORM "{\"type\":\"json_schema\",\"json_schema\":{\"schema\":{},\"name\":1}}",
          "response_format.json_schema.name" },
        { FORM "{\"type\":\"json_schema\",\"json_schema\":{\"schema\":{},\"x\":1}}",
          "response_format.json_schema.x" },
    };
    REFUSED(chat, wrong);
    ck_assert_int_eq(chat(FORM
                          "{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\",\"strict\":"
                          "true,\"schema\":{\"type\":\"object\",\"z\":1.50,\"a\":\"\\u00e9/\"}}}"),
                     0);
    ck_assert_uint_eq(abi.constraint.kind, LLM_CONSTRAINT_JSON_SCHEMA);
    ck_assert_str_eq(abi.constraint.text.ptr,
                     "{\"type\":\"object\",\"z\":1.50,\"a\":\"\xc3\xa9/\"}");
    ck_assert_str_eq(openai_unsupported(&request, 0), "response_format");
    done();
    ck_assert_int_eq(chat(FORM "{\"type\":\"text\"}"), 0);
    ck_assert_ptr_null(openai_unsupported(&request, 0));
    ck_assert_uint_eq(abi.constraint.kind, 0);
    done();
}
END_TEST

START_TEST(bodies_that_are_no_requests)
{
    static const char *const bodies[] = { "",
                                          "{",
                                          "[]",
                                          "null",
                                          "1",
                                          "\"x\"",
                                          "{}",
                                          "{\"a\":NaN}",
                                          "{\"model\":\"m\"} x",
                                          "{\"model\":\"\xff\"}",
                                          "{\"model\":\"\\ud800\"" };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        ck_assert_msg(parse(OPENAI_CHAT, bodies[i]) == -1, "accepted: %s", bodies[i]);
        ck_assert_uint_eq(error.status, 400);
        done();
    }
    size_t n = 1 << 20;
    char *deep = malloc(n + 1);
    ck_assert_ptr_nonnull(deep);
    memset(deep, '[', n);
    deep[n] = 0;
    ck_assert_int_eq(parse(OPENAI_CHAT, deep), -1);
    ck_assert_str_eq(error.code, "invalid_json");
    done();
    free(deep);
}
END_TEST

START_TEST(token_ids)
{
    ck_assert_int_eq(parse(OPENAI_DETOKENIZE, "{\"model\":\"m\",\"tokens\":[0,7,2147483647]}"), 0);
    ck_assert_uint_eq(request.n_tokens, 3);
    ck_assert_int_eq(request.tokens[2], 2147483647);
    done();
    static const struct wrong wrong[] = {
        { "[-1]", "tokens[0]" },        { "[0,1.5]", "tokens[1]" },
        { "[\"1\"]", "tokens[0]" },     { "7", "tokens" },
        { "[null]", "tokens[0]" },      { "null", "tokens" },
        { "[2147483648]", "tokens[0]" }
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char body[128];
        snprintf(body, sizeof body, "{\"model\":\"m\",\"tokens\":%s}", wrong[i].json);
        ck_assert_msg(parse(OPENAI_DETOKENIZE, body) == -1, "%s", body);
        ck_assert_str_eq(error.param, wrong[i].param);
        done();
    }
    ck_assert_int_eq(parse(OPENAI_TOKENIZE,
                           "{\"model\":\"m\",\"prompt\":\"x\",\"add_generation_prompt\":false}"),
                     -1);
    ck_assert_str_eq(error.param, "add_generation_prompt");
    done();
    ck_assert_int_eq(parse(OPENAI_TOKENIZE, "{\"model\":\"m\",\"prompt\":\"x\",\"temperature\":1}"),
                     -1);
    ck_assert_str_eq(error.param, "temperature");
    done();
    ck_assert_int_eq(parse(OPENAI_TOKENIZE, "{\"model\":\"m\"}"), -1);
    ck_assert_str_eq(error.param, "prompt");
    done();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = { each_number_is_refused_in_every_wrong_form,
                                   numbers_have_bounds,
                                   numbers_arrive,
                                   unknown_and_unsupported_fields_are_refused_by_name,
                                   completions_have_their_own_fields,
                                   stop_strings_and_biases,
                                   messages_are_read_strictly,
                                   media_come_as_data_only,
                                   tools_are_read_strictly,
                                   the_form_of_the_answer_is_read_strictly,
                                   bodies_that_are_no_requests,
                                   token_ids,
                                   NULL };
    return suite_run("openai_request", tests);
}
