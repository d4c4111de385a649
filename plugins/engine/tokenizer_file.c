/* tokenizer_file.c - reads tokenizer.json: every setting that would change the ids is understood or
 * refused. */
#include "tokenizer_file.h"

#include "common/bytes.h"
#include "common/json.h"
#include "tokenizer_vocab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SKELETON_BYTES = 8 << 20 /* tokenizer.json without vocabulary and merges */ };

/* The document with null for the vocabulary and the merges. */
static struct json_object *parse_skeleton(const char *text, size_t size,
                                          const struct tokenizer_vocab *r,
                                          struct airlock_error *err)
{
    struct bytes skeleton = BYTES_INIT(SKELETON_BYTES);
    const bool vocab_first = r->vocab.start < r->merges.start;
    const struct json_span a = vocab_first ? r->vocab : r->merges;
    const struct json_span b = vocab_first ? r->merges : r->vocab;
    struct json_object *root = NULL;
    if (bytes_add(&skeleton, text, (size_t)(a.start - text)) < 0 ||
        bytes_add_text(&skeleton, "null") < 0 ||
        bytes_add(&skeleton, a.end, (size_t)(b.start - a.end)) < 0 ||
        bytes_add_text(&skeleton, "null") < 0 ||
        bytes_add(&skeleton, b.end, (size_t)(text + size - b.end)) < 0)
        airlock_error_set(err, AIRLOCK_E_TOO_LARGE,
                          "more than %d bytes beside the vocabulary and the merges",
                          SKELETON_BYTES);
    else
        root = json_parse(skeleton.data, skeleton.size, err);
    bytes_free(&skeleton);
    return root;
}

/* A member that must be absent, null, or (text not NULL) this string. */
static int must_be_unset(struct json_object *o, const char *where, const char *key,
                         const char *text, struct airlock_error *err)
{
    struct json_object *v = NULL;
    if (!json_object_object_get_ex(o, key, &v) || !v)
        return 0;
    if (text && json_object_is_type(v, json_type_string) &&
        !strcmp(json_object_get_string(v), text))
        return 0;
    return airlock_error_set(err, AIRLOCK_E_UNSUPPORTED, "%s%s %.80s is not supported", where, key,
                             json_object_to_json_string_ext(v, JSON_C_TO_STRING_PLAIN));
}

/* A member that must be absent, null, or this boolean. */
static int must_be_bool(struct json_object *o, const char *where, const char *key, bool want,
                        struct airlock_error *err)
{
    bool value = want;
    if (json_get_bool(o, where, key, &value, err) < 0)
        return -1;
    if (value != want)
        return airlock_error_set(err, AIRLOCK_E_UNSUPPORTED, "%s%s %s is not supported", where, key,
                                 value ? "true" : "false");
    return 0;
}

/* The string member `type`; NULL with err. */
static const char *type_of(struct json_object *o, const char *where, struct airlock_error *err)
{
    const char *type = NULL;
    const int found = json_get_string(o, where, "type", &type, NULL, err);
    if (found < 0 || json_require(found, where, "type", err) < 0)
        return NULL;
    return type;
}

static int read_byte_level(struct json_object *o, const char *where, bool *add_prefix_space,
                           bool *use_regex, struct airlock_error *err)
{
    static const char *const known[] = { "type", "add_prefix_space", "trim_offsets", "use_regex",
                                         NULL };
    *add_prefix_space = true; /* the defaults of Hugging Face tokenizers */
    *use_regex = true;
    return json_only_keys(o, where, known, err) < 0 ||
                   json_get_bool(o, where, "add_prefix_space", add_prefix_space, err) < 0 ||
                   json_get_bool(o, where, "use_regex", use_regex, err) < 0
               ? -1
               : 0;
}

static int read_split(struct json_object *o, const char *where, struct tokenizer_splitter **out,
                      struct airlock_error *err)
{
    static const char *const known[] = { "type", "pattern", "behavior", "invert", NULL };
    struct json_object *pattern = NULL;
    const char *regex = NULL, *behavior = NULL;
    size_t size = 0;
    bool invert = false;
    char inner[96];
    snprintf(inner, sizeof inner, "%spattern.", where);
    if (json_only_keys(o, where, known, err) < 0 ||
        json_require(json_get_object(o, where, "pattern", &pattern, err), where, "pattern", err) <
            0 ||
        json_require(json_get_string(pattern, inner, "Regex", &regex, &size, err), inner, "Regex",
                     err) < 0 ||
        json_require(json_get_string(o, where, "behavior", &behavior, NULL, err), where, "behavior",
                     err) < 0 ||
        json_get_bool(o, where, "invert", &invert, err) < 0)
        return -1;
    const bool isolated = !strcmp(behavior, "Isolated");
    if (!isolated && (strcmp(behavior, "Removed") != 0 || !invert))
        return airlock_error_set(err, AIRLOCK_E_UNSUPPORTED,
                                 "%sbehavior \"%.40s\" with invert %s is not supported", where,
                                 behavior, invert ? "true" : "false");
    *out = tokenizer_splitter_new(regex, size, isolated ? SPLIT_GAPS_KEPT : SPLIT_GAPS_DROPPED,
                                  false, err);
    return *out ? 0 : airlock_error_wrap(err, "%spattern.Regex", where);
}

