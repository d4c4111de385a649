/*
 * client.c - libairlock: sends a request to the bridge with libcurl and gives back the answer or
 * why there is none.
 */
#include "common/bytes.h"
#include "request_body.h"

#include <airlock/airlock.h>
#include <curl/curl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DEFAULT_CONNECT_MS = 5000,
    DEFAULT_REQUEST_MS = 600000, /* a long answer of a large model on a CPU */
    DEFAULT_ANSWER_BYTES = 16 << 20,
    REQUEST_BYTES = 1 << 30,
    ERROR_BYTES = 4096 /* of an answer that is no success */
};

struct airlock_client {
    CURL *curl;
    struct curl_slist *headers;
    char *url;         /* of /generate */
    char *socket_path; /* NULL: by the URL */
    char *host;        /* as given, for sentences */
    long connect_ms, request_ms;
    size_t max_answer;
};

/* What one answer has brought so far. */
struct answer {
    CURL *curl;
    struct bytes body;
    size_t max;
    int too_large, no_memory;
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_state;

static void start_curl(void)
{
    curl_state = curl_global_init(CURL_GLOBAL_DEFAULT);
}

const char *airlock_version(void)
{
    return AIRLOCK_VERSION;
}

void airlock_free(char *answer)
{
    free(answer);
}

/* ---- the client ----------------------------------------------------------------------------- */

static int starts_with(const char *text, const char *head)
{
    return strncmp(text, head, strlen(head)) == 0;
}

/* Fills url and socket_path from host. */
static int take_host(airlock_client *c, const char *host, airlock_error *err)
{
    int is_unix = starts_with(host, "unix:");
    const char *base = is_unix ? "http://localhost" : host;
    size_t n = strlen(base);
    if (is_unix && host[5] != '/')
        return sdk_fail(err, AIRLOCK_ERR_ARGUMENT, 0,
                        "'%.200s' is no socket: expected unix:/ABSOLUTE/PATH", host);
    size_t scheme = starts_with(host, "http://") ? 7 : starts_with(host, "https://") ? 8 : 0;
    if (!is_unix && (scheme == 0 || host[scheme] == 0 || host[scheme] == '/'))
        return sdk_fail(err, AIRLOCK_ERR_ARGUMENT, 0,
                        "'%.200s' is no address: expected http://NAME:PORT, https://NAME:PORT or "
                        "unix:/PATH",
                        host);
    while (n > 0 && base[n - 1] == '/')
        n--;
    c->host = strdup(host);
    c->socket_path = is_unix ? strdup(host + 5) : NULL;
    c->url = malloc(n + sizeof "/generate");
    if (!c->host || !c->url || (is_unix && !c->socket_path))
        return sdk_fail(err, AIRLOCK_ERR_MEMORY, 0, "out of memory");
    memcpy(c->url, base, n);
    strcpy(c->url + n, "/generate");
    return 0;
}

airlock_client *airlock_client_new(const char *host, airlock_error *err)
{
    pthread_once(&curl_once, start_curl);
    airlock_client *c = calloc(1, sizeof *c);
    if (!c || curl_state != CURLE_OK) {
        sdk_fail(err, AIRLOCK_ERR_MEMORY, 0, "out of memory, or libcurl cannot start");
        free(c);
        return NULL;
    }
    c->connect_ms = DEFAULT_CONNECT_MS;
    c->request_ms = DEFAULT_REQUEST_MS;
    c->max_answer = DEFAULT_ANSWER_BYTES;
    int rc = take_host(c, host ? host : AIRLOCK_DEFAULT_HOST, err);
    if (rc == 0 && ((c->curl = curl_easy_init()) == NULL || airlock_client_set_token(c, NULL, err)))
        rc = sdk_fail(err, AIRLOCK_ERR_MEMORY, 0, "out of memory");
    if (rc != 0) {
        airlock_client_free(c);
        return NULL;
    }
    return c;
}

void airlock_client_free(airlock_client *c)
{
    if (!c)
        return;
    curl_easy_cleanup(c->curl);
    curl_slist_free_all(c->headers);
    free(c->url);
    free(c->socket_path);
    free(c->host);
    free(c);
}

static int add_header(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*list, line);
    if (!longer)
        return -1;
    *list = longer;
    return 0;
}

