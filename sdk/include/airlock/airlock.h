/*
 * airlock.h - the C client of an Airlock: asks a language model in a container, through the bridge.
 *
 *     airlock_error err;
 *     airlock_message question = { "user", "How are you?" };
 *     char *answer = airlock_call_model_server("phi", "Phi4MiniInstruct", &question, 1, NULL, 0,
 *                                              NULL, NULL, NULL, &err);
 *     puts(answer ? answer : err.text);
 *     airlock_free(answer);
 *
 * Link with `pkg-config --libs airlock`.  Usable from C89 and C++98 on.  All text is UTF-8.  Every
 * function that takes an airlock_error accepts NULL for it, and fills it only when it fails.
 * Different clients may be used by different threads at once; one client by one thread at a time,
 * but for airlock_client_cancel().
 */
#ifndef AIRLOCK_AIRLOCK_H
#define AIRLOCK_AIRLOCK_H

#include <stddef.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifdef __GNUC__
#define AIRLOCK_API __attribute__((visibility("default")))
#else
#define AIRLOCK_API
#endif

#define AIRLOCK_DEFAULT_HOST "http://127.0.0.1:8000"

/* Why a call failed: airlock_error.code. */
enum {
    AIRLOCK_ERR_ARGUMENT =
        1,                   /* what was given cannot be sent: a bad address, text not UTF-8, ... */
    AIRLOCK_ERR_CONNECT = 2, /* nobody answers at that address */
    AIRLOCK_ERR_TIMEOUT = 3, /* it took longer than airlock_client_set_timeout() allows */
    AIRLOCK_ERR_HTTP = 4,    /* refused: http_status, and the answer's words in text */
    AIRLOCK_ERR_ANSWER = 5,  /* cut short, larger than the limit, or no HTTP at all */
    AIRLOCK_ERR_MEMORY = 6,
    AIRLOCK_ERR_CANCELLED = 7 /* by airlock_client_cancel(), or by a callback */
};

/* The caller's memory; nothing to free. */
typedef struct airlock_error {
    int code;        /* AIRLOCK_ERR_... */
    int http_status; /* 0: there was no answer */
    char text[1016]; /* one sentence, NUL-terminated; control characters are replaced by spaces */
} airlock_error;

typedef struct airlock_message {
    const char *role; /* "system", "user", "assistant" or "tool" */
    const char *content;
} airlock_message;

/* A picture as it is in its file (PNG, JPEG, WebP, GIF); base64 is made on the way. */
typedef struct airlock_image {
    const void *data;
    size_t size;
} airlock_image;

/* A sound as it is in its file (WAV, FLAC, OGG, MP3), likewise. */
typedef airlock_image airlock_audio;

/* Bits of airlock_parameters.set: which members are sent.  The rest is the model's own choice. */
enum {
    AIRLOCK_SET_TEMPERATURE = 1,
    AIRLOCK_SET_TOP_P = 2,
    AIRLOCK_SET_REPETITION_PENALTY = 4,
    AIRLOCK_SET_PRESENCE_PENALTY = 8,
    AIRLOCK_SET_FREQUENCY_PENALTY = 16,
    AIRLOCK_SET_TOP_K = 32,
    AIRLOCK_SET_MAX_NEW_TOKENS = 64,
    AIRLOCK_SET_DO_SAMPLE = 128
};

typedef struct airlock_parameters {
    unsigned set;
    int do_sample; /* 0: always the likeliest token */
    double temperature;
    double top_p;
    double repetition_penalty;
    double presence_penalty;
    double frequency_penalty;
    long top_k;
    long max_new_tokens;
} airlock_parameters;

/* Zero it and set struct_size; newer members are appended and zero means that they are not used.
 * In a message's content <|image_1|>, <|image_2|>, ... and <|audio_1|>, ... say where the pictures
 * and sounds stand. */
typedef struct airlock_request {
    size_t struct_size; /* sizeof(airlock_request) */
    const char *container;
    const char *model;
    const char *adapter; /* NULL: the base model */
    const airlock_message *messages;
    size_t n_messages;
    const airlock_image *images;
    size_t n_images;
    const airlock_parameters *parameters; /* NULL: none set */
    const airlock_audio *audios;
    size_t n_audios;
} airlock_request;

typedef struct airlock_client airlock_client;