/* ByteLevel alone: GPT-2's pattern, or none. */
static int byte_level_alone(struct json_object *o, const char *where, struct tokenizer_parts *out,
                            struct airlock_error *err)
{
    bool use_regex;
    if (read_byte_level(o, where, &out->add_prefix_space, &use_regex, err) < 0)
        return -1;
    const char *pattern = use_regex ? tokenizer_gpt2_pattern : NULL;
    out->splitter =
        tokenizer_splitter_new(pattern, pattern ? strlen(pattern) : 0, SPLIT_GAPS_KEPT, false, err);
    return out->splitter ? 0 : -1;
}

/* Split, then ByteLevel without a pattern. */
static int read_sequence(struct json_object *o, struct tokenizer_parts *out,
                         struct airlock_error *err)
{
    static const char *const known[] = { "type", "pretokenizers", NULL };
    static const char *const where[] = { "pre_tokenizer.pretokenizers[0].",
                                         "pre_tokenizer.pretokenizers[1]." };
    struct json_object *list = NULL, *step[2];
    bool prefix, use_regex;
    if (json_only_keys(o, "pre_tokenizer.", known, err) < 0 ||
        json_require(json_get_array(o, "pre_tokenizer.", "pretokenizers", &list, err),
                     "pre_tokenizer.", "pretokenizers", err) < 0)
        return -1;
    const size_t n = json_object_array_length(list);
    for (size_t i = 0; i < 2 && i < n; i++) {
        step[i] = json_object_array_get_idx(list, i);
        const char *want = n == 2 && i == 0 ? "Split" : "ByteLevel", *type;
        if (!json_object_is_type(step[i], json_type_object))
            return airlock_error_set(err, AIRLOCK_E_SHAPE, "%.*s must be an object",
                                     (int)strlen(where[i]) - 1, where[i]);
        if (!(type = type_of(step[i], where[i], err)))
            return -1;
        if (strcmp(type, want) != 0)
            return airlock_error_set(err, AIRLOCK_E_UNSUPPORTED,
                                     "%stype \"%.40s\" is not supported here, only \"%s\"",
                                     where[i], type, want);
    }
    if (n == 1)
        return byte_level_alone(step[0], where[0], out, err);
    if (n != 2)
        return airlock_error_set(err, AIRLOCK_E_UNSUPPORTED,
                                 "pre_tokenizer.pretokenizers has %zu steps: only Split and then "
                                 "ByteLevel are supported",
                                 n);
    if (read_byte_level(step[1], where[1], &prefix, &use_regex, err) < 0)
        return -1;
    if (prefix || use_regex)
        return airlock_error_set(err, AIRLOCK_E_UNSUPPORTED,
                                 "%s%s true is not supported behind a Split", where[1],
                                 prefix ? "add_prefix_space" : "use_regex");
    return read_split(step[0], where[0], &out->splitter, err);
}

static int read_pre_tokenizer(struct json_object *root, struct tokenizer_parts *out,
                              struct airlock_error *err)
{
    struct json_object *o = NULL;
    if (json_require(json_get_object(root, "", "pre_tokenizer", &o, err), "", "pre_tokenizer",
                     err) < 0)
        return -1;
    const char *type = type_of(o, "pre_tokenizer.", err);
    if (!type)
        return -1;
    if (!strcmp(type, "Sequence"))
        return read_sequence(o, out, err);
    if (!strcmp(type, "ByteLevel"))
        return byte_level_alone(o, "pre_tokenizer.", out, err);
    return airlock_error_set(err, AIRLOCK_E_UNSUPPORTED,
                             "pre_tokenizer.type \"%.40s\" is not supported: the model must be "
                             "byte-level BPE",
                             type);
}

static int read_decoder(struct json_object *root, struct airlock_error *err)
{
    struct json_object *o = NULL;
    bool prefix, use_regex;
    if (json_require(json_get_object(root, "", "decoder", &o, err), "", "decoder", err) < 0)
        return -1;
    const char *type = type_of(o, "decoder.", err);
    if (!type)
        return -1;
    if (strcmp(type, "ByteLevel") != 0)
        return airlock_error_set(err, AIRLOCK_E_UNSUPPORTED,
                                 "decoder.type \"%.40s\" is not supported, only \"ByteLevel\"",
                                 type);
    return read_byte_level(o, "decoder.", &prefix, &use_regex, err); /* none changes the bytes */
}

