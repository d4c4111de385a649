/* ops_error.c - see ops_error.h. */
#include "engine/ops_error.h"

int ops_error(enum ops_status status, const char *part, const char *op, struct airlock_error *err)
{
    const char *colon = part ? ": " : "";
    part = part ? part : "";
    if (status == OPS_E_MEMORY)
        return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "%s%s%s: out of memory", part, colon,
                                 op);
    if (status == OPS_E_DEVICE)
        return airlock_error_set(err, AIRLOCK_E_DEVICE, "%s%s%s: the device is lost", part, colon,
                                 op);
    return airlock_error_set(err, AIRLOCK_E_INTERNAL, "%s%s%s: shapes do not fit together", part,
                             colon, op);
}
