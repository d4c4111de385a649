/* transfer.c - one HTTP exchange over libcurl, which another thread may cancel; see client.h. */
#include "chat_parse.h"
#include "client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { ERROR_BYTES = 4096, /* of an answer that is no success */ WAIT_MS = 1000 };

static size_t take_body(char *data, size_t one, size_t n, void *arg)
{
    struct transfer *t = arg;
    long status = 0;
    const char *type = NULL;
    size_t size = one * n;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status == 200) {
        curl_easy_getinfo(t->curl, CURLINFO_CONTENT_TYPE, &type);
        return t->take(t, data, size, type && strncasecmp(type, "text/event-stream", 17) == 0) == 0
                   ? size
                   : 0;
    }
    /* of a long refusal the beginning is enough */
    size_t room = ERROR_BYTES - t->refusal.size;
    if (bytes_add(&t->refusal, data, size < room ? size : room) != 0) {
        sdk_fail(&t->failure, AIRLOCK_ERR_MEMORY, 0, "out of memory");
        return 0;
    }
    return size;
}

/* The client's headers with the form's type.  A form needs an Authorization, which no web page can
 * send; where there is no token it may be any.  Out of memory: NULL. */
static struct curl_slist *form_headers(const airlock_client *c, const char *type)
{
    char line[256];
    int authorized = 0, good = snprintf(line, sizeof line, "Content-Type: %s", type) > 0;
    struct curl_slist *list = curl_slist_append(NULL, line);
    for (const struct curl_slist *h = c->headers; h && list && good; h = h->next) {
        if (strncasecmp(h->data, "Content-Type:", 13) == 0)
            continue;
        authorized = authorized || strncasecmp(h->data, "Authorization:", 14) == 0;
        good = curl_slist_append(list, h->data) != NULL;
    }
    if (list && good && !authorized)
        good = curl_slist_append(list, "Authorization: Bearer none") != NULL;
    if (good)
        return list;
    curl_slist_free_all(list);
    return NULL;
}

/* All options of one request; the handle keeps its connection and nothing else. */
static CURLcode prepare(airlock_client *c, struct transfer *t, const char *url,
                        char words[CURL_ERROR_SIZE])
{
    CURL *h = c->curl;
    CURLcode rc = CURLE_OK;
    curl_easy_reset(h);
#define SET(option, value) rc = rc == CURLE_OK ? curl_easy_setopt(h, option, value) : rc
    SET(CURLOPT_ERRORBUFFER, words);
    SET(CURLOPT_URL, url);
    SET(CURLOPT_UNIX_SOCKET_PATH, c->socket_path);
#if LIBCURL_VERSION_NUM >= 0x075500
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
#else
    SET(CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_HTTPHEADER, t->form ? t->form_headers : c->headers);
    SET(CURLOPT_USERAGENT, "libairlock/" AIRLOCK_VERSION);
    SET(CURLOPT_CONNECTTIMEOUT_MS, c->connect_ms ? c->connect_ms : 2000000000L);
    SET(CURLOPT_TIMEOUT_MS, c->request_ms);
    SET(CURLOPT_HTTPGET, 1L);
    if (t->body) {
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)t->body->size);
        SET(CURLOPT_POSTFIELDS, t->body->data);
    }
    SET(CURLOPT_WRITEFUNCTION, take_body);
    SET(CURLOPT_WRITEDATA, t);
#undef SET
    return rc;
}

/* The sentence of a refusal: the one in its JSON, or the answer's own words without their line
 * ends. */
static int refused(const airlock_client *c, long status, const struct bytes *body,
                   airlock_error *err)
{
    char words[CHAT_WORDS_MAX];
    if (body->size && body->data[0] == '{' &&
        chat_parse_refusal(body->data, body->size, words) == 0)
        return sdk_fail(err, AIRLOCK_ERR_HTTP, (int)status, "%s answered %ld: %s", c->host, status,
                        words);
    size_t n = body->size;
    while (n > 0 && (body->data[n - 1] == '\n' || body->data[n - 1] == ' '))
        n--;
    return sdk_fail(err, AIRLOCK_ERR_HTTP, (int)status, "%s answered %ld: %.*s", c->host, status,
                    n ? (int)n : 10, n ? body->data : "(no words)");
}

static int explain(airlock_client *c, CURLcode rc, const struct transfer *t, const char *words,
                   airlock_error *err)
{
    if (atomic_load(&c->cancelled))
        return sdk_fail(err, AIRLOCK_ERR_CANCELLED, 0, "the request was cancelled");
    if (t->failure.code)
        return sdk_fail(err, t->failure.code, t->failure.http_status, "%s", t->failure.text);
    if (rc == CURLE_OUT_OF_MEMORY)
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

/* Runs what was prepared until it is over or cancelled. */
static CURLcode run(airlock_client *c)
{
    CURLcode rc = CURLE_OUT_OF_MEMORY;
    if (curl_multi_add_handle(c->multi, c->curl) != CURLM_OK)
        return rc;
    for (int running = 1; running;) {
        if (curl_multi_perform(c->multi, &running) != CURLM_OK)
            break;
        if (atomic_load(&c->cancelled)) {
            rc = CURLE_ABORTED_BY_CALLBACK;
            break;
        }
        int left;
        for (CURLMsg *m; (m = curl_multi_info_read(c->multi, &left));)
            if (m->msg == CURLMSG_DONE)
                rc = m->data.result;
        if (running)
            curl_multi_poll(c->multi, NULL, 0, WAIT_MS, NULL);
    }
    curl_multi_remove_handle(c->multi,
                             c->curl); /* in the middle of an answer: closes the connection */
    return rc;
}

int sdk_transfer(airlock_client *c, struct transfer *t, airlock_error *err)
{
    char words[CURL_ERROR_SIZE] = "";
    long status = 0;
    size_t n = strlen(c->base) + strlen(t->path) + 1;
    char *url = malloc(n);
    if (!url)
        return sdk_fail(err, AIRLOCK_ERR_MEMORY, 0, "out of memory");
    snprintf(url, n, "%s%s", c->base, t->path);
    atomic_store(&c->cancelled, 0);
    t->curl = c->curl;
    t->refusal.max = ERROR_BYTES;
    t->form_headers = t->form ? form_headers(c, t->form) : NULL;
    CURLcode rc = t->form && !t->form_headers ? CURLE_OUT_OF_MEMORY : prepare(c, t, url, words);
    if (rc == CURLE_OK)
        rc = run(c);
    int result = 0;
    if (rc != CURLE_OK) {
        result = explain(c, rc, t, words, err);
    } else {
        curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
        if (status != 200)
            result = refused(c, status, &t->refusal, err);
    }
    bytes_free(&t->refusal);
    curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, NULL);
    curl_slist_free_all(t->form_headers);
    free(url);
    return result;
}
