/*
 * chat.c - a small terminal chat: history, answers as they are made, Ctrl-C ends an answer, Ctrl-D
 * the chat.
 *
 *     cc chat.c -o chat $(pkg-config --cflags --libs airlock) -pthread
 *     ./chat [--host HOST] [--token-file FILE] [--raw] [MODEL]     MODEL: as in --models
 *     ./chat [--host HOST] [--token-file FILE] --models
 *
 * What a model writes is not trusted: on a terminal its control characters (colours, cursor
 * movements, clipboard and title sequences, C1 controls, what turns the direction of writing) are
 * shown as \x1b or \u202e and do nothing.  --raw leaves them as they are, for output that is no
 * terminal.
 */
#define _POSIX_C_SOURCE 200809L
#include <airlock/airlock.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE_BYTES = 65536, TURNS_MAX = 1000 };

static airlock_client *client;
static int raw;

/* ---- showing what is not trusted ------------------------------------------------------------- */

static void show(const char *text, size_t size)
{
    if (raw)
        fwrite(text, 1, size, stdout);
    else
        airlock_print(stdout, text, size);
    fflush(stdout);
}

static int on_text(void *ctx, const char *text, size_t size)
{
    (void)ctx;
    show(text, size);
    return 0;
}

/* ---- the chat -------------------------------------------------------------------------------- */

/* Ctrl-C is this thread's: a signal handler may not cancel. */
static void *cancel_on_interrupt(void *arg)
{
    sigset_t *interrupt = arg;
    int number;
    while (sigwait(interrupt, &number) == 0)
        airlock_client_cancel(client);
    return NULL;
}

static int complain(const airlock_error *err)
{
    fprintf(stderr, "chat: %s\n", err->text); /* has no control characters */
    return 1;
}

static char *copy(const char *text)
{
    char *result = strdup(text);
    if (!result) {
        fputs("chat: out of memory\n", stderr);
        exit(1);
    }
    return result;
}

/* One question with all that was said before it.  The answer is added to the history. */
static int turn(const char *model, airlock_chat_message *history, size_t *n)
{
    airlock_chat_request request = { 0 };
    airlock_error err;
    request.struct_size = sizeof request;
    request.model = model;
    request.messages = history;
    request.n_messages = *n;
    request.on_text = on_text;
    airlock_chat_answer *answer = airlock_client_chat(client, &request, &err);
    putchar('\n');
    if (!answer) {
        free((char *)history[--*n].content); /* the question may be asked again */
        complain(&err);
        return err.code == AIRLOCK_ERR_CANCELLED ? 0 : -1;
    }
    history[*n].role = "assistant";
    history[(*n)++].content = copy(answer->text);
    airlock_chat_answer_free(answer);
    return 0;
}

static int chat(const char *model)
{
    static char line[LINE_BYTES];
    static airlock_chat_message history[TURNS_MAX];
    size_t n = 0;
    int failed = 0, prompts = isatty(0);
    while (n + 2 <= TURNS_MAX) {
        if (prompts) {
            fputs("> ", stdout);
            fflush(stdout);
        }
        if (!fgets(line, sizeof line, stdin))
            break;
        line[strcspn(line, "\r\n")] = 0;
        if (!line[0])
            continue;
        history[n].role = "user";
        history[n++].content = copy(line);
        failed = turn(model, history, &n) != 0;
        if (failed && !prompts)
            break;
    }
    while (n > 0)
        free((char *)history[--n].content);
    return failed;
}

static int list_models(void)
{
    airlock_error err;
    char **names = airlock_client_models(client, &err);
    if (!names)
        return complain(&err);
    for (size_t i = 0; names[i]; i++) {
        show(names[i], strlen(names[i]));
        putchar('\n');
    }
    airlock_models_free(names);
    return 0;
}

/* ---- the command line ------------------------------------------------------------------------ */

static int usage(void)
{
    fputs("usage: chat [--host HOST] [--token-file FILE] [--raw] [--models | MODEL]\n", stderr);
    return 2;
}

/* The first line of a file. */
static int set_token(const char *path)
{
    char token[4096] = "";
    airlock_error err;
    FILE *f = fopen(path, "r");
    if (!f || !fgets(token, sizeof token, f)) {
        fprintf(stderr, "chat: %s cannot be read, or is empty\n", path);
        if (f)
            fclose(f);
        return 1;
    }
    fclose(f);
    token[strcspn(token, "\r\n")] = 0;
    return airlock_client_set_token(client, token, &err) == 0 ? 0 : complain(&err);
}

int main(int argc, char **argv)
{
    const char *host = NULL, *token_file = NULL, *model = "Phi4MiniInstruct";
    int models = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--host") == 0 && i + 1 < argc)
            host = argv[++i];
        else if (strcmp(argv[i], "--token-file") == 0 && i + 1 < argc)
            token_file = argv[++i];
        else if (strcmp(argv[i], "--raw") == 0)
            raw = 1;
        else if (strcmp(argv[i], "--models") == 0)
            models = 1;
        else if (argv[i][0] != '-')
            model = argv[i];
        else
            return usage();
    }
    if (raw && isatty(1)) {
        fputs("chat: --raw is for output into a pipe or file: a model could control the terminal\n",
              stderr);
        return 2;
    }
    airlock_error err;
    pthread_t thread;
    static sigset_t interrupt;
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    pthread_sigmask(SIG_BLOCK, &interrupt, NULL);
    client = airlock_client_new(host, &err);
    if (!client)
        return complain(&err);
    int status = token_file ? set_token(token_file) : 0;
    if (status == 0 && pthread_create(&thread, NULL, cancel_on_interrupt, &interrupt) != 0)
        status = 1;
    if (status == 0) {
        status = models ? list_models() : chat(model);
        pthread_cancel(thread);
        pthread_join(thread, NULL);
    }
    airlock_client_free(client);
    return status;
}
