/* client.c - libairlock: makes, sets up and ends a client; see airlock.h. */
#include "client.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DEFAULT_CONNECT_MS = 5000,
    DEFAULT_REQUEST_MS = 600000, /* a long answer of a large model on a CPU */
    DEFAULT_ANSWER_BYTES = 16 << 20
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

/* Fills base and socket_path from host. */
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
    c->base = strndup(base, n);
    if (!c->host || !c->base || (is_unix && !c->socket_path))
        return sdk_fail(err, AIRLOCK_ERR_MEMORY, 0, "out of memory");
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
    if (rc == 0 &&
        ((c->curl = curl_easy_init()) == NULL || (c->multi = curl_multi_init()) == NULL ||
         airlock_client_set_token(c, NULL, err)))
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
    curl_multi_cleanup(c->multi);
    curl_slist_free_all(c->headers);
    free(c->base);
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

void airlock_client_cancel(airlock_client *c)
{
    atomic_store(&c->cancelled, 1);
    curl_multi_wakeup(c->multi);
}
