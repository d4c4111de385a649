/*
 * media_prompt.h - pictures and sounds in a prompt: where they stand, what they switch on, and what
 * tells media from one another.
 *
 * <|image_1|>, <|image_2|>, ... and <|audio_1|>, ... in the content of a system or user message
 * stand for the request's pictures and sounds; in the content of an assistant or a tool they are
 * text, for that is nobody's wish but data.  Each must stand exactly once, in order.  (The Hub's
 * code ignores the numbers and counts; vLLM demands the order.  In order both agree.)
 */
#ifndef AIRLOCK_MEDIA_PROMPT_H
#define AIRLOCK_MEDIA_PROMPT_H

#include "audio_weights.h"
#include "media_cache.h"

#include "engine/chat_template.h"

#include <stdbool.h>

/* ---- placeholders ---------------------------------------------------------------------------- */

/* Counts the placeholders of messages and compares them with what the request brings; takes linear
 * time and no memory, so it comes before any decoding.  0, or -1 with err AIRLOCK_E_REQUEST, which
 * names both numbers, or the placeholder that is out of order. */
int media_prompt_check(const struct chat_message *messages, size_t n, size_t n_images,
                       size_t n_audios, struct airlock_error *err);

/* What becomes of a placeholder: tokens copies of the placeholder token. */
struct media_counts {
    const size_t *image_tokens; /* [n_images] */
    size_t n_images;
    const size_t *audio_tokens; /* [n_audios] */
    size_t n_audios;
    int32_t image_id, audio_id; /* of <|endoftext10|> and <|endoftext11|> */
};

/* Gives each message its inserts.  inserts: [n_images + n_audios], filled from the front, and used
 * by the messages until the prompt is encoded; then image k's first token is at
 * inserts[image_insert[k]].first, and so for sounds (both lists may be NULL).  The messages have
 * passed media_prompt_check. */
void media_prompt_inserts(struct chat_message *messages, size_t n,
                          const struct media_counts *counts, struct chat_insert *inserts,
                          size_t *image_insert, size_t *audio_insert);

/* ---- what is switched on --------------------------------------------------------------------- */

/* The reference's input modes, in its numbers. */
enum media_mode { MEDIA_LANGUAGE, MEDIA_VISION, MEDIA_SPEECH, MEDIA_VISION_SPEECH };

enum media_mode media_mode_of(size_t n_images, size_t n_audios);

/* The built-in adapter that works on every row of the request, from the first token of the prompt
 * to the last of the answer: "vision", "speech", or NULL for text alone.  With pictures and sounds
 * it is the vision adapter; never both. */
const char *media_mode_adapter(enum media_mode mode);

/* Which of the two projections sounds go through. */
enum audio_mode media_mode_audio(enum media_mode mode);

/* ---- identity -------------------------------------------------------------------------------- */

struct media_file {
    const void *bytes;
    size_t size;
};

/* SHA-256 over the caller's salt [n_salt], the kind of file and its bytes as they came. */
struct media_key media_file_key(const struct media_file *file, bool is_image, const void *salt,
                                size_t n_salt);

/* SHA-256 over a key and what else an embedding depends on. */
struct media_key media_key_with(const struct media_key *key, const uint64_t *numbers, size_t n);

/* SHA-256 over two keys: of a request's media so far, and of the next. */
struct media_key media_key_chain(const struct media_key *before, const struct media_key *next);

#endif
