/* safetensors.c - opens, indexes and reads in the files of a checkpoint; see safetensors.h. */
#include "safetensors.h"

#include "common/io.h"
#include "common/json.h"
#include "safetensors_header.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    MAX_SHARDS = 1024,          /* files of one checkpoint; the largest public ones have 200 */
    MAX_INDEX_BYTES = 32 << 20, /* model.safetensors.index.json; the largest are below 10 MB */
    PREFAULT_STEP = 16 << 20,   /* bytes between two calls of progress */
    PREFAULT_AHEAD = 64 << 20,  /* bytes that the disk is asked for ahead of use */
    PAGE_BYTES = 4096,          /* the least size of a page */
    SCRATCH_BYTES = 1 << 20     /* read size where the kernel cannot map ahead */
};

struct file {
    char *path;
    int fd;
    unsigned char *map; /* whole file, read-only; NULL: nothing mapped */
    uint64_t size;
    struct safetensors_header header;
};

struct safetensors {
    struct file *files;
    size_t n_files;
    uint64_t total_bytes, header_bytes;
    const struct safetensors_view **in_order, **by_name;
    size_t n;
};

static void file_close(struct file *f)
{
    if (f->map)
        munmap(f->map, f->size);
    if (f->fd >= 0)
        close(f->fd);
    safetensors_header_free(&f->header);
    free(f->path);
}

void safetensors_close(struct safetensors *st)
{
    if (!st)
        return;
    for (size_t i = 0; i < st->n_files; i++)
        file_close(&st->files[i]);
    free(st->files);
    free(st->in_order);
    free(st->by_name);
    free(st);
}

uint64_t safetensors_end_of(const struct safetensors *st, const struct safetensors_view *v)
{
    const unsigned char *end = (const unsigned char *)v->data + v->bytes;
    uint64_t before = 0;
    for (size_t i = 0; i < st->n_files; i++) {
        const struct file *f = &st->files[i];
        if (f->map && end >= f->map && end <= f->map + f->size &&
            (const unsigned char *)v->data >= f->map)
            return before + (uint64_t)(end - f->map);
        before += f->size;
    }
    return st->total_bytes;
}

/* pread of all n bytes.  0, or -1 with err: the file ends before. */
static int read_at(const struct file *f, void *to, size_t n, uint64_t offset,
                   struct airlock_error *err)
{
    for (char *p = to; n;) {
        ssize_t got = pread(f->fd, p, n, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return airlock_error_errno(err, errno, "cannot read");
        if (got == 0)
            return airlock_error_set(err, AIRLOCK_E_IO,
                                     "the file ends at byte %llu: it was cut short",
                                     (unsigned long long)offset);
        p += got;
        n -= (size_t)got;
        offset += (uint64_t)got;
    }
    return 0;
}

/* The header is read, not mapped: a file that shrinks meanwhile gives an error, not a SIGBUS. */
static int read_header(struct file *f, uint64_t *header_bytes, struct airlock_error *err)
{
    unsigned char raw[8];
    uint64_t n = 0;
    if (f->size < sizeof raw)
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "%llu bytes are too few for a safetensors file",
                                 (unsigned long long)f->size);
    if (read_at(f, raw, sizeof raw, 0, err) < 0)
        return -1;
    for (int i = 7; i >= 0; i--)
        n = n << 8 | raw[i];
    if (n > SAFETENSORS_MAX_HEADER)
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "header length %llu, at most %d allowed: not a safetensors file?",
                                 (unsigned long long)n, SAFETENSORS_MAX_HEADER);
    if (n > f->size - sizeof raw)
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "header length %llu, but the file has only %llu bytes: it is cut "
                                 "short",
                                 (unsigned long long)n, (unsigned long long)f->size);
    char *text = malloc(n + 1);
    if (!text)
        return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for the header");
    int rc = read_at(f, text, n, sizeof raw, err);
    if (rc == 0)
        rc = safetensors_header_parse(&f->header, text, n, f->size - sizeof raw - n, err);
    free(text);
    *header_bytes = sizeof raw + n;
    return rc;
}

