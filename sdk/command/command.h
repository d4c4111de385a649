/*
 * command.h - what the parts of the program `airlock` share: where the bridge is, and how it ends.
 */
#ifndef AIRLOCK_COMMAND_H
#define AIRLOCK_COMMAND_H

#include <airlock/airlock.h>

enum { EXIT_GOOD, EXIT_BAD, EXIT_USAGE };

/* Options that every command has. */
struct reach {
    char *host; /* owned; NULL: the default */
    const char *token_file;
};

/* Takes --host, --socket and --token-file, whose values of getopt_long() these are; the last of
 * --host and --socket holds.  0; -1: it is another option; EXIT_USAGE or EXIT_BAD with a message.
 */
enum { OPT_HOST = 256, OPT_SOCKET, OPT_TOKEN_FILE };
int reach_take(struct reach *reach, int option, const char *value);

/* A client as the options say, that SIGINT and SIGTERM cancel from now on.  One at a time.  NULL
 * with a message. */
airlock_client *reach_open(const struct reach *reach);
/* Ends it, and the watch for signals.  NULL is fine. */
void reach_close(airlock_client *client);

/* "airlock: " and the sentence on standard error.  EXIT_BAD. */
int complain(const char *text);
/* As complain(), with where to read on.  EXIT_USAGE. */
int wrong_usage(const char *text, const char *about);

/* The commands: argv[0] is the command's name.  Exit statuses. */
int command_ask(int argc, char **argv);
int command_models(int argc, char **argv);

/* Writes all that the program can be told to standard output.  EXIT_GOOD or EXIT_BAD. */
int command_help(void);

#endif
