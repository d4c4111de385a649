/* models.c - airlock models: the names that a question's model may have, one a line. */
#include "command.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPT_HELP = OPT_TOKEN_FILE + 1 };

static const struct option long_options[] = { { "host", required_argument, NULL, OPT_HOST },
                                              { "socket", required_argument, NULL, OPT_SOCKET },
                                              { "token-file", required_argument, NULL,
                                                OPT_TOKEN_FILE },
                                              { "help", no_argument, NULL, OPT_HELP },
                                              { NULL, 0, NULL, 0 } };

static int list(airlock_client *client)
{
    airlock_error err;
    char **names = airlock_client_models(client, &err);
    int bad = 0;
    if (!names)
        return complain(err.text);
    for (size_t i = 0; names[i] && !bad; i++)
        bad = airlock_print(stdout, names[i], strlen(names[i])) != 0 || putchar('\n') == EOF;
    airlock_models_free(names);
    return fflush(stdout) != 0 || bad ? complain("standard output cannot be written to")
                                      : EXIT_GOOD;
}

int command_models(int argc, char **argv)
{
    struct reach reach = { NULL, NULL };
    airlock_client *client;
    int c, status = 0, help = 0;
    while (status == 0 && (c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        help = help || c == OPT_HELP;
        if (c != OPT_HELP && (status = reach_take(&reach, c, optarg)) < 0)
            status = wrong_usage("", "");
    }
    if (status == 0 && !help && optind < argc)
        status = wrong_usage("unexpected argument: ", argv[optind]);
    if (status == 0 && help) {
        status = command_help();
    } else if (status == 0) {
        client = reach_open(&reach);
        status = client ? list(client) : EXIT_BAD;
        reach_close(client);
    }
    free(reach.host);
    return status;
}
