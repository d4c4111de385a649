/*
 * check_together.c - checks that requests at once, and adapters at once, answer as they do alone.
 */
#include "check.h"

#include <pthread.h>
#include <stdio.h>

/* ---- adapters of the model under test -------------------------------------------------------- */

/* The adapters that are attached: from --adapter-plugin and --adapter, or two built-in ones. */
struct adapter_set {
    struct subject subject;
    struct check_options options;
    struct instance instances[ADAPTERS_MAX];
    llm_adapter adapters[ADAPTERS_MAX];
    unsigned n;
};

static enum outcome add_adapter(struct adapter_set *set, const struct instance *m, const char *path,
                                bool *refused, struct report *r)
{
    unsigned i = set->n;
    struct verdict v;
    instance_create(&set->instances[i], &set->subject, PLAIN, path, m, &v);
    if (v.status != LLM_OK)
        return failed(r, "the adapter %s cannot be opened: %d %.200s", path, (int)v.status,
                      v.err.text);
    set->adapters[i] = (llm_adapter){ .struct_size = sizeof(llm_adapter),
                                      .slot = i,
                                      .version = i + 1,
                                      .name = path,
                                      .cls = set->subject.adapter,
                                      .inst = set->instances[i].adapter };
    llm_error err = { .struct_size = sizeof err };
    llm_status status = m->subject->model->attach(m->model, &set->adapters[i], &err);
    *refused = status != LLM_OK;
    if (status == LLM_OK) {
        set->n++;
        return PASSED;
    }
    v.status = status;
    v.err = err;
    instance_destroy(&set->instances[i]);
    return judge_error("attach()", &v, r);
}

static enum outcome open_adapter_plugin(struct adapter_set *set, const struct instance *m,
                                        struct report *r)
{
    static const llm_class builtin = { sizeof builtin, LLM_KIND_ADAPTER, "built-in", NULL,
                                       &builtin_adapter };
    const struct check_options *opt = m->subject->options;
    struct airlock_error err;
    *set = (struct adapter_set){ .options = *opt };
    set->subject.options = &set->options;
    set->options.options = NULL;
    if (!opt->adapter_plugin) {
        set->subject.class = &builtin;
        set->subject.adapter = &builtin_adapter;
        return PASSED;
    }
    if (subject_open(opt->adapter_plugin, NULL, LLM_KIND_ADAPTER, &set->subject, &err) != 0)
        return failed(r, "--adapter-plugin: %s", err.text);
    return PASSED;
}

static enum outcome attach_all(struct adapter_set *set, const struct instance *m, struct report *r)
{
    static const char *const builtin[] = { "1", "2" };
    const struct check_options *opt = m->subject->options;
    const char *const *paths = opt->adapter_plugin ? opt->adapters : builtin;
    unsigned n = opt->adapter_plugin ? opt->n_adapters : 2;
    enum outcome o = open_adapter_plugin(set, m, r);
    for (unsigned i = 0; i < n && o == PASSED; i++) {
        bool refused;
        o = add_adapter(set, m, paths[i], &refused, r);
        if (o == PASSED && refused && !opt->adapter_plugin)
            return skipped(r, "it takes no adapter without matrices: give --adapter-plugin and "
                              "--adapter");
        if (o == PASSED && refused)
            return failed(r, "attach() refuses the adapter %s", paths[i]);
    }
    return o;
}

static void detach_all(struct adapter_set *set, const struct instance *m)
{
    for (unsigned i = 0; i < set->n; i++) {
        m->subject->model->detach(m->model, &set->adapters[i]);
        instance_destroy(&set->instances[i]);
    }
    set->n = 0;
}

/* A loaded model with its adapters; SKIPPED when it takes none. */
static enum outcome ready_with_adapters(struct instance *m, struct adapter_set *set,
                                        const struct subject *s, struct report *r)
{
    if (!(s->model->caps & LLM_CAP_ADAPTERS))
        return skipped(r, "it takes no adapters");
    enum outcome o = instance_ready(m, s, PLAIN, r);
    if (o != PASSED)
        return o;
    o = attach_all(set, m, r);
    if (o != PASSED) {
        detach_all(set, m);
        instance_destroy(m);
    }
    return o;
}

