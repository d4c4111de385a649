/* reach.c - the bridge's address, the token's file, and signals; see command.h. */
#include "command.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TOKEN_BYTES = 4096, AGAIN_NS = 50000000 };

/* Signals are a thread's: a handler may not cancel. */
static struct {
    pthread_t thread;
    airlock_client *client;
    sigset_t signals;
    atomic_int ended;
    int running;
} watch;

int complain(const char *text)
{
    fputs("airlock: ", stderr);
    airlock_print(stderr, text, strlen(text)); /* may quote what came from a container */
    fputc('\n', stderr);
    return EXIT_BAD;
}

int wrong_usage(const char *text, const char *about)
{
    if (*text)
        fprintf(stderr, "airlock: %s%s\n", text, about);
    fputs("Try 'airlock --help'.\n", stderr);
    return EXIT_USAGE;
}

/* ---- options --------------------------------------------------------------------------------- */

int reach_take(struct reach *reach, int option, const char *value)
{
    const char *before = option == OPT_SOCKET ? "unix:" : "";
    if (option == OPT_TOKEN_FILE) {
        reach->token_file = value;
        return 0;
    }
    if (option != OPT_HOST && option != OPT_SOCKET)
        return -1;
    size_t n = strlen(before) + strlen(value) + 1;
    free(reach->host);
    reach->host = malloc(n);
    if (!reach->host)
        return complain("out of memory");
    snprintf(reach->host, n, "%s%s", before, value);
    return 0;
}

/* The first line of the file that is no comment; of "NAME TOKEN", which a bridge's own file may
 * have, the token.  0, or -1 with a message. */
static int set_token(airlock_client *client, const char *path)
{
    char line[TOKEN_BYTES] = "", *token = NULL;
    airlock_error err;
    FILE *f = fopen(path, "re");
    while (f && !token && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\r\n")] = 0;
        if (line[0] && line[0] != '#')
            token = strrchr(line, ' ') ? strrchr(line, ' ') + 1 : line;
    }
    if (f)
        fclose(f);
    if (!token) {
        fprintf(stderr, "airlock: %s cannot be read, or has no token\n", path);
        return -1;
    }
    int rc = airlock_client_set_token(client, token, &err);
    explicit_bzero(line, sizeof line);
    return rc == 0 ? 0 : (complain(err.text), -1);
}

/* ---- signals --------------------------------------------------------------------------------- */

/* Cancels again and again: a request that begins just now would not notice the first time. */
static void *cancel_on_signal(void *arg)
{
    const struct timespec little = { 0, AGAIN_NS };
    int number;
    (void)arg;
    while (sigwait(&watch.signals, &number) != 0)
        ;
    while (!atomic_load(&watch.ended)) {
        airlock_client_cancel(watch.client);
        nanosleep(&little, NULL);
    }
    return NULL;
}

static int start_watch(airlock_client *client)
{
    signal(SIGPIPE, SIG_IGN); /* a write fails then, and is told */
    sigemptyset(&watch.signals);
    sigaddset(&watch.signals, SIGINT);
    sigaddset(&watch.signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &watch.signals, NULL);
    watch.client = client;
    if (pthread_create(&watch.thread, NULL, cancel_on_signal, NULL) != 0)
        return complain("cannot start a thread");
    watch.running = 1;
    return 0;
}

airlock_client *reach_open(const struct reach *reach)
{
    airlock_error err;
    airlock_client *client = airlock_client_new(reach->host, &err);
    if (!client) {
        complain(err.text);
        return NULL;
    }
    if ((reach->token_file && set_token(client, reach->token_file) != 0) ||
        start_watch(client) != 0) {
        airlock_client_free(client);
        return NULL;
    }
    return client;
}

void reach_close(airlock_client *client)
{
    if (watch.running) {
        atomic_store(&watch.ended, 1);
        pthread_kill(watch.thread, SIGTERM); /* blocked everywhere: it ends the wait for one */
        pthread_join(watch.thread, NULL);
        watch.running = 0;
    }
    airlock_client_free(client);
}
