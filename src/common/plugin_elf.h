/*
 * plugin_elf.h - reads a shared object's program headers from bytes that may be anything: how it
 * wants to be loaded, what it exports, its airlock note.
 *
 * The server's loader and airlock-plugin-check both ask here, before any of the plugin's code runs.
 * [thread-safe]
 */
#ifndef AIRLOCK_PLUGIN_ELF_H
#define AIRLOCK_PLUGIN_ELF_H

#include "error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct plugin_elf {
    bool has_note;
    uint32_t note[4]; /* abi_major, abi_target, abi_needed, kind */
};

/* 0: a shared object for this machine, bound at load, never unmapped, without executable stack,
 * text relocations or a search path outside $ORIGIN, that exports llm_plugin_query_1 and nothing
 * else.  -1: err says what is wrong and how to link it; the caller puts the path in front. */
int plugin_elf_judge(const void *bytes, size_t size, struct plugin_elf *out,
                     struct airlock_error *err);

#endif
