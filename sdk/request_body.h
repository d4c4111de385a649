/*
 * request_body.h - writes the JSON body of POST /generate from the SDK's request.
 */
#ifndef AIRLOCK_SDK_REQUEST_BODY_H
#define AIRLOCK_SDK_REQUEST_BODY_H

#include "common/bytes.h"

#include <airlock/airlock.h>

/* Appends the body, with "stream": true or without.  0, or -1 with err: an argument that cannot be
 * sent, or out of memory. */
int request_body_write(const airlock_request *request, int stream, struct bytes *out,
                       airlock_error *err);

/* Parts of it, for other bodies.  Each: 0, or -1 with err. */

/* A list of pictures or sounds as base64 is what these write; see airlock.h.  Appends
 * ,"KEY":["...",...] or, for a chat's content, ,{"type":"image_url",...} or "input_audio" of each.
 * Nothing for n 0. */
int body_add_media(struct bytes *out, const char *key, const airlock_image *media, size_t n,
                   airlock_error *err);
int body_add_image_parts(struct bytes *out, const airlock_image *images, size_t n,
                         airlock_error *err);
int body_add_audio_parts(struct bytes *out, const airlock_audio *audios, size_t n,
                         airlock_error *err);

/* 0; -1: text is not UTF-8, and err names it. */
int body_check_text(const char *what, const char *text, airlock_error *err);

/* "text" as a JSON string; what: its name for an error; NULL text is an error. */
int body_add_string(struct bytes *out, const char *what, const char *text, airlock_error *err);
/* "key":"text", with a comma in front unless the object has just begun */
int body_add_member(struct bytes *out, const char *key, const char *text, airlock_error *err);
/* The set parameters as members, each with a comma in front; openai: under OpenAI's names. */
int body_add_parameters(struct bytes *out, const airlock_parameters *p, int openai,
                        airlock_error *err);

/* Sets err (NULL is fine) and returns -1; control characters of the text become spaces. */
int sdk_fail(airlock_error *err, int code, int http_status, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
