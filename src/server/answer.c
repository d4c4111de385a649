/* answer.c - see answer.h. */
#include "server/answer.h"

#include "common/http_server.h"
#include "common/io.h"
#include "common/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { THREAD_STACK = 2 << 20, TOKENS_PENDING_MAX = 65536 };

/* An event in a queue. */
struct node {
    struct node *next;
    struct answer_event event;
};

struct choice {
    struct answer *answer;
    size_t index;
    pthread_t thread;
    bool started; /* its thread must be joined */
    llm_request request;
    llm_params params;
    /* of the calling plugin, one thread at a time */
    struct json_object **told; /* tokens whose text has not come yet, oldest first */
    size_t n_told, told_capacity;
    uint64_t covered; /* bytes of the tokens that were handed on */
    unsigned calls;
    /* under the answer's lock */
    struct node *first, **end;
    bool ended, reported;
    struct answer_choice_result result;
    uint64_t run_ns;
};

struct answer {
    struct answer_order order;
    struct generation_output output; /* without ctx */
    pthread_mutex_t lock;            /* of what follows, and of the choices where it says so */
    pthread_cond_t news, room;
    size_t queued, made; /* bytes in the queues; bytes of all text */
    size_t turn;         /* whose queue is looked at first */
    struct admission_place place;
    bool entered, refused; /* a place among the adapter's requests: got, or not */
    unsigned running;      /* threads */
    bool failed;           /* error holds why */
    struct airlock_error error;
    uint64_t wait_ns;
    atomic_bool closed; /* nobody reads, or one choice has failed */
    size_t n;
    struct choice choices[];
};

/* ---- tokens ---------------------------------------------------------------------------------- */

static void on_token(void *ctx, const llm_token *token)
{
    struct choice *c = ctx;
    if (c->n_told == c->told_capacity) {
        size_t capacity = c->told_capacity ? c->told_capacity * 2 : 16;
        struct json_object **told =
            capacity <= TOKENS_PENDING_MAX ? realloc(c->told, capacity * sizeof *told) : NULL;
        if (!told)
            return;
        c->told = told;
        c->told_capacity = capacity;
    }
    c->told[c->n_told++] = token_json(token);
}

static size_t token_bytes(struct json_object *token)
{
    struct json_object *bytes = NULL;
    json_object_object_get_ex(token, "bytes", &bytes);
    return bytes ? json_object_array_length(bytes) : 0;
}

/* The tokens that text up to `raw` bytes comes from, and were not handed on yet.  What belongs to a
 * stop string, or is an end token, stays behind for ever. */
static struct json_object *take_tokens(struct choice *c, uint64_t raw)
{
    struct json_object *list = json_object_new_array();
    size_t n = 0;
    for (; n < c->n_told && c->covered < raw; n++) { /* moved: json-c counts without locks */
        c->covered += token_bytes(c->told[n]);
        json_object_array_add(list, c->told[n]);
    }
    c->n_told -= n;
    if (n)
        memmove(c->told, c->told + n, c->n_told * sizeof *c->told);
    return list;
}

/* ---- what the model's threads do ------------------------------------------------------------- */

static bool gone(void *ctx)
{
    const struct choice *c = ctx;
    const struct answer *a = c->answer;
    return atomic_load(a->order.abort) || atomic_load(&a->closed) || http_fd_gone(a->order.fd);
}

static void event_free(struct answer_event *e)
{
    free(e->text);
    free(e->name);
    json_object_put(e->tokens);
    *e = (struct answer_event){ 0 };
}

/* Lock held.  The first reason counts; it ends all choices. */
static int fail(struct answer *a, enum airlock_status code, const char *text)
{
    if (!a->failed) {
        a->failed = true;
        airlock_error_set(&a->error, code, "%s", text);
    }
    atomic_store(&a->closed, true);
    pthread_cond_broadcast(&a->news);
    return -1;
}

static struct timespec in_ms(unsigned ms)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    t.tv_sec += t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    return t;
}

