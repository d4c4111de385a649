/*
 * call_multimodal_model.c - shows a picture file to Phi-4-multimodal in the container "phi" and
 * prints what it sees.
 *
 *     cc call_multimodal_model.c -o call_multimodal_model $(pkg-config --cflags --libs airlock)
 *     ./call_multimodal_model PICTURE [QUESTION]
 */
#include <airlock/airlock.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_BYTES = 32 << 20 };

static unsigned char *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    unsigned char *data = (unsigned char *)malloc(MAX_BYTES);
    *size = file && data ? fread(data, 1, MAX_BYTES, file) : 0;
    if (file)
        fclose(file);
    if (*size > 0 && *size < MAX_BYTES)
        return data;
    free(data);
    return NULL;
}

int main(int argc, char **argv)
{
    char text[1024];
    airlock_message message = { "user", text };
    airlock_image image;
    airlock_error err;
    unsigned char *data;
    char *answer;

    if (argc < 2 || argc > 3) {
        fputs("usage: call_multimodal_model PICTURE [QUESTION]\n", stderr);
        return 2;
    }
    data = read_file(argv[1], &image.size);
    if (!data) {
        fprintf(stderr, "call_multimodal_model: %s cannot be read, or is larger than 32 MiB\n",
                argv[1]);
        return 1;
    }
    image.data = data;
    /* the placeholder says where in the text the picture stands */
    snprintf(text, sizeof text, "<|image_1|>%s", argc > 2 ? argv[2] : "What is in this picture?");
    answer = airlock_call_model_server("phi", "Phi4MultimodalInstruct", &message, 1, &image, 1,
                                       NULL, NULL, NULL, &err);
    free(data);
    if (!answer) {
        fprintf(stderr, "call_multimodal_model: %s\n", err.text);
        return 1;
    }
    puts(answer);
    airlock_free(answer);
    return 0;
}
