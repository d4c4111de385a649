/* peft_config.c - reads adapter_config.json and matches module names; see peft_config.h. */
#include "peft_config.h"

#include "common/json.h"
#include "ops/ops.h"
#include "pattern.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_FILE_BYTES = 1 << 20, /* of adapter_config.json; a list of every module takes some 10 KB */
    MAX_NAMES = 4096          /* in one list or pattern of it: every module of a large model */
};

static const char where[] = "adapter_config.json: ";

/* target_modules or exclude_modules: nothing, a list of names, or one expression. */
struct names {
    bool given;
    struct json_object *list; /* borrowed from the document, or NULL */
    struct pattern *expression;
};

/* rank_pattern or alpha_pattern. */
struct rules {
    size_t n;
    struct rule {
        const char *key; /* borrowed */
        struct pattern *pattern;
        double value;
    } * rules;
};

struct peft_config {
    struct json_object *document; /* owns all borrowed strings */
    const char *base_model;
    size_t rank;
    double alpha;
    bool rslora, every_module;
    struct names target, exclude;
    struct rules rank_pattern, alpha_pattern;
    struct json_object *layers; /* layers_to_transform: NULL, an integer or a list */
    struct pattern **layer_patterns;
    size_t n_layer_patterns;
};

static int refuse(struct airlock_error *err, const char *key, const char *why)
{
    return airlock_error_set(err, AIRLOCK_E_CONFIG, "%s%s %s", where, key, why);
}

/* null, false, "", [] and {}: what Python takes for false. */
static bool is_set(struct json_object *o, const char *key)
{
    struct json_object *v = NULL;
    json_object_object_get_ex(o, key, &v);
    switch (json_object_get_type(v)) {
    case json_type_null:
        return false;
    case json_type_boolean:
        return json_object_get_boolean(v);
    case json_type_array:
        return json_object_array_length(v) > 0;
    case json_type_object:
        return json_object_object_length(v) > 0;
    case json_type_string:
        return json_object_get_string_len(v) > 0;
    default:
        return true;
    }
}

/* Kinds of adapter that are more than an added B A x. */
static int check_plain_lora(struct json_object *o, struct airlock_error *err)
{
    static const char *const reasons[][2] = {
        { "use_dora", "is true: a DoRA adapter rescales the weights and cannot be added; merge it "
                      "into the model" },
        { "modules_to_save",
          "is set: the adapter replaces whole modules; merge it into the model" },
        { "lora_bias", "is true: biases are not supported" },
        { "fan_in_fan_out", "is true: transposed layers are not supported" },
        { "layer_replication", "is set: replicated layers are not supported" },
        { "trainable_token_indices", "is set: changed embeddings are not supported" },
        { "target_parameters", "is set: only modules can be changed" },
        { "alora_invocation_tokens", "is set: activated LoRA is not supported" },
        { "use_qalora", "is true: quantisation-aware LoRA is not supported" },
        { "use_bdlora", "is set: block-diagonal LoRA is not supported" },
        { "kasa_config", "is set: KaSA is not supported" },
        { "monteclora_config", "is set: Monte Carlo LoRA is not supported" },
        { "arrow_config", "is set: routed adapters are not supported" },
        { "megatron_config", "is set: Megatron layers are not supported" },
    };
    const char *text = "";
    if (json_require(json_get_string(o, where, "peft_type", &text, NULL, err), where, "peft_type",
                     err) < 0)
        return -1;
    if (strcmp(text, "LORA") != 0)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "%speft_type \"%.40s\" is not LORA", where,
                                 text);
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (is_set(o, reasons[i][0]))
            return refuse(err, reasons[i][0], reasons[i][1]);
    text = "none";
    if (json_get_string(o, where, "bias", &text, NULL, err) < 0)
        return -1;
    if (strcmp(text, "none") != 0)
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "%sbias is \"%.40s\": trained biases are not supported", where,
                                 text);
    return 0;
}