/* Lock held.  0, or -1: no room for n bytes more, the answer has failed. */
static int make_room(struct answer *a, size_t n)
{
    struct timespec until = in_ms(LIMIT_STALL_MS);
    a->made += n;
    if (a->made > LIMIT_ANSWER_BYTES)
        return fail(a, AIRLOCK_E_INTERNAL, "an answer of more than 16 MiB");
    int rc = 0;
    while (a->order.stream && a->queued && a->queued + n > LIMIT_STREAM_BYTES && rc == 0 &&
           !atomic_load(&a->closed))
        rc = pthread_cond_timedwait(&a->room, &a->lock, &until);
    if (rc == ETIMEDOUT && a->queued + n > LIMIT_STREAM_BYTES)
        return fail(a, AIRLOCK_E_TIMEOUT, "the client reads too slowly");
    return atomic_load(&a->closed) ? -1 : 0;
}

/* Takes over what the event holds.  0, or -1: stop. */
static int push(struct choice *c, struct answer_event *event, bool complete)
{
    struct answer *a = c->answer;
    struct node *node = malloc(sizeof *node);
    pthread_mutex_lock(&a->lock);
    int rc = node && complete ? make_room(a, event->size)
                              : fail(a, AIRLOCK_E_NO_MEMORY, "out of memory for an answer");
    if (rc == 0) {
        node->next = NULL;
        node->event = *event;
        node->event.choice = c->index;
        a->queued += event->size;
        *c->end = node;
        c->end = &node->next;
        pthread_cond_signal(&a->news);
    }
    pthread_mutex_unlock(&a->lock);
    if (rc < 0) {
        event_free(event);
        free(node);
    }
    return rc;
}

static char *copy(const char *data, size_t n)
{
    char *out = malloc(n + 1);
    if (out) {
        memcpy(out, data, n);
        out[n] = 0;
    }
    return out;
}

static int on_text(void *ctx, const char *text, size_t n, uint64_t raw)
{
    struct choice *c = ctx;
    struct answer_event e = { .kind = ANSWER_TEXT, .text = copy(text, n), .size = n };
    if (c->answer->order.tokens)
        e.tokens = take_tokens(c, raw);
    return push(c, &e, e.text);
}

static int on_tool_call(void *ctx, const llm_tool_call *call)
{
    struct choice *c = ctx;
    struct answer_event e = { .kind = ANSWER_CALL,
                              .text = copy(call->arguments.ptr, call->arguments.len),
                              .size = call->arguments.len,
                              .name = copy(call->name.ptr, call->name.len),
                              .index = c->calls++ };
    int rc = push(c, &e, e.text && e.name);
    return rc < 0 || c->answer->order.one_call;
}

/* Waits for the answer's place; one thread asks for it, the others wait.  0 or -1. */
static int enter(struct choice *c, const struct generation_output *output)
{
    struct answer *a = c->answer;
    if (c->index == 0) {
        struct airlock_error err;
        uint64_t start = io_now_ns();
        int rc = generation_enter(a->order.model, a->order.adapter, output, &a->place, &err);
        pthread_mutex_lock(&a->lock);
        a->wait_ns = io_now_ns() - start;
        a->entered = rc == 0;
        a->refused = rc < 0;
        if (rc < 0)
            fail(a, err.code, err.text);
        pthread_cond_broadcast(&a->room);
        pthread_mutex_unlock(&a->lock);
        return rc;
    }
    pthread_mutex_lock(&a->lock);
    while (!a->entered && !a->refused)
        pthread_cond_wait(&a->room, &a->lock);
    bool in = a->entered;
    pthread_mutex_unlock(&a->lock);
    return in ? 0 : -1;
}

/* The thread's last word.  The last of all gives the place back. */
static void leave(struct choice *c, bool entered, const struct generation *g, int rc,
                  const struct airlock_error *err)
{
    struct answer *a = c->answer;
    pthread_mutex_lock(&a->lock);
    bool wanted = rc < 0 && err->code == AIRLOCK_E_CANCELLED && c->calls && a->order.one_call &&
                  !atomic_load(&a->closed); /* stopped after its only call */
    c->result.stats = g->stats;
    c->result.called = c->calls > 0;
    c->run_ns = g->run_ns;
    if (wanted)
        c->result.stats.finish = LLM_FINISH_TOOL_CALLS;
    else if (rc < 0 && entered)
        fail(a, err->code, err->text);
    c->ended = true;
    bool last = --a->running == 0;
    pthread_cond_broadcast(&a->news);
    if (last && entered)
        generation_leave(a->order.model, a->order.adapter, &a->place);
    pthread_mutex_unlock(&a->lock);
}

