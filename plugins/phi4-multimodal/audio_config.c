/* audio_config.c - reads and checks the speech encoder's configuration; see audio_config.h. */
#include "audio_config.h"

#include "log_mel.h"

#include "common/json.h"

#include <string.h>

/* Ceilings far above the model's: they keep sizes computed from them inside 64 bits. */
enum { MAX_WIDTH = 1 << 16, MAX_BLOCKS = 1024, MAX_KERNEL = 64, MAX_REACH = 1 << 20 };
enum { MAX_HEAD_DIM = 128 /* OPS_FULL_MAX_DIM */ };

static const char in_hub[] = "config.json: audio_processor.config.";
static const char in_native[] = "config.json: audio_config.";

/* What one form calls a number, and what stands for it when it is left out; 0: it is required. */
struct number {
    const char *key;
    size_t *out;
    int64_t max, fallback;
};

static int read_numbers(struct json_object *o, const char *where, const struct number *n,
                        size_t count, struct airlock_error *err)
{
    for (size_t i = 0; i < count; i++) {
        int64_t v = n[i].fallback;
        const int found = json_get_int(o, where, n[i].key, 1, n[i].max, &v, err);
        if (found < 0 || (!found && !v && json_require(0, where, n[i].key, err) < 0))
            return -1;
        *n[i].out = (size_t)v;
    }
    return 0;
}

/* Keys that may be left out but have one implemented value. */
struct only {
    const char *key, *text; /* text NULL: the number */
    int64_t number;
};

static int check_only(struct json_object *o, const char *where, const struct only *only, size_t n,
                      struct airlock_error *err)
{
    for (size_t i = 0; i < n; i++) {
        const char *text = only[i].text;
        int64_t number = only[i].number;
        if (text ? json_get_string(o, where, only[i].key, &text, NULL, err) < 0
                 : json_get_int(o, where, only[i].key, INT64_MIN, INT64_MAX, &number, err) < 0)
            return -1;
        if (text && strcmp(text, only[i].text) != 0)
            return airlock_error_set(err, AIRLOCK_E_CONFIG, "%s%s \"%.40s\" is not supported: %s",
                                     where, only[i].key, text, only[i].text);
        if (!text && number != only[i].number)
            return airlock_error_set(err, AIRLOCK_E_CONFIG, "%s%s %lld is not supported: %lld",
                                     where, only[i].key, (long long)number,
                                     (long long)only[i].number);
    }
    return 0;
}

static int check_switch(struct json_object *o, const char *where, const char *key, bool wanted,
                        struct airlock_error *err)
{
    bool on = wanted;
    if (json_get_bool(o, where, key, &on, err) < 0)
        return -1;
    return on == wanted ? 0
                        : airlock_error_set(err, AIRLOCK_E_CONFIG, "%s%s %s is not supported",
                                            where, key, on ? "true" : "false");
}

/* Optional objects: absent is an empty one. */
static int get_inner(struct json_object *o, const char *where, const char *key,
                     struct json_object **out, struct airlock_error *err)
{
    *out = NULL;
    return json_get_object(o, where, key, out, err);
}

static int hub_parts(struct json_object *o, struct audio_config *c, struct airlock_error *err)
{
    static const char in_conv[] = "config.json: audio_processor.config.nemo_conv_settings.";
    static const char in_bias[] =
        "config.json: audio_processor.config.relative_attention_bias_args.";
    const struct number conv[] = { { "conv_channels", &c->conv_channels, MAX_WIDTH, 1024 } };
    const struct only type = { "type", "t5", 0 };
    struct json_object *settings, *bias;
    int64_t reach = 0;
    const int found = get_inner(o, in_hub, "nemo_conv_settings", &settings, err);
    if (found < 0 || get_inner(o, in_hub, "relative_attention_bias_args", &bias, err) < 0)
        return -1;
    c->conv_channels = 1024;
    if (found && read_numbers(settings, in_conv, conv, 1, err) < 0)
        return -1;
    if (!bias)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "%srelative_attention_bias_args is missing",
                                 in_hub);
    if (json_get_int(bias, in_bias, "t5_bias_max_distance", 1, MAX_REACH, &reach, err) < 0)
        return -1;
    c->reach = (size_t)reach;
    return check_only(bias, in_bias, &type, 1, err);
}

/* The layer that hands the encoder's output to the text model. */
static int hub_embedding(struct json_object *config, struct airlock_error *err)
{
    static const char where[] = "config.json: embd_layer.audio_embd_layer.";
    static const struct only only[] = { { "projection_cls", "mlp", 0 },
                                        { "compression_rate", NULL, LOG_MEL_TOKEN_FRAMES },
                                        { "downsample_rate", NULL, 1 } };
    struct json_object *layer, *audio;
    if (get_inner(config, "config.json: ", "embd_layer", &layer, err) < 0)
        return -1;
    if (!layer)
        return 0;
    if (get_inner(layer, "config.json: embd_layer.", "audio_embd_layer", &audio, err) < 0)
        return -1;
    if (!audio)
        return 0;
    if (check_switch(audio, where, "use_qformer", false, err) < 0 ||
        check_switch(audio, where, "use_conv_downsample", false, err) < 0)
        return -1;
    return check_only(audio, where, only, sizeof only / sizeof *only, err);
}

