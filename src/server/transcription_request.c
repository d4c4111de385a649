/* transcription_request.c - one pass over the parts of the form, by a table; see
 * transcription_request.h. */
#include "server/transcription_request.h"

#include "common/limits.h"
#include "common/multipart.h"
#include "server/languages.h"
#include "server/openai_parse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the Open ASR leaderboard asks Phi-4-multimodal (its phi/run_phi4_multimodal.sh), word for
 * word. */
#define INSTRUCTION "<|audio_1|>Transcribe the audio clip into text."

enum { PROMPT_BYTES = 64 << 10, NUMBER_BYTES = 32 };

/* The form being read. */
struct form {
    struct openai_reader reader;
    struct transcription_request *out;
    llm_str file, language, prompt;
    unsigned seen; /* bits of fields[] */
};

static bool is_word(llm_str text, const char *word)
{
    return openai_is(text, word);
}

/* ---- fields ---------------------------------------------------------------------------------- */

static int take_file(struct form *f, const char *key, llm_str v)
{
    if (v.len == 0)
        return openai_refuse(&f->reader, key, "the file is empty");
    f->file = v;
    return 0;
}

static int take_model(struct form *f, const char *key, llm_str v)
{
    if (v.len == 0 || v.len > 2 * LIMIT_NAME_BYTES + 1)
        return openai_refuse(&f->reader, key, "%s must have 1 to %d bytes", key,
                             2 * LIMIT_NAME_BYTES + 1);
    return abi_request_own(f->reader.abi, v.ptr, v.len, &f->out->openai.model) < 0
               ? openai_no_memory(&f->reader)
               : 0;
}

static int take_language(struct form *f, const char *key, llm_str v)
{
    const char *name = language_name(v.ptr, v.len);
    if (!name)
        return openai_refuse(&f->reader, key,
                             "%s must be an ISO 639-1 code of two letters such as en, of a "
                             "language that is known here: leave it out to let the model hear",
                             key);
    f->language = (llm_str){ name, strlen(name) };
    return 0;
}

static int take_prompt(struct form *f, const char *key, llm_str v)
{
    if (v.len > PROMPT_BYTES)
        return openai_refuse(&f->reader, key, "%s must have at most %d bytes", key, PROMPT_BYTES);
    f->prompt = v;
    return 0;
}

static int take_format(struct form *f, const char *key, llm_str v)
{
    f->out->text = is_word(v, "text");
    if (f->out->text || is_word(v, "json"))
        return 0;
    if (is_word(v, "verbose_json") || is_word(v, "srt") || is_word(v, "vtt") ||
        is_word(v, "diarized_json"))
        return openai_not_supported(&f->reader, key,
                                    "the model tells neither times nor speakers: ask for json or "
                                    "text");
    return openai_refuse(&f->reader, key, "%s must be json or text", key);
}

/* Digits with at most one point between or around them: no sign, no exponent, no locale. */
static int take_temperature(struct form *f, const char *key, llm_str v)
{
    llm_params *p = &f->reader.abi->params;
    double value = 0, place = 1;
    bool point = false, digit = false, good = v.len > 0 && v.len <= NUMBER_BYTES;
    for (size_t i = 0; i < v.len && good; i++) {
        char c = v.ptr[i];
        if (c >= '0' && c <= '9') {
            digit = true;
            place = point ? place / 10 : place;
            value = point ? value + (c - '0') * place : value * 10 + (c - '0');
        } else {
            good = c == '.' && !point;
            point = true;
        }
    }
    if (!good || !digit || value > 1)
        return openai_refuse(&f->reader, key, "%s must be a number from 0 to 1", key);
    p->set |= LLM_P_TEMPERATURE | LLM_P_DO_SAMPLE;
    p->temperature = value;
    p->do_sample = 1;
    abi_params_settle(p);
    return 0;
}

static int take_stream(struct form *f, const char *key, llm_str v)
{
    f->out->openai.stream = is_word(v, "true") || is_word(v, "True");
    if (f->out->openai.stream || is_word(v, "false") || is_word(v, "False"))
        return 0;
    return openai_refuse(&f->reader, key, "%s must be true or false", key);
}

static int take_include(struct form *f, const char *key, llm_str v)
{
    if (!is_word(v, "logprobs"))
        return openai_not_supported(&f->reader, key, "only logprobs can be included");
    f->out->openai.logprobs = true;
    f->reader.abi->params.set |= LLM_P_LOGPROBS;
    f->reader.abi->params.logprobs = 0;
    openai_need(&f->reader, LLM_CAP_LOGPROBS, "include[]");
    return 0;
}

static int take_times(struct form *f, const char *key, llm_str v)
{
    (void)v;
    return openai_not_supported(&f->reader, key, "the model tells no times");
}

static int take_chunking(struct form *f, const char *key, llm_str v)
{
    (void)v;
    return openai_not_supported(&f->reader, key, "a recording is heard as a whole: leave it out");
}