static int file_map(struct file *f, uint64_t header_bytes, struct airlock_error *err)
{
    f->map = mmap(NULL, f->size, PROT_READ, MAP_PRIVATE, f->fd, 0);
    if (f->map == MAP_FAILED) {
        f->map = NULL;
        return airlock_error_errno(err, errno, "cannot map");
    }
    /* Fewer TLB misses where the file system has huge pages in its cache; refused elsewhere. */
    (void)madvise(f->map, f->size, MADV_HUGEPAGE);
    for (size_t i = 0; i < f->header.n; i++)
        f->header.entries[i].view.data = f->map + header_bytes + f->header.entries[i].begin;
    return 0;
}

static int file_open(struct file *f, struct airlock_error *err)
{
    struct stat s;
    uint64_t header_bytes = 0;
    /* O_NONBLOCK: a fifo must not hang us.  Links are followed: the Hub's cache is made of them. */
    f->fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (f->fd < 0)
        return airlock_error_errno(err, errno, "%s", f->path);
    if (fstat(f->fd, &s) < 0)
        return airlock_error_errno(err, errno, "%s", f->path);
    if (!S_ISREG(s.st_mode))
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "%s: not a regular file", f->path);
    f->size = (uint64_t)s.st_size;
    if (read_header(f, &header_bytes, err) < 0 || file_map(f, header_bytes, err) < 0)
        return airlock_error_wrap(err, "%s", f->path);
    return 0;
}

/* Appends a file to st and opens it. */
static int add_file(struct safetensors *st, char *path, struct airlock_error *err)
{
    struct file *more = realloc(st->files, (st->n_files + 1) * sizeof *more);
    if (!path || !more) {
        free(path);
        st->files = more ? more : st->files;
        return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for a checkpoint's file");
    }
    st->files = more;
    struct file *f = &st->files[st->n_files++];
    *f = (struct file){ .path = path, .fd = -1 };
    if (file_open(f, err) < 0)
        return -1;
    st->total_bytes += f->size;
    st->n += f->header.n;
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    const struct safetensors_view *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

/* The file that holds view, for errors. */
static const char *file_of(const struct safetensors *st, const struct safetensors_view *view)
{
    for (size_t i = 0; i < st->n_files; i++) {
        const struct safetensors_header *h = &st->files[i].header;
        uintptr_t offset = (uintptr_t)view - (uintptr_t)h->entries;
        if (offset < h->n * sizeof *h->entries)
            return st->files[i].path;
    }
    return "?";
}

static int make_tables(struct safetensors *st, struct airlock_error *err)
{
    size_t k = 0;
    st->in_order = malloc((st->n + 1) * sizeof(void *));
    st->by_name = malloc((st->n + 1) * sizeof(void *));
    if (!st->in_order || !st->by_name)
        return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for %zu tensors", st->n);
    for (size_t i = 0; i < st->n_files; i++)
        for (size_t j = 0; j < st->files[i].header.n; j++)
            st->in_order[k++] = &st->files[i].header.entries[j].view;
    memcpy(st->by_name, st->in_order, st->n * sizeof(void *));
    qsort(st->by_name, st->n, sizeof(void *), compare_names);
    for (size_t i = 1; i < st->n; i++)
        if (strcmp(st->by_name[i - 1]->name, st->by_name[i]->name) == 0)
            return airlock_error_set(err, AIRLOCK_E_CONFIG, "tensor %.120s is in %s and in %s",
                                     st->by_name[i]->name, file_of(st, st->by_name[i - 1]),
                                     file_of(st, st->by_name[i]));
    return 0;
}

static struct safetensors *finish(struct safetensors *st, int rc, struct airlock_error *err)
{
    if (rc == 0 && make_tables(st, err) == 0)
        return st;
    safetensors_close(st);
    return NULL;
}

static struct safetensors *new_checkpoint(struct airlock_error *err)
{
    struct safetensors *st = calloc(1, sizeof *st);
    if (!st)
        airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for a checkpoint");
    return st;
}

struct safetensors *safetensors_open_file(const char *path, struct airlock_error *err)
{
    struct safetensors *st = new_checkpoint(err);
    return st ? finish(st, add_file(st, strdup(path), err), err) : NULL;
}

static char *join(const char *dir, const char *name)
{
    size_t a = strlen(dir), b = strlen(name);
    char *path = malloc(a + b + 2);
    if (path) {
        memcpy(path, dir, a);
        path[a] = '/';
        memcpy(path + a + 1, name, b + 1);
    }
    return path;
}

/* A shard is a plain file name in the checkpoint's directory, never a path. */
static int shard_name(struct json_object *value, const char *tensor, const char **out,
                      struct airlock_error *err)
{
    if (!json_object_is_type(value, json_type_string))
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "weight_map[\"%.120s\"] must be a string",
                                 tensor);
    const char *s = json_object_get_string(value);
    size_t n = strlen(s);
    if (n == 0 || n > NAME_MAX || n != (size_t)json_object_get_string_len(value) || *s == '.' ||
        strchr(s, '/'))
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "weight_map[\"%.120s\"]: \"%.120s\" is not a plain file name",
                                 tensor, s);
    *out = s;
    return 0;
}