static int parse_hub(struct json_object *config, struct json_object *o, struct audio_config *c,
                     struct airlock_error *err)
{
    size_t out_1, out_2;
    const struct number numbers[] = {
        { "attention_dim", &c->hidden_size, MAX_WIDTH, 0 },
        { "attention_heads", &c->num_heads, MAX_WIDTH, 0 },
        { "linear_units", &c->inner_size, MAX_WIDTH, 0 },
        { "num_blocks", &c->num_blocks, MAX_BLOCKS, 0 },
        { "kernel_size", &c->kernel_size, MAX_KERNEL, 0 },
        { "ext_pw_out_channel", &out_1, MAX_WIDTH, 0 },
        { "depthwise_seperable_out_channel", &out_2, MAX_WIDTH, 0 },
    };
    static const struct only only[] = {
        { "activation", "swish", 0 },
        { "conv_activation", "swish", 0 },
        { "conv_glu_type", "swish", 0 },
        { "input_layer", "nemo_conv", 0 },
        { "chunk_size", NULL, -1 },
        { "input_size", NULL, LOG_MEL_BINS },
        { "depthwise_multiplier", NULL, 1 },
        { "ext_pw_kernel_size", NULL, 1 },
        { "time_reduction", NULL, LOG_MEL_TOKEN_FRAMES },
    };
    if (read_numbers(o, in_hub, numbers, sizeof numbers / sizeof *numbers, err) < 0 ||
        check_only(o, in_hub, only, sizeof only / sizeof *only, err) < 0 ||
        check_switch(o, in_hub, "causal", true, err) < 0 ||
        check_switch(o, in_hub, "batch_norm", false, err) < 0 ||
        check_switch(o, in_hub, "bias_in_glu", true, err) < 0 || hub_parts(o, c, err) < 0)
        return -1;
    if (out_1 != c->hidden_size || out_2 != c->hidden_size)
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "%sext_pw_out_channel and depthwise_seperable_out_channel must "
                                 "equal attention_dim",
                                 in_hub);
    return hub_embedding(config, err);
}

/* The fallbacks are the defaults of transformers' class: a key that equals its default may be
 * left out.  bias_max_distance has none here, because its default is not the model's value. */
static int parse_native(struct json_object *o, struct audio_config *c, struct airlock_error *err)
{
    size_t out_1, out_2;
    const struct number numbers[] = {
        { "hidden_size", &c->hidden_size, MAX_WIDTH, 1024 },
        { "num_attention_heads", &c->num_heads, MAX_WIDTH, 16 },
        { "intermediate_size", &c->inner_size, MAX_WIDTH, 1536 },
        { "num_blocks", &c->num_blocks, MAX_BLOCKS, 24 },
        { "kernel_size", &c->kernel_size, MAX_KERNEL, 3 },
        { "nemo_conv_channels", &c->conv_channels, MAX_WIDTH, 1024 },
        { "ext_pw_out_channel", &out_1, MAX_WIDTH, 1024 },
        { "depthwise_separable_out_channel", &out_2, MAX_WIDTH, 1024 },
    };
    static const struct only only[] = {
        { "activation", "swish", 0 },
        { "conv_activation", "swish", 0 },
        { "conv_glu_type", "swish", 0 },
        { "nemo_activation", "relu", 0 },
        { "chunk_size", NULL, -1 },
        { "input_size", NULL, LOG_MEL_BINS },
        { "depthwise_multiplier", NULL, 1 },
        { "downsample_rate", NULL, 1 },
        { "time_reduction", NULL, LOG_MEL_TOKEN_FRAMES },
    };
    int64_t reach = 0;
    if (read_numbers(o, in_native, numbers, sizeof numbers / sizeof *numbers, err) < 0 ||
        check_only(o, in_native, only, sizeof only / sizeof *only, err) < 0 ||
        check_switch(o, in_native, "bias_symmetric", false, err) < 0 ||
        json_get_int(o, in_native, "bias_max_distance", 1, MAX_REACH, &reach, err) < 0)
        return -1;
    c->reach = (size_t)reach;
    if (out_1 != c->hidden_size || out_2 != c->hidden_size)
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "%sext_pw_out_channel and depthwise_separable_out_channel must "
                                 "equal hidden_size",
                                 in_native);
    return 0;
}

static int parse(struct json_object *config, struct audio_config *out, struct airlock_error *err)
{
    static const char in_processor[] = "config.json: audio_processor.";
    struct json_object *processor, *inner = NULL;
    const struct number text[] = { { "hidden_size", &out->text_hidden, MAX_WIDTH, 0 } };
    if (read_numbers(config, "config.json: ", text, 1, err) < 0 ||
        get_inner(config, "config.json: ", "audio_processor", &processor, err) < 0)
        return -1;
    int found = processor ? get_inner(processor, in_processor, "config", &inner, err)
                          : get_inner(config, "config.json: ", "audio_config", &inner, err);
    if (json_require(found, processor ? in_processor : "config.json: ",
                     processor ? "config" : "audio_config", err) < 0 ||
        (processor ? parse_hub(config, inner, out, err) : parse_native(inner, out, err)) < 0)
        return -1;
    if (out->hidden_size % out->num_heads || out->hidden_size / out->num_heads > MAX_HEAD_DIM)
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "%s: %zu heads do not divide a width of %zu into at most %d each",
                                 processor ? in_hub : in_native, out->num_heads, out->hidden_size,
                                 MAX_HEAD_DIM);
    return 0;
}

int audio_config_parse(struct json_object *config, struct audio_config *out,
                       struct airlock_error *err)
{
    *out = (struct audio_config){ 0 };
    const int rc = parse(config, out, err);
    if (rc < 0 && err && err->code == AIRLOCK_E_SHAPE)
        err->code = AIRLOCK_E_CONFIG; /* a file of the operator's, not a request */
    return rc;
}