/* A post-processor that adds tokens would change every prompt; ByteLevel only trims offsets. */
static int read_post_processor(struct json_object *root, struct airlock_error *err)
{
    struct json_object *o = NULL;
    const int found = json_get_object(root, "", "post_processor", &o, err);
    if (found <= 0)
        return found;
    const char *type = type_of(o, "post_processor.", err);
    if (!type)
        return -1;
    if (strcmp(type, "ByteLevel") != 0)
        return airlock_error_set(err, AIRLOCK_E_UNSUPPORTED,
                                 "post_processor.type \"%.40s\" is not supported: nothing may be "
                                 "added to a prompt",
                                 type);
    return 0;
}

static int read_model(struct json_object *root, bool *ignore_merges, struct airlock_error *err)
{
    static const char *const known[] = { "type",
                                         "dropout",
                                         "unk_token",
                                         "continuing_subword_prefix",
                                         "fuse_unk",
                                         "end_of_word_suffix",
                                         "byte_fallback",
                                         "ignore_merges",
                                         "vocab",
                                         "merges",
                                         NULL };
    struct json_object *m = NULL;
    const char *type = "BPE", *unk;
    bool fuse;
    double dropout = 0;
    if (json_require(json_get_object(root, "", "model", &m, err), "", "model", err) < 0 ||
        json_only_keys(m, "model.", known, err) < 0 ||
        json_get_string(m, "model.", "type", &type, NULL, err) < 0)
        return -1;
    if (strcmp(type, "BPE") != 0)
        return airlock_error_set(err, AIRLOCK_E_UNSUPPORTED,
                                 "model.type \"%.40s\" is not supported, only \"BPE\"", type);
    if (json_get_double(m, "model.", "dropout", 0, 1, &dropout, err) < 0)
        return -1;
    if (dropout > 0)
        return airlock_error_set(err, AIRLOCK_E_UNSUPPORTED, "model.dropout must be 0 or null");
    /* unk_token and fuse_unk never matter: bpe_finish() asks for a token for each byte. */
    return must_be_unset(m, "model.", "continuing_subword_prefix", "", err) < 0 ||
                   must_be_unset(m, "model.", "end_of_word_suffix", "", err) < 0 ||
                   must_be_bool(m, "model.", "byte_fallback", false, err) < 0 ||
                   json_get_string(m, "model.", "unk_token", &unk, NULL, err) < 0 ||
                   json_get_bool(m, "model.", "fuse_unk", &fuse, err) < 0 ||
                   json_get_bool(m, "model.", "ignore_merges", ignore_merges, err) < 0
               ? -1
               : 0;
}

static int read_added_token(struct json_object *o, const char *where, struct added_token *out,
                            struct airlock_error *err)
{
    static const char *const known[] = { "id",     "content",    "single_word", "lstrip",
                                         "rstrip", "normalized", "special",     NULL };
    int64_t id = 0;
    *out = (struct added_token){ 0 };
    if (json_only_keys(o, where, known, err) < 0 ||
        json_require(json_get_int(o, where, "id", 0, BPE_MAX_TOKENS - 1, &id, err), where, "id",
                     err) < 0 ||
        json_require(json_get_string(o, where, "content", &out->text, &out->size, err), where,
                     "content", err) < 0 ||
        json_get_bool(o, where, "single_word", &out->single_word, err) < 0 ||
        json_get_bool(o, where, "lstrip", &out->lstrip, err) < 0 ||
        json_get_bool(o, where, "rstrip", &out->rstrip, err) < 0 ||
        json_get_bool(o, where, "normalized", &out->normalized, err) < 0 ||
        json_get_bool(o, where, "special", &out->special, err) < 0)
        return -1;
    if (out->size == 0 || out->size > ADDED_MAX_BYTES || strlen(out->text) != out->size)
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "%scontent must have 1 to %d bytes and no NUL", where,
                                 ADDED_MAX_BYTES);
    out->id = (int32_t)id;
    return 0;
}