/* Some ways to begin also change the base weights, which are not this adapter's to change. */
static int check_beginning(struct json_object *o, struct airlock_error *err)
{
    static const char *const changing[] = { "pissa", "olora", "corda", "loftq", "lora_ga" };
    struct json_object *v = NULL;
    json_object_object_get_ex(o, "init_lora_weights", &v);
    const char *text = json_object_is_type(v, json_type_string) ? json_object_get_string(v) : "";
    for (size_t i = 0; i < sizeof changing / sizeof *changing; i++)
        if (strncmp(text, changing[i], strlen(changing[i])) == 0)
            return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                     "%sinit_lora_weights \"%.40s\" changes the base weights: save "
                                     "the adapter as a plain LoRA",
                                     where, text);
    return 0;
}

static int check_list_of_strings(struct json_object *list, const char *key,
                                 struct airlock_error *err)
{
    if (json_object_array_length(list) > MAX_NAMES)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "%s%s has more than %d names", where, key,
                                 MAX_NAMES);
    for (size_t i = 0; i < json_object_array_length(list); i++)
        if (!json_object_is_type(json_object_array_get_idx(list, i), json_type_string))
            return refuse(err, key, "must be a list of strings");
    return 0;
}

static int read_names(struct json_object *o, const char *key, struct names *out,
                      struct airlock_error *err)
{
    struct json_object *v = NULL;
    json_object_object_get_ex(o, key, &v);
    out->given = v != NULL;
    if (json_object_is_type(v, json_type_array)) {
        out->list = v;
        return check_list_of_strings(v, key, err);
    }
    if (v && !json_object_is_type(v, json_type_string))
        return refuse(err, key, "must be a list of strings, or a string");
    if (v && !(out->expression = pattern_new("(?:%s)\\z", json_object_get_string(v), err)))
        return airlock_error_wrap(err, "%s%s", where, key);
    return 0;
}

/* The key of a pattern matches a module's whole name or its end behind a dot. */
static int read_rules(struct json_object *o, const char *key, double min, double max,
                      struct rules *out, struct airlock_error *err)
{
    struct json_object *map = NULL;
    if (json_get_object(o, where, key, &map, err) < 0)
        return -1;
    size_t n = map ? (size_t)json_object_object_length(map) : 0;
    if (n > MAX_NAMES)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "%s%s has more than %d members", where, key,
                                 MAX_NAMES);
    if (n == 0)
        return 0;
    out->rules = calloc(n, sizeof *out->rules);
    if (!out->rules)
        return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "%sout of memory for %s", where, key);
    json_object_object_foreach(map, name, value)
    {
        struct rule *r = &out->rules[out->n++];
        r->key = name;
        r->value = json_object_get_double(value);
        if ((!json_object_is_type(value, json_type_int) &&
             !json_object_is_type(value, json_type_double)) ||
            !(r->value >= min && r->value <= max) ||
            (min == 1 && !json_object_is_type(value, json_type_int)))
            return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                     "%s%s[\"%.80s\"] must be a number from %g to %g", where, key,
                                     name, min, max);
        if (!(r->pattern = pattern_new("(?:.*\\.)?(?:%s)$", name, err)))
            return airlock_error_wrap(err, "%s%s", where, key);
    }
    return 0;
}

static int add_layer_pattern(struct peft_config *c, const char *format, const char *text,
                             struct airlock_error *err)
{
    struct pattern *p = pattern_new(format, text, err);
    if (!p)
        return airlock_error_wrap(err, "%slayers_pattern", where);
    c->layer_patterns[c->n_layer_patterns++] = p;
    return 0;
}

