/* test_token_mask.c - masks hold exactly the tokens that the automaton can read, and whoever
 * follows them ends with a document of the schema or with calls of the tools. */
#include "engine/constraint.h"
#include "engine/token_mask.h"

#include "common/json.h"
#include "suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TOKENS = 4000, SEEDS = 12 };

static const char *const schemas[] = {
    "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"maxLength\":6},\"age\":{"
    "\"type\":\"integer\",\"minimum\":0,\"maximum\":150},\"tags\":{\"type\":\"array\",\"items\":{"
    "\"enum\":[\"red\",\"green\",null]},\"maxItems\":3}},\"required\":[\"name\",\"age\"],"
    "\"additionalProperties\":false}",
    "{\"type\":\"array\",\"minItems\":2,\"maxItems\":4,\"items\":{\"anyOf\":[{\"type\":\"object\","
    "\"properties\":{\"k\":{\"const\":\"a\"},\"n\":{\"type\":\"number\"}},\"required\":[\"k\","
    "\"n\"]"
    "},{\"type\":\"object\",\"properties\":{\"k\":{\"const\":\"b\"},\"s\":{\"type\":\"string\","
    "\"minLength\":2,\"maxLength\":5}},\"required\":[\"k\",\"s\"]},{\"type\":\"boolean\"}]}}",
    "{\"type\":\"string\",\"pattern\":\"^[a-f]{2,5}( [^a-z]{1,3})?$\"}",
    "{\"type\":\"number\"}",
    "{\"type\":\"string\",\"format\":\"date-time\"}",
    ("{\"type\":\"array\",\"prefixItems\":[{\"const\":{\"x\":[1,\"\\u00e9\"]}},{\"type\":\"null\"}]"
     "}"),
};

static struct tokenizer *tokenizer;
static struct token_strings *strings;
static int32_t eos[2];

static void open_tokenizer(void)
{
    struct airlock_error err;
    char path[4096];
    snprintf(path, sizeof path, "%s/tests/golden/tokenizer/o200k", getenv("top_srcdir"));
    tokenizer = tokenizer_open(path, &err);
    ck_assert_ptr_nonnull(tokenizer);
    strings = token_strings_new(tokenizer, &err);
    ck_assert_ptr_nonnull(strings);
    eos[0] = tokenizer_added(tokenizer, "<|end|>", NULL);
    eos[1] = tokenizer_added(tokenizer, "<|endoftext|>", NULL);
}

static void close_tokenizer(void)
{
    token_strings_free(strings);
    tokenizer_close(tokenizer);
}

static bool allowed(const uint32_t *mask, int32_t id)
{
    return mask[id / 32] >> (id % 32) & 1;
}

/* ---- masks ----------------------------------------------------------------------------------- */

static bool readable(const struct json_tables *t, const struct json_config *from, int32_t id)
{
    static struct json_config c, next;
    size_t size = 0;
    const char *bytes = tokenizer_bytes(tokenizer, id, &size);
    if (!bytes || size == 0 || tokenizer_is_added(tokenizer, id))
        return false;
    c = *from;
    for (size_t i = 0; i < size; i++) {
        if (!json_automaton_step(t, &c, (uint8_t)bytes[i], &next))
            return false;
        c = next;
    }
    return true;
}

static void assert_mask(const struct json_tables *t, const struct json_config *c,
                        const uint32_t *mask)
{
    for (int32_t id = 0; id < tokenizer_size(tokenizer); id++)
        ck_assert_msg(allowed(mask, id) == readable(t, c, id), "token %d", id);
}

static uint64_t state;

static uint32_t random_below(uint32_t n)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(state >> 33) % n;
}

static int32_t pick(const uint32_t *mask)
{
    int32_t *ids = malloc((size_t)tokenizer_size(tokenizer) * sizeof *ids);
    uint32_t n = 0;
    for (int32_t id = 0; id < tokenizer_size(tokenizer); id++)
        if (allowed(mask, id))
            ids[n++] = id;
    int32_t id = n ? ids[random_below(n)] : -1;
    free(ids);
    return id;
}