int airlock_client_set_token(airlock_client *c, const char *token, airlock_error *err)
{
    struct curl_slist *headers = NULL;
    char line[4096];
    for (const char *p = token; p && *p; p++)
        if (*p <= ' ' || *p > '~')
            return sdk_fail(err, AIRLOCK_ERR_ARGUMENT, 0,
                            "the token has a space, a line end or another character that no token "
                            "has: is it the file's name or has it its line end?");
    int n = snprintf(line, sizeof line, "Authorization: Bearer %s", token ? token : "");
    if (n < 0 || (size_t)n >= sizeof line)
        return sdk_fail(err, AIRLOCK_ERR_ARGUMENT, 0, "the token is longer than 4000 bytes");
    /* without "Expect:" large requests would wait for a 100 that need not come */
    if (add_header(&headers, "Content-Type: application/json") != 0 ||
        add_header(&headers, "Expect:") != 0 || (token && add_header(&headers, line) != 0)) {
        curl_slist_free_all(headers);
        return sdk_fail(err, AIRLOCK_ERR_MEMORY, 0, "out of memory");
    }
    curl_slist_free_all(c->headers);
    c->headers = headers;
    return 0;
}

void airlock_client_set_timeout(airlock_client *c, long connect_ms, long request_ms)
{
    c->connect_ms = connect_ms > 0 ? connect_ms : 0;
    c->request_ms = request_ms > 0 ? request_ms : 0;
}

void airlock_client_set_max_answer(airlock_client *c, size_t bytes)
{
    c->max_answer = bytes;
}

/* ---- a request ------------------------------------------------------------------------------ */

static size_t take_body(char *data, size_t one, size_t n, void *arg)
{
    struct answer *a = arg;
    long status = 0;
    size_t size = one * n;
    curl_easy_getinfo(a->curl, CURLINFO_RESPONSE_CODE, &status);
    size_t room = (status == 200 ? a->max : ERROR_BYTES) - a->body.size;
    if (size > room && status == 200) {
        a->too_large = 1;
        return 0;
    }
    /* of a long refusal the beginning is enough */
    if (bytes_add(&a->body, data, size < room ? size : room) != 0) {
        a->no_memory = 1;
        return 0;
    }
    return size;
}

/* All options of one request; the handle keeps its connection and nothing else. */
static CURLcode prepare(airlock_client *c, const struct bytes *body, struct answer *a,
                        char words[CURL_ERROR_SIZE])
{
    CURL *h = c->curl;
    CURLcode rc = CURLE_OK;
    curl_easy_reset(h);
#define SET(option, value)                                                                         \
    if (rc == CURLE_OK)                                                                            \
    rc = curl_easy_setopt(h, option, value)
    SET(CURLOPT_ERRORBUFFER, words);
    SET(CURLOPT_URL, c->url);
    SET(CURLOPT_UNIX_SOCKET_PATH, c->socket_path);
#if LIBCURL_VERSION_NUM >= 0x075500
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
#else
    SET(CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_HTTPHEADER, c->headers);
    SET(CURLOPT_USERAGENT, "libairlock/" AIRLOCK_VERSION);
    SET(CURLOPT_CONNECTTIMEOUT_MS, c->connect_ms ? c->connect_ms : 2000000000L);
    SET(CURLOPT_TIMEOUT_MS, c->request_ms);
    SET(CURLOPT_POST, 1L);
    SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body->size);
    SET(CURLOPT_POSTFIELDS, body->data);
    SET(CURLOPT_WRITEFUNCTION, take_body);
    SET(CURLOPT_WRITEDATA, a);
#undef SET
    return rc;
}

/* The sentence of a refusal: the answer's own words without their line ends. */
static int refused(const airlock_client *c, long status, struct bytes *body, airlock_error *err)
{
    size_t n = body->size;
    while (n > 0 && (body->data[n - 1] == '\n' || body->data[n - 1] == ' '))
        n--;
    return sdk_fail(err, AIRLOCK_ERR_HTTP, (int)status, "%s answered %ld: %.*s", c->host, status,
                    n ? (int)n : 10, n ? body->data : "(no words)");
}

