/* media_prompt.c - finds the placeholders, chooses the mode, digests the media; see media_prompt.h.
 */
#include "media_prompt.h"

#include <sha2.h>
#include <stdio.h>
#include <string.h>

enum kind { IMAGE, AUDIO, KINDS };

static const struct {
    const char *begin, *what;
} kinds[KINDS] = { { "<|image_", "image" }, { "<|audio_", "audio" } };

struct place {
    enum kind kind;
    size_t at, size; /* in the content */
    size_t number;   /* as written; SIZE_MAX: too large */
};

/* A placeholder at text: [size]; its length, or 0. */
static size_t match(const char *text, size_t size, struct place *out)
{
    const size_t begin = strlen(kinds[IMAGE].begin);
    if (size < begin)
        return 0;
    for (out->kind = IMAGE; out->kind < KINDS; out->kind++)
        if (memcmp(text, kinds[out->kind].begin, begin) == 0)
            break;
    if (out->kind == KINDS)
        return 0;
    size_t i = begin;
    for (out->number = 0; i < size && text[i] >= '0' && text[i] <= '9'; i++)
        out->number =
            out->number > SIZE_MAX / 16 ? SIZE_MAX : out->number * 10 + (size_t)(text[i] - '0');
    return i > begin && size - i >= 2 && memcmp(text + i, "|>", 2) == 0 ? i + 2 : 0;
}

/* The next placeholder of m from *from on. */
static bool next_place(const struct chat_message *m, size_t *from, struct place *out)
{
    if (m->role != CHAT_SYSTEM && m->role != CHAT_USER)
        return false;
    while (*from < m->size) {
        const char *at = memchr(m->content + *from, '<', m->size - *from);
        if (!at)
            break;
        out->at = (size_t)(at - m->content);
        out->size = match(at, m->size - out->at, out);
        /* No placeholder begins within the digits of what was almost one. */
        *from = out->at + (out->size ? out->size : 1);
        if (out->size)
            return true;
    }
    *from = m->size;
    return false;
}

static int check_counts(const size_t *found, const size_t *given, struct airlock_error *err)
{
    for (size_t k = 0; k < KINDS; k++)
        if (found[k] != given[k])
            return airlock_error_set(
                err, AIRLOCK_E_REQUEST,
                "the messages have %zu %s placeholder%s (%s1|>, ...) for the request's %zu %s%s",
                found[k], kinds[k].what, found[k] == 1 ? "" : "s", kinds[k].begin, given[k],
                kinds[k].what, given[k] == 1 ? "" : "s");
    return 0;
}

int media_prompt_check(const struct chat_message *messages, size_t n, size_t n_images,
                       size_t n_audios, struct airlock_error *err)
{
    const size_t given[KINDS] = { n_images, n_audios };
    size_t found[KINDS] = { 0 };
    struct place wrong = { .kind = KINDS }; /* the first that is out of order */
    size_t expected = 0;
    for (size_t i = 0; i < n; i++) {
        struct place p;
        for (size_t from = 0; next_place(&messages[i], &from, &p);) {
            if (p.number != ++found[p.kind] && wrong.kind == KINDS) {
                wrong = p;
                expected = found[p.kind];
            }
        }
    }
    if (check_counts(found, given, err) < 0)
        return -1;
    if (wrong.kind == KINDS)
        return 0;
    return airlock_error_set(err, AIRLOCK_E_REQUEST,
                             "messages: a placeholder %s...|> has another number where %s%zu|> "
                             "should be: they are numbered from 1 in the order of the text",
                             kinds[wrong.kind].begin, kinds[wrong.kind].begin, expected);
}

void media_prompt_inserts(struct chat_message *messages, size_t n,
                          const struct media_counts *counts, struct chat_insert *inserts,
                          size_t *image_insert, size_t *audio_insert)
{
    const size_t most[KINDS] = { counts->n_images, counts->n_audios };
    const size_t *tokens[KINDS] = { counts->image_tokens, counts->audio_tokens };
    const int32_t id[KINDS] = { counts->image_id, counts->audio_id };
    size_t *where[KINDS] = { image_insert, audio_insert };
    size_t found[KINDS] = { 0 }, used = 0;
    for (size_t i = 0; i < n; i++) {
        struct place p;
        messages[i].inserts = inserts + used;
        messages[i].n_inserts = 0;
        for (size_t from = 0; next_place(&messages[i], &from, &p);) {
            const size_t k = found[p.kind];
            if (k == most[p.kind]) /* media_prompt_check would have said so */
                continue;
            found[p.kind]++;
            if (where[p.kind])
                where[p.kind][k] = used;
            inserts[used++] =
                (struct chat_insert){ p.at, p.size, id[p.kind], tokens[p.kind][k], 0 };
            messages[i].n_inserts++;
        }
    }
}

enum media_mode media_mode_of(size_t n_images, size_t n_audios)
{
    if (n_images)
        return n_audios ? MEDIA_VISION_SPEECH : MEDIA_VISION;
    return n_audios ? MEDIA_SPEECH : MEDIA_LANGUAGE;
}

const char *media_mode_adapter(enum media_mode mode)
{
    static const char *const names[] = { [MEDIA_LANGUAGE] = NULL,
                                         [MEDIA_VISION] = "vision",
                                         [MEDIA_SPEECH] = "speech",
                                         [MEDIA_VISION_SPEECH] = "vision" };
    return names[mode];
}

enum audio_mode media_mode_audio(enum media_mode mode)
{
    return mode == MEDIA_VISION_SPEECH ? AUDIO_VISION : AUDIO_SPEECH;
}

_Static_assert(MEDIA_KEY_BYTES == SHA256_DIGEST_LENGTH, "keys");

static void add(SHA2_CTX *sha, const void *bytes, size_t size)
{
    if (size > 0)
        SHA256Update(sha, bytes, size);
}

/* What has no fixed size has its size before it. */
struct media_key media_file_key(const struct media_file *file, bool is_image, const void *salt,
                                size_t n_salt)
{
    struct media_key key;
    SHA2_CTX sha;
    const uint64_t head[] = { is_image, n_salt, file->size };
    SHA256Init(&sha);
    add(&sha, head, sizeof head);
    add(&sha, salt, n_salt);
    add(&sha, file->bytes, file->size);
    SHA256Final(key.digest, &sha);
    return key;
}

struct media_key media_key_with(const struct media_key *key, const uint64_t *numbers, size_t n)
{
    struct media_key out;
    SHA2_CTX sha;
    SHA256Init(&sha);
    add(&sha, key, sizeof *key);
    add(&sha, numbers, n * sizeof *numbers);
    SHA256Final(out.digest, &sha);
    return out;
}

struct media_key media_key_chain(const struct media_key *before, const struct media_key *next)
{
    struct media_key out;
    SHA2_CTX sha;
    SHA256Init(&sha);
    add(&sha, before, sizeof *before);
    add(&sha, next, sizeof *next);
    SHA256Final(out.digest, &sha);
    return out;
}
