/*
 * bridge_options.h - the command line of airlock-bridge.
 */
#ifndef AIRLOCK_BRIDGE_BRIDGE_OPTIONS_H
#define AIRLOCK_BRIDGE_BRIDGE_OPTIONS_H

#include "bridge_config.h"

#include "common/log.h"

/*
 * Reads the configuration file that --config names and the options over it; sets up the log. config
 * is initialised here.  -1: go on; otherwise the program's exit status, after it was said why.
 */
int bridge_options_read(int argc, char **argv, struct bridge_config *config);

#endif
