/*
 * model_config.h - model_config.json as structs: the original's keys, ours beside them, an unknown
 * key is an error.
 *
 * Strings live as long as the server_config.  Every error is one sentence that names the file and
 * the place in it.
 */
#ifndef AIRLOCK_MODEL_CONFIG_H
#define AIRLOCK_MODEL_CONFIG_H

#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_object;

struct adapter_config {
    const char *name;
    char *path; /* as model_config.model_path */
};

struct model_config {
    const char *name, *class_name;
    const char *written_path; /* model_path as the file has it */
    char *model_path; /* absolute where the configuration's folder or the working directory has such
                         a directory; otherwise as written: a Hub id, for the plugin to find */
    struct adapter_config *adapters;
    size_t n_adapters;
    unsigned max_concurrent_per_adapter, queue;
    char *plugin; /* absolute path, or a module name without '/'; NULL: look for class_name */
    char *adapter_plugin; /* the same; NULL: module "lora" */
    bool has_sha256;
    unsigned char sha256[32];                            /* of the plugin's file */
    const char *device, *dtype;                          /* "" : the plugin's choice */
    const char *options_json;                            /* an object, or "" */
    struct json_object *options;                         /* the same, or NULL */
    uint64_t max_context, max_batch, kv_memory, threads; /* 0: the plugin's choice */
};

struct server_config {
    struct json_object *root;
    struct model_config *models;
    size_t n_models;
};

/* 0, or -1 with nothing to free. */
int config_load(const char *path, struct server_config *out, struct airlock_error *err);

/* The same from text; folder is what relative paths are looked up in. */
int config_parse(const char *text, size_t size, const char *folder, struct server_config *out,
                 struct airlock_error *err);

/* True for what may be the name of an adapter: 1 to LIMIT_NAME_BYTES without control characters,
 * not "base", which is the model without one. */
bool config_adapter_name(const char *name);

void config_free(struct server_config *config);

#endif
