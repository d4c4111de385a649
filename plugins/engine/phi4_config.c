/* phi4_config.c - reads and checks config.json and generation_config.json; see phi4_config.h. */
#include "phi4_config.h"

#include "common/json.h"

#include <errno.h>
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Ceilings far above every Phi model: they keep sizes computed from them inside 64 bits. */
enum {
    MAX_HIDDEN = 1 << 16,
    MAX_INTERMEDIATE = 1 << 18,
    MAX_LAYERS = 1024,
    MAX_HEADS = 1024,
    MAX_HEAD_DIM = 256, /* ops_heads */
    MAX_VOCAB = 1 << 22,
    MAX_POSITIONS = 1 << 24,
    MAX_FILE_BYTES = 1 << 20 /* of one configuration file; the official ones have 3 KB */
};

static const char where[] = "config.json: ";
static const char where_generation[] = "generation_config.json: ";

static int refuse(struct airlock_error *err, const char *key, const char *why)
{
    return airlock_error_set(err, AIRLOCK_E_CONFIG, "%s%s %s", where, key, why);
}

struct size_key {
    const char *key;
    size_t *out;
    int64_t max;
    int64_t fallback; /* of the Phi-3 configuration class; 0: the key is required */
};

static int read_sizes(struct json_object *o, const struct size_key *keys, size_t n,
                      struct airlock_error *err)
{
    for (size_t i = 0; i < n; i++) {
        int64_t v = keys[i].fallback;
        int found = json_get_int(o, where, keys[i].key, 1, keys[i].max, &v, err);
        if (found < 0 || (!found && !v && json_require(0, where, keys[i].key, err) < 0))
            return -1;
        *keys[i].out = (size_t)v;
    }
    return 0;
}

static int read_dimensions(struct json_object *o, struct phi4_config *c, struct airlock_error *err)
{
    const struct size_key keys[] = {
        { "hidden_size", &c->hidden_size, MAX_HIDDEN, 0 },
        { "intermediate_size", &c->intermediate_size, MAX_INTERMEDIATE, 0 },
        { "num_hidden_layers", &c->num_hidden_layers, MAX_LAYERS, 0 },
        { "num_attention_heads", &c->num_attention_heads, MAX_HEADS, 0 },
        { "vocab_size", &c->vocab_size, MAX_VOCAB, 0 },
        { "max_position_embeddings", &c->max_position_embeddings, MAX_POSITIONS, 4096 },
        { "original_max_position_embeddings", &c->original_max_position_embeddings, MAX_POSITIONS,
          4096 },
    };
    if (read_sizes(o, keys, sizeof keys / sizeof *keys, err) < 0)
        return -1;
    size_t heads = c->num_attention_heads;
    struct json_object *head_dim = NULL;
    json_object_object_get_ex(o, "head_dim", &head_dim);
    if (!head_dim && (c->hidden_size % heads || c->hidden_size < heads))
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "%snum_attention_heads %zu does not divide hidden_size %zu", where,
                                 heads, c->hidden_size);
    const struct size_key derived[] = {
        { "num_key_value_heads", &c->num_key_value_heads, MAX_HEADS, (int64_t)heads },
        { "head_dim", &c->head_dim, MAX_HEAD_DIM, (int64_t)(c->hidden_size / heads) },
    };
    if (read_sizes(o, derived, sizeof derived / sizeof *derived, err) < 0)
        return -1;
    if (c->head_dim > MAX_HEAD_DIM || c->head_dim % 2)
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "%shead_dim %zu must be even and at most %d", where, c->head_dim,
                                 MAX_HEAD_DIM);
    if (heads % c->num_key_value_heads)
        return airlock_error_set(
            err, AIRLOCK_E_CONFIG,
            "%snum_key_value_heads %zu does not divide num_attention_heads %zu", where,
            c->num_key_value_heads, heads);
    return 0;
}