START_TEST(a_mask_has_exactly_the_tokens_that_the_automaton_can_read)
{
    open_tokenizer();
    for (size_t i = 0; i < sizeof schemas / sizeof *schemas; i++) {
        struct json_tables *t = json_schema_compile(schemas[i], strlen(schemas[i]), NULL);
        struct token_masks *m = token_masks_new(t, strings, NULL);
        uint32_t *mask = calloc(token_mask_words(strings), sizeof *mask);
        for (state = 1; state < 4; state++) {
            struct json_config c, next;
            json_automaton_start(t, &c);
            for (int step = 0; step < 60; step++) {
                ck_assert_int_eq(token_masks_fill(m, &c, mask, NULL), 0);
                assert_mask(t, &c, mask);
                int32_t id = pick(mask);
                size_t size = 0;
                const char *bytes = id < 0 ? NULL : tokenizer_bytes(tokenizer, id, &size);
                for (size_t k = 0; k < size; k++) {
                    ck_assert(json_automaton_step(t, &c, (uint8_t)bytes[k], &next));
                    c = next;
                }
                if (id < 0)
                    break;
            }
        }
        free(mask);
        token_masks_free(m);
    }
    close_tokenizer();
}
END_TEST

/* An enum whose words have more letters than configurations are remembered. */
START_TEST(a_mask_is_the_same_when_configurations_are_more_than_fit)
{
    open_tokenizer();
    struct bytes text = BYTES_INIT(1 << 20);
    bytes_add_text(&text, "{\"type\":\"array\",\"items\":{\"enum\":[\"0\"");
    for (int i = 0; i < 3000; i++)
        bytes_printf(&text, ",\"%d words of %d\"", i * 7919 % 10007, i * 31);
    bytes_add_text(&text, "]}}");
    struct airlock_error err = { 0 };
    struct json_tables *t = json_schema_compile(text.data, text.size, &err);
    ck_assert_msg(t != NULL, "%s", err.text);
    struct token_masks *m = token_masks_new(t, strings, NULL);
    uint32_t *mask = calloc(token_mask_words(strings), sizeof *mask);
    struct json_config c, next;
    json_automaton_start(t, &c);
    for (int step = 0; step < 20000; step++) {
        ck_assert_int_eq(token_masks_fill(m, &c, mask, NULL), 0);
        if (step % 250 == 0)
            assert_mask(t, &c, mask);
        size_t size = 0;
        int32_t id = pick(mask);
        ck_assert_int_ge(id, 0);
        const char *bytes = tokenizer_bytes(tokenizer, id, &size);
        for (size_t k = 0; k < size; k++) {
            ck_assert(json_automaton_step(t, &c, (uint8_t)bytes[k], &next));
            c = next;
        }
        if (json_automaton_complete(t, &c))
            json_automaton_start(t, &c);
    }
    struct token_mask_counts counts;
    token_masks_counts(m, &counts);
    ck_assert_uint_gt(counts.hits, 100);
    ck_assert_uint_gt(counts.flushes, 0);
    free(mask);
    token_masks_free(m);
    bytes_free(&text);
    close_tokenizer();
}
END_TEST

/* ---- whole answers --------------------------------------------------------------------------- */

/* Follows the masks with random tokens up to an end token.  The text, to be freed. */
static char *follow(struct constraint *c, struct bytes *text)
{
    struct airlock_error err = { 0 };
    *text = (struct bytes)BYTES_INIT(1 << 20);
    for (int i = 0; i < MAX_TOKENS; i++) {
        const uint32_t *mask;
        ck_assert_int_eq(constraint_mask(c, &mask, &err), 0);
        ck_assert_ptr_nonnull(mask);
        int32_t id = pick(mask);
        ck_assert_msg(id >= 0, "nothing may follow %s", text->data);
        ck_assert_int_eq(allowed(mask, eos[0]), allowed(mask, eos[1]));
        ck_assert_msg(constraint_advance(c, id, &err) == 0, "%s", err.text);
        if (id == eos[0] || id == eos[1])
            return text->data;
        size_t size = 0;
        const char *bytes = tokenizer_bytes(tokenizer, id, &size);
        bytes_add(text, bytes, size);
    }
    ck_abort_msg("no end: %.300s", text->data);
    return NULL;
}

