/* bridge.c - finds the pool of an enrolled container; see bridge.h. */
#include "bridge.h"

#include <string.h>

struct pool *bridge_pool(const struct bridge *bridge, const char *name, size_t size)
{
    for (unsigned i = 0; i < bridge->config->n_containers; i++) {
        const char *known = bridge->config->containers[i].name;
        if (strlen(known) == size && memcmp(known, name, size) == 0)
            return bridge->pools[i];
    }
    return NULL;
}
