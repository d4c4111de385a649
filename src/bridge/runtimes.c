/* runtimes.c - builds the argument vector and the clean environment for each container runtime. */
#include "runtimes.h"

#include "common/bytes.h"
#include "common/io.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
    const char *name;
    const char *program[3]; /* where the CLI is looked for, first hit wins; never PATH */
} runtimes[] = {
    [RUNTIME_DOCKER] = { "docker", { "/usr/bin/docker", "/usr/local/bin/docker", NULL } },
    [RUNTIME_PODMAN] = { "podman", { "/usr/bin/podman", "/usr/local/bin/podman", NULL } },
    [RUNTIME_KUBECTL] = { "kubectl", { "/usr/bin/kubectl", "/usr/local/bin/kubectl", NULL } },
    [RUNTIME_SANDBOX] = { "sandbox", { "/usr/bin/nsenter", "/usr/local/bin/nsenter", NULL } },
    [RUNTIME_CUSTOM] = { "custom", { NULL } },
};

enum { N_RUNTIMES = sizeof runtimes / sizeof *runtimes };

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool container_name_valid(const char *name, size_t size)
{
    if (size == 0 || size > 128 || !is_alnum(name[0]))
        return false;
    for (size_t i = 0; i < size; i++)
        if (!is_alnum(name[i]) && name[i] != '_' && name[i] != '.' && name[i] != '-')
            return false;
    return true;
}

int runtime_parse(const char *word, enum runtime *out)
{
    for (int i = 0; i < N_RUNTIMES; i++) {
        if (strcmp(word, runtimes[i].name) == 0) {
            *out = (enum runtime)i;
            return 0;
        }
    }
    return -1;
}

const char *runtime_name(enum runtime runtime)
{
    return runtimes[runtime].name;
}

void runtime_state_dir(char *out, size_t size)
{
    const char *dir = getenv("XDG_RUNTIME_DIR");
    if (geteuid() == 0)
        snprintf(out, size, "/run/airlock");
    else if (dir && dir[0] == '/')
        snprintf(out, size, "%s/airlock", dir);
    else
        snprintf(out, size, "/tmp/airlock-%u", (unsigned)geteuid());
}

/* ---- the command under construction ---------------------------------------------------------- */

struct builder {
    struct command *out;
    size_t n_args, n_env, used;
    bool full;
};

__attribute__((format(printf, 2, 0))) static char *keep(struct builder *b, const char *format,
                                                        va_list args)
{
    char *at = b->out->text + b->used;
    size_t room = sizeof b->out->text - b->used;
    int n = vsnprintf(at, room, format, args);
    if (n < 0 || (size_t)n >= room) {
        b->full = true;
        return NULL;
    }
    b->used += (size_t)n + 1;
    return at;
}

__attribute__((format(printf, 2, 3))) static void add(struct builder *b, const char *format, ...)
{
    if (b->n_args + 1 >= COMMAND_ARGS_MAX) {
        b->full = true;
        return;
    }
    va_list args;
    va_start(args, format);
    b->out->argv[b->n_args++] = keep(b, format, args);
    va_end(args);
    b->out->argv[b->n_args] = NULL;
}

__attribute__((format(printf, 2, 3))) static void add_env(struct builder *b, const char *format,
                                                          ...)
{
    va_list args;
    va_start(args, format);
    b->out->envp[b->n_env++] = keep(b, format, args);
    va_end(args);
    b->out->envp[b->n_env] = NULL;
}

/* ---- the program ----------------------------------------------------------------------------- */

/* 1: path may be started; 0: there is none; -1: there is one that must not be. */
static int judge_program(const char *path, struct airlock_error *err)
{
    char real[PATH_MAX];
    struct stat st;
    if (!realpath(path, real) || stat(real, &st) < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0
                                                   : airlock_error_errno(err, errno, "%s", path);
    if (!S_ISREG(st.st_mode) || access(real, X_OK) < 0)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "%s: not an executable file", path);
    if ((st.st_uid != 0 && st.st_uid != geteuid()) || (st.st_mode & (S_IWGRP | S_IWOTH)))
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "%s: others may change it; it must belong to root or to the "
                                 "bridge's user and be writable by the owner alone",
                                 path);
    char *slash = strrchr(real, '/');
    slash[slash == real] = 0;
    if (stat(real, &st) < 0)
        return airlock_error_errno(err, errno, "%s", real);
    if ((st.st_uid != 0 && st.st_uid != geteuid()) ||
        ((st.st_mode & (S_IWGRP | S_IWOTH)) && !(st.st_mode & S_ISVTX)))
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "%s: others may replace it; its directory must be writable by "
                                 "the owner alone",
                                 path);
    return 1;
}