/* Numbers and switches whose only implemented value is the model's own. */
static int check_supported(struct json_object *o, struct phi4_config *c, struct airlock_error *err)
{
    static const char *const must_be_false[] = { "attention_bias", "mlp_bias", "lm_head_bias" };
    const char *text = "phi3";
    if (json_get_string(o, where, "model_type", &text, NULL, err) < 0)
        return -1;
    /* the last: transformers' own layout of the multimodal model */
    if (strcmp(text, "phi3") != 0 && strcmp(text, "phi4mm") != 0 &&
        strcmp(text, "phi4_multimodal") != 0)
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "%smodel_type \"%.40s\" is not phi3, phi4mm or phi4_multimodal",
                                 where, text);
    snprintf(c->model_type, sizeof c->model_type, "%s", text);
    text = "silu";
    if (json_get_string(o, where, "hidden_act", &text, NULL, err) < 0)
        return -1;
    if (strcmp(text, "silu") != 0)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "%shidden_act \"%.40s\" is not silu", where,
                                 text);
    for (size_t i = 0; i < sizeof must_be_false / sizeof *must_be_false; i++) {
        bool on = false;
        if (json_get_bool(o, where, must_be_false[i], &on, err) < 0)
            return -1;
        if (on)
            return refuse(err, must_be_false[i], "true is not supported");
    }
    struct json_object *quantised = NULL;
    if (json_object_object_get_ex(o, "quantization_config", &quantised) && quantised)
        return refuse(err, "quantization_config",
                      "is set: use the unquantised bf16, f16 or f32 checkpoint");
    return 0;
}

static int read_numbers(struct json_object *o, struct phi4_config *c, struct airlock_error *err)
{
    double eps = 1e-5;
    int64_t window = 0;
    if (json_get_double(o, where, "rms_norm_eps", 0, 1, &eps, err) < 0 ||
        json_get_bool(o, where, "tie_word_embeddings", &c->tie_word_embeddings, err) < 0 ||
        json_get_int(o, where, "sliding_window", 1, INT64_MAX, &window, err) < 0)
        return -1;
    c->rms_norm_eps = (float)eps;
    c->sliding_window = (size_t)window;
    /* A window as wide as the context never bites, so it need not be computed. */
    if (window && c->sliding_window < c->max_position_embeddings)
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "%ssliding_window %zu is below max_position_embeddings %zu, which "
                                 "is not supported",
                                 where, c->sliding_window, c->max_position_embeddings);
    return 0;
}

/* One of rope's two lists: rotary_dim / 2 positive numbers. */
static int read_factors(struct json_object *rope, const char *place, const char *key, size_t n,
                        float *out, struct airlock_error *err)
{
    struct json_object *list = NULL;
    if (json_require(json_get_array(rope, place, key, &list, err), place, key, err) < 0)
        return -1;
    if (json_object_array_length(list) != n)
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "%s%s has %zu numbers, expected %zu (half of the rotary "
                                 "dimensions)",
                                 place, key, (size_t)json_object_array_length(list), n);
    for (size_t i = 0; i < n; i++) {
        struct json_object *v = json_object_array_get_idx(list, i);
        double d = json_object_is_type(v, json_type_double) || json_object_is_type(v, json_type_int)
                       ? json_object_get_double(v)
                       : 0;
        if (!(d >= FLT_MIN && d <= FLT_MAX))
            return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                     "%s%s[%zu] must be a positive, finite number", place, key, i);
        out[i] = (float)d;
    }
    return 0;
}

/* sqrt(1 + ln(factor) / ln(original length)), factor = the context's growth (Ding et al. 2024), as
 * transformers computes it; a given attention_factor or factor comes first. */
static int read_attention_factor(struct json_object *rope, const char *place, struct phi4_config *c,
                                 struct airlock_error *err)
{
    double original = (double)c->original_max_position_embeddings;
    double factor = (double)c->max_position_embeddings / original;
    int given =
        json_get_double(rope, place, "attention_factor", 1e-6, 1e6, &c->attention_factor, err);
    if (given || json_get_double(rope, place, "factor", 1e-6, 1e9, &factor, err) < 0)
        return given > 0 ? 0 : -1;
    if (factor <= 1) {
        c->attention_factor = 1;
        return 0;
    }
    if (c->original_max_position_embeddings < 2)
        return refuse(err, "original_max_position_embeddings", "must be at least 2 with longrope");
    c->attention_factor = sqrt(1 + log(factor) / log(original));
    return 0;
}

