/*
 * check.h - what the parts of airlock-plugin-check share: the plugin under test, its instances,
 * what a check reports.
 *
 * Every check runs in a child process of its own that has opened the plugin afresh, so that a crash
 * or a spoiled process ends one check only.  Single-threaded unless a comment says otherwise.
 */
#ifndef AIRLOCK_PLUGIN_CHECK_CHECK_H
#define AIRLOCK_PLUGIN_CHECK_CHECK_H

#include "arena.h"
#include "common/bytes.h"
#include "common/error.h"

#include <airlock/llm_adapter.h>
#include <airlock/llm_model.h>
#include <stdatomic.h>
#include <stdbool.h>

enum {
    ADAPTERS_MAX = 16,
    CANCEL_MS = 250,        /* from the host's answer to LLM_E_CANCELLED: the ABI's promise */
    CHECK_SECONDS = 300,    /* one check; a plugin that hangs is killed then */
    ROUNDS = 100,           /* lives of an instance, unless ... */
    ROUNDS_MS = 10000,      /* ... they take longer than this; 5 are always made */
    CALLERS_MAX = 8,        /* requests at once, whatever max_concurrent says */
    ANSWER_BYTES = 16 << 20 /* ceiling of one recorded answer */
};

/* What the command line says. */
struct check_options {
    const char *plugin, *class_name;                   /* class_name NULL: the first class */
    const char *model_path, *device, *dtype, *options; /* of llm_config; NULL: empty */
    int64_t max_context;
    const char *model_plugin;   /* whose layers an adapter plugin is opened for; NULL: built-in */
    const char *adapter_plugin; /* NULL: built-in adapters */
    const char *adapters[ADAPTERS_MAX];
    unsigned n_adapters;
    int64_t slow; /* factor on every time limit */
};

/* A plugin opened in this process. */
struct subject {
    const struct check_options *options;
    const llm_plugin *plugin;
    const llm_class *class;
    const llm_model_class *model;     /* NULL: an adapter plugin */
    const llm_adapter_class *adapter; /* NULL: a model plugin */
};

enum outcome { PASSED, FAILED, SKIPPED, NOT_LISTED };

/* Of one check.  note is printed whatever the outcome. */
struct report {
    char text[1024], note[256];
};

enum outcome failed(struct report *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
enum outcome skipped(struct report *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void note(struct report *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

enum check_applies { TO_FILE, TO_ANY, TO_MODEL, TO_ADAPTER };

struct check {
    const char *name; /* a sentence: what is right when it passes */
    enum check_applies applies;
    enum outcome (*run)(const struct subject *s, struct report *r); /* TO_FILE: s->plugin is NULL */
    const char *advice;                                             /* printed when it fails */
};

/* Ends with name NULL; each table is in the file of its name. */
extern const struct check file_checks[], life_checks[], contract_checks[], generate_checks[],
    cancel_checks[], together_checks[], adapter_checks[], manners_checks[];

/* ---- subject.c ------------------------------------------------------------------------------ */

/* Pre-flight, dlopen, query, and the class that class_name (NULL: the first) and kind (0: any)
 * name. 0, or -1 with err. */
int subject_open(const char *path, const char *class_name, uint32_t kind, struct subject *out,
                 struct airlock_error *err);

/* ---- instance.c ----------------------------------------------------------------------------- */

/* One model or adapter instance with a host of its own. */
struct instance {
    const struct subject *subject;
    struct arena arena; /* what must live as long as the instance */
    const llm_host *host;
    llm_model *model;
    llm_adapter_inst *adapter;
    const struct instance *base; /* adapter: the model whose sites it sees; NULL: built-in sites */
    atomic_bool live;
    char misuse[160]; /* what the plugin did to the host that it may not; empty: nothing */
};

/* Output and cancellation of one call; filled by the plugin's threads. */
struct recorder {
    struct bytes text;
    atomic_uint emits, tokens, polls, busy;
    atomic_bool live, stop;
    bool silent;                  /* of load(): emit() is a mistake */
    unsigned stop_at;             /* the emit() that says stop; 0: none */
    atomic_uint_fast64_t stop_ns; /* when stop was first said to anybody */
    char misuse[160];
};

void recorder_start(struct recorder *rec);
void recorder_free(struct recorder *rec);

/* The sink that fills rec, in arena. */
const llm_sink *recorder_sink(struct recorder *rec, struct arena *arena);

/* Where the error and statistics of one call are. */
struct verdict {
    llm_status status;
    llm_error err;
    llm_stats stats;
    uint64_t took_ns, after_stop_ns; /* after_stop_ns: from the first "stop" to the return */
};

/* create(), or open() of an adapter directory.  path NULL: options->model_path. */
void instance_create(struct instance *m, const struct subject *s, enum placement placement,
                     const char *path, const struct instance *base, struct verdict *v);
void instance_load(struct instance *m, struct recorder *rec, struct verdict *v);
void instance_destroy(struct instance *m); /* destroy() or close(); a NULL instance is fine */

/* create and load that must succeed: PASSED, FAILED, or SKIPPED when it needs a checkpoint and
 * --model was not given. */
enum outcome instance_ready(struct instance *m, const struct subject *s, enum placement placement,
                            struct report *r);

struct question {
    const char *text;
    size_t size;
    int32_t role;
    bool no_messages;
    int64_t max_new_tokens;
    uint64_t deadline_ns;
    const llm_adapter *adapter;
};

#define QUESTION(text_)                                                                            \
    {                                                                                              \
        .text = (text_), .size = sizeof(text_) - 1, .role = LLM_ROLE_USER, .max_new_tokens = 16    \
    }

/* generate(), greedily.  [any thread] */
void ask(const struct instance *m, enum placement placement, const struct question *q,
         struct recorder *rec, struct verdict *v);

/* ask() that must succeed, with its text kept in out (freed by the caller). */
enum outcome ask_well(const struct instance *m, const struct question *q, struct bytes *out,
                      llm_stats *stats, struct report *r);

bool same_bytes(const struct bytes *a, const struct bytes *b);

/* A failed call has told its code and one line of text: PASSED or FAILED. */
enum outcome judge_error(const char *call, const struct verdict *v, struct report *r);

/* What a call did to its sink or host that it may not. */
enum outcome judge_manners(const char *call, const struct recorder *rec, const struct instance *m,
                           struct report *r);

/* ---- builtin.c ------------------------------------------------------------------------------ */

extern const llm_adapter_class builtin_adapter; /* path "1.5": y += 1.5 * x[0] on every site;
                                                   "wrong": targets of a wrong shape */
const llm_site *builtin_site(uint64_t i);       /* for adapter plugins without a model */

/* ---- measure.c ------------------------------------------------------------------------------ */

struct footprint {
    unsigned descriptors, threads;
    uint64_t heap; /* bytes in use; 0: not known */
};
void footprint_take(struct footprint *f);
/* Whether the process grew over `rounds` equal rounds: PASSED or FAILED naming what grew. */
enum outcome footprint_compare(const struct footprint *before, const struct footprint *after,
                               unsigned rounds, struct report *r);
void sleep_ms(unsigned ms);

#endif
