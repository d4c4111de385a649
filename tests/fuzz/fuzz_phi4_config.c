/* fuzz_phi4_config.c - any text as config.json, and behind a NUL as generation_config.json: refused
 * with a sentence, or what is read keeps the promises of phi4_config.h. */
#include "common/json.h"
#include "engine/phi4_config.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct phi4_config *c)
{
    if (c->head_dim == 0 || c->head_dim > 256 || c->rotary_dim < 2 || c->rotary_dim % 2 ||
        c->rotary_dim > c->head_dim || c->num_attention_heads % c->num_key_value_heads ||
        c->n_eos > PHI4_MAX_EOS || !isfinite(c->attention_factor) || c->attention_factor <= 0)
        abort();
    for (size_t i = 0; i < PHI4_MAX_ROTARY_PAIRS; i++)
        if (!(c->short_factor[i] > 0) || !(c->long_factor[i] > 0))
            abort();
    for (size_t i = 0; i < c->n_eos; i++)
        if (c->eos_token_id[i] < 0 || (size_t)c->eos_token_id[i] >= c->vocab_size)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct airlock_error err = { 0 };
    struct phi4_config c;
    const char *text = (const char *)data;
    const char *nul = size ? memchr(text, 0, size) : NULL;
    size_t first = nul ? (size_t)(nul - text) : size;
    struct json_object *config = json_parse(first ? text : "", first, &err);
    struct json_object *generation = nul ? json_parse(nul + 1, size - first - 1, &err) : NULL;
    if (config) {
        err.text[0] = 0;
        if (phi4_config_parse(config, generation, &c, &err) == 0)
            check(&c);
        else if (!err.text[0])
            abort();
    }
    json_object_put(config);
    json_object_put(generation);
    return 0;
}
