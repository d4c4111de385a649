/* plugin_file.c - see plugin_file.h: who owns the file, and what it is. */
#include "server/plugin_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sha256.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX_BYTES = 1 << 30, OVERFLOW_UID = 65534 };

/* True when our user namespace does not map OVERFLOW_UID: then it stands for everybody outside,
 * whom nobody in here can become. */
static bool overflow_is_outside(void)
{
    FILE *map = fopen("/proc/self/uid_map", "re");
    unsigned long inside, outside, count;
    bool mapped = !map;
    while (map && fscanf(map, "%lu %lu %lu", &inside, &outside, &count) == 3)
        mapped = mapped || (inside <= OVERFLOW_UID && OVERFLOW_UID - inside < count);
    if (map)
        fclose(map);
    return !mapped;
}

/* Who may have written code that we run: root, we, and who owns the server's own program. */
static bool trusted_owner(uid_t uid)
{
    struct stat self;
    if (uid == 0 || uid == geteuid())
        return true;
    if (stat("/proc/self/exe", &self) == 0 && self.st_uid == uid)
        return true;
    return uid == OVERFLOW_UID && overflow_is_outside();
}

/* Sticky directories such as /tmp let others add files, not exchange ours. */
static int judge_owner(const char *path, const struct stat *st, struct airlock_error *err)
{
    if (!trusted_owner(st->st_uid))
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "%s belongs to user %lu, whom the server does not trust: chown it "
                                 "to root or to the server's user",
                                 path, (unsigned long)st->st_uid);
    bool sticky = S_ISDIR(st->st_mode) && (st->st_mode & S_ISVTX);
    if ((st->st_mode & (S_IWGRP | S_IWOTH)) && !sticky)
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "%s can be written by its group or by everybody: chmod go-w it",
                                 path);
    return 0;
}

/* Every directory from / down to the one that holds path. */
static int judge_directories(const char *path, struct airlock_error *err)
{
    char real[PATH_MAX], part[PATH_MAX];
    if (path[0] != '/' || strlen(path) >= sizeof part)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "%s is not an absolute path", path);
    strcpy(part, path);
    char *slash = strrchr(part, '/');
    slash[slash == part] = 0;
    if (!realpath(part, real)) /* links to directories are followed: what they lead to is judged */
        return airlock_error_errno(err, errno, "%s", part);
    for (char *p = real; p; p = strchr(p + 1, '/')) {
        struct stat st;
        size_t n = p == real ? 1 : (size_t)(p - real);
        memcpy(part, real, n);
        part[n] = 0;
        if (stat(part, &st) < 0)
            return airlock_error_errno(err, errno, "%s", part);
        if (judge_owner(part, &st, err) < 0)
            return -1;
    }
    struct stat st;
    if (stat(real, &st) < 0)
        return airlock_error_errno(err, errno, "%s", real);
    return judge_owner(real, &st, err);
}

static int judge_sha256(const char *path, const void *bytes, size_t size,
                        const unsigned char *wanted, struct airlock_error *err)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    char hex[SHA256_DIGEST_STRING_LENGTH];
    SHA2_CTX ctx;
    SHA256Init(&ctx);
    SHA256Update(&ctx, bytes, size);
    SHA256Final(digest, &ctx);
    if (memcmp(digest, wanted, sizeof digest) == 0)
        return 0;
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    return airlock_error_set(err, AIRLOCK_E_CONFIG,
                             "%s has the sha256 %s, which is not the configured one", path, hex);
}

static int judge_content(const char *path, size_t size, const unsigned char *sha256,
                         struct plugin_file *out, struct airlock_error *err)
{
    void *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, out->fd, 0);
    if (bytes == MAP_FAILED)
        return airlock_error_errno(err, errno, "%s", path);
    int rc = sha256 ? judge_sha256(path, bytes, size, sha256, err) : 0;
    if (rc == 0) {
        rc = plugin_elf_judge(bytes, size, &out->elf, err);
        if (rc < 0)
            airlock_error_wrap(err, "%s", path);
    }
    munmap(bytes, size);
    return rc;
}

int plugin_file_open(const char *path, const unsigned char *sha256, struct plugin_file *out,
                     struct airlock_error *err)
{
    struct stat st;
    *out = (struct plugin_file){ .fd = -1 };
    if (judge_directories(path, err) < 0)
        return -1;
    out->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (out->fd < 0 && errno == ELOOP)
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "%s is a symbolic link: name the file itself", path);
    if (out->fd < 0 || fstat(out->fd, &st) < 0) {
        airlock_error_errno(err, errno, "%s", path);
        plugin_file_close(out);
        return -1;
    }
    out->device = st.st_dev;
    out->inode = st.st_ino;
    int rc = 0;
    if (!S_ISREG(st.st_mode) || st.st_size <= 0 || st.st_size > FILE_MAX_BYTES)
        rc = airlock_error_set(err, AIRLOCK_E_CONFIG, "%s is not a regular file of up to 1 GiB",
                               path);
    if (rc < 0 || judge_owner(path, &st, err) < 0 ||
        judge_content(path, (size_t)st.st_size, sha256, out, err) < 0) {
        plugin_file_close(out);
        return -1;
    }
    return 0;
}

void plugin_file_close(struct plugin_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
}
