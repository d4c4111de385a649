/*
 * check_cancel.c - checks that generation stops soon after the host says so, and harms nobody else.
 */
#include "check.h"

#include <pthread.h>
#include <string.h>

static const struct question LONG_ANSWER = {
    .text = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen",
    .size =
        sizeof "one two three four five six seven eight nine ten eleven twelve thirteen fourteen" -
        1,
    .role = LLM_ROLE_USER,
    .max_new_tokens = 4096,
};

static enum outcome judge_stop(const char *when, const struct verdict *v,
                               const struct recorder *rec, const struct instance *m,
                               struct report *r)
{
    unsigned long long ms = v->after_stop_ns / 1000000;
    if (ms > (unsigned long long)(CANCEL_MS * m->subject->options->slow))
        return failed(r, "%s: generate() went on for %llu ms after the host had said stop", when,
                      ms);
    if (v->status == LLM_OK && rec->stop_ns == 0)
        return PASSED; /* it had finished before anybody could say stop */
    if (v->status != LLM_E_CANCELLED)
        return failed(r, "%s: returned %d, not LLM_E_CANCELLED", when, (int)v->status);
    return judge_error("generate()", v, r);
}

/* The nth emit() says stop; then an ordinary question has its ordinary answer. */
static enum outcome stop_by_emit(const struct subject *s, struct report *r)
{
    static const unsigned places[] = { 1, 2, 7 };
    static const struct question q = QUESTION("how are you today?");
    struct instance m;
    struct bytes before = { 0 }, after = { 0 };
    uint64_t worst = 0;
    enum outcome o = instance_ready(&m, s, PLAIN, r);
    if (o != PASSED)
        return o;
    o = ask_well(&m, &q, &before, NULL, r);
    for (size_t i = 0; i < sizeof places / sizeof *places && o == PASSED; i++) {
        struct recorder rec = { 0 };
        struct verdict v;
        recorder_start(&rec);
        rec.stop_at = places[i];
        ask(&m, PLAIN, &LONG_ANSWER, &rec, &v);
        o = judge_stop("emit() said stop", &v, &rec, &m, r);
        worst = v.after_stop_ns > worst ? v.after_stop_ns : worst;
        recorder_free(&rec);
    }
    if (o == PASSED)
        o = ask_well(&m, &q, &after, NULL, r);
    if (o == PASSED && !same_bytes(&before, &after))
        o = failed(r, "after a cancelled request the same question has another answer");
    note(r, "latest return %.2f ms after stop", (double)worst / 1e6);
    bytes_free(&before);
    bytes_free(&after);
    instance_destroy(&m);
    return o;
}

static void *stop_later(void *arg)
{
    struct recorder *rec = arg;
    sleep_ms(5);
    rec->stop = true;
    return NULL;
}

/* cancelled() turns true while it works. */
static enum outcome stop_by_poll(const struct subject *s, struct report *r)
{
    struct instance m;
    enum outcome o = instance_ready(&m, s, PLAIN, r);
    if (o != PASSED)
        return o;
    uint64_t worst = 0;
    for (int i = 0; i < 3 && o == PASSED; i++) {
        struct recorder rec = { 0 };
        struct verdict v;
        pthread_t thread;
        recorder_start(&rec);
        if (i == 0)
            rec.stop = true; /* from the first moment: in prefill */
        else if (pthread_create(&thread, NULL, stop_later, &rec) != 0)
            return failed(r, "cannot start a thread");
        ask(&m, PLAIN, &LONG_ANSWER, &rec, &v);
        if (i > 0)
            pthread_join(thread, NULL);
        o = judge_stop(i == 0 ? "stop from the start" : "stop in between", &v, &rec, &m, r);
        if (o == PASSED && i == 0 && v.status == LLM_OK && rec.emits > 0)
            o = failed(r, "stop from the start: it answered all the same");
        worst = v.after_stop_ns > worst ? v.after_stop_ns : worst;
        recorder_free(&rec);
    }
    note(r, "latest return %.2f ms after stop", (double)worst / 1e6);
    instance_destroy(&m);
    return o;
}

/* The host's cancelled() says stop when the deadline is past; a plugin may look itself. */
static enum outcome deadline_past(const struct subject *s, struct report *r)
{
    struct instance m;
    struct recorder rec = { 0 };
    struct verdict v;
    struct question q = LONG_ANSWER;
    enum outcome o = instance_ready(&m, s, PLAIN, r);
    if (o != PASSED)
        return o;
    q.deadline_ns = 1;
    recorder_start(&rec);
    rec.stop = true;
    ask(&m, PLAIN, &q, &rec, &v);
    if (v.status != LLM_E_CANCELLED)
        o = failed(r, "a request whose deadline was past returned %d, not LLM_E_CANCELLED",
                   (int)v.status);
    else
        o = judge_error("generate()", &v, r);
    if (o == PASSED && rec.text.size > 0)
        o = failed(r, "a request whose deadline was past has output");
    recorder_free(&rec);
    instance_destroy(&m);
    return o;
}

const struct check cancel_checks[] = {
    { "cancel: generate stops when emit says so", TO_MODEL, stop_by_emit,
      "when emit() returns nonzero, return LLM_E_CANCELLED within 250 ms" },
    { "cancel: generate stops when cancelled says so", TO_MODEL, stop_by_poll,
      "ask cancelled() at least every 100 ms of work that emits nothing, prefill included" },
    { "cancel: a deadline that is past ends a request", TO_MODEL, deadline_past,
      "return LLM_E_CANCELLED when cancelled() or emit() says stop" },
    { 0 }
};
