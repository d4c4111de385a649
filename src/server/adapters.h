/*
 * adapters.h - the adapters of one model: requests hold them, and they come and go while it serves.
 *
 * A request holds its adapter from adapter_hold() to adapter_drop(); an adapter is detached when
 * nobody holds it.  All functions may be called from any thread, and no lock is held in a plugin's
 * functions but the one that lets only one adapter come or go at a time.
 */
#ifndef AIRLOCK_ADAPTERS_H
#define AIRLOCK_ADAPTERS_H

#include "server/models.h"

/* NULL: the model has no such adapter, or it is being unloaded. */
struct model_adapter *adapter_hold(struct model *model, const char *name, size_t size);
void adapter_drop(struct model *model, struct model_adapter *adapter); /* NULL is fine */

/*
 * Opens the adapter at path and attaches it.  name: see config_adapter_name().  0, or -1 with err:
 * AIRLOCK_E_REQUEST      there is one of that name, or there are too many: a sentence for the
 * caller AIRLOCK_E_UNSUPPORTED  the model takes no adapters anything else          for the log: it
 * names the plugin's reason, paths included
 */
int adapter_load(struct model *model, const char *name, const char *path,
                 struct airlock_error *err);

/*
 * Hides the adapter from new requests, waits for those that hold it at most until deadline_ns (of
 * io_now_ns()), and closes it.  0, or -1 with err:
 * AIRLOCK_E_NOT_FOUND  no such adapter
 * AIRLOCK_E_BUSY       it is still held: it stays, and is found again
 */
int adapter_unload(struct model *model, const char *name, size_t size, uint64_t deadline_ns,
                   struct airlock_error *err);

/* Calls fn for each adapter that can be asked for, under the model's lock: it must not block. */
void adapters_each(struct model *model, void (*fn)(void *ctx, const struct model_adapter *adapter),
                   void *ctx);

unsigned adapters_waiting(struct model *model); /* requests in the queues of all of them */

void adapters_close(struct model *model); /* nothing is running */

#endif