static int find_program(const struct container *c, const char **out, struct airlock_error *err)
{
    const char *given = c->runtime == RUNTIME_CUSTOM ? c->command[0] : c->program;
    if (given) {
        if (given[0] != '/')
            return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                     "'%.128s' is no absolute path to a program", given);
        int rc = judge_program(given, err);
        *out = given;
        return rc == 0  ? airlock_error_set(err, AIRLOCK_E_CONFIG, "%s: no such program", given)
               : rc < 0 ? -1
                        : 0;
    }
    for (int i = 0; runtimes[c->runtime].program[i]; i++) {
        *out = runtimes[c->runtime].program[i];
        int rc = judge_program(*out, err);
        if (rc != 0)
            return rc < 0 ? -1 : 0;
    }
    return airlock_error_set(err, AIRLOCK_E_CONFIG, "%s: no such program; install it",
                             runtimes[c->runtime].program[0]);
}

/* ---- the sandbox's process ------------------------------------------------------------------- */

/* Field 22 of /proc/PID/stat, in clock ticks since boot.  0, or -1. */
static int start_time(pid_t pid, uint64_t *out)
{
    char path[64];
    struct bytes text = BYTES_INIT(8192);
    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t got = bytes_reserve(&text, 4096) == 0 ? io_read(fd, text.data, 4096) : -1;
    close(fd);
    int rc = -1;
    if (got > 0) {
        text.data[got] = 0;
        char *p = strrchr(text.data, ')'); /* the command before it may hold anything */
        for (int field = 2; p && field < 22; field++)
            p = strchr(p + 1, ' ');
        if (p && sscanf(p, " %" SCNu64, out) == 1)
            rc = 0;
    }
    bytes_free(&text);
    return rc;
}

/* A directory or file that only we (or root) can have written. */
static bool ours_alone(const struct stat *st)
{
    return (st->st_uid == 0 || st->st_uid == geteuid()) && !(st->st_mode & (S_IWGRP | S_IWOTH));
}

static int read_pid_file(const char *dir, const char *name, pid_t *pid, uint64_t *started,
                         struct airlock_error *err)
{
    struct stat dir_stat, file_stat;
    char path[PATH_MAX], text[64];
    int n = snprintf(path, sizeof path, "%s/%s.pid", dir, name);
    if (n < 0 || (size_t)n >= sizeof path)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "%.128s: too long a path", dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return airlock_error_set(err, AIRLOCK_E_UPSTREAM, "sandbox '%s' is not running (%s)", name,
                                 path);
    ssize_t got = -1;
    if (lstat(dir, &dir_stat) == 0 && S_ISDIR(dir_stat.st_mode) && ours_alone(&dir_stat) &&
        fstat(fd, &file_stat) == 0 && S_ISREG(file_stat.st_mode) && ours_alone(&file_stat))
        got = io_read(fd, text, sizeof text - 1);
    close(fd);
    if (got < 0)
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "%s: file and directory must belong to the bridge's user and be "
                                 "writable by it alone",
                                 path);
    text[got] = 0;
    long value;
    char end;
    int fields = sscanf(text, "%ld %" SCNu64 " %c", &value, started, &end);
    if (fields != 2 || value < 2 || value > INT_MAX)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "%s: not of the form 'PID STARTTIME'",
                                 path);
    *pid = (pid_t)value;
    return 0;
}

/* The process id of the sandbox's init, proved to be the process that was recorded: numbers are
 * used again. */
static int sandbox_pid(const struct container *c, pid_t *out, struct airlock_error *err)
{
    char fallback[PATH_MAX], path[64];
    const char *dir = c->state_dir;
    if (!dir) {
        runtime_state_dir(fallback, sizeof fallback);
        dir = fallback;
    }
    uint64_t recorded, now;
    struct stat st;
    if (read_pid_file(dir, c->name, out, &recorded, err) < 0)
        return -1;
    snprintf(path, sizeof path, "/proc/%ld", (long)*out);
    if (stat(path, &st) < 0 || start_time(*out, &now) < 0 || now != recorded)
        return airlock_error_set(err, AIRLOCK_E_UPSTREAM,
                                 "sandbox '%s' is not running: its process has ended", c->name);
    if (geteuid() != 0 && st.st_uid != geteuid())
        return airlock_error_set(err, AIRLOCK_E_DENIED,
                                 "sandbox '%s': its process belongs to another user", c->name);
    return 0;
}

/* ---- one function for each runtime ----------------------------------------------------------- */

static void add_relay(struct builder *b, const struct container *c)
{
    add(b, "%s", c->client ? c->client : "airlock-client");
    if (c->connect) {
        add(b, "--connect");
        add(b, "%s", c->connect);
    }
    add(b, "--relay");
}

/* The engine is named by its local socket: no context and no variable can send prompts elsewhere.
 */
static void add_engine(struct builder *b, const struct container *c)
{
    if (c->runtime == RUNTIME_DOCKER) {
        add(b, "--host");
        add(b, "unix://%s", c->socket ? c->socket : "/var/run/docker.sock");
    } else if (c->socket) {
        add(b, "--remote");
        add(b, "--url");
        add(b, "unix://%s", c->socket);
    }
}

