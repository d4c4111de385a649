/* main.c - airlock: the commands for people at a terminal, on top of libairlock. */
#include "command.h"

#include <stdio.h>
#include <string.h>

static const char usage[] =
    "Usage: airlock ask [OPTION]... QUESTION\n"
    "       airlock models [OPTION]...\n"
    "Asks a language model in an airlock, through airlock-bridge, and prints its answer as it is\n"
    "made.  QUESTION - is read from standard input.\n"
    "\n"
    "  --image FILE         a picture to look at (PNG, JPEG, WebP, GIF); may be given several "
    "times\n"
    "  --audio FILE         a sound to hear (WAV, FLAC, OGG, MP3); may be given several times\n"
    "  --model MODEL        NAME or NAME:ADAPTER, as 'airlock models' lists them (the first)\n"
    "  --container NAME     the model's container, where the bridge has several\n"
    "  --max-tokens N       end the answer after N tokens (the model's own limit)\n"
    "  --raw                leave control characters of the answer as they are; not on a terminal\n"
    "\n"
    "  --host URL           the bridge: http://NAME:PORT, https://... or unix:/PATH\n"
    "                       (" AIRLOCK_DEFAULT_HOST ")\n"
    "  --socket PATH        the bridge's unix socket\n"
    "  --token-file FILE    the bridge's token is the first one in this file\n"
    "\n"
    "  --help, --version    print and exit\n";

int command_help(void)
{
    return fputs(usage, stdout) == EOF || fflush(stdout) != 0 ? EXIT_BAD : EXIT_GOOD;
}

int main(int argc, char **argv)
{
    const char *command = argc > 1 ? argv[1] : "";
    if (strcmp(command, "ask") == 0)
        return command_ask(argc - 1, argv + 1);
    if (strcmp(command, "models") == 0)
        return command_models(argc - 1, argv + 1);
    if (strcmp(command, "--help") == 0)
        return command_help();
    if (strcmp(command, "--version") == 0)
        return printf("airlock %s\n", airlock_version()) < 0 || fflush(stdout) != 0 ? EXIT_BAD
                                                                                    : EXIT_GOOD;
    if (!*command)
        return wrong_usage("the command is missing: ask or models", "");
    return wrong_usage("no such command: ", command);
}
