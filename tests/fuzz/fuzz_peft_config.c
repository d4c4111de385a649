/* fuzz_peft_config.c - any text as adapter_config.json: refused with a sentence, or each module
 * gets a rank and a scale within the limits. */
#include "common/json.h"
#include "lora/peft_config.h"
#include "ops/ops.h"

#include <math.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const modules[] = { "model.layers.0.self_attn.qkv_proj",
                                           "model.layers.11.mlp.down_proj", "", "." };
    struct airlock_error err = { 0 };
    struct peft_module m;
    struct json_object *o = json_parse(size ? (const char *)data : "", size, &err);
    struct peft_config *c = o ? peft_config_parse(o, &err) : NULL;
    if (!c && !err.text[0])
        abort();
    for (size_t i = 0; c && i < sizeof modules / sizeof *modules; i++)
        if (peft_config_module(c, modules[i], &m, &err) == 0 &&
            (m.rank == 0 || m.rank > OPS_LORA_MAX_RANK || !isfinite(m.scale)))
            abort();
    peft_config_free(c);
    json_object_put(o);
    return 0;
}