/*
 * A client of the bridge at host: "http://NAME:PORT", "https://..." or "unix:/PATH/OF/SOCKET"; NULL
 * is AIRLOCK_DEFAULT_HOST.  Connects when it is first used, and keeps the connection.  Proxies of
 * the environment are not used, redirects are not followed.  NULL with err when it cannot be made.
 */
AIRLOCK_API airlock_client *airlock_client_new(const char *host, airlock_error *err);
AIRLOCK_API void airlock_client_free(airlock_client *client); /* NULL is fine */

/* Sends "Authorization: Bearer TOKEN" with every request; NULL: none.  Copied.  0, or -1. */
AIRLOCK_API int airlock_client_set_token(airlock_client *client, const char *token,
                                         airlock_error *err);

/* Milliseconds to connect (5000 at first) and for a whole request (600000 at first); 0: no limit.
 */
AIRLOCK_API void airlock_client_set_timeout(airlock_client *client, long connect_ms,
                                            long request_ms);

/* The most bytes that an answer may have; 16 MiB at first. */
AIRLOCK_API void airlock_client_set_max_answer(airlock_client *client, size_t bytes);

/*
 * Asks and waits for the whole answer.  *answer is NUL-terminated, its length in *size (NULL: not
 * wanted); free it with airlock_free().  0, or -1 with err and *answer NULL.  The request is not
 * kept.
 */
AIRLOCK_API int airlock_client_generate(airlock_client *client, const airlock_request *request,
                                        char **answer, size_t *size, airlock_error *err);

/* Takes a piece of an answer as it comes: whole characters of UTF-8, not NUL-terminated.  Other
 * than 0 ends the answer.  Called on the thread that asked; must not use the client. */
typedef int (*airlock_text_fn)(void *ctx, const char *text, size_t size);

/*
 * As airlock_client_generate(), but hands the answer to on_text piece by piece, as it is made.  0
 * when the whole answer has come; -1 with err, AIRLOCK_ERR_CANCELLED when on_text or
 * airlock_client_cancel() ended it: what came before that has come.
 */
AIRLOCK_API int airlock_client_generate_stream(airlock_client *client,
                                               const airlock_request *request,
                                               airlock_text_fn on_text, void *ctx,
                                               airlock_error *err);

/*
 * [any thread] Ends the request that the client is busy with, which returns -1 with
 * AIRLOCK_ERR_CANCELLED at once; the model stops.  Without one nothing happens, and the next
 * request is not affected.  Not for signal handlers.
 */
AIRLOCK_API void airlock_client_cancel(airlock_client *client);

/* ---- chat, in the manner of OpenAI's chat completions ---------------------------------------- */

/* A call of a function that the model wants made, or (in a message) wanted. */
typedef struct airlock_tool_call {
    const char *id;        /* eg: "call_1"; a message with role "tool" answers it */
    const char *name;      /* of the function */
    const char *arguments; /* JSON, as the model wrote it: check it before use */
} airlock_tool_call;

typedef struct airlock_chat_message {
    const char *role;                    /* "system", "user", "assistant" or "tool" */
    const char *content;                 /* NULL: none, beside tool_calls */
    const char *tool_call_id;            /* role "tool": what is answered; otherwise NULL */
    const airlock_tool_call *tool_calls; /* role "assistant": what it wanted; NULL: nothing */
    size_t n_tool_calls;
    const airlock_image *images; /* role "user": stand in front of content; NULL: none */
    size_t n_images;
    const airlock_audio *audios; /* role "user": stand between images and content; NULL: none */
    size_t n_audios;
} airlock_chat_message;

/* Zero it and set struct_size; zero means that a member is not used. */
typedef struct airlock_chat_request {
    size_t struct_size; /* sizeof(airlock_chat_request) */
    const char *model;  /* NAME, NAME:ADAPTER, or either with CONTAINER/ in front */
    const airlock_chat_message *messages;
    size_t n_messages;
    const airlock_parameters *parameters; /* do_sample 0 is temperature 0 */
    const char *const *stop;              /* texts that end the answer and are not part of it */
    size_t n_stop;
    long use_seed; /* other than 0: the same seed, the same answer */
    long seed;
    const char *tools;       /* JSON array: [{"type":"function","function":{"name":..., ...}}] */
    const char *tool_choice; /* "auto", "none", "required", or a function's name */
    const char *schema;      /* JSON Schema that the answer's text will follow */
    airlock_text_fn on_text; /* the answer's text as it is made */
    void *ctx;               /* for on_text */
} airlock_chat_request;

