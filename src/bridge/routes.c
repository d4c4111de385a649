/* routes.c - the table of paths; see routes.h. */
#include "routes.h"

#include <string.h>

const struct route routes[N_ROUTES] = {
    [ROUTE_GENERATE] = { "POST", "/generate", false, false },
    [ROUTE_MODELS] = { "GET", "/v1/models", false, false },
    [ROUTE_CHAT] = { "POST", "/v1/chat/completions", false, false },
    [ROUTE_COMPLETIONS] = { "POST", "/v1/completions", false, false },
    [ROUTE_TRANSCRIPTIONS] = { "POST", "/v1/audio/transcriptions", false, true },
    [ROUTE_LOAD_ADAPTER] = { "POST", "/v1/load_lora_adapter", true, false },
    [ROUTE_UNLOAD_ADAPTER] = { "POST", "/v1/unload_lora_adapter", true, false },
    [ROUTE_TOKENIZE] = { "POST", "/tokenize", false, false },
    [ROUTE_DETOKENIZE] = { "POST", "/detokenize", false, false },
};

enum bridge_route route_find(const char *path)
{
    for (int i = 0; i < N_ROUTES; i++)
        if (strcmp(routes[i].path, path) == 0)
            return (enum bridge_route)i;
    return N_ROUTES;
}