START_TEST(random_tokens_of_the_masks_end_in_a_document_of_the_schema)
{
    open_tokenizer();
    struct constraints *all = constraints_new(tokenizer, eos, 2);
    for (size_t i = 0; i < sizeof schemas / sizeof *schemas; i++) {
        struct json_tables *t = json_schema_compile(schemas[i], strlen(schemas[i]), NULL);
        for (unsigned seed = 0; seed < SEEDS; seed++) {
            struct airlock_error err = { 0 };
            struct constraint_options o = { .kind = CONSTRAINT_JSON_SCHEMA,
                                            .schema = schemas[i],
                                            .schema_size = strlen(schemas[i]),
                                            .only = -1 };
            struct constraint *c = constraint_new(all, &o, &err);
            ck_assert_msg(c != NULL, "%s", err.text);
            struct bytes text;
            struct json_config a, b;
            state = seed;
            follow(c, &text);
            json_automaton_start(t, &a);
            for (size_t k = 0; k < text.size; k++, a = b)
                ck_assert(json_automaton_step(t, &a, (uint8_t)text.data[k], &b));
            ck_assert_msg(json_automaton_complete(t, &a), "%s", text.data);
            struct json_object *json = json_parse(text.data, text.size, &err);
            ck_assert_msg(json != NULL, "%s: %s", text.data, err.text);
            json_object_put(json);
            bytes_free(&text);
            constraint_release(c);
        }
        json_tables_free(t);
    }
    constraints_free(all);
    close_tokenizer();
}
END_TEST

static const char tools_text[] =
    "[{\"name\":\"add\",\"parameters\":{\"type\":\"object\",\"properties\":{\"a\":{\"type\":"
    "\"integer\"},\"b\":{\"type\":\"integer\"}},\"required\":[\"a\",\"b\"]}},{\"type\":"
    "\"function\","
    "\"function\":{\"name\":\"odd\",\"parameters\":{\"not\":{}}}}]";

static struct constraint *tools_constraint(struct constraints *all, const struct tools *tools,
                                           enum constraint_tools choice, int only)
{
    struct airlock_error err = { 0 };
    struct constraint_options o = { .tools = tools, .choice = choice, .only = only };
    struct constraint *c = constraint_new(all, &o, &err);
    ck_assert_msg(c != NULL, "%s", err.text);
    return c;
}

START_TEST(a_required_call_is_one_between_markers_with_its_arguments_schema)
{
    open_tokenizer();
    struct constraints *all = constraints_new(tokenizer, eos, 2);
    struct tools tools;
    ck_assert_int_eq(tools_parse(&tools, tools_text, sizeof tools_text - 1, NULL), 0);
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        struct constraint *c = tools_constraint(all, &tools, CONSTRAINT_TOOLS_REQUIRED, 0);
        struct bytes text;
        state = seed;
        follow(c, &text);
        const char *open = "<|tool_call|>[{\"name\":", *close = "}]<|/tool_call|>";
        ck_assert_msg(strncmp(text.data, open, strlen(open)) == 0, "%s", text.data);
        ck_assert_str_eq(text.data + text.size - strlen(close), close);
        size_t begin = strlen("<|tool_call|>");
        struct json_object *json =
            json_parse(text.data + begin, text.size - begin - strlen("<|/tool_call|>"), NULL);
        ck_assert_msg(json != NULL, "%s", text.data);
        ck_assert_uint_eq(json_object_array_length(json), 1); /* this function, once */
        struct json_object *call = json_object_array_get_idx(json, 0), *name, *arguments, *b;
        ck_assert(json_object_object_get_ex(call, "name", &name));
        ck_assert_str_eq(json_object_get_string(name), "add");
        ck_assert(json_object_object_get_ex(call, "arguments", &arguments));
        ck_assert(json_object_object_get_ex(arguments, "b", &b));
        ck_assert(json_object_is_type(b, json_type_int));
        json_object_put(json);
        bytes_free(&text);
        constraint_release(c);
    }
    tools_free(&tools);
    constraints_free(all);
    close_tokenizer();
}
END_TEST