/* Its name: rope_type, or type as it was called before. */
static int read_rope_type(struct json_object *rope, const char *place, struct phi4_config *c,
                          struct airlock_error *err)
{
    const char *type = "default";
    int found = json_get_string(rope, place, "rope_type", &type, NULL, err);
    if (found < 0 || (!found && json_get_string(rope, place, "type", &type, NULL, err) < 0))
        return -1;
    c->longrope = strcmp(type, "longrope") == 0 || strcmp(type, "su") == 0;
    if (!c->longrope && strcmp(type, "default") != 0)
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "%srope_type \"%.40s\" is not longrope or default", place, type);
    return 0;
}

static int read_rotary_dim(struct json_object *o, struct json_object *rope, const char *place,
                           struct phi4_config *c, struct airlock_error *err)
{
    double partial = 1;
    c->rope_theta = 10000;
    if (json_get_double(o, where, "partial_rotary_factor", 0, 1, &partial, err) < 0 ||
        json_get_double(rope, place, "partial_rotary_factor", 0, 1, &partial, err) < 0 ||
        json_get_double(o, where, "rope_theta", 1e-3, 1e15, &c->rope_theta, err) < 0 ||
        json_get_double(rope, place, "rope_theta", 1e-3, 1e15, &c->rope_theta, err) < 0)
        return -1;
    c->rotary_dim = (size_t)((double)c->head_dim * partial); /* cut, not rounded */
    if (c->rotary_dim < 2 || c->rotary_dim % 2)
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "%spartial_rotary_factor %g of head_dim %zu gives %zu rotary "
                                 "dimensions, which must be even and at least 2",
                                 where, partial, c->head_dim, c->rotary_dim);
    return 0;
}

/* rope_scaling (until transformers 4) or rope_parameters (since 5); what stands inside wins over
 * the same key outside, but for original_max_position_embeddings, which counts only outside. */
static int read_rope(struct json_object *o, struct phi4_config *c, struct airlock_error *err)
{
    static const char scaling[] = "config.json: rope_scaling.";
    static const char parameters[] = "config.json: rope_parameters.";
    struct json_object *rope = NULL, *none = NULL;
    const char *place = scaling;
    if (json_get_object(o, where, "rope_scaling", &rope, err) < 0)
        return -1;
    if (!rope || json_object_object_length(rope) == 0) {
        place = parameters;
        rope = NULL;
        if (json_get_object(o, where, "rope_parameters", &rope, err) < 0)
            return -1;
    }
    if (!rope)
        rope = none = json_object_new_object();
    if (!rope)
        return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for %s", where);
    int rc = read_rope_type(rope, place, c, err);
    if (rc == 0)
        rc = read_rotary_dim(o, rope, place, c, err);
    for (size_t i = 0; i < PHI4_MAX_ROTARY_PAIRS; i++)
        c->short_factor[i] = c->long_factor[i] = 1;
    c->attention_factor = 1;
    if (rc == 0 && c->longrope &&
        (read_factors(rope, place, "short_factor", c->rotary_dim / 2, c->short_factor, err) < 0 ||
         read_factors(rope, place, "long_factor", c->rotary_dim / 2, c->long_factor, err) < 0 ||
         read_attention_factor(rope, place, c, err) < 0))
        rc = -1;
    json_object_put(none);
    return rc;
}

/* A token id or null.  Ids that the vocabulary does not have can never be met: they are left out
 * (transformers writes such defaults into small models). */
static int add_eos(struct json_object *v, const char *place, struct phi4_config *c,
                   struct airlock_error *err)
{
    if (!json_object_is_type(v, json_type_int))
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "%seos_token_id must be an integer or a list of integers", place);
    int64_t id = json_object_get_int64(v);
    if (id < 0 || (uint64_t)id >= c->vocab_size)
        return 0;
    if (c->n_eos == PHI4_MAX_EOS)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "%seos_token_id has more than %d ids",
                                 place, PHI4_MAX_EOS);
    c->eos_token_id[c->n_eos++] = (int32_t)id;
    return 0;
}

static int read_token(struct json_object *o, const char *place, const char *key,
                      const struct phi4_config *c, int32_t *out, struct airlock_error *err)
{
    int64_t id = -1;
    int found = json_get_int(o, place, key, INT64_MIN, INT64_MAX, &id, err);
    if (found > 0)
        *out = id >= 0 && (uint64_t)id < c->vocab_size ? (int32_t)id : -1;
    return found < 0 ? -1 : 0;
}

