/* fuzz_openai_request.c - any text as the body of OpenAI's routes (the first byte says which):
 * refused with a sentence, or what the model would be told is whole and within the limits. */
#include "server/openai_request.h"

#include "common/json.h"
#include "common/limits.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int ok)
{
    if (!ok)
        abort();
}

static void must_be_text(llm_str s)
{
    must(s.len == 0 || utf8_valid(s.ptr, s.len));
}

static void judge(const struct openai_request *q, struct abi_request *abi)
{
    struct airlock_error err;
    const llm_params *p = &abi->params;
    must(q->model.ptr && q->n >= 1 && q->n * (q->n_prompts ? q->n_prompts : 1) <= LIMIT_CHOICES);
    must(!(p->set & LLM_P_TEMPERATURE) || (p->temperature > 0 && p->temperature <= 2));
    must(!(p->set & LLM_P_TOP_P) || (p->top_p > 0 && p->top_p <= 1));
    must(!(p->set & LLM_P_LOGPROBS) || (p->logprobs >= 0 && p->logprobs <= LIMIT_TOP_LOGPROBS));
    if (abi_request_finish(abi, &err) < 0)
        return;
    for (uint64_t i = 0; i < abi->abi.n_messages; i++) {
        must(abi->messages[i].role >= LLM_ROLE_SYSTEM && abi->messages[i].role <= LLM_ROLE_TOOL);
        must_be_text(abi->messages[i].content);
        must_be_text(abi->messages[i].tool_calls);
    }
    for (uint64_t i = 0; i < abi->abi.n_stop; i++)
        must(abi->abi.stop[i].len > 0 && abi->abi.stop[i].len <= LIMIT_STOP_BYTES);
    for (uint64_t i = 0; i < abi->abi.n_logit_bias; i++)
        must(fabs(abi->abi.logit_bias[i]->bias) <= 100);
    must_be_text(abi->abi.tools);
    must_be_text(abi->constraint.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum openai_route routes[] = { OPENAI_CHAT, OPENAI_TEXT, OPENAI_TOKENIZE,
                                                OPENAI_DETOKENIZE };
    struct openai_request q;
    struct openai_error err = { 0 };
    struct abi_request abi;
    if (size == 0)
        return 0;
    abi_request_init(&abi);
    if (openai_parse(routes[data[0] % 4], (const char *)data + 1, size - 1, &q, &abi, &err) == 0)
        judge(&q, &abi);
    else
        must((err.status == 400 || err.status == 503) && *err.message && err.type);
    openai_request_free(&q);
    abi_request_free(&abi);
    return 0;
}