static void engine_command(struct builder *b, const struct container *c, const char *target)
{
    add_engine(b, c);
    add(b, "exec");
    add(b, "-i");
    add(b, "--");
    add(b, "%s", target ? target : c->name);
    add_relay(b, c);
}

static void id_command(struct builder *b, const struct container *c)
{
    add_engine(b, c);
    add(b, "inspect");
    add(b, "--type");
    add(b, "container");
    add(b, "--format");
    add(b, "{{.Id}}");
    add(b, "--");
    add(b, "%s", c->name);
}

static void kubectl_command(struct builder *b, const struct container *c)
{
    if (c->kubeconfig)
        add(b, "--kubeconfig=%s", c->kubeconfig);
    if (c->namespace)
        add(b, "--namespace=%s", c->namespace);
    add(b, "exec");
    add(b, "-i");
    add(b, "--quiet");
    add(b, "%s", c->pod ? c->pod : c->name);
    add(b, "-c");
    add(b, "%s", c->name);
    add(b, "--");
    add_relay(b, c);
}

static int sandbox_command(struct builder *b, const struct container *c, struct airlock_error *err)
{
    pid_t pid;
    if (sandbox_pid(c, &pid, err) < 0)
        return -1;
    add(b, "--target");
    add(b, "%ld", (long)pid);
    /* Not --all: with it nsenter wants the time namespace too, which only root may join again. */
    static const char *const namespaces[] = { "--user", "--mount",  "--net", "--pid",
                                              "--ipc",  "--cgroup", "--uts" };
    for (size_t i = 0; i < sizeof namespaces / sizeof *namespaces; i++)
        add(b, "%s", namespaces[i]);
    add(b, "--root");
    add(b, "--wd");
    add(b, "--preserve-credentials");
    add(b, "--");
    add_relay(b, c);
    return 0;
}

static void custom_command(struct builder *b, const struct container *c)
{
    for (int i = 1; c->command[i]; i++)
        add(b, "%s", strcmp(c->command[i], "{name}") == 0 ? c->name : c->command[i]);
}

/* Nothing of our own environment but what a rootless podman needs to find its containers. */
static void clean_environment(struct builder *b, const struct container *c, const char *home)
{
    add_env(b, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    add_env(b, "LANG=C.UTF-8");
    struct passwd entry, *user = NULL;
    char text[1024];
    if (c->runtime == RUNTIME_PODMAN)
        getpwuid_r(geteuid(), &entry, text, sizeof text, &user);
    add_env(b, "HOME=%s", user ? user->pw_dir : home);
    const char *runtime_dir = getenv("XDG_RUNTIME_DIR");
    if (c->runtime == RUNTIME_PODMAN && runtime_dir && runtime_dir[0] == '/')
        add_env(b, "XDG_RUNTIME_DIR=%s", runtime_dir);
}

bool runtime_has_ids(enum runtime runtime)
{
    return runtime == RUNTIME_DOCKER || runtime == RUNTIME_PODMAN;
}

/* The program and nothing more.  0, or -1. */
static int begin(struct builder *b, const struct container *container, struct airlock_error *err)
{
    const char *program = NULL;
    if (!container_name_valid(container->name, strlen(container->name)))
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "'%.128s' is no container name",
                                 container->name);
    if (find_program(container, &program, err) < 0)
        return -1;
    add(b, "%s", program);
    return 0;
}

static int end(struct builder *b, const struct container *container, const char *home,
               struct airlock_error *err)
{
    clean_environment(b, container, home);
    return b->full ? airlock_error_set(err, AIRLOCK_E_CONFIG, "the command for '%s' is too long",
                                       container->name)
                   : 0;
}

int runtime_command(const struct container *container, const char *target, const char *home,
                    struct command *out, struct airlock_error *err)
{
    struct builder b = { out, 0, 0, 0, false };
    if (begin(&b, container, err) < 0)
        return -1;
    switch (container->runtime) {
    case RUNTIME_DOCKER:
    case RUNTIME_PODMAN:
        engine_command(&b, container, target);
        break;
    case RUNTIME_KUBECTL:
        kubectl_command(&b, container);
        break;
    case RUNTIME_SANDBOX:
        if (sandbox_command(&b, container, err) < 0)
            return -1;
        break;
    case RUNTIME_CUSTOM:
        custom_command(&b, container);
        break;
    }
    return end(&b, container, home, err);
}

int runtime_id_command(const struct container *container, const char *home, struct command *out,
                       struct airlock_error *err)
{
    struct builder b = { out, 0, 0, 0, false };
    if (begin(&b, container, err) < 0)
        return -1;
    id_command(&b, container);
    return end(&b, container, home, err);
}
