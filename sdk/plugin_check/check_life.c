/*
 * check_life.c - checks of an instance's life: made, loaded and destroyed over and over, failing
 * included.
 */
#include "check.h"
#include "common/io.h"

static const char MISSING[] = "/nonexistent/airlock-plugin-check";

/* One life; fails when it should not. */
static enum outcome live_once(const struct subject *s, bool load, struct report *r)
{
    struct instance m;
    if (s->model && load) {
        enum outcome o = instance_ready(&m, s, PLAIN, r);
        if (o != PASSED)
            return o;
    } else {
        struct verdict v;
        const char *path = s->adapter ? s->options->adapters[0] : NULL;
        instance_create(&m, s, PLAIN, path, NULL, &v);
        if (v.status != LLM_OK && s->model && !s->options->model_path && v.status == LLM_E_CONFIG)
            return skipped(r, "needs a checkpoint: give --model DIR (%.200s)", v.err.text);
        if (v.status != LLM_OK)
            return failed(r, "%s returned %d: %.300s", s->model ? "create()" : "open()",
                          (int)v.status, v.err.text);
    }
    instance_destroy(&m);
    return m.misuse[0] ? failed(r, "%s", m.misuse) : PASSED;
}

static enum outcome live_often(const struct subject *s, bool load, struct report *r)
{
    struct footprint before = { 0 }, after;
    uint64_t start = io_now_ns(), limit = ROUNDS_MS * UINT64_C(1000000);
    unsigned round = 0;
    enum { WARM = 2 }; /* first lives may set up what lasts as long as the process */
    for (; round < ROUNDS && (round < WARM + 3 || io_now_ns() - start < limit); round++) {
        if (round == WARM)
            footprint_take(&before);
        enum outcome o = live_once(s, load, r);
        if (o != PASSED)
            return o;
    }
    footprint_take(&after);
    note(r, "%u lives", round);
    return footprint_compare(&before, &after, round - WARM, r);
}

static enum outcome create_destroy(const struct subject *s, struct report *r)
{
    if (s->adapter && s->options->n_adapters == 0)
        return skipped(r, "give --adapter DIR");
    return live_often(s, false, r);
}

static enum outcome create_load_destroy(const struct subject *s, struct report *r)
{
    return live_often(s, true, r);
}

/* create() or open() of a directory that is not there, then load(). */
static enum outcome fail_once(const struct subject *s, struct report *r)
{
    struct instance m;
    struct verdict v;
    struct recorder rec = { 0 };
    const char *call = s->model ? "create()" : "open()";
    instance_create(&m, s, PLAIN, MISSING, NULL, &v);
    if (v.status == LLM_OK && s->model) {
        call = "load()";
        recorder_start(&rec);
        instance_load(&m, &rec, &v);
        recorder_free(&rec);
    } else if (v.status != LLM_OK && (m.model || m.adapter)) {
        return failed(r, "%s failed but touched *out", call);
    }
    instance_destroy(&m);
    return v.status == LLM_OK ? PASSED : judge_error(call, &v, r);
}

static enum outcome missing_path(const struct subject *s, struct report *r)
{
    struct footprint before = { 0 }, after;
    enum { TRIES = 20, WARM = 2 };
    for (int i = 0; i < TRIES; i++) {
        if (i == WARM)
            footprint_take(&before);
        enum outcome o = fail_once(s, r);
        if (o != PASSED)
            return o;
    }
    footprint_take(&after);
    return footprint_compare(&before, &after, TRIES - WARM, r);
}

static enum outcome load_cancelled(const struct subject *s, struct report *r)
{
    struct instance m;
    struct verdict v;
    struct recorder rec = { 0 };
    instance_create(&m, s, PLAIN, NULL, NULL, &v);
    if (v.status != LLM_OK)
        return s->options->model_path
                   ? failed(r, "create() returned %d: %.300s", (int)v.status, v.err.text)
                   : skipped(r, "needs a checkpoint: give --model DIR");
    recorder_start(&rec);
    rec.stop = true;
    instance_load(&m, &rec, &v);
    recorder_free(&rec);
    instance_destroy(&m);
    unsigned long long ms = v.took_ns / 1000000;
    note(r, "returned %d after %llu ms", (int)v.status, ms);
    if (ms > (unsigned long long)(CANCEL_MS * s->options->slow))
        return failed(r, "load() went on for %llu ms after the host had said stop", ms);
    if (v.status == LLM_OK || (v.status == LLM_E_CONFIG && !s->options->model_path))
        return PASSED; /* it had nothing to do */
    if (v.status != LLM_E_CANCELLED)
        return failed(r, "load() that was told to stop returned %d, not LLM_E_CANCELLED: %.200s",
                      (int)v.status, v.err.text);
    return judge_error("load()", &v, r);
}

const struct check life_checks[] = {
    { "life: create and destroy (open and close) leave nothing behind", TO_ANY, create_destroy,
      "free what create() took, close files, join threads" },
    { "life: create, load and destroy leave nothing behind", TO_MODEL, create_load_destroy,
      "destroy() frees, closes and joins everything that load() made" },
    { "life: a missing checkpoint is an error with a reason", TO_ANY, missing_path,
      "set err->code to what is returned and err->text to one line; leave *out alone" },
    { "life: load can be cancelled", TO_MODEL, load_cancelled,
      "ask cancelled() at least every 100 ms of load() and return LLM_E_CANCELLED" },
    { 0 }
};
