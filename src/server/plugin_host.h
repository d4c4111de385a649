/*
 * plugin_host.h - the host that a plugin instance sees: its log, its services, and errors as ours.
 */
#ifndef AIRLOCK_PLUGIN_HOST_H
#define AIRLOCK_PLUGIN_HOST_H

#include "common/error.h"

#include <airlock/llm_abi.h>
#include <airlock/llm_model.h>

enum { HOST_LABEL_MAX = 320 };

/* One per instance; must not move while the instance lives. */
struct plugin_host {
    llm_host abi;
    char label[HOST_LABEL_MAX]; /* "phi" or "phi[sql]": in front of its log lines */
    /* of an adapter: the model that it is opened for; site_class NULL: no sites service */
    const llm_model_class *site_class;
    llm_model *site_model;
    const char *base_model;
};

/* adapter NULL: a model's host. */
void plugin_host_init(struct plugin_host *host, const char *model, const char *adapter);
void plugin_host_serve_sites(struct plugin_host *host, const llm_model_class *cls, llm_model *model,
                             const char *base_model);

/* Turns a failed call's answer into ours: code, and text whatever the plugin left in it.  Always
 * -1. */
int plugin_host_error(const struct plugin_host *host, llm_status status, const llm_error *from,
                      struct airlock_error *err);

#endif