/* Free it with airlock_chat_answer_free().  Newer members are appended. */
typedef struct airlock_chat_answer {
    const char *text; /* NUL-terminated; "" when there is none */
    size_t text_size;
    const airlock_tool_call *tool_calls;
    size_t n_tool_calls;
    const char *finish_reason; /* "stop", "length", "tool_calls", ...; "" when it was not said */
    long prompt_tokens, completion_tokens; /* -1: not said */
    long cached_tokens;                    /* of the prompt, that cost nothing; -1: not said */
} airlock_chat_answer;

/*
 * Asks and waits for the whole answer; on_text, if set, gets its text meanwhile.  The answer, or
 * NULL with err.  The request is not kept.
 */
AIRLOCK_API airlock_chat_answer *airlock_client_chat(airlock_client *client,
                                                     const airlock_chat_request *request,
                                                     airlock_error *err);
AIRLOCK_API void airlock_chat_answer_free(airlock_chat_answer *answer); /* NULL is fine */

/*
 * The names that a request's model may have.  A list that ends with NULL, to be freed with
 * airlock_models_free(), or NULL with err.
 */
AIRLOCK_API char **airlock_client_models(airlock_client *client, airlock_error *err);
AIRLOCK_API void airlock_models_free(char **names); /* NULL is fine */

/* ---- recordings ------------------------------------------------------------------------------ */

/* Zero it and set struct_size; zero means that a member is not used. */
typedef struct airlock_transcription_request {
    size_t struct_size; /* sizeof(airlock_transcription_request) */
    const char *model;  /* as airlock_chat_request.model */
    airlock_audio audio;
    const char *language; /* ISO 639-1, eg: "de"; NULL: the model hears for itself */
    const char *prompt;   /* a text whose spelling and style are to be followed; NULL: none */
    long use_temperature; /* 0: the model's own choice */
    double temperature;   /* 0 (always the likeliest) to 1 */
} airlock_transcription_request;

/*
 * The words of a recording.  *text is NUL-terminated, its length in *size (NULL: not wanted); free
 * it with airlock_free().  0, or -1 with err and *text NULL.  The request is not kept.
 */
AIRLOCK_API int airlock_client_transcribe(airlock_client *client,
                                          const airlock_transcription_request *request, char **text,
                                          size_t *size, airlock_error *err);

/* The most bytes that airlock_read_file() reads: what a request holds as base64. */
#define AIRLOCK_MAX_FILE 50000000

/*
 * Reads a whole file, for airlock_image and airlock_audio.  Its bytes, to be freed with
 * airlock_free(), their number in *size; or NULL with err: it cannot be read, is larger than
 * AIRLOCK_MAX_FILE, or is no regular file.
 */
AIRLOCK_API char *airlock_read_file(const char *path, size_t *size, airlock_error *err);

/* ---- in one call ----------------------------------------------------------------------------- */

/*
 * All that airlock_client_generate() needs in one call, with a client that lives as long as the
 * call: the answer, to be freed with airlock_free(), or NULL with err.  images, adapter, parameters
 * and host may be NULL.
 */
AIRLOCK_API char *airlock_call_model_server(const char *container, const char *model,
                                            const airlock_message *messages, size_t n_messages,
                                            const airlock_image *images, size_t n_images,
                                            const char *adapter,
                                            const airlock_parameters *parameters, const char *host,
                                            airlock_error *err);

AIRLOCK_API void airlock_free(char *text); /* NULL is fine */

/*
 * Writes text that is not trusted (what a model says) so that it can do nothing to a terminal:
 * control characters but tab and line feed, what turns the direction of writing, what cannot be
 * seen, and bytes that are not UTF-8 come out as \x1b or \u202e.  text: whole characters.  0, or
 * -1: out cannot be written to.
 */
AIRLOCK_API int airlock_print(FILE *out, const char *text, size_t size);

AIRLOCK_API const char *airlock_version(void); /* eg: "0.1.0" */

#ifdef __cplusplus
}
#endif

#endif