/* ---- the table ------------------------------------------------------------------------------- */

static const struct field {
    const char *key;
    int (*take)(struct form *f, const char *key, llm_str v);
} fields[] = {
    { "file", take_file },
    { "model", take_model },
    { "language", take_language },
    { "prompt", take_prompt },
    { "response_format", take_format },
    { "temperature", take_temperature },
    { "stream", take_stream },
    { "include[]", take_include },
    { "include", take_include },
    { "timestamp_granularities[]", take_times },
    { "timestamp_granularities", take_times },
    { "chunking_strategy", take_chunking },
};

static int unknown(struct form *f, const struct multipart_part *part)
{
    char param[OPENAI_PARAM_BYTES];
    snprintf(param, sizeof param, "%.*s", (int)(part->name_size < 64 ? part->name_size : 64),
             part->name);
    openai_refuse(&f->reader, param, "Unknown parameter: '%s'", param);
    f->reader.err->code = "unknown_parameter";
    return -1;
}

static int take_part(struct form *f, const struct multipart_part *part)
{
    size_t i = 0, n = sizeof fields / sizeof *fields;
    llm_str v = { part->data, part->size };
    while (i < n && !multipart_is(part, fields[i].key))
        i++;
    if (i == n)
        return unknown(f, part);
    const char *key = fields[i].key;
    if (f->seen & 1u << i)
        return openai_refuse(&f->reader, key, "%s stands twice in the form", key);
    f->seen |= 1u << i;
    if (i > 0 && (!utf8_valid(v.ptr, v.len) || (v.len && memchr(v.ptr, 0, v.len))))
        return openai_refuse(&f->reader, key, "%s must be text in UTF-8", key);
    if (part->file != (i == 0))
        return openai_refuse(&f->reader, key,
                             i == 0 ? "%s must be sent as a file, with a filename"
                                    : "%s must be a text field, not a file",
                             key);
    return fields[i].take(f, key, v);
}

/* ---- the question ---------------------------------------------------------------------------- */

static int add(struct bytes *text, const char *before, llm_str v, const char *after)
{
    return bytes_add_text(text, before) < 0 || bytes_add(text, v.ptr, v.len) < 0 ||
                   bytes_add_text(text, after) < 0
               ? -1
               : 0;
}

/* One message of the user: the sound, and what to do with it. */
static int make_question(struct form *f)
{
    struct abi_request *abi = f->reader.abi;
    struct bytes text = BYTES_INIT(PROMPT_BYTES + 1024);
    int rc = bytes_add_text(&text, INSTRUCTION);
    if (rc == 0 && f->language.len)
        rc = add(&text, " The audio is in ", f->language, ".");
    if (rc == 0 && f->prompt.len)
        rc = add(&text, " Follow the spelling and style of this text: ", f->prompt, "");
    if (rc == 0)
        rc = abi_request_messages(abi, 1);
    if (rc == 0) {
        abi->messages[0].role = LLM_ROLE_USER;
        rc = abi_request_own(abi, text.data, text.size, &abi->messages[0].content);
    }
    bytes_free(&text);
    if (rc < 0 || abi_request_raw_media(abi, false, f->file) < 0)
        return openai_no_memory(&f->reader);
    return 0;
}

static int missing(struct form *f, const char *key)
{
    openai_refuse(&f->reader, key, "%s is missing", key);
    f->reader.err->code = "missing_parameter";
    return -1;
}

static int read_parts(struct form *f, const char *boundary, const char *body, size_t size)
{
    struct multipart form;
    struct multipart_part part;
    struct airlock_error why;
    int rc = multipart_begin(&form, boundary, body, size, &why);
    while (rc == 0 && (rc = multipart_next(&form, &part, &why)) > 0)
        if ((rc = take_part(f, &part)) < 0)
            return -1;
    if (rc == 0)
        return 0;
    openai_refuse(&f->reader, "", "The body is no form: %s", why.text);
    f->reader.err->code = "invalid_form";
    return -1;
}

int transcription_parse(const char *content_type, const char *body, size_t size,
                        struct transcription_request *out, struct abi_request *abi,
                        struct openai_error *err)
{
    struct form f = { .reader = { OPENAI_CHAT, &out->openai, abi, err }, .out = out };
    char boundary[MULTIPART_BOUNDARY_MAX + 1];
    *out = (struct transcription_request){ .openai = { .n = 1 } };
    if (!content_type || multipart_boundary(content_type, boundary) < 0)
        return openai_refuse(&f.reader, "Content-Type",
                             "this path takes multipart/form-data with a boundary");
    if (read_parts(&f, boundary, body, size) < 0)
        return -1;
    if (!f.file.ptr)
        return missing(&f, "file");
    if (!out->openai.model.ptr)
        return missing(&f, "model");
    if (out->text && out->openai.logprobs)
        return openai_refuse(&f.reader, "include[]", "logprobs need the response_format json");
    return make_question(&f);
}
