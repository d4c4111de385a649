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
    LIMIT_CONFIG_BYTES = 1 << 20,   /* model_config.json, bridge configuration */
    LIMIT_STREAMED_BYTES =
        256 << 20, /* one whole streamed answer: 131072 events with 20 top_logprobs */
    LIMIT_EVENT_BYTES =
        1 << 20, /* one event of it; ours are below 16 KiB but for long tool calls */
    LIMIT_TOKEN_BYTES = 64 << 10, /* a bearer token file */
    LIMIT_BEARER_TOKENS = 256,    /* tokens in it: all are compared with each request's */
    LIMIT_MESSAGES = 4096,        /* messages in one request */
    LIMIT_MEDIA = 256,            /* images or sounds in one request */
    LIMIT_NAME_BYTES = 128,       /* model, adapter or container name */
    LIMIT_CONCURRENT = 1024,      /* requests at once of one adapter */
    LIMIT_QUEUE = 64,             /* requests waiting for one adapter, unless configured */
    LIMIT_QUEUE_MAX = 4096,       /* what may be configured: each holds a thread */
    LIMIT_ADAPTERS = 1024,        /* of one model, configured or loaded at run time */
    LIMIT_STREAM_BYTES = 1 << 20, /* text made but not sent yet: minutes of it at any speed */
    LIMIT_STALL_MS = 250,         /* a full stream makes its model wait so long, then stop */
    LIMIT_PING_SECONDS = 10,      /* silence on a stream before a ping; proxies give up at 60 */
    LIMIT_CHOICES = 8,            /* answers to one request: n times the number of prompts */
    LIMIT_STOP = 16,              /* stop strings in one request */
    LIMIT_STOP_BYTES = 512,       /* each of them: so much text may be held back */
    LIMIT_LOGIT_BIAS = 1024,      /* tokens with a bias in one request */
    LIMIT_TOP_LOGPROBS = 20,      /* alternatives told for each token */
    LIMIT_TOOLS = 128,            /* tools in one request, calls in one message */
    LIMIT_TOKENS = 1 << 20,       /* ids in one POST /tokenize or /detokenize */
    LIMIT_CALLER_BYTES = 64,      /* the Airlock-Caller header: a hash in hexadecimal */
    LIMIT_REQUEST_ID_BYTES = 64   /* the X-Request-Id header */
};

#endif
