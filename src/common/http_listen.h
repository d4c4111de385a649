/*
 * http_listen.h - listening sockets from "HOST:PORT" or "unix:PATH", with a unix socket's stale
 * file handled.
 */
#ifndef AIRLOCK_HTTP_LISTEN_H
#define AIRLOCK_HTTP_LISTEN_H

#include "error.h"

#include <sys/types.h>

struct http_listener {
    int fd;            /* -1: closed */
    char address[128]; /* "127.0.0.1:41234", "[::1]:8000" or "unix:PATH" */
    dev_t device;      /* of a unix socket's file, to remove that file and no other */
    ino_t inode;
};

/* HOST is a numeric address or "localhost".  0, or -1 with *out closed. */
int http_listen_open(const char *listen, mode_t mode, struct http_listener *out,
                     struct airlock_error *err);

/* Removes the unix socket's file if it is still the one that was made. */
void http_listen_close(struct http_listener *listener);

#endif