/* Their texts live in root.  *out [*n] is the caller's to free. */
static int read_added(struct json_object *root, struct added_token **out, size_t *n,
                      struct airlock_error *err)
{
    struct json_object *list = NULL;
    if (json_get_array(root, "", "added_tokens", &list, err) < 0)
        return -1;
    *n = list ? json_object_array_length(list) : 0;
    if (*n > ADDED_MAX_TOKENS)
        return airlock_error_set(err, AIRLOCK_E_TOO_LARGE,
                                 "added_tokens has %zu tokens, at most %d are allowed", *n,
                                 ADDED_MAX_TOKENS);
    *out = calloc(*n + 1, sizeof **out);
    if (!*out)
        return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for added_tokens");
    for (size_t i = 0; i < *n; i++) {
        char where[40];
        struct json_object *o = json_object_array_get_idx(list, i);
        snprintf(where, sizeof where, "added_tokens[%zu]", i);
        if (!json_object_is_type(o, json_type_object))
            return airlock_error_set(err, AIRLOCK_E_SHAPE, "%s must be an object", where);
        strcat(where, ".");
        if (read_added_token(o, where, &(*out)[i], err) < 0)
            return -1;
    }
    return 0;
}

/* Where an added token stands in the vocabulary: puts it there, or checks that it is there under
 * the same id.  Text must never become it. */
static int join_added(struct bpe *bpe, const struct added_token *t, struct airlock_error *err)
{
    struct token_spelling s;
    if (tokenizer_spell(t->text, t->size, &s, err) < 0)
        return -1;
    const int32_t id = bpe_find(bpe, s.bytes, s.size, s.plain);
    if (id >= 0 && id != t->id)
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "\"%s\" has id %ld here and %ld in the "
                                 "vocabulary",
                                 t->text, (long)t->id, (long)id);
    if (id < 0 && bpe_add_token(bpe, t->id, t->text, t->size, false, err) < 0)
        return airlock_error_wrap(err, "\"%s\"", t->text);
    return 0;
}

static int join_all_added(struct bpe *bpe, const struct added_token *tokens, size_t n,
                          bool ignore_merges, struct airlock_error *err)
{
    for (size_t i = 0; i < n; i++)
        if (join_added(bpe, &tokens[i], err) < 0)
            return airlock_error_wrap(err, "added_tokens[%zu]", i);
    if (bpe_finish(bpe, ignore_merges, err) < 0)
        return airlock_error_wrap(err, "model.vocab");
    for (size_t i = 0; i < n; i++)
        if (bpe_reserve_token(bpe, tokens[i].id) < 0)
            return airlock_error_set(err, AIRLOCK_E_UNSUPPORTED,
                                     "added_tokens[%zu]: \"%s\" is also what ordinary text "
                                     "becomes, so nobody could tell the two apart",
                                     i, tokens[i].text);
    return 0;
}

/* Everything but the vocabulary and the merges. */
static int read_settings(struct json_object *root, struct tokenizer_parts *out, bool *ignore_merges,
                         struct airlock_error *err)
{
    /* Truncation and padding are for batches in training; transformers resets both on every call.
     */
    static const char *const known[] = {
        "version",       "truncation", "padding",        "added_tokens", "normalizer",
        "pre_tokenizer", "decoder",    "post_processor", "model",        NULL
    };
    return json_only_keys(root, "", known, err) < 0 ||
                   must_be_unset(root, "", "version", "1.0", err) < 0 ||
                   must_be_unset(root, "", "normalizer", NULL, err) < 0 ||
                   read_model(root, ignore_merges, err) < 0 ||
                   read_pre_tokenizer(root, out, err) < 0 || read_decoder(root, err) < 0 ||
                   read_post_processor(root, err) < 0
               ? -1
               : 0;
}

void tokenizer_parts_free(struct tokenizer_parts *parts)
{
    bpe_free(parts->bpe);
    added_tokens_free(parts->added);
    tokenizer_splitter_free(parts->splitter);
    *parts = (struct tokenizer_parts){ 0 };
}

int tokenizer_file_parse(const char *text, size_t size, struct tokenizer_parts *out,
                         struct airlock_error *err)
{
    struct tokenizer_vocab vocab;
    struct json_object *root = NULL;
    struct added_token *added = NULL;
    size_t n_added = 0;
    bool ignore_merges = false;
    int rc = -1;
    *out = (struct tokenizer_parts){ 0 };

    if (!utf8_valid(text, size))
        return airlock_error_set(err, AIRLOCK_E_SHAPE, "the text is not valid UTF-8");
    if (tokenizer_vocab_locate(text, size, &vocab, err) < 0 ||
        !(root = parse_skeleton(text, size, &vocab, err)) ||
        read_settings(root, out, &ignore_merges, err) < 0 ||
        read_added(root, &added, &n_added, err) < 0)
        goto out;
    out->added = added_tokens_new(added, n_added, err);
    if (!out->added) {
        airlock_error_wrap(err, "added_tokens");
        goto out;
    }
    out->bpe = bpe_new(err);
    if (out->bpe && tokenizer_vocab_read(&vocab, out->bpe, err) == 0)
        rc = join_all_added(out->bpe, added, n_added, ignore_merges, err);
out:
    free(added);
    json_object_put(root);
    if (rc < 0)
        tokenizer_parts_free(out);
    return rc;
}