/* The i-th file when it is called name. */
static bool is_file(const struct safetensors *st, size_t i, const char *name)
{
    return strcmp(strrchr(st->files[i].path, '/') + 1, name) == 0;
}

static int open_shards(struct safetensors *st, const char *dir, struct json_object *map,
                       struct airlock_error *err)
{
    json_object_object_foreach(map, tensor, value)
    {
        const char *name = NULL;
        if (shard_name(value, tensor, &name, err) < 0)
            return -1;
        size_t i = st->n_files; /* the file of the tensor before is the likeliest */
        while (i && !is_file(st, i - 1, name))
            i--;
        if (i)
            continue;
        if (st->n_files == MAX_SHARDS)
            return airlock_error_set(err, AIRLOCK_E_CONFIG, "more than %d files", MAX_SHARDS);
        if (add_file(st, join(dir, name), err) < 0)
            return -1;
    }
    return 0;
}

/* Each tensor of the index is in the file that the index says. */
static int check_index(const struct safetensors *st, struct json_object *map,
                       struct airlock_error *err)
{
    json_object_object_foreach(map, tensor, value)
    {
        const struct safetensors_view *v = safetensors_find(st, tensor);
        const char *want = json_object_get_string(value);
        if (!v)
            return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                     "tensor %.120s is listed in %.120s, but is not there", tensor,
                                     want);
        const char *path = file_of(st, v);
        if (strcmp(strrchr(path, '/') + 1, want) != 0)
            return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                     "tensor %.120s is listed in %.120s, but is in %s", tensor,
                                     want, path);
    }
    return 0;
}

static struct safetensors *open_sharded(const char *dir, const char *index,
                                        struct airlock_error *err)
{
    struct json_object *root = json_parse_file(index, MAX_INDEX_BYTES, err), *map = NULL;
    struct safetensors *st = NULL;
    if (!root)
        return NULL;
    if (!json_object_is_type(root, json_type_object))
        airlock_error_set(err, AIRLOCK_E_CONFIG, "the index must be an object");
    else if (json_require(json_get_object(root, "", "weight_map", &map, err), "", "weight_map",
                          err) == 0)
        st = new_checkpoint(err);
    if (st)
        st = finish(st, open_shards(st, dir, map, err), err);
    if (st && check_index(st, map, err) < 0) {
        safetensors_close(st);
        st = NULL;
    }
    json_object_put(root);
    if (!st)
        airlock_error_wrap(err, "%s", index);
    return st;
}

struct safetensors *safetensors_open_dir(const char *dir, struct airlock_error *err)
{
    struct safetensors *st = NULL;
    char *single = join(dir, "model.safetensors");
    char *index = join(dir, "model.safetensors.index.json");
    if (!single || !index)
        airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for a path");
    else if (access(single, F_OK) == 0)
        st = safetensors_open_file(single, err);
    else if (access(index, F_OK) == 0)
        st = open_sharded(dir, index, err);
    else
        airlock_error_set(err, AIRLOCK_E_CONFIG,
                          "%s: neither model.safetensors nor model.safetensors.index.json is there",
                          dir);
    free(single);
    free(index);
    return st;
}

size_t safetensors_count(const struct safetensors *st)
{
    return st->n;
}

uint64_t safetensors_total_bytes(const struct safetensors *st)
{
    return st->total_bytes;
}