static void *run(void *arg)
{
    struct choice *c = arg;
    struct answer *a = c->answer;
    struct generation_output output = a->output;
    struct generation g = { 0 };
    struct airlock_error err = { 0 };
    output.ctx = c;
    int rc = enter(c, &output);
    bool entered = rc == 0;
    if (entered)
        rc = generation_run(a->order.model, a->order.adapter, &c->request, &output, &g, &err);
    leave(c, entered, &g, rc, &err);
    return NULL;
}

/* ---- starting and stopping ------------------------------------------------------------------- */

/* Seeds of the choices of one prompt: the first has the client's own, the others follow from it
 * (splitmix64), so that a request with a seed gives the same answers again. */
static int64_t seed_of(int64_t seed, size_t i)
{
    if (i == 0)
        return seed;
    uint64_t z = (uint64_t)seed + i * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (int64_t)((z ^ (z >> 31)) >> 1);
}

static void choice_init(struct answer *a, size_t i)
{
    struct choice *c = &a->choices[i];
    *c = (struct choice){ .answer = a, .index = i };
    c->end = &c->first;
    c->request = a->order.request->abi;
    c->params = a->order.request->params;
    c->params.seed = seed_of(c->params.seed, i % a->order.n);
    c->request.params = &c->params;
    c->request.id = atomic_fetch_add(a->order.ids, 1) + 1;
    if (a->order.prompts)
        c->request.prompt = a->order.prompts[i / a->order.n];
}

static struct answer *answer_new(const struct answer_order *order)
{
    size_t n = order->n * (order->n_prompts ? order->n_prompts : 1);
    struct answer *a = calloc(1, sizeof *a + n * sizeof *a->choices);
    if (!a)
        return NULL;
    a->order = *order;
    a->n = n;
    a->output = (struct generation_output){ .text = on_text,
                                            .token = order->tokens ? on_token : NULL,
                                            .tool_call = order->tools ? on_tool_call : NULL,
                                            .gone = gone,
                                            .caller = order->request->salt,
                                            .start_ns = order->start_ns,
                                            .deadline_ns = order->deadline_ns };
    pthread_mutex_init(&a->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&a->news, &attr);
    pthread_cond_init(&a->room, &attr);
    pthread_condattr_destroy(&attr);
    for (size_t i = 0; i < n; i++)
        choice_init(a, i);
    return a;
}

int answer_start(const struct answer_order *order, struct answer **out, struct airlock_error *err)
{
    struct answer *a = *out = answer_new(order);
    if (!a)
        return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for an answer");
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, THREAD_STACK);
    pthread_mutex_lock(&a->lock); /* nobody is the last before all are there */
    for (size_t i = 0; i < a->n; i++) {
        struct choice *c = &a->choices[i];
        if (pthread_create(&c->thread, &attr, run, c) != 0)
            break;
        c->started = true;
        a->running++;
    }
    bool all = a->running == a->n;
    if (!all) {
        fail(a, AIRLOCK_E_NO_MEMORY, "cannot start a thread for an answer");
        a->refused = a->running && !a->choices[0].started; /* nobody will ask */
    }
    pthread_mutex_unlock(&a->lock);
    pthread_attr_destroy(&attr);
    if (all)
        return 0;
    if (err)
        *err = a->error;
    answer_free(a);
    *out = NULL;
    return -1;
}

void answer_stop(struct answer *a)
{
    pthread_mutex_lock(&a->lock);
    atomic_store(&a->closed, true);
    pthread_cond_broadcast(&a->room);
    pthread_mutex_unlock(&a->lock);
    for (size_t i = 0; i < a->n; i++) {
        if (a->choices[i].started)
            pthread_join(a->choices[i].thread, NULL);
        a->choices[i].started = false;
    }
}

