/* fuzz_http_answer.c - any bytes as a server's answer to airlock-client: refused with a sentence,
 * incomplete, or a head that lies inside of them; more bytes never undo a verdict. */
#include "client/http_answer.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = size ? (const char *)data : "";
    int before = 0;
    for (size_t n = 0; n <= size && n <= 512; n++) {
        struct airlock_error err = { 0 };
        struct http_answer a = { 0 };
        int status = http_answer_parse(text, n, &a, &err);
        if (status < 0 && !err.text[0])
            abort();
        if (status > 0 && (a.status < 200 || a.status > 599 || a.head_size == 0 || a.head_size > n))
            abort();
        if (before != 0 && status != before)
            abort();
        before = status;
    }
    return 0;
}
