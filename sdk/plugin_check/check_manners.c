/*
 * check_manners.c - checks that a plugin leaves the process as it found it: output, signals,
 * locale, and so on.
 */
#include "check.h"

#include <fcntl.h>
#include <fenv.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

/* A life with an answer; whether it succeeds is for other checks. */
static void live(const struct subject *s)
{
    struct instance m;
    struct report unused;
    struct verdict v;
    static const struct question q = QUESTION("how are you?");
    if (s->adapter) {
        instance_create(&m, s, PLAIN, s->options->adapters[0], NULL, &v);
        instance_destroy(&m);
        return;
    }
    if (instance_ready(&m, s, PLAIN, &unused) != PASSED)
        return;
    struct recorder rec = { 0 };
    recorder_start(&rec);
    ask(&m, PLAIN, &q, &rec, &v);
    instance_destroy(&m);
    recorder_free(&rec);
}

static enum outcome silent(const struct subject *s, struct report *r)
{
    int saved[3] = { -1, dup(1), dup(2) };
    int caught = memfd_create("output", 0);
    struct stat st;
    if (caught < 0 || saved[1] < 0 || saved[2] < 0)
        return failed(r, "cannot catch the output");
    fflush(NULL);
    dup2(caught, 1);
    dup2(caught, 2);
    live(s);
    fflush(NULL);
    dup2(saved[1], 1);
    dup2(saved[2], 2);
    if (fstat(caught, &st) != 0 || st.st_size == 0)
        return PASSED;
    char text[81] = { 0 };
    ssize_t n = pread(caught, text, sizeof text - 1, 0);
    text[n > 0 ? strcspn(text, "\n") : 0] = 0;
    return failed(r, "wrote to standard output or error: %s", text);
}

/* What a guest may not change. */
struct surroundings {
    sigset_t mask;
    struct sigaction actions[NSIG];
    char cwd[4096], locale[256];
    mode_t mask_of_files;
    uint64_t environment;
    struct rlimit limits[RLIM_NLIMITS];
    int rounding, exceptions;
    unsigned float_mode;
};

static unsigned float_mode(void)
{
#ifdef __x86_64__
    return __builtin_ia32_stmxcsr() & ~0x3fu; /* without the sticky flags */
#else
    return 0;
#endif
}

static uint64_t environment_hash(void)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    for (char **e = environ; e && *e; e++)
        for (const char *p = *e; p == *e || p[-1]; p++)
            hash = (hash ^ (unsigned char)*p) * 1099511628211u;
    return hash;
}

static void look_around(struct surroundings *w)
{
    memset(w, 0, sizeof *w);
    sigprocmask(SIG_SETMASK, NULL, &w->mask);
    for (int i = 1; i < NSIG; i++)
        sigaction(i, NULL, &w->actions[i]);
    if (!getcwd(w->cwd, sizeof w->cwd))
        w->cwd[0] = 0;
    const char *locale = setlocale(LC_ALL, NULL);
    strncpy(w->locale, locale ? locale : "", sizeof w->locale - 1);
    w->mask_of_files = umask(0);
    umask(w->mask_of_files);
    w->environment = environment_hash();
    for (int i = 0; i < RLIM_NLIMITS; i++)
        getrlimit((__rlimit_resource_t)i, &w->limits[i]);
    w->rounding = fegetround();
    w->exceptions = fegetexcept();
    w->float_mode = float_mode();
}

static enum outcome leaves_process_alone(const struct subject *s, struct report *r)
{
    static struct surroundings before, after; /* large */
    look_around(&before);
    live(s);
    look_around(&after);
    for (int i = 1; i < NSIG; i++)
        if (before.actions[i].sa_handler != after.actions[i].sa_handler)
            return failed(r, "the handler of signal %d was changed", i);
    for (int i = 1; i < NSIG; i++)
        if (sigismember(&before.mask, i) != sigismember(&after.mask, i))
            return failed(r, "signal %d was blocked or unblocked in the caller's thread", i);
    if (strcmp(before.cwd, after.cwd) != 0)
        return failed(r, "the working directory was changed to %.200s", after.cwd);
    if (strcmp(before.locale, after.locale) != 0)
        return failed(r, "the locale was changed to %.200s", after.locale);
    if (before.mask_of_files != after.mask_of_files)
        return failed(r, "the umask was changed to %03o", (unsigned)after.mask_of_files);
    if (before.environment != after.environment)
        return failed(r, "the environment was changed");
    if (memcmp(before.limits, after.limits, sizeof before.limits) != 0)
        return failed(r, "a resource limit was changed");
    if (before.rounding != after.rounding || before.exceptions != after.exceptions ||
        before.float_mode != after.float_mode)
        return failed(r, "the floating-point mode of the caller's thread was changed");
    return PASSED;
}

const struct check manners_checks[] = {
    { "manners: nothing is written to standard output or error", TO_ANY, silent,
      "use llm_host.log()" },
    { "manners: signals, directory, locale, umask, environment, limits and floating point stay",
      TO_ANY, leaves_process_alone,
      "these belong to the host; set the floating-point mode in threads of your own" },
    { 0 }
};