static int read_tokens(struct json_object *o, const char *place, struct phi4_config *c,
                       struct airlock_error *err)
{
    struct json_object *eos = NULL;
    if (json_object_object_get_ex(o, "eos_token_id", &eos) && eos) {
        c->n_eos = 0;
        if (!json_object_is_type(eos, json_type_array)) {
            if (add_eos(eos, place, c, err) < 0)
                return -1;
        } else {
            for (size_t i = 0; i < json_object_array_length(eos); i++)
                if (add_eos(json_object_array_get_idx(eos, i), place, c, err) < 0)
                    return -1;
        }
    }
    return read_token(o, place, "bos_token_id", c, &c->bos_token_id, err) < 0 ||
                   read_token(o, place, "pad_token_id", c, &c->pad_token_id, err) < 0
               ? -1
               : 0;
}

static int read_generation(struct json_object *o, struct phi4_config *c, struct airlock_error *err)
{
    const char *place = where_generation;
    if (!json_object_is_type(o, json_type_object))
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "%smust be an object", place);
    if (read_tokens(o, place, c, err) < 0 ||
        json_get_bool(o, place, "do_sample", &c->do_sample, err) < 0 ||
        json_get_double(o, place, "temperature", 0, 1e6, &c->temperature, err) < 0 ||
        json_get_double(o, place, "top_p", 0, 1, &c->top_p, err) < 0 ||
        json_get_double(o, place, "repetition_penalty", 1e-6, 1e6, &c->repetition_penalty, err) <
            0 ||
        json_get_int(o, place, "top_k", 0, INT32_MAX, &c->top_k, err) < 0 ||
        json_get_int(o, place, "max_new_tokens", 1, INT32_MAX, &c->max_new_tokens, err) < 0)
        return -1;
    return 0;
}

static void set_defaults(struct phi4_config *c)
{
    *c = (struct phi4_config){ .bos_token_id = -1, .pad_token_id = -1 };
    c->temperature = c->top_p = c->repetition_penalty = 1;
    c->top_k = 50;
}

int phi4_config_parse(struct json_object *config, struct json_object *generation,
                      struct phi4_config *out, struct airlock_error *err)
{
    set_defaults(out);
    if (!json_object_is_type(config, json_type_object))
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "%smust be an object", where);
    struct json_object *remote_code = NULL;
    out->ignored_code = json_object_object_get_ex(config, "auto_map", &remote_code) && remote_code;
    int rc = check_supported(config, out, err);
    if (rc == 0)
        rc = read_dimensions(config, out, err);
    if (rc == 0)
        rc = read_numbers(config, out, err);
    if (rc == 0)
        rc = read_rope(config, out, err);
    if (rc == 0)
        rc = read_tokens(config, where, out, err);
    if (rc == 0 && generation)
        rc = read_generation(generation, out, err);
    if (rc < 0 && err && err->code == AIRLOCK_E_SHAPE)
        err->code = AIRLOCK_E_CONFIG;
    return rc;
}

/* DIR/NAME as JSON.  0; *out stays NULL when the file is not there and need not be. */
static int read_json(const char *dir, const char *name, bool optional, struct json_object **out,
                     struct airlock_error *err)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/%s", dir, name);
    if (n < 0 || (size_t)n >= sizeof path)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "path of %s is too long", name);
    if (optional && access(path, F_OK) < 0 && errno == ENOENT)
        return 0;
    *out = json_parse_file(path, MAX_FILE_BYTES, err);
    return *out ? 0 : -1;
}

int phi4_config_read(const char *dir, struct phi4_config *out, struct airlock_error *err)
{
    struct json_object *config = NULL, *generation = NULL;
    int rc = read_json(dir, "config.json", false, &config, err);
    if (rc == 0)
        rc = read_json(dir, "generation_config.json", true, &generation, err);
    if (rc == 0 && (rc = phi4_config_parse(config, generation, out, err)) < 0)
        airlock_error_wrap(err, "%s", dir);
    json_object_put(config);
    json_object_put(generation);
    return rc;
}
