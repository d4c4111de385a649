/* ask.c - airlock ask: a question, with pictures and sounds, and its answer as it is made. */
#include "command.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MEDIA_MAX = 256, NAME_MAX_BYTES = 512, QUESTION_MAX = 1 << 20 };
enum {
    OPT_IMAGE = OPT_TOKEN_FILE + 1,
    OPT_AUDIO,
    OPT_MODEL,
    OPT_CONTAINER,
    OPT_MAX_TOKENS,
    OPT_RAW,
    OPT_HELP
};

static const struct option long_options[] = {
    { "host", required_argument, NULL, OPT_HOST },
    { "socket", required_argument, NULL, OPT_SOCKET },
    { "token-file", required_argument, NULL, OPT_TOKEN_FILE },
    { "image", required_argument, NULL, OPT_IMAGE },
    { "audio", required_argument, NULL, OPT_AUDIO },
    { "model", required_argument, NULL, OPT_MODEL },
    { "container", required_argument, NULL, OPT_CONTAINER },
    { "max-tokens", required_argument, NULL, OPT_MAX_TOKENS },
    { "raw", no_argument, NULL, OPT_RAW },
    { "help", no_argument, NULL, OPT_HELP },
    { NULL, 0, NULL, 0 }
};

/* The pictures or the sounds. */
struct files {
    const char *paths[MEDIA_MAX];
    airlock_image media[MEDIA_MAX];
    size_t n;
};

struct ask {
    struct reach reach;
    struct files images, audios;
    const char *model, *container;
    char *question; /* owned when it was read */
    int owned, raw, help;
    long max_tokens;           /* 0: the model's own limit */
    char last;                 /* written; a line end is added behind an answer without one */
    int unwritable;            /* standard output */
    char name[NAME_MAX_BYTES]; /* of the model, as the bridge wants it */
};

/* ---- the command line ------------------------------------------------------------------------ */

static int add_file(struct files *files, const char *path)
{
    if (files->n == MEDIA_MAX)
        return wrong_usage("too many files: at most 256 pictures and 256 sounds", "");
    files->paths[files->n++] = path;
    return 0;
}

static int take_number(const char *text, long *out)
{
    char *end;
    errno = 0;
    *out = strtol(text, &end, 10);
    return errno == 0 && end != text && *end == 0 && *out > 0 && *out <= INT_MAX
               ? 0
               : wrong_usage("--max-tokens is no number from 1 on: ", text);
}

static int take(struct ask *a, int option)
{
    int rc = reach_take(&a->reach, option, optarg);
    if (rc >= 0)
        return rc;
    switch (option) {
    case OPT_IMAGE:
        return add_file(&a->images, optarg);
    case OPT_AUDIO:
        return add_file(&a->audios, optarg);
    case OPT_MODEL:
        a->model = optarg;
        return 0;
    case OPT_CONTAINER:
        a->container = optarg;
        return 0;
    case OPT_MAX_TOKENS:
        return take_number(optarg, &a->max_tokens);
    case OPT_RAW:
        a->raw = 1;
        return 0;
    case OPT_HELP:
        a->help = 1;
        return 0;
    default:
        return wrong_usage("", "");
    }
}

/* The whole standard input, at most QUESTION_MAX bytes. */
static int read_question(struct ask *a)
{
    a->question = malloc(QUESTION_MAX + 1);
    a->owned = 1;
    if (!a->question)
        return complain("out of memory");
    size_t n = fread(a->question, 1, QUESTION_MAX, stdin);
    if (ferror(stdin) || (n == QUESTION_MAX && getchar() != EOF))
        return complain("standard input cannot be read, or is longer than 1 MiB");
    if (memchr(a->question, 0, n))
        return complain("standard input is no text: it has a NUL");
    while (n > 0 && a->question[n - 1] == '\n')
        n--;
    a->question[n] = 0;
    return 0;
}

/* 0, or an exit status. */
static int read_options(int argc, char **argv, struct ask *a)
{
    int c, rc = 0;
    while (rc == 0 && (c = getopt_long(argc, argv, "", long_options, NULL)) != -1)
        rc = take(a, c);
    if (rc != 0 || a->help)
        return rc;
    if (a->raw && isatty(STDOUT_FILENO))
        return wrong_usage("--raw is for a pipe or a file: a model could control the terminal", "");
    if (optind + 1 != argc)
        return wrong_usage(optind == argc ? "the question is missing"
                                          : "there is more than one question: put it in quotes: ",
                           optind == argc ? "" : argv[optind + 1]);
    a->question = argv[optind];
    return strcmp(a->question, "-") == 0 ? read_question(a) : 0;
}

