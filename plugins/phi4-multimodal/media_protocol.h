/*
 * media_protocol.h - what the plugin and the media worker say to each other.
 *
 * The plugin sends one struct media_request per picture or sound over a SOCK_SEQPACKET socket, with
 * three descriptors in this order: a memfd with the file as it came, a memfd of MEDIA_DATA_AT +
 * out_bytes bytes that cannot change its size, and the writing end of a pipe.  The worker forks a
 * process that maps both, gives up everything else, decodes, fills in the struct media_result at
 * the start of the second memfd, writes one byte to the pipe and ends.  The plugin reads the memfd
 * when the pipe has ended: with the byte it holds a result, without it the process died.
 */
#ifndef AIRLOCK_MEDIA_PROTOCOL_H
#define AIRLOCK_MEDIA_PROTOCOL_H

#include <stdint.h>

enum media_kind {
    MEDIA_IMAGE = 1, /* data: RGB, 8 bits each, row by row from the top; size[]: width, height */
    MEDIA_SOUND      /* data: float samples, one channel; size[0]: samples per second */
};

enum {
    MEDIA_WORKER_SOCKET = 3,         /* the worker's descriptor */
    MEDIA_DATA_AT = 4096,            /* where the data begins in the second memfd */
    MEDIA_FILE_BYTES_MAX = 64 << 20, /* a picture or sound as it came */
    MEDIA_MEMORY_BYTES = 1 << 30,    /* address space of the process that decodes */
    MEDIA_CPU_SECONDS = 10,          /* its processor time */
    MEDIA_WALL_SECONDS = 20,         /* and its time by the clock */
    IMAGE_MAX_PIXELS = 1 << 26,      /* width times height */
    IMAGE_MAX_SIDE = 65535
};

struct media_request {
    uint32_t kind;
    uint32_t reserved; /* 0 */
    uint64_t in_bytes;
    uint64_t out_bytes;
};

struct media_result {
    uint32_t refused;  /* not 0: text says why */
    uint32_t size[2];  /* see enum media_kind */
    uint32_t reserved; /* 0 */
    uint64_t bytes;    /* of data */
    char text[232];    /* a sentence without a full stop, NUL-terminated */
};

#endif