static int explain(const airlock_client *c, CURLcode rc, const struct answer *a, const char *words,
                   airlock_error *err)
{
    if (a->too_large)
        return sdk_fail(err, AIRLOCK_ERR_ANSWER, 200,
                        "the answer is larger than %zu bytes (airlock_client_set_max_answer)",
                        c->max_answer);
    if (a->no_memory || rc == CURLE_OUT_OF_MEMORY)
        return sdk_fail(err, AIRLOCK_ERR_MEMORY, 0, "out of memory");
    const char *why = words[0] ? words : curl_easy_strerror(rc);
    switch (rc) {
    case CURLE_URL_MALFORMAT:
        return sdk_fail(err, AIRLOCK_ERR_ARGUMENT, 0, "'%.200s' is no address: %s", c->host, why);
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
        return sdk_fail(err, AIRLOCK_ERR_CONNECT, 0,
                        "cannot reach the bridge at %.200s: %s: is airlock-bridge running?",
                        c->host, why);
    case CURLE_OPERATION_TIMEDOUT:
        return sdk_fail(err, AIRLOCK_ERR_TIMEOUT, 0, "%.200s gave no answer in time: %s", c->host,
                        why);
    default:
        return sdk_fail(err, AIRLOCK_ERR_ANSWER, 0, "%.200s broke off: %s", c->host, why);
    }
}

static int perform(airlock_client *c, const struct bytes *body, struct answer *a,
                   airlock_error *err)
{
    char words[CURL_ERROR_SIZE] = "";
    long status = 0;
    CURLcode rc = prepare(c, body, a, words);
    if (rc == CURLE_OK)
        rc = curl_easy_perform(c->curl);
    if (rc != CURLE_OK)
        return explain(c, rc, a, words, err);
    curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200)
        return refused(c, status, &a->body, err);
    if (bytes_add(&a->body, "", 0) != 0) /* an empty answer is a string too */
        return sdk_fail(err, AIRLOCK_ERR_MEMORY, 0, "out of memory");
    return 0;
}

int airlock_client_generate(airlock_client *c, const airlock_request *request, char **answer,
                            size_t *size, airlock_error *err)
{
    airlock_request whole = { 0 };
    struct bytes body = BYTES_INIT(REQUEST_BYTES);
    struct answer a = { .curl = c->curl, .body = BYTES_INIT(SIZE_MAX / 2), .max = c->max_answer };
    *answer = NULL;
    if (request->struct_size < offsetof(airlock_request, parameters) + sizeof(void *))
        return sdk_fail(err, AIRLOCK_ERR_ARGUMENT, 0,
                        "airlock_request.struct_size is not set: it is sizeof(airlock_request)");
    memcpy(&whole, request,
           request->struct_size < sizeof whole ? request->struct_size : sizeof whole);
    int rc = request_body_write(&whole, &body, err);
    if (rc == 0)
        rc = perform(c, &body, &a, err);
    bytes_free(&body);
    if (rc != 0) {
        bytes_free(&a.body);
        return -1;
    }
    *answer = a.body.data; /* handed over */
    if (size)
        *size = a.body.size;
    return 0;
}

char *airlock_call_model_server(const char *container, const char *model,
                                const airlock_message *messages, size_t n_messages,
                                const airlock_image *images, size_t n_images, const char *adapter,
                                const airlock_parameters *parameters, const char *host,
                                airlock_error *err)
{
    airlock_request request = { .struct_size = sizeof request,
                                .container = container,
                                .model = model,
                                .adapter = adapter,
                                .messages = messages,
                                .n_messages = n_messages,
                                .images = images,
                                .n_images = n_images,
                                .parameters = parameters };
    char *answer = NULL;
    airlock_client *c = airlock_client_new(host, err);
    if (c)
        airlock_client_generate(c, &request, &answer, NULL, err);
    airlock_client_free(c);
    return answer;
}
