/*
 * bad_plugin.c - plugins that must be refused: one wrong thing each, chosen with -D; without any it
 * is a good one.
 */
#include <airlock/llm_model.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#ifndef NOTE_MAJOR
#define NOTE_MAJOR 1
#endif
#ifndef NOTE_NEEDED
#define NOTE_NEEDED 0
#endif
#ifndef MAJOR
#define MAJOR 1
#endif
#ifndef NEEDED
#define NEEDED 0
#endif
#ifndef CLASS_NAME
#define CLASS_NAME "BadModel"
#endif

#ifndef NO_NOTE
static const struct {
    uint32_t name_size, desc_size, type;
    char name[8];
    uint32_t desc[4];
} note __attribute__((section(".note.airlock"), used, aligned(4))) = {
    8, 16, 1, "airlock", { NOTE_MAJOR, NOTE_NEEDED, NOTE_NEEDED, LLM_KIND_MODEL }
};
#endif

/* Tells that code of this file ran. */
__attribute__((constructor)) static void leave_mark(void)
{
    const char *mark = getenv("BAD_PLUGIN_MARK");
    int fd = mark ? open(mark, O_CREAT | O_WRONLY, 0600) : -1;
    if (fd >= 0)
        close(fd);
}

static llm_status bad_create(const llm_host *host, const llm_config *config, llm_model **out,
                             llm_error *err)
{
    (void)host, (void)config, (void)err;
#ifdef UNDEFINED
    extern void function_that_nobody_has(void);
    function_that_nobody_has();
#endif
    *out = (llm_model *)(uintptr_t)8;
    return LLM_OK;
}

static llm_status bad_load(llm_model *m, const llm_sink *sink, llm_error *err)
{
    (void)m, (void)sink, (void)err;
    return LLM_OK;
}

static llm_status bad_generate(llm_model *m, const llm_request *r, const llm_sink *sink,
                               llm_stats *stats, llm_error *err)
{
    (void)m, (void)r, (void)sink, (void)stats, (void)err;
    return LLM_OK;
}

static void bad_destroy(llm_model *m)
{
    (void)m;
}

static const llm_model_class model = {
#ifdef SHORT_VTABLE
    .struct_size = 16,
#else
    .struct_size = sizeof(llm_model_class),
#endif
    .create = bad_create,
    .load = bad_load,
#ifndef NO_GENERATE
    .generate = bad_generate,
#endif
    .destroy = bad_destroy,
};
static const llm_class model_class = { sizeof(llm_class), LLM_KIND_MODEL, CLASS_NAME, NULL,
                                       &model };
static const llm_class *const classes[] = { &model_class, NULL };
static const llm_plugin plugin = { sizeof(llm_plugin),     MAJOR,   NEEDED, NEEDED,
                                   "org.airlock.test.bad", "1.0.0", classes };

#ifdef TWO_SYMBOLS
LLM_EXPORT int another_symbol(void);
int another_symbol(void)
{
    return 1;
}
#endif

#ifdef NO_SYMBOL
__attribute__((used)) static const llm_plugin *something_else(void)
#else
const llm_plugin *llm_plugin_query_1(void)
#endif
{
    (void)bad_generate;
#ifdef NULL_DESCRIPTOR
    return NULL;
#else
    return &plugin;
#endif
}