/* ---- what is asked --------------------------------------------------------------------------- */

static int read_files(struct files *files)
{
    for (size_t i = 0; i < files->n; i++) {
        airlock_error err;
        files->media[i].data = airlock_read_file(files->paths[i], &files->media[i].size, &err);
        if (!files->media[i].data)
            return complain(err.text);
    }
    return 0;
}

static void free_files(struct files *files)
{
    for (size_t i = 0; i < files->n; i++)
        airlock_free((char *)files->media[i].data);
}

/* The first model that the bridge lists, of the container if one is named; a bridge with several
 * containers lists CONTAINER/NAME. */
static int first_model(struct ask *a, airlock_client *client)
{
    size_t n = a->container ? strlen(a->container) : 0;
    airlock_error err;
    char **names = airlock_client_models(client, &err);
    if (!names)
        return complain(err.text);
    for (size_t i = 0; names[i] && !a->name[0]; i++) {
        const char *slash = strchr(names[i], '/');
        if (!n || !slash ||
            ((size_t)(slash - names[i]) == n && !strncmp(names[i], a->container, n)))
            snprintf(a->name, sizeof a->name, "%s", names[i]);
    }
    airlock_models_free(names);
    return a->name[0] ? 0 : complain("the bridge lists no model there: try 'airlock models'");
}

static int choose_model(struct ask *a, airlock_client *client)
{
    int n;
    if (!a->model)
        return first_model(a, client);
    n = snprintf(a->name, sizeof a->name, "%s%s%s", a->container ? a->container : "",
                 a->container ? "/" : "", a->model);
    return n > 0 && (size_t)n < sizeof a->name ? 0 : complain("the model's name is too long");
}

static int on_text(void *ctx, const char *text, size_t size)
{
    struct ask *a = ctx;
    a->unwritable =
        (a->raw ? fwrite(text, 1, size, stdout) != size : airlock_print(stdout, text, size) != 0) ||
        fflush(stdout) != 0;
    if (size)
        a->last = text[size - 1];
    return a->unwritable;
}

/* Ends the last line, and says what became of the answer. */
static int finish(struct ask *a, const airlock_chat_answer *answer, const airlock_error *err)
{
    if (!a->unwritable && a->last && a->last != '\n')
        a->unwritable = putchar('\n') == EOF;
    if (fflush(stdout) != 0 || a->unwritable)
        return complain("standard output cannot be written to");
    if (!answer)
        return complain(err->text);
    if (strcmp(answer->finish_reason, "length") == 0)
        fputs("airlock: the answer is cut off: it has all the tokens that it may have\n", stderr);
    return EXIT_GOOD;
}

static int ask_model(struct ask *a, airlock_client *client)
{
    airlock_chat_message message = { .role = "user",
                                     .content = a->question,
                                     .images = a->images.media,
                                     .n_images = a->images.n,
                                     .audios = a->audios.media,
                                     .n_audios = a->audios.n };
    airlock_parameters parameters = { .set = AIRLOCK_SET_MAX_NEW_TOKENS,
                                      .max_new_tokens = a->max_tokens };
    airlock_chat_request request = { .struct_size = sizeof request,
                                     .model = a->name,
                                     .messages = &message,
                                     .n_messages = 1,
                                     .parameters = a->max_tokens ? &parameters : NULL,
                                     .on_text = on_text,
                                     .ctx = a };
    airlock_error err;
    airlock_chat_answer *answer = airlock_client_chat(client, &request, &err);
    int status = finish(a, answer, &err);
    airlock_chat_answer_free(answer);
    return status;
}

static int run(struct ask *a)
{
    airlock_client *client = NULL;
    int status = read_files(&a->images);
    if (status == 0)
        status = read_files(&a->audios);
    if (status == 0 && !(client = reach_open(&a->reach)))
        status = EXIT_BAD;
    if (status == 0)
        status = choose_model(a, client);
    if (status == 0)
        status = ask_model(a, client);
    reach_close(client);
    free_files(&a->images);
    free_files(&a->audios);
    return status;
}

int command_ask(int argc, char **argv)
{
    static struct ask a;
    int status = read_options(argc, argv, &a);
    if (status == 0)
        status = a.help ? command_help() : run(&a);
    if (a.owned)
        free(a.question);
    free(a.reach.host);
    return status;
}