void answer_free(struct answer *a)
{
    if (!a)
        return;
    answer_stop(a);
    for (size_t i = 0; i < a->n; i++) {
        struct choice *c = &a->choices[i];
        while (c->first) {
            struct node *next = c->first->next;
            event_free(&c->first->event);
            free(c->first);
            c->first = next;
        }
        for (size_t k = 0; k < c->n_told; k++)
            json_object_put(c->told[k]);
        free(c->told);
    }
    pthread_cond_destroy(&a->news);
    pthread_cond_destroy(&a->room);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Lock held.  The first choice from `turn` on that has news; NULL: none. */
static struct choice *ready_choice(struct answer *a)
{
    for (size_t i = 0; i < a->n; i++) {
        struct choice *c = &a->choices[(a->turn + i) % a->n];
        if (c->first || (c->ended && !c->reported))
            return c;
    }
    return NULL;
}

static bool all_reported(const struct answer *a)
{
    for (size_t i = 0; i < a->n; i++)
        if (!a->choices[i].reported)
            return false;
    return true;
}

/* Lock held.  False: nothing has happened. */
static bool take(struct answer *a, struct answer_event *event)
{
    struct choice *c = ready_choice(a);
    if (c && c->first) {
        struct node *node = c->first;
        c->first = node->next;
        if (!c->first)
            c->end = &c->first;
        *event = node->event;
        a->queued -= event->size;
        a->turn = c->index + 1;
        free(node);
        pthread_cond_broadcast(&a->room);
        return true;
    }
    if (a->failed) { /* after what was made before */
        event->kind = ANSWER_ERROR;
        return true;
    }
    if (c) {
        c->reported = true;
        event->kind = ANSWER_END;
        event->choice = c->index;
        return true;
    }
    event->kind = ANSWER_OVER;
    return all_reported(a);
}

/* Lock held.  False: the time is over. */
static bool wait_news(struct answer *a, int timeout_ms, const struct timespec *until)
{
    if (timeout_ms < 0)
        return pthread_cond_wait(&a->news, &a->lock) == 0;
    return pthread_cond_timedwait(&a->news, &a->lock, until) == 0;
}

void answer_next(struct answer *a, int timeout_ms, struct answer_event *event)
{
    struct timespec until = in_ms(timeout_ms < 0 ? 0 : (unsigned)timeout_ms);
    event_free(event);
    pthread_mutex_lock(&a->lock);
    while (!take(a, event)) {
        if (!wait_news(a, timeout_ms, &until)) {
            if (!take(a, event))
                event->kind = ANSWER_SILENCE;
            break;
        }
    }
    pthread_mutex_unlock(&a->lock);
}

void answer_event_free(struct answer_event *event)
{
    event_free(event);
}

/* Lock held. */
static bool queued(const struct answer *a)
{
    for (size_t i = 0; i < a->n; i++)
        if (a->choices[i].first)
            return true;
    return false;
}

enum answer_kind answer_first(struct answer *a, int timeout_ms)
{
    struct timespec until = in_ms((unsigned)timeout_ms);
    pthread_mutex_lock(&a->lock);
    while (!ready_choice(a) && !a->failed && wait_news(a, timeout_ms, &until))
        ;
    enum answer_kind kind = a->failed && !queued(a) ? ANSWER_ERROR
                            : ready_choice(a)       ? ANSWER_TEXT
                                                    : ANSWER_SILENCE;
    pthread_mutex_unlock(&a->lock);
    return kind;
}

const struct airlock_error *answer_error(const struct answer *a)
{
    return &a->error;
}

size_t answer_choices(const struct answer *a)
{
    return a->n;
}

const struct answer_choice_result *answer_result(const struct answer *a, size_t choice)
{
    return &a->choices[choice].result;
}

void answer_totals(const struct answer *a, llm_stats *stats, uint64_t *wait_ns, uint64_t *run_ns)
{
    *stats = (llm_stats){ .struct_size = sizeof *stats };
    *wait_ns = a->wait_ns;
    *run_ns = 0;
    for (size_t i = 0; i < a->n; i++) {
        const struct choice *c = &a->choices[i];
        stats->tokens_out += c->result.stats.tokens_out;
        *run_ns = c->run_ns > *run_ns ? c->run_ns : *run_ns;
        if (i % a->order.n == 0) { /* later ones of a prompt find the first one's work */
            stats->tokens_in += c->result.stats.tokens_in;
            stats->tokens_cached += c->result.stats.tokens_cached;
        }
    }
}
