/* residents.c - which adapters lie on the device; see residents.h. */
#include "residents.h"

#include <stdlib.h>

enum { ALIGNMENT = 256 };

static size_t padded(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static size_t a_bytes(const llm_lora_target *t)
{
    return (size_t)t->rank * t->in_dim * ops_dtype_size((enum ops_dtype)t->dtype);
}

static size_t b_bytes(const llm_lora_target *t)
{
    return (size_t)t->rank * t->out_dim * ops_dtype_size((enum ops_dtype)t->dtype);
}

static bool has_matrices(const llm_lora_target *t)
{
    return t && t->a && t->b;
}

int resident_init(struct resident *adapter, const llm_lora_target *const *targets, size_t n_targets)
{
    size_t at = 0;
    *adapter = (struct resident){ .targets = targets, .n_targets = n_targets };
    adapter->offsets = calloc(n_targets + 1, sizeof *adapter->offsets);
    if (!adapter->offsets)
        return -1;
    for (size_t i = 0; i < n_targets; i++) {
        adapter->offsets[i] = at;
        if (has_matrices(targets[i]))
            at += padded(a_bytes(targets[i])) + padded(b_bytes(targets[i]));
    }
    adapter->offsets[n_targets] = at;
    return 0;
}

void residents_init(struct residents *r, const struct ops *ops, struct ops_device *dev,
                    uint64_t budget)
{
    *r = (struct residents){ .ops = ops, .dev = dev, .budget = budget };
    pthread_mutex_init(&r->lock, NULL);
}

void residents_free(struct residents *r)
{
    pthread_mutex_destroy(&r->lock);
}

/* ---- the list, oldest first ---- */

static void unlist(struct residents *r, struct resident *adapter)
{
    struct resident **link = &r->oldest;
    while (adapter->listed && *link != adapter)
        link = &(*link)->next;
    if (adapter->listed)
        *link = adapter->next;
    adapter->listed = false;
    adapter->next = NULL;
}

static void list_newest(struct residents *r, struct resident *adapter)
{
    struct resident **link = &r->oldest;
    unlist(r, adapter);
    while (*link)
        link = &(*link)->next;
    *link = adapter;
    adapter->listed = true;
}

/* ---- memory ---- */

static void drop(struct residents *r, struct resident *adapter)
{
    unlist(r, adapter);
    if (!adapter->data)
        return;
    r->ops->free(r->dev, adapter->data);
    r->used -= adapter->room;
    r->moves++;
    adapter->data = NULL;
    adapter->room = 0;
}

/* The least recently used that the step does not want; NULL: none. */
static struct resident *victim(const struct residents *r)
{
    struct resident *v = r->oldest;
    while (v && v->wanted)
        v = v->next;
    return v;
}

/* Memory for an adapter: the victim's own when it is of the size, so that adapters of one rank
 * change places without the device's allocator, which waits for the device. */
static bool make_room(struct residents *r, struct resident *adapter, size_t bytes)
{
    while (bytes <= r->budget) {
        struct resident *v = NULL;
        if (bytes <= r->budget - r->used) {
            adapter->data = r->ops->alloc(r->dev, bytes);
            adapter->room = adapter->data ? bytes : 0;
            r->used += adapter->room;
        }
        if (adapter->data)
            return true;
        v = victim(r);
        if (!v)
            return false;
        r->evictions++;
        if (v->room == bytes) {
            unlist(r, v);
            adapter->data = v->data;
            adapter->room = v->room;
            v->data = NULL;
            v->room = 0;
            return true;
        }
        drop(r, v);
    }
    return false;
}

static enum ops_status copy_all(struct residents *r, struct resident *adapter)
{
    enum ops_status status = OPS_OK;
    for (size_t i = 0; i < adapter->n_targets && status == OPS_OK; i++) {
        const llm_lora_target *t = adapter->targets[i];
        char *to = adapter->data + adapter->offsets[i];
        if (!has_matrices(t))
            continue;
        status = r->ops->upload(r->dev, to, (const void *)(uintptr_t)t->a, a_bytes(t));
        to += padded(a_bytes(t));
        if (status == OPS_OK)
            status = r->ops->upload(r->dev, to, (const void *)(uintptr_t)t->b, b_bytes(t));
    }
    return status;
}

static void load(struct residents *r, struct resident *adapter)
{
    const size_t bytes = adapter->offsets[adapter->n_targets];
    if (bytes == 0)
        return;
    if (!make_room(r, adapter, bytes)) {
        r->misses++;
        return;
    }
    r->loads++;
    r->moves++;
    if (copy_all(r, adapter) != OPS_OK)
        drop(r, adapter); /* the step's own ops will tell what is wrong */
}

uint64_t residents_begin(struct residents *r, struct resident *const *step, size_t n)
{
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < n; i++)
        step[i]->wanted = true;
    for (size_t i = 0; i < n; i++) {
        if (!step[i]->data)
            load(r, step[i]);
        if (step[i]->data)
            list_newest(r, step[i]);
    }
    for (size_t i = 0; i < n; i++)
        step[i]->wanted = false;
    const uint64_t moves = r->moves;
    pthread_mutex_unlock(&r->lock);
    return moves;
}

void resident_find(const struct resident *adapter, size_t target, const void **a, const void **b)
{
    const llm_lora_target *t = adapter->targets[target];
    *a = (const void *)(uintptr_t)t->a;
    *b = (const void *)(uintptr_t)t->b;
    if (!adapter->data)
        return;
    const char *at = adapter->data + adapter->offsets[target];
    *a = at;
    *b = at + padded(a_bytes(t));
}

void residents_drop(struct residents *r, struct resident *adapter)
{
    if (r->ops) {
        pthread_mutex_lock(&r->lock);
        drop(r, adapter);
        pthread_mutex_unlock(&r->lock);
    }
    free(adapter->offsets);
    *adapter = (struct resident){ 0 };
}