/* layers_pattern: by which names the number of a layer is found. */
static int read_layer_patterns(struct json_object *o, struct peft_config *c,
                               struct airlock_error *err)
{
    static const char format[] = "(?:.*?\\.)?(?:%s)\\.(?P<idx>\\d+)\\.";
    struct json_object *v = NULL;
    bool any = is_set(o, "layers_pattern");
    json_object_object_get_ex(o, "layers_pattern", &v);
    bool list = json_object_is_type(v, json_type_array);
    if (any && !list && !json_object_is_type(v, json_type_string))
        return refuse(err, "layers_pattern", "must be a list of strings, or a string");
    if (list && check_list_of_strings(v, "layers_pattern", err) < 0)
        return -1;
    size_t n = any && list ? json_object_array_length(v) : 1;
    c->layer_patterns = calloc(n, sizeof *c->layer_patterns);
    if (!c->layer_patterns)
        return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "%sout of memory", where);
    if (!any)
        return add_layer_pattern(c, ".*?\\.[^.]*\\.(?P<idx>\\d+)\\.%s", "", err);
    for (size_t i = 0; i < n; i++)
        if (add_layer_pattern(c, format,
                              json_object_get_string(list ? json_object_array_get_idx(v, i) : v),
                              err) < 0)
            return -1;
    return 0;
}

static int read_layers(struct json_object *o, struct peft_config *c, struct airlock_error *err)
{
    struct json_object *v = NULL;
    json_object_object_get_ex(o, "layers_to_transform", &v);
    bool list = json_object_is_type(v, json_type_array);
    if (!v || (list && json_object_array_length(v) == 0))
        return 0;
    size_t n = list ? json_object_array_length(v) : 1;
    for (size_t i = 0; i < n; i++)
        if (n > MAX_NAMES ||
            !json_object_is_type(list ? json_object_array_get_idx(v, i) : v, json_type_int))
            return refuse(err, "layers_to_transform",
                          "must be an integer or a short list of integers");
    c->layers = v;
    return read_layer_patterns(o, c, err);
}

static int read_all(struct peft_config *c, struct json_object *o, struct airlock_error *err)
{
    int64_t rank = 8;
    if (!json_object_is_type(o, json_type_object))
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "%smust be an object", where);
    if (check_plain_lora(o, err) < 0 || check_beginning(o, err) < 0 ||
        json_get_int(o, where, "r", 1, OPS_LORA_MAX_RANK, &rank, err) < 0 ||
        json_get_double(o, where, "lora_alpha", -1e6, 1e6, &c->alpha, err) < 0 ||
        json_get_bool(o, where, "use_rslora", &c->rslora, err) < 0 ||
        json_get_string(o, where, "base_model_name_or_path", &c->base_model, NULL, err) < 0 ||
        read_names(o, "target_modules", &c->target, err) < 0 ||
        read_names(o, "exclude_modules", &c->exclude, err) < 0 ||
        read_rules(o, "rank_pattern", 1, OPS_LORA_MAX_RANK, &c->rank_pattern, err) < 0 ||
        read_rules(o, "alpha_pattern", -1e6, 1e6, &c->alpha_pattern, err) < 0 ||
        read_layers(o, c, err) < 0)
        return -1;
    c->rank = (size_t)rank;
    struct json_object *target = NULL;
    json_object_object_get_ex(o, "target_modules", &target);
    c->every_module = json_object_is_type(target, json_type_string) &&
                      strcasecmp(json_object_get_string(target), "all-linear") == 0;
    return 0;
}

struct peft_config *peft_config_parse(struct json_object *o, struct airlock_error *err)
{
    struct peft_config *c = calloc(1, sizeof *c);
    if (!c) {
        airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory");
        return NULL;
    }
    c->alpha = 8;
    c->document = json_object_get(o);
    if (read_all(c, o, err) == 0)
        return c;
    if (err && err->code == AIRLOCK_E_SHAPE)
        err->code = AIRLOCK_E_CONFIG;
    peft_config_free(c);
    return NULL;
}

struct peft_config *peft_config_read(const char *dir, struct airlock_error *err)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/adapter_config.json", dir);
    if (n < 0 || (size_t)n >= sizeof path) {
        airlock_error_set(err, AIRLOCK_E_CONFIG, "the adapter's path is too long");
        return NULL;
    }
    struct json_object *o = json_parse_file(path, MAX_FILE_BYTES, err);
    if (!o)
        return NULL;
    struct peft_config *c = peft_config_parse(o, err);
    json_object_put(o);
    return c;
}

