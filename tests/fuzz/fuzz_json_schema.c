/* fuzz_json_schema.c - any text as a schema, and behind a NUL any text for it: refused with a
 * sentence, or no state of the automaton is a dead end and what it accepts is JSON. */
#include "common/json.h"
#include "engine/json_schema.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_TEXT = 256, MAX_STEPS = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Some byte must be possible, again and again, or the document is complete. */
static void check_alive(const struct json_tables *t, const struct json_config *from, unsigned seed)
{
    static struct json_config c, next;
    c = *from;
    for (unsigned i = 0; i < MAX_STEPS; i++) {
        bool moved = false;
        for (unsigned k = 0; k < 256 && !moved; k++) {
            moved = json_automaton_step(t, &c, (uint8_t)(k * 167 + seed + i * 13), &next);
            if (moved)
                c = next;
        }
        if (!moved && !json_automaton_complete(t, &c))
            abort();
        if (!moved)
            return;
    }
}

static void run(const struct json_tables *t, const char *text, size_t size)
{
    static struct json_config c, next;
    json_automaton_start(t, &c);
    check_alive(t, &c, (unsigned)size);
    for (size_t i = 0; i < size && i < MAX_TEXT; i++) {
        if (!json_automaton_step(t, &c, (uint8_t)text[i], &next))
            return;
        c = next;
        check_alive(t, &c, (unsigned)i);
    }
    if (size <= MAX_TEXT && json_automaton_complete(t, &c)) {
        struct airlock_error err = { 0 };
        struct json_object *o = json_parse(text, size, &err);
        if (!o && !strstr(err.text, "null is not a document"))
            abort();
        json_object_put(o);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct airlock_error err = { 0 };
    const char *text = (const char *)data;
    const char *nul = size ? memchr(text, 0, size) : NULL;
    size_t first = nul ? (size_t)(nul - text) : size;
    struct json_tables *t = json_schema_compile(first ? text : "", first, &err);
    if (!t && (!err.text[0] || err.code == AIRLOCK_E_INTERNAL || err.code == AIRLOCK_E_INVALID))
        abort();
    if (t)
        run(t, nul ? nul + 1 : "", nul ? size - first - 1 : 0);
    json_tables_free(t);
    return 0;
}
