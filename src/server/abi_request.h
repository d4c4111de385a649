/*
 * abi_request.h - an llm_request and everything it points to, built up by whoever reads a request.
 *
 * Text that is added is borrowed (it lives in the caller's JSON tree) unless it was made by
 * abi_request_own().  One thread at a time.
 */
#ifndef AIRLOCK_ABI_REQUEST_H
#define AIRLOCK_ABI_REQUEST_H

#include "common/bytes.h"
#include "common/error.h"

#include <airlock/llm_model.h>
#include <stdbool.h>

struct abi_owned;

struct abi_request {
    llm_request abi; /* its lists are complete after abi_request_finish() */
    llm_params params;
    llm_constraint constraint;
    llm_message *messages;
    const llm_message **message_list;
    size_t n_messages;
    struct abi_media *pending; /* base64 until abi_request_finish() */
    size_t n_images, n_audios;
    llm_media *media; /* images, then audios */
    const llm_media **media_list;
    struct bytes decoded; /* all media, one after the other */
    llm_str *stop;
    llm_logit_bias *bias;
    const llm_logit_bias **bias_list;
    struct abi_owned *owned;
    char salt[72];
};

void abi_request_init(struct abi_request *r);
void abi_request_free(struct abi_request *r); /* a zeroed one is fine */

/* All return 0 or -1: out of memory; the tables once, before their entries are filled. */
int abi_request_messages(struct abi_request *r, size_t n);
int abi_request_stop(struct abi_request *r, size_t n);
int abi_request_bias(struct abi_request *r, size_t n);

/* A copy of text that lives as long as r.  0 or -1. */
int abi_request_own(struct abi_request *r, const char *data, size_t n, llm_str *out);

/* Another image or sound, as base64; field (copied) is what a client calls it.  0 or -1. */
int abi_request_media(struct abi_request *r, bool image, llm_str base64, llm_str mime,
                      const char *field);

/* Another image or sound as its own bytes, borrowed until abi_request_finish() copies them.  0 or
 * -1. */
int abi_request_raw_media(struct abi_request *r, bool image, llm_str bytes);

/* Decodes the media and completes the lists.  0, or -1 with err for the client. */
int abi_request_finish(struct abi_request *r, struct airlock_error *err);

/* Temperatures so low that logits overflow, 0 among them, become greedy decoding; a top_p of 0
 * keeps the likeliest token only. */
void abi_params_settle(llm_params *p);

#endif
