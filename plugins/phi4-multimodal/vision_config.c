/* vision_config.c - reads and checks the vision tower's configuration; see vision_config.h. */
#include "vision_config.h"

#include "common/json.h"
#include "image_crops.h"

#include <string.h>

static const char in_hub[] = "config.json: embd_layer.image_embd_layer.";
static const char in_native[] = "config.json: vision_config.";

static int check_int(struct json_object *o, const char *where, const char *key, int64_t only,
                     struct airlock_error *err)
{
    int64_t v = only;
    if (json_get_int(o, where, key, INT64_MIN, INT64_MAX, &v, err) < 0)
        return -1;
    return v == only
               ? 0
               : airlock_error_set(err, AIRLOCK_E_CONFIG, "%s%s %lld is not supported: only %lld",
                                   where, key, (long long)v, (long long)only);
}

static int check_text(struct json_object *o, const char *where, const char *key, const char *only,
                      struct airlock_error *err)
{
    const char *v = only;
    if (json_get_string(o, where, key, &v, NULL, err) < 0)
        return -1;
    return strcmp(v, only) == 0
               ? 0
               : airlock_error_set(err, AIRLOCK_E_CONFIG,
                                   "%s%s \"%.40s\" is not supported: only %s", where, key, v, only);
}

static int check_true(struct json_object *o, const char *key, struct airlock_error *err)
{
    bool v = true;
    if (json_get_bool(o, in_hub, key, &v, err) < 0)
        return -1;
    return v ? 0
             : airlock_error_set(err, AIRLOCK_E_CONFIG, "%s%s false is not supported", in_hub, key);
}

static int check_hub(struct json_object *config, struct airlock_error *err)
{
    struct json_object *layer = NULL, *image = NULL;
    if (json_get_object(config, "config.json: ", "embd_layer", &layer, err) < 0 ||
        (layer &&
         json_get_object(layer, "config.json: embd_layer.", "image_embd_layer", &image, err) < 0))
        return -1;
    if (!image)
        return 0;
    if (check_int(image, in_hub, "crop_size", IMAGE_CROP, err) ||
        check_text(image, in_hub, "hd_transform_order", "sub_glb", err) ||
        check_text(image, in_hub, "image_token_compression_cls", "avg_pool_2d", err) ||
        check_text(image, in_hub, "projection_cls", "mlp", err) ||
        check_true(image, "use_hd_transform", err) ||
        check_true(image, "with_learnable_separator", err))
        return -1;
    return 0;
}

static int read_native(struct json_object *config, struct vision_config *out,
                       struct airlock_error *err)
{
    struct json_object *v = NULL;
    int64_t heads = (int64_t)out->num_heads, feature = out->feature_layer;
    double eps = (double)out->layer_norm_eps;
    if (json_get_object(config, "config.json: ", "vision_config", &v, err) < 0)
        return -1;
    if (!v)
        return 0;
    if (check_int(v, in_native, "crop_size", IMAGE_CROP, err) ||
        check_int(v, in_native, "image_size", IMAGE_CROP, err) ||
        check_int(v, in_native, "patch_size", IMAGE_PATCH, err) ||
        check_int(v, in_native, "num_channels", 3, err) ||
        check_text(v, in_native, "hidden_act", "gelu_pytorch_tanh", err) ||
        json_get_int(v, in_native, "num_attention_heads", 1, 1024, &heads, err) < 0 ||
        json_get_int(v, in_native, "feature_layer", -1000, -1, &feature, err) < 0 ||
        json_get_double(v, in_native, "layer_norm_eps", 0.0, 1.0, &eps, err) < 0)
        return -1;
    out->num_heads = (size_t)heads;
    out->feature_layer = (int)feature;
    out->layer_norm_eps = (float)eps;
    return 0;
}

int vision_config_parse(struct json_object *config, struct vision_config *out,
                        struct airlock_error *err)
{
    int64_t hidden = 0;
    *out = (struct vision_config){ .num_heads = 16, .layer_norm_eps = 1e-6f, .feature_layer = -2 };
    int found = json_get_int(config, "config.json: ", "hidden_size", 1, 1 << 20, &hidden, err);
    if (json_require(found, "config.json: ", "hidden_size", err) < 0 || check_hub(config, err) ||
        read_native(config, out, err))
        return -1;
    out->text_hidden = (size_t)hidden;
    return 0;
}
