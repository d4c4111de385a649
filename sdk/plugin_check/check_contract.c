/*
 * check_contract.c - checks that a plugin keeps to the memory it is given: sizes, read-only inputs,
 * lifetimes.
 */
#include "check.h"

/* A life with one answer, everything placed alike; adapters: open, targets, close. */
static enum outcome whole_life(const struct subject *s, enum placement placement, struct report *r)
{
    struct instance m;
    if (s->adapter) {
        struct verdict v;
        if (s->options->n_adapters == 0)
            return skipped(r, "give --adapter DIR");
        instance_create(&m, s, placement, s->options->adapters[0], NULL, &v);
        if (v.status != LLM_OK)
            return failed(r, "open() returned %d: %.300s", (int)v.status, v.err.text);
        for (uint64_t i = 0; builtin_site(i); i++)
            s->adapter->target(m.adapter, builtin_site(i)->module);
        instance_destroy(&m);
        return PASSED;
    }
    enum outcome o = instance_ready(&m, s, placement, r);
    if (o != PASSED)
        return o;
    struct question q = QUESTION("how are you today, my friend?");
    struct recorder rec = { 0 };
    struct verdict v;
    for (int i = 0; i < 2 && o == PASSED; i++) {
        recorder_start(&rec);
        ask(&m, placement, &q, &rec, &v);
        if (v.status != LLM_OK)
            o = failed(r, "generate() returned %d: %.300s", (int)v.status, v.err.text);
        else
            o = judge_manners("generate()", &rec, &m, r);
    }
    sleep_ms(20); /* a thread that goes on with what was released faults now */
    instance_destroy(&m);
    recorder_free(&rec);
    return o;
}

static enum outcome newer_host(const struct subject *s, struct report *r)
{
    return whole_life(s, LONGER, r);
}

static enum outcome guarded(const struct subject *s, struct report *r)
{
    return whole_life(s, GUARDED, r);
}

/* What a plugin writes behind the end of a newer host's structs must be nothing, and it must not
 * copy by its own idea of their size either: only struct_size may be used. */
const struct check contract_checks[] = {
    { "contract: works with a newer host whose structs are longer", TO_ANY, newer_host,
      "take struct_size as \"at least\"; read newer members after LLM_HAS only" },
    { "contract: reads and writes nothing beyond its inputs, nor after the call", TO_ANY, guarded,
      "inputs are read-only, end where they end (no NUL), and are gone when the call returns: copy "
      "what is needed later" },
    { 0 }
};