/* ---- requests at once ------------------------------------------------------------------------ */

struct caller {
    const struct instance *m;
    struct question q;
    struct bytes alone, beside;
    struct report report;
    enum outcome outcome;
    pthread_t thread;
};

static void *call_thread(void *arg)
{
    struct caller *c = arg;
    c->outcome = ask_well(c->m, &c->q, &c->beside, NULL, &c->report);
    return NULL;
}

static unsigned callers_of(const struct subject *s)
{
    uint32_t n = s->model->max_concurrent;
    return n == 0 || n > CALLERS_MAX ? CALLERS_MAX : n;
}

/* Asks each caller's question alone, then all at once, three times. */
static enum outcome compare(struct caller *callers, unsigned n, struct report *r)
{
    enum outcome o = PASSED;
    for (unsigned i = 0; i < n && o == PASSED; i++)
        o = ask_well(callers[i].m, &callers[i].q, &callers[i].alone, NULL, r);
    for (unsigned round = 0; round < 3 && o == PASSED; round++) {
        unsigned started = 0;
        while (started < n &&
               pthread_create(&callers[started].thread, NULL, call_thread, &callers[started]) == 0)
            started++;
        for (unsigned i = 0; i < started; i++)
            pthread_join(callers[i].thread, NULL);
        if (started < n)
            o = failed(r, "cannot start a thread");
        for (unsigned i = 0; i < started && o == PASSED; i++) {
            if (callers[i].outcome != PASSED)
                o = failed(r, "caller %u of %u: %.400s", i, n, callers[i].report.text);
            else if (!same_bytes(&callers[i].alone, &callers[i].beside))
                o = failed(r, "caller %u of %u (adapter %s) got another answer than alone", i, n,
                           callers[i].q.adapter ? callers[i].q.adapter->name : "none");
            bytes_free(&callers[i].beside);
        }
    }
    for (unsigned i = 0; i < n; i++)
        bytes_free(&callers[i].alone);
    return o;
}

static void set_questions(struct caller *callers, char text[][64], unsigned n,
                          const struct instance *m)
{
    for (unsigned i = 0; i < n; i++) {
        int size = snprintf(text[i], 64, "this is question number %u, what do you say?", i);
        callers[i] = (struct caller){ .m = m, .q = QUESTION("") };
        callers[i].q.text = text[i];
        callers[i].q.size = (size_t)size;
    }
}

static enum outcome at_once(const struct subject *s, struct report *r)
{
    struct caller callers[CALLERS_MAX];
    char text[CALLERS_MAX][64];
    struct instance m;
    unsigned n = callers_of(s);
    enum outcome o = instance_ready(&m, s, PLAIN, r);
    if (o != PASSED)
        return o;
    set_questions(callers, text, n, &m);
    o = compare(callers, n, r);
    instance_destroy(&m);
    note(r, "%u at once", n);
    return o;
}

static enum outcome adapters_at_once(const struct subject *s, struct report *r)
{
    static struct adapter_set set; /* large */
    struct caller callers[CALLERS_MAX];
    char text[CALLERS_MAX][64];
    struct instance m;
    unsigned n = callers_of(s);
    enum outcome o = ready_with_adapters(&m, &set, s, r);
    if (o != PASSED)
        return o;
    set_questions(callers, text, n, &m);
    for (unsigned i = 0; i < n; i++) /* the base model is one of them */
        callers[i].q.adapter = i % (set.n + 1) ? &set.adapters[i % (set.n + 1) - 1] : NULL;
    o = compare(callers, n, r);
    detach_all(&set, &m);
    instance_destroy(&m);
    note(r, "%u at once", n);
    return o;
}

