/* fuzz_request.c - any text as the body of POST /generate: refused with a JSON body that fits, or
 * what is written of it reads back and writes the same. */
#include "common/request.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int ok)
{
    if (!ok)
        abort();
}

/* The request as text again; text in reading is judged as the server judges it. */
static void write_twice(const struct request *r)
{
    struct bytes one = BYTES_INIT(64 << 20), two = BYTES_INIT(64 << 20),
                 refusal = BYTES_INIT(64 << 10);
    struct request again;
    must(request_write(r, &one) == 0);
    must(request_parse(one.data, one.size, false, &again, &refusal) == 0);
    must(request_write(&again, &two) == 0);
    must(one.size == two.size && memcmp(one.data, two.data, one.size) == 0);
    request_free(&again);
    bytes_free(&one);
    bytes_free(&two);
    bytes_free(&refusal);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int container = 0; container < 2; container++) {
        struct bytes refusal = BYTES_INIT(64 << 10);
        struct request r;
        int status = request_parse(size ? (const char *)data : "", size, container, &r, &refusal);
        if (status == 0) {
            write_twice(&r);
            request_free(&r);
        } else {
            must((status == 422 || status == 503) && refusal.size > 0);
        }
        bytes_free(&refusal);
    }
    return 0;
}
