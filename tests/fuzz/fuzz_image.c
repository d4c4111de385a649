/* fuzz_image.c - any bytes as a picture file: refused with a sentence, or pixels within the limit.
 */
#include "phi4-multimodal/image_decode.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { ROOM = 3 << 20 };
    uint8_t *rgb = malloc(ROOM);
    uint32_t dims[2] = { 0, 0 };
    char why[200] = "";
    if (!rgb)
        abort();
    if (image_decode(data, size, rgb, ROOM, dims, why, sizeof why) == 0) {
        if (dims[0] == 0 || dims[1] == 0 || (uint64_t)dims[0] * dims[1] * 3 > ROOM)
            abort();
    } else if (!why[0]) {
        abort();
    }
    free(rgb);
    return 0;
}
