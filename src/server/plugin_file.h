/*
 * plugin_file.h - judges a plugin's file before any instruction of it runs: owner and mode, ELF
 * headers, the airlock note, the sha256.
 *
 * The descriptor that was judged is the one to load (through /proc/self/fd/N), so that nothing can
 * be exchanged in between.
 */
#ifndef AIRLOCK_PLUGIN_FILE_H
#define AIRLOCK_PLUGIN_FILE_H

#include "common/error.h"
#include "common/plugin_elf.h"

#include <sys/types.h>

struct plugin_file {
    int fd; /* -1: closed */
    dev_t device;
    ino_t inode;
    struct plugin_elf elf;
};

/*
 * Opens path (absolute; the file itself no symbolic link) and judges it.  sha256 is 32 bytes that
 * the file must have, or NULL.  0 with out->fd open, or -1 with one sentence that names path.
 */
int plugin_file_open(const char *path, const unsigned char *sha256, struct plugin_file *out,
                     struct airlock_error *err);

void plugin_file_close(struct plugin_file *file);

#endif
