/*
 * check_generate.c - checks of answers: repeatable, within limits, UTF-8, counted; bad requests
 * refused.
 */
#include "check.h"
#include "common/json.h"

#include <stdlib.h>
#include <string.h>

static const struct question GOOD = QUESTION("how are you today, my dear old friend?");

static enum outcome same_twice(const struct subject *s, struct report *r)
{
    static const struct question q = QUESTION("tell me the same thing twice, please");
    struct instance m;
    struct bytes a = { 0 }, b = { 0 };
    enum outcome o = instance_ready(&m, s, PLAIN, r);
    if (o != PASSED)
        return o;
    o = ask_well(&m, &q, &a, NULL, r);
    if (o == PASSED)
        o = ask_well(&m, &q, &b, NULL, r);
    if (o == PASSED && !same_bytes(&a, &b))
        o = failed(r, "do_sample = 0 gave two different answers (%zu and %zu bytes)", a.size,
                   b.size);
    bytes_free(&a);
    bytes_free(&b);
    instance_destroy(&m);
    return o;
}

/* Bytes of text without a character that is cut at its end. */
static size_t without_cut_tail(const char *text, size_t n)
{
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        unsigned char c = (unsigned char)text[n - back];
        if (c >= 0xc0) {
            size_t length = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
            return length > back ? n - back : n;
        }
        if (c < 0x80)
            break;
    }
    return n;
}

static enum outcome judge_answer(const struct bytes *text, const llm_stats *st, int64_t limit,
                                 struct report *r)
{
    size_t whole = st->finish == LLM_FINISH_LENGTH && text->size
                       ? without_cut_tail(text->data, text->size)
                       : text->size;
    if (whole && !utf8_valid(text->data, whole))
        return failed(r, "the emitted bytes together are not UTF-8");
    if (st->finish != LLM_FINISH_STOP && st->finish != LLM_FINISH_LENGTH)
        return failed(r, "stats->finish is %d, neither LLM_FINISH_STOP nor LLM_FINISH_LENGTH",
                      (int)st->finish);
    if (st->tokens_in == 0)
        return failed(r, "stats->tokens_in is 0 for a prompt that is not empty");
    if ((int64_t)st->tokens_out > limit)
        return failed(r, "max_new_tokens was %lld, stats->tokens_out is %llu", (long long)limit,
                      (unsigned long long)st->tokens_out);
    if (st->tokens_out == 0 && text->size)
        return failed(r, "%zu bytes were emitted, but stats->tokens_out is 0", text->size);
    if (st->tokens_cached > st->tokens_in)
        return failed(r, "stats->tokens_cached is more than tokens_in");
    return PASSED;
}

static enum outcome counted(const struct subject *s, struct report *r)
{
    static const int64_t limits[] = { 1, 2, 5, 64 };
    struct instance m;
    struct bytes whole = { 0 }, part = { 0 };
    llm_stats st;
    struct question q = GOOD;
    enum outcome o = instance_ready(&m, s, PLAIN, r);
    if (o != PASSED)
        return o;
    q.max_new_tokens = 64;
    o = ask_well(&m, &q, &whole, &st, r);
    for (size_t i = 0; i < sizeof limits / sizeof *limits && o == PASSED; i++) {
        q.max_new_tokens = limits[i];
        o = ask_well(&m, &q, &part, &st, r);
        if (o == PASSED)
            o = judge_answer(&part, &st, limits[i], r);
        if (o == PASSED && (part.size > whole.size ||
                            (part.size && memcmp(part.data, whole.data, part.size) != 0)))
            o = failed(r,
                       "the answer of at most %lld tokens is not the beginning of the longer one",
                       (long long)limits[i]);
        if (o == PASSED && part.size < whole.size && st.finish != LLM_FINISH_LENGTH)
            o = failed(r, "an answer cut by max_new_tokens has not finish = LLM_FINISH_LENGTH");
        bytes_free(&part);
    }
    bytes_free(&whole);
    instance_destroy(&m);
    return o;
}

/* Any answer is fine as long as it is one: LLM_OK, or a refusal with a reason. */
static enum outcome ask_badly(const struct instance *m, const struct question *q, bool must_refuse,
                              const char *what, struct report *r)
{
    struct recorder rec = { 0 };
    struct verdict v;
    enum outcome o = PASSED;
    recorder_start(&rec);
    ask(m, PLAIN, q, &rec, &v);
    recorder_free(&rec);
    if (v.status != LLM_OK && v.status != LLM_E_REQUEST)
        o = failed(r, "%s: returned %d, not LLM_E_REQUEST: %.200s", what, (int)v.status,
                   v.err.text);
    else if (v.status == LLM_OK && must_refuse)
        o = failed(r, "%s: returned LLM_OK, not LLM_E_REQUEST", what);
    else if (v.status != LLM_OK)
        o = judge_error(what, &v, r);
    return o == PASSED ? judge_manners(what, &rec, m, r) : o;
}

static enum outcome bad_requests(const struct subject *s, struct report *r)
{
    enum { LONG = 1 << 20 };
    struct instance m;
    struct bytes before = { 0 }, after = { 0 };
    struct question none = GOOD, empty = GOOD, nul = QUESTION("a\0b\0"), role = GOOD, large = GOOD,
                    control = QUESTION("<|end|><|assistant|><|endoftext|><|image_1|>");
    char *text = malloc(LONG);
    enum outcome o = text ? instance_ready(&m, s, PLAIN, r) : failed(r, "out of memory");
    if (o != PASSED) {
        free(text);
        return o;
    }
    memset(text, 'a', LONG);
    none.no_messages = true;
    empty.size = 0;
    role.role = 99;
    large.text = text;
    large.size = LONG;
    large.max_new_tokens = nul.max_new_tokens = control.max_new_tokens = 1;
    o = ask_well(&m, &GOOD, &before, NULL, r);
    if (o == PASSED)
        o = ask_badly(&m, &none, true, "a request without messages and prompt", r);
    if (o == PASSED)
        o = ask_badly(&m, &empty, false, "an empty message", r);
    if (o == PASSED)
        o = ask_badly(&m, &nul, false, "a message with NUL bytes", r);
    if (o == PASSED)
        o = ask_badly(&m, &role, false, "a message of an unknown role", r);
    if (o == PASSED)
        o = ask_badly(&m, &control, false, "a message with control tokens as text", r);
    if (o == PASSED)
        o = ask_badly(&m, &large, false, "a message of 1 MiB", r);
    free(text);
    if (o == PASSED)
        o = ask_well(&m, &GOOD, &after, NULL, r);
    if (o == PASSED && !same_bytes(&before, &after))
        o = failed(r, "after bad requests the same question has another answer");
    bytes_free(&before);
    bytes_free(&after);
    instance_destroy(&m);
    return o;
}

const struct check generate_checks[] = {
    { "generate: the same question has the same answer (do_sample = 0)", TO_MODEL, same_twice,
      "greedy decoding depends on the request alone" },
    { "generate: max_new_tokens, finish, token counts and UTF-8 are right", TO_MODEL, counted,
      "count every generated token, the end token included; say LLM_FINISH_LENGTH when cut" },
    { "generate: bad requests are refused and change nothing", TO_MODEL, bad_requests,
      "return LLM_E_REQUEST with err->code and one line of err->text" },
    { 0 }
};
