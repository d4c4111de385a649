/* hub_cache.c - turns a model path or a Hugging Face id into a local directory; nothing is ever
 * downloaded. */
#include "hub_cache.h"

#include "common/io.h"
#include "phi4_config.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_REF_BYTES = 64 }; /* refs/main holds 40 hexadecimal digits */

static bool is_directory(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

/* Letters, digits, '-', '_' and '.', no two dots or dashes in a row, no dot at an end: never a
 * path. */
static bool is_part(const char *s, size_t n)
{
    if (n == 0 || n > HUB_MAX_PART || s[0] == '.' || s[0] == '-' || s[n - 1] == '.')
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = s[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!alnum && c != '-' && c != '_' && c != '.')
            return false;
        if ((c == '.' || c == '-') && i && s[i - 1] == c)
            return false;
    }
    return true;
}

bool hub_id_parse(const char *text, struct hub_id *id)
{
    const char *slash = strchr(text, '/'), *at = strchr(text, '@');
    if (!slash || (at && at < slash))
        return false;
    const char *end = at ? at : text + strlen(text), *revision = at ? at + 1 : "main";
    if (!is_part(text, (size_t)(slash - text)) || !is_part(slash + 1, (size_t)(end - slash - 1)) ||
        !is_part(revision, strlen(revision)))
        return false;
    snprintf(id->org, sizeof id->org, "%.*s", (int)(slash - text), text);
    snprintf(id->name, sizeof id->name, "%.*s", (int)(end - slash - 1), slash + 1);
    snprintf(id->revision, sizeof id->revision, "%s", revision);
    return true;
}

bool hub_id_of_path(const char *path, struct hub_id *id)
{
    static const char folder[] = "/models--";
    char text[2 * HUB_MAX_PART + 2];
    const char *at = strstr(path, folder);
    if (!at)
        return false;
    at += sizeof folder - 1;
    const char *end = strstr(at, "/snapshots/"), *middle = strstr(at, "--");
    if (!end || !middle || middle > end || (size_t)(end - at) >= sizeof text)
        return false;
    snprintf(text, sizeof text, "%.*s/%.*s", (int)(middle - at), at, (int)(end - middle - 2),
             middle + 2);
    return hub_id_parse(text, id);
}

/* The first of these variables that is set: HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME,
 * XDG_CACHE_HOME, HOME, as the huggingface_hub library looks for its cache. */
static int cache_directory(char *out, size_t size, struct airlock_error *err)
{
    static const struct {
        const char *variable, *below;
    } places[] = { { "HF_HUB_CACHE", "" },
                   { "HUGGINGFACE_HUB_CACHE", "" },
                   { "HF_HOME", "/hub" },
                   { "XDG_CACHE_HOME", "/huggingface/hub" },
                   { "HOME", "/.cache/huggingface/hub" } };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const char *value = getenv(places[i].variable);
        if (!value || !*value)
            continue;
        int n = snprintf(out, size, "%s%s", value, places[i].below);
        if (n < 0 || (size_t)n >= size)
            return airlock_error_set(err, AIRLOCK_E_CONFIG, "%s is too long", places[i].variable);
        return 0;
    }
    return airlock_error_set(err, AIRLOCK_E_CONFIG,
                             "none of HF_HUB_CACHE, HF_HOME and HOME says where the local Hub "
                             "cache is");
}

static bool is_commit(const char *s)
{
    return strlen(s) == 40 && strspn(s, "0123456789abcdef") == 40;
}

/* The commit that a branch or tag stood at when it was downloaded: refs/REVISION. */
static int read_ref(const char *repo, const char *revision, char *commit, size_t size,
                    struct airlock_error *err)
{
    char path[PATH_MAX];
    struct bytes text = BYTES_INIT(MAX_REF_BYTES);
    int n = snprintf(path, sizeof path, "%s/refs/%s", repo, revision);
    if (n < 0 || (size_t)n >= sizeof path)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "path too long");
    int rc = io_read_file(path, &text, err);
    while (rc == 0 && text.size && (text.data[text.size - 1] == '\n'))
        text.data[--text.size] = 0;
    if (rc == 0 && (!text.size || !is_commit(text.data)))
        rc = airlock_error_set(err, AIRLOCK_E_CONFIG, "%s does not hold a commit", path);
    if (rc == 0)
        snprintf(commit, size, "%s", text.data);
    bytes_free(&text);
    return rc;
}

static int absolute(const char *path, char *out, size_t size, struct airlock_error *err)
{
    char *real = realpath(path, NULL);
    if (!real || strlen(real) >= size) {
        free(real);
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "%.200s: cannot be made absolute", path);
    }
    memcpy(out, real, strlen(real) + 1);
    free(real);
    return 0;
}

static int find_in_cache(const char *model_path, const struct hub_id *id, char *out, size_t size,
                         struct airlock_error *err)
{
    char cache[PATH_MAX / 2], repo[PATH_MAX - 512], commit[HUB_MAX_PART + 1], snapshot[PATH_MAX];
    if (cache_directory(cache, sizeof cache, err) < 0)
        return -1;
    snprintf(repo, sizeof repo, "%s/models--%s--%s", cache, id->org, id->name);
    if (!is_directory(repo))
        return airlock_error_set(
            err, AIRLOCK_E_CONFIG,
            "model_path \"%s\" is neither a directory nor in the local Hub cache %.200s; nothing "
            "is downloaded here: fetch it with `huggingface-cli download %s/%s`, or set "
            "HF_HUB_CACHE",
            model_path, cache, id->org, id->name);
    if (is_commit(id->revision))
        snprintf(commit, sizeof commit, "%s", id->revision);
    else if (read_ref(repo, id->revision, commit, sizeof commit, err) < 0)
        return airlock_error_wrap(err, "model_path \"%s\": no local revision %s", model_path,
                                  id->revision);
    snprintf(snapshot, sizeof snapshot, "%s/snapshots/%s", repo, commit);
    if (!is_directory(snapshot))
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "model_path \"%s\": %.300s is missing: download it again",
                                 model_path, snapshot);
    return absolute(snapshot, out, size, err);
}

int phi4_model_dir(const char *model_path, char *out, size_t size, struct airlock_error *err)
{
    struct hub_id id;
    if (is_directory(model_path))
        return absolute(model_path, out, size, err);
    if (!hub_id_parse(model_path, &id))
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "model_path \"%.200s\" is not a directory, and not a Hub id such "
                                 "as microsoft/Phi-4-mini-instruct",
                                 model_path);
    return find_in_cache(model_path, &id, out, size, err);
}
