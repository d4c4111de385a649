/*
 * limits.h - every ceiling of the programs in one place: size, count or time, with its unit and its
 * reason.
 */
#ifndef AIRLOCK_LIMITS_H
#define AIRLOCK_LIMITS_H

enum {
    LIMIT_REQUEST_BYTES = 64 << 20, /* body of one request: a few images as base64 */
    LIMIT_REQUEST_VALUES = 65536,   /* JSON values in one request, counted before parsing */
    LIMIT_ANSWER_BYTES = 16 << 20,  /* one answer; 131072 tokens of text are below 2 MiB */
    LIMIT_STREAM_BYTES = 256 << 20, /* one streamed answer: 131072 events with 20 top_logprobs */
    LIMIT_EVENT_BYTES =
        1 << 20, /* one event of it; ours are below 16 KiB but for long tool calls */
    LIMIT_CONFIG_BYTES = 1 << 20, /* model_config.json, bridge configuration */
    LIMIT_TOKEN_BYTES = 64 << 10, /* a bearer token file */
    LIMIT_TOKENS = 256,           /* tokens in it: all are compared with each request's */
    LIMIT_MESSAGES = 4096,        /* messages in one request */
    LIMIT_MEDIA = 256,            /* images or sounds in one request */
    LIMIT_NAME_BYTES = 128,       /* model, adapter or container name */
    LIMIT_CONCURRENT = 1024,      /* requests at once of one adapter */
    LIMIT_QUEUE = 64,             /* requests waiting for one adapter, unless configured */
    LIMIT_QUEUE_MAX = 4096        /* what may be configured: each holds a thread */
};

#endif