static enum outcome base_unaffected(const struct subject *s, struct report *r)
{
    static struct adapter_set set;
    static const struct question q = QUESTION("how are you today, my friend?");
    struct question with = q;
    struct bytes before = { 0 }, other = { 0 }, after = { 0 };
    struct instance m, plain;
    enum outcome o = ready_with_adapters(&m, &set, s, r);
    if (o != PASSED)
        return o;
    o = instance_ready(&plain, s, PLAIN, r);
    if (o == PASSED) {
        o = ask_well(&plain, &q, &before, NULL, r);
        instance_destroy(&plain);
    }
    for (unsigned i = 0; i < set.n && o == PASSED; i++) {
        with.adapter = &set.adapters[i];
        bytes_free(&other);
        o = ask_well(&m, &with, &other, NULL, r);
    }
    if (o == PASSED)
        o = ask_well(&m, &q, &after, NULL, r);
    if (o == PASSED && !same_bytes(&before, &after))
        o = failed(r, "without an adapter it answers otherwise than a model that never had one");
    if (o == PASSED)
        note(r, "%s",
             same_bytes(&before, &other) ? "the last adapter changes nothing here"
                                         : "the last adapter changes the answer");
    detach_all(&set, &m);
    instance_destroy(&m);
    bytes_free(&before);
    bytes_free(&other);
    bytes_free(&after);
    return o;
}

static enum outcome wrong_shape(const struct subject *s, struct report *r)
{
    static struct adapter_set set;
    struct check_options opt = *s->options;
    struct subject plain = *s;
    struct instance m;
    bool refused;
    opt.adapter_plugin = NULL; /* the built-in one has a wrong variant */
    plain.options = &opt;
    if (!(s->model->caps & LLM_CAP_ADAPTERS))
        return skipped(r, "it takes no adapters");
    enum outcome o = instance_ready(&m, &plain, PLAIN, r);
    if (o != PASSED)
        return o;
    if (!s->model->site(m.model, 0))
        o = skipped(r, "it has no layer that adapters may change");
    if (o == PASSED)
        o = open_adapter_plugin(&set, &m, r);
    if (o == PASSED)
        o = add_adapter(&set, &m, "wrong", &refused, r);
    if (o == PASSED && !refused)
        o = failed(r, "attach() took an adapter whose shapes fit no layer");
    detach_all(&set, &m);
    instance_destroy(&m);
    return o;
}

static enum outcome attach_often(const struct subject *s, struct report *r)
{
    static struct adapter_set set;
    struct footprint before = { 0 }, after;
    struct instance m;
    enum { TIMES = 50, WARM = 2 };
    enum outcome o = ready_with_adapters(&m, &set, s, r);
    if (o != PASSED)
        return o;
    detach_all(&set, &m);
    for (int i = 0; i < TIMES && o == PASSED; i++) {
        if (i == WARM)
            footprint_take(&before);
        o = attach_all(&set, &m, r);
        detach_all(&set, &m);
    }
    footprint_take(&after);
    if (o == PASSED)
        o = footprint_compare(&before, &after, TIMES - WARM, r);
    instance_destroy(&m);
    return o;
}

const struct check together_checks[] = {
    { "concurrency: max_concurrent requests at once answer as alone", TO_MODEL, at_once,
      "keep what belongs to a request out of the instance, or lower max_concurrent" },
    { "adapter: adapters mixed at once answer as alone", TO_MODEL, adapters_at_once,
      "the adapter is an argument of the request: never \"set the active adapter\"" },
    { "adapter: the base model is not changed by adapters", TO_MODEL, base_unaffected,
      "do not merge adapters into the weights" },
    { "adapter: a wrong shape is refused by attach", TO_MODEL, wrong_shape,
      "compare the targets' in_dim and out_dim with the sites; return LLM_E_CONFIG" },
    { "adapter: attach and detach leave nothing behind", TO_MODEL, attach_often,
      "detach() frees what attach() made" },
    { 0 }
};
