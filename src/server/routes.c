/* routes.c - see routes.h.  docs/openapi.json describes the same set; a test compares them. */
#include "server/routes.h"

#include "server/admin.h"
#include "server/api.h"
#include "server/generate.h"
#include "server/openai.h"
#include "server/tokenize.h"
#include "server/transcription.h"

static const struct {
    const char *method, *path;
    http_handler handle;
} table[] = {
    { "POST", "/generate", generate_handle },
    { "POST", "/v1/chat/completions", openai_chat },
    { "POST", "/v1/completions", openai_completions },
    { "POST", "/v1/audio/transcriptions", transcription_handle },
    { "GET", "/v1/models", api_models },
    { "POST", "/v1/load_lora_adapter", admin_load_adapter },
    { "POST", "/v1/unload_lora_adapter", admin_unload_adapter },
    { "POST", "/tokenize", tokenize_handle },
    { "POST", "/detokenize", detokenize_handle },
    { "GET", "/livez", api_livez },
    { "GET", "/readyz", api_readyz },
    { "GET", "/metrics", api_metrics },
};

void routes_fill(struct service *service, struct http_route routes[ROUTES_MAX])
{
    size_t n = sizeof table / sizeof *table;
    _Static_assert(sizeof table / sizeof *table < ROUTES_MAX, "room for the end");
    for (size_t i = 0; i < n; i++)
        routes[i] = (struct http_route){ table[i].method, table[i].path, table[i].handle, service };
    routes[n] = (struct http_route){ 0 };
}