static void free_rules(struct rules *r)
{
    for (size_t i = 0; i < r->n; i++)
        pattern_free(r->rules[i].pattern);
    free(r->rules);
}

void peft_config_free(struct peft_config *c)
{
    if (!c)
        return;
    pattern_free(c->target.expression);
    pattern_free(c->exclude.expression);
    free_rules(&c->rank_pattern);
    free_rules(&c->alpha_pattern);
    for (size_t i = 0; i < c->n_layer_patterns; i++)
        pattern_free(c->layer_patterns[i]);
    free(c->layer_patterns);
    json_object_put(c->document);
    free(c);
}

const char *peft_config_base_model(const struct peft_config *c)
{
    return c->base_model;
}

bool peft_config_has_targets(const struct peft_config *c)
{
    return c->target.given;
}

/* In a list a name stands for a module of that name and for every module whose name ends in it
 * behind a dot.  *exact: it was the whole name. */
static int match_names(const struct names *names, const char *module, bool *exact,
                       struct airlock_error *err)
{
    size_t n = strlen(module);
    bool end = false;
    *exact = false;
    if (names->expression)
        return pattern_match(names->expression, module, NULL, err);
    for (size_t i = 0; names->list && i < json_object_array_length(names->list); i++) {
        const char *s = json_object_get_string(json_object_array_get_idx(names->list, i));
        size_t k = strlen(s);
        *exact = *exact || strcmp(s, module) == 0;
        end = end || (k < n && module[n - k - 1] == '.' && strcmp(module + n - k, s) == 0);
    }
    return end || *exact;
}

/* Whether layers_to_transform holds the number of module's layer. */
static int match_layer(const struct peft_config *c, const char *module, struct airlock_error *err)
{
    int found = 0;
    long layer = -1;
    for (size_t i = 0; i < c->n_layer_patterns && found == 0; i++)
        found = pattern_match(c->layer_patterns[i], module, &layer, err);
    if (found <= 0)
        return found;
    if (!json_object_is_type(c->layers, json_type_array))
        return json_object_get_int64(c->layers) == layer;
    for (size_t i = 0; i < json_object_array_length(c->layers); i++)
        if (json_object_get_int64(json_object_array_get_idx(c->layers, i)) == layer)
            return 1;
    return 0;
}

static int is_targeted(const struct peft_config *c, const char *module, struct airlock_error *err)
{
    bool exact;
    int hit = match_names(&c->exclude, module, &exact, err);
    if (hit != 0)
        return hit < 0 ? -1 : 0;
    if (c->every_module || !c->target.given)
        return 1;
    hit = match_names(&c->target, module, &exact, err);
    if (hit > 0 && !exact && !c->target.expression && c->layers)
        hit = match_layer(c, module, err);
    return hit;
}

/* The value of the first rule that matches; *value stays when none does. */
static int apply_rules(const struct rules *rules, const char *module, double *value,
                       struct airlock_error *err)
{
    for (size_t i = 0; i < rules->n; i++) {
        const struct rule *r = &rules->rules[i];
        int hit = strcmp(r->key, module) == 0 ? 1 : pattern_match(r->pattern, module, NULL, err);
        if (hit < 0)
            return -1;
        if (hit) {
            *value = r->value;
            return 0;
        }
    }
    return 0;
}

int peft_config_module(const struct peft_config *c, const char *module, struct peft_module *out,
                       struct airlock_error *err)
{
    double rank = (double)c->rank, alpha = c->alpha;
    int targeted = is_targeted(c, module, err);
    if (targeted < 0 || apply_rules(&c->rank_pattern, module, &rank, err) < 0 ||
        apply_rules(&c->alpha_pattern, module, &alpha, err) < 0)
        return airlock_error_wrap(err, "adapter_config.json");
    *out = (struct peft_module){ targeted, (size_t)rank, alpha / (c->rslora ? sqrt(rank) : rank) };
    return 0;
}
