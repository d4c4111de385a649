/*
 * plugin_descriptor.h - judges what an opened plugin says of itself: its versions and the form of
 * its descriptor.
 */
#ifndef AIRLOCK_PLUGIN_DESCRIPTOR_H
#define AIRLOCK_PLUGIN_DESCRIPTOR_H

#include "error.h"
#include "plugin_elf.h"

#include <airlock/llm_abi.h>

/* Whether a host of ABI 1.host_minor runs a plugin of these numbers: 0, or -1 with the sentence,
 * eg: "org.x.y needs ABI 1.3, this host has 1.1: ...". */
int plugin_version_judge(const char *id, uint32_t major, uint32_t target, uint32_t needed,
                         uint32_t host_minor, struct airlock_error *err);

/* Versions, then sizes, names, kinds and required functions of the descriptor and its classes, and
 * that it equals the note of elf (NULL: not looked at).  0 or -1; the caller puts the path in
 * front.
 */
int plugin_descriptor_judge(const llm_plugin *plugin, const struct plugin_elf *elf,
                            uint32_t host_minor, struct airlock_error *err);

#endif