const struct safetensors_view *safetensors_at(const struct safetensors *st, size_t i)
{
    return i < st->n ? st->in_order[i] : NULL;
}

const struct safetensors_view *safetensors_find(const struct safetensors *st, const char *name)
{
    size_t low = 0, high = st->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int c = strcmp(name, st->by_name[mid]->name);
        if (c == 0)
            return st->by_name[mid];
        if (c < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

/* Error when the file is shorter than it was at open. */
static int check_size(const struct file *f, struct airlock_error *err)
{
    struct stat s;
    if (fstat(f->fd, &s) < 0)
        return airlock_error_errno(err, errno, "cannot read");
    if ((uint64_t)s.st_size < f->size)
        return airlock_error_set(err, AIRLOCK_E_IO,
                                 "the file was cut short while loading: %lld of %llu bytes",
                                 (long long)s.st_size, (unsigned long long)f->size);
    return 0;
}

/* Brings bytes [at, at + n) into memory where the kernel cannot map them ahead (Linux before 5.14).
 */
static int read_pages(const struct file *f, uint64_t at, size_t n, void *scratch,
                      struct airlock_error *err)
{
    while (n) {
        size_t k = n < SCRATCH_BYTES ? n : SCRATCH_BYTES;
        if (read_at(f, scratch, k, at, err) < 0)
            return -1;
        at += k;
        n -= k;
    }
    return 0;
}

/* A virtual machine gets its memory from the host when the processor first touches a page, which
 * the disk's DMA is not; without this the first answer pays for it. */
static void touch_pages(const unsigned char *from, size_t n)
{
    for (size_t i = 0; i < n; i += PAGE_BYTES)
        (void)*(const volatile unsigned char *)(from + i);
}

/* Brings bytes [at, at + n) into memory and into our page table.  A page beyond the file's end
 * gives an error here, where touching it would be a SIGBUS. */
static int map_pages(const struct file *f, uint64_t at, size_t n, void *scratch,
                     struct airlock_error *err)
{
    while (madvise(f->map + at, n, MADV_POPULATE_READ) < 0) {
        if (errno == EINVAL || errno == ENOSYS)
            return read_pages(f, at, n, scratch, err);
        if (errno == EFAULT)
            return check_size(f, err) < 0
                       ? -1
                       : airlock_error_set(err, AIRLOCK_E_IO,
                                           "bytes %llu to %llu cannot be read from the disk",
                                           (unsigned long long)at, (unsigned long long)(at + n));
        if (errno != EINTR && errno != EAGAIN)
            return airlock_error_errno(err, errno, "cannot read");
    }
    touch_pages(f->map + at, n);
    return 0;
}

int safetensors_prefault(struct safetensors *st,
                         int (*progress)(void *ctx, uint64_t done, uint64_t total), void *ctx,
                         struct airlock_error *err)
{
    uint64_t done = 0;
    int rc = 0;
    void *scratch = malloc(SCRATCH_BYTES);
    if (!scratch)
        return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for reading");
    for (size_t i = 0; i < st->n_files && rc == 0; i++) {
        const struct file *f = &st->files[i];
        uint64_t asked = 0;
        for (uint64_t at = 0; at < f->size && rc == 0;) {
            size_t n = f->size - at < PREFAULT_STEP ? (size_t)(f->size - at) : PREFAULT_STEP;
            for (; asked < f->size && asked < at + PREFAULT_AHEAD; asked += PREFAULT_STEP)
                (void)posix_fadvise(f->fd, (off_t)asked, PREFAULT_STEP, POSIX_FADV_WILLNEED);
            rc = map_pages(f, at, n, scratch, err);
            at += n;
            done += n;
            if (rc == 0 && progress && progress(ctx, done, st->total_bytes))
                rc = airlock_error_set(err, AIRLOCK_E_CANCELLED, "loading was cancelled");
        }
        if (rc == 0)
            rc = check_size(f, err);
        if (rc < 0)
            airlock_error_wrap(err, "%s", f->path);
    }
    free(scratch);
    return rc;
}

void safetensors_release(const struct safetensors *st)
{
    for (size_t i = 0; i < st->n_files; i++)
        (void)madvise(st->files[i].map, st->files[i].size, MADV_DONTNEED);
}
