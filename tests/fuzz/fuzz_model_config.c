/* fuzz_model_config.c - any text as model_config.json: refused with a sentence, or every entry has
 * what the server needs. */
#include "server/model_config.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct airlock_error err = { 0 };
    struct server_config c;
    if (config_parse(size ? (const char *)data : "", size, "/nowhere", &c, &err) < 0) {
        if (!err.text[0])
            abort();
        return 0;
    }
    for (size_t i = 0; i < c.n_models; i++) {
        const struct model_config *m = &c.models[i];
        if (!m->name[0] || !m->class_name[0] || !m->model_path || !m->device || !m->dtype ||
            m->max_concurrent_per_adapter == 0)
            abort();
        for (size_t k = 0; k < m->n_adapters; k++)
            if (!m->adapters[k].name[0] || !m->adapters[k].path)
                abort();
    }
    config_free(&c);
    return 0;
}
