/* fuzz_transcription.c - any bytes as a form (its Content-Type up to the first line feed): its
 * parts lie within it and in order, and what the model would be told is whole. */
#include "common/json.h"
#include "common/limits.h"
#include "common/multipart.h"
#include "server/transcription_request.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int ok)
{
    if (!ok)
        abort();
}

/* True: the form is whole. */
static bool read_parts(const char *boundary, const char *body, size_t size)
{
    struct multipart form;
    struct multipart_part part;
    struct airlock_error err = { 0 };
    const char *least = body;
    unsigned n = 0;
    int rc = multipart_begin(&form, boundary, body, size, &err);
    while (rc == 0 && (rc = multipart_next(&form, &part, &err)) > 0) {
        must(part.name > least && part.name + part.name_size < part.data);
        must(part.name_size > 0 && part.name_size <= MULTIPART_NAME_MAX);
        must(part.data + part.size < body + size);
        must(!memmem(part.data, part.size, form.mark, form.mark_size));
        must(++n <= MULTIPART_PARTS_MAX);
        least = part.data + part.size;
        rc = 0;
    }
    must(rc == 0 || (err.code == AIRLOCK_E_REQUEST && *err.text));
    return rc == 0;
}

static void judge(const struct transcription_request *q, struct abi_request *abi)
{
    struct airlock_error err;
    const llm_params *p = &abi->params;
    must(q->openai.model.len > 0 && utf8_valid(q->openai.model.ptr, q->openai.model.len));
    must(!(p->set & LLM_P_TEMPERATURE) || (p->temperature > 0 && p->temperature <= 1));
    must(!q->text || !q->openai.logprobs);
    must(abi_request_finish(abi, &err) == 0);
    must(abi->abi.n_messages == 1 && abi->abi.n_audios == 1 && abi->abi.n_images == 0);
    must(abi->abi.audios[0]->bytes.len > 0);
    llm_str text = abi->messages[0].content;
    must(utf8_valid(text.ptr, text.len) && strncmp(text.ptr, "<|audio_1|>", 11) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *newline = size ? memchr(data, '\n', size) : NULL;
    struct transcription_request q;
    struct openai_error err = { 0 };
    struct abi_request abi;
    char boundary[MULTIPART_BOUNDARY_MAX + 1], type[512];
    size_t n = newline ? (size_t)(newline - data) : 0;
    if (!newline || n >= sizeof type)
        return 0;
    memcpy(type, data, n);
    type[n] = 0;
    const char *body = (const char *)newline + 1;
    size -= n + 1;
    bool whole = multipart_boundary(type, boundary) == 0 && read_parts(boundary, body, size);
    abi_request_init(&abi);
    if (transcription_parse(type, body, size, &q, &abi, &err) == 0) {
        must(whole);
        judge(&q, &abi);
    } else {
        must((err.status == 400 || err.status == 503) && *err.message && err.type);
    }
    openai_request_free(&q.openai);
    abi_request_free(&abi);
    return 0;
}