START_TEST(a_free_answer_is_held_to_the_tools_once_it_begins_a_call)
{
    open_tokenizer();
    struct constraints *all = constraints_new(tokenizer, eos, 2);
    struct tools tools;
    ck_assert_int_eq(tools_parse(&tools, tools_text, sizeof tools_text - 1, NULL), 0);
    int32_t open = tokenizer_added(tokenizer, "<|tool_call|>", NULL);
    const uint32_t *mask;

    struct constraint *c = tools_constraint(all, &tools, CONSTRAINT_TOOLS_AUTO, -1);
    ck_assert_int_eq(constraint_mask(c, &mask, NULL), 0);
    ck_assert_ptr_null(mask);
    ck_assert_int_eq(constraint_advance(c, 5, NULL), 0);
    ck_assert_int_eq(constraint_advance(c, open, NULL), 0);
    ck_assert_int_eq(constraint_mask(c, &mask, NULL), 0);
    ck_assert(!allowed(mask, eos[0]) && !allowed(mask, open));
    for (int32_t id = 0; id < tokenizer_size(tokenizer); id++) {
        size_t size = 0;
        const char *bytes = tokenizer_bytes(tokenizer, id, &size);
        ck_assert(!allowed(mask, id) || bytes[0] == '[');
    }
    constraint_release(c);

    c = tools_constraint(all, &tools, CONSTRAINT_TOOLS_NEVER, -1);
    ck_assert_int_eq(constraint_mask(c, &mask, NULL), 0);
    ck_assert(allowed(mask, 5) && allowed(mask, eos[0]) && !allowed(mask, open));
    constraint_release(c);
    tools_free(&tools);
    constraints_free(all);
    close_tokenizer();
}
END_TEST

START_TEST(schemas_are_remembered_and_forgotten_and_requests_do_not_disturb_each_other)
{
    open_tokenizer();
    struct constraints *all = constraints_new(tokenizer, eos, 2);
    struct constraint *held[3 * CONSTRAINT_CACHE];
    char schema[64];
    const uint32_t *mask;
    for (int i = 0; i < 3 * CONSTRAINT_CACHE; i++) {
        snprintf(schema, sizeof schema, "{\"const\":%d}", 100 + i / 2);
        struct constraint_options o = { .kind = CONSTRAINT_JSON_SCHEMA,
                                        .schema = schema,
                                        .schema_size = strlen(schema),
                                        .only = -1 };
        held[i] = constraint_new(all, &o, NULL);
        ck_assert_ptr_nonnull(held[i]);
    }
    for (int i = 0; i < 3 * CONSTRAINT_CACHE; i++) {
        struct bytes text;
        ck_assert_int_eq(constraint_mask(held[i], &mask, NULL), 0);
        follow(held[i], &text);
        ck_assert_int_eq(atoi(text.data), 100 + i / 2);
        bytes_free(&text);
        constraint_release(held[i]);
    }
    constraints_free(all);
    close_tokenizer();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_mask_has_exactly_the_tokens_that_the_automaton_can_read,
        a_mask_is_the_same_when_configurations_are_more_than_fit,
        random_tokens_of_the_masks_end_in_a_document_of_the_schema,
        a_required_call_is_one_between_markers_with_its_arguments_schema,
        a_free_answer_is_held_to_the_tools_once_it_begins_a_call,
        schemas_are_remembered_and_forgotten_and_requests_do_not_disturb_each_other,
        NULL
    };
    return suite_run("token_mask", tests);
}
