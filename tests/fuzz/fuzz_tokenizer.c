/* fuzz_tokenizer.c - any text as tokenizer.json: refused with a sentence, or the ids of a text are
 * in the vocabulary and their bytes are the text again. */
#include "engine/tokenizer.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int ok)
{
    if (!ok)
        abort();
}

static void check_ids(const struct tokenizer *t, const char *text, size_t size,
                      enum tokenizer_mode mode)
{
    struct token_list list = { 0 };
    struct airlock_error err = { 0 };
    if (tokenizer_encode(t, text, size, mode, false, &list, &err) < 0)
        must(err.text[0] && list.n == 0);
    for (size_t i = 0; i < list.n; i++) {
        size_t n = 0;
        must(list.ids[i] >= 0 && list.ids[i] < tokenizer_size(t));
        must(tokenizer_bytes(t, list.ids[i], &n) != NULL);
        must(mode != TOKENIZER_TEXT || n <= size + 1);
    }
    free(list.ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char text[] = "Hello  w\xc3\xb6rld<|end|>\n\t12345 it's \xe4\xbd\xa0\xe5\xa5\xbd";
    struct airlock_error err = { 0 };
    struct tokenizer *t = tokenizer_parse(size ? (const char *)data : "", size, &err);
    if (!t) {
        must(err.text[0] != 0);
        return 0;
    }
    check_ids(t, text, sizeof text - 1, TOKENIZER_TEXT);
    check_ids(t, text, sizeof text - 1, TOKENIZER_SPECIAL);
    tokenizer_close(t);
    return 0;
}
