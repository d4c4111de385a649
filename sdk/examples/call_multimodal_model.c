/*
 * call_multimodal_model.c - shows Phi-4-multimodal in the container "phi" a picture, and prints
 * what it sees: a picture of your own, or one with a word in a square that is drawn here.
 *
 *     cc call_multimodal_model.c -o call_multimodal_model $(pkg-config --cflags --libs airlock)
 *     ./call_multimodal_model [--host HOST] [--model MODEL] [--save FILE] [PICTURE [QUESTION]]
 *
 * --save writes the drawn picture to a file as well, for you to see what is asked about.
 */
#include <airlock/airlock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- drawing --------------------------------------------------------------------------------- */

enum {
    SIDE = 640,         /* pixels, of the picture */
    ROW = 1 + SIDE / 8, /* bytes: how the row is filtered (not), and a bit for each pixel */
    GLYPH_W = 5,        /* of the letters below */
    GLYPH_H = 7,        /* rows */
    SCALE = 12,         /* pixels for each of a letter's dots */
    PNG_BYTES = ROW * SIDE + 128
};

static unsigned char rows[SIDE][ROW]; /* 1 bits are white */

static void draw_black(int x0, int y0, int x1, int y1)
{
    int x, y;
    for (y = y0; y < y1; y++)
        for (x = x0; x < x1; x++)
            rows[y][1 + x / 8] &= (unsigned char)~(0x80 >> x % 8);
}

static const struct {
    char letter;
    const char *dots; /* rows from the top */
} font[] = {
    { 'H', "#   ##   ##   #######   ##   ##   #" },
    { 'E', "######    #    #### #    #    #####" },
    { 'L', "#    #    #    #    #    #    #####" },
    { 'O', " ### #   ##   ##   ##   ##   # ### " },
};

static void draw_letter(char letter, int left, int top)
{
    size_t i;
    int dot;
    for (i = 0; i < sizeof font / sizeof *font; i++) {
        for (dot = 0; font[i].letter == letter && dot < GLYPH_W * GLYPH_H; dot++) {
            int x = left + dot % GLYPH_W * SCALE, y = top + dot / GLYPH_W * SCALE;
            if (font[i].dots[dot] == '#')
                draw_black(x, y, x + SCALE, y + SCALE);
        }
    }
}

/* A square with the word in its middle, black on white. */
static void draw(const char *word)
{
    int n = (int)strlen(word), i, step = (GLYPH_W + 1) * SCALE;
    int left = (SIDE - n * step + SCALE) / 2, top = (SIDE - GLYPH_H * SCALE) / 2;
    memset(rows, 0xff, sizeof rows);
    for (i = 0; i < SIDE; i++)
        rows[i][0] = 0; /* no filter */
    draw_black(40, 40, 600, 44);
    draw_black(40, 596, 600, 600);
    draw_black(40, 40, 44, 600);
    draw_black(596, 40, 600, 600);
    for (i = 0; i < n; i++)
        draw_letter(word[i], left + i * step, top);
}

/* ---- PNG (ISO/IEC 15948), with what zlib (RFC 1950) calls a stored block --------------------- */

static unsigned char *put32(unsigned char *p, unsigned long v)
{
    int shift;
    for (shift = 24; shift >= 0; shift -= 8)
        *p++ = (unsigned char)(v >> shift);
    return p;
}

static unsigned long crc32_of(const unsigned char *p, size_t n)
{
    unsigned long crc = 0xffffffffUL;
    int bit;
    for (; n > 0; n--) {
        crc ^= *p++;
        for (bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320UL : 0);
    }
    return crc ^ 0xffffffffUL;
}

static unsigned long adler32_of(const unsigned char *p, size_t n)
{
    unsigned long a = 1, b = 0;
    for (; n > 0; n--) {
        a = (a + *p++) % 65521;
        b = (b + a) % 65521;
    }
    return b << 16 | a;
}

static unsigned char *put_chunk(unsigned char *p, const char *type, const unsigned char *data,
                                size_t n)
{
    p = put32(p, (unsigned long)n);
    memcpy(p, type, 4);
    if (n)
        memcpy(p + 4, data, n);
    return put32(p + 4 + n, crc32_of(p, 4 + n));
}

/* The picture as a file's bytes; their number. */
static size_t write_png(unsigned char out[PNG_BYTES])
{
    static unsigned char stored[sizeof rows + 11];
    unsigned char head[13], *p = out;
    unsigned size = (unsigned)sizeof rows; /* below 65536: one block */
    put32(put32(head, SIDE), SIDE);
    memcpy(head + 8, "\1\0\0\0\0", 5); /* one bit, grey, deflate, rows filtered, not interlaced */
    memcpy(stored, "\x78\x01\x01", 3); /* zlib; the last block, stored */
    stored[3] = (unsigned char)(size & 0xff);
    stored[4] = (unsigned char)(size >> 8);
    stored[5] = (unsigned char)~stored[3];
    stored[6] = (unsigned char)~stored[4];
    memcpy(stored + 7, rows, sizeof rows);
    put32(stored + 7 + sizeof rows, adler32_of(&rows[0][0], sizeof rows));
    memcpy(p, "\x89PNG\r\n\x1a\n", 8);
    p = put_chunk(p + 8, "IHDR", head, sizeof head);
    p = put_chunk(p, "IDAT", stored, sizeof stored);
    p = put_chunk(p, "IEND", NULL, 0);
    return (size_t)(p - out);
}

static int save(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    int good = file && fwrite(data, 1, size, file) == size;
    if (file && fclose(file) != 0)
        good = 0;
    if (!good)
        fprintf(stderr, "call_multimodal_model: %s cannot be written\n", path);
    return good;
}

/* ---- asking ---------------------------------------------------------------------------------- */

struct options {
    const char *host, *model, *save, *picture, *question;
};

static int read_options(int argc, char **argv, struct options *o)
{
    int i;
    for (i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--host") == 0 && i + 1 < argc)
            o->host = argv[++i];
        else if (strcmp(argv[i], "--model") == 0 && i + 1 < argc)
            o->model = argv[++i];
        else if (strcmp(argv[i], "--save") == 0 && i + 1 < argc)
            o->save = argv[++i];
        else if (argv[i][0] == '-' || o->question)
            return -1;
        else if (o->picture)
            o->question = argv[i];
        else
            o->picture = argv[i];
    }
    return 0;
}

static int ask(const struct options *o, const airlock_image *image)
{
    airlock_message messages[2];
    airlock_parameters parameters = { 0 };
    airlock_error err;
    char text[1024], *answer;

    /* the placeholder says where in the text the picture stands */
    snprintf(text, sizeof text, "%s <|image_1|>",
             o->question ? o->question : "Describe the content of the following image :");
    messages[0].role = "system";
    messages[0].content = "You are a vision assistant.";
    messages[1].role = "user";
    messages[1].content = text;
    parameters.set = AIRLOCK_SET_DO_SAMPLE | AIRLOCK_SET_MAX_NEW_TOKENS;
    parameters.do_sample = 0; /* the same answer every time */
    parameters.max_new_tokens = 1024;
    answer = airlock_call_model_server("phi", o->model, messages, 2, image, 1, NULL, &parameters,
                                       o->host, &err);
    if (!answer) {
        fprintf(stderr, "call_multimodal_model: %s\n", err.text);
        return 1;
    }
    printf("Image: %s\nUser: %s\nAssistant: %s\n", o->picture ? o->picture : "drawn here", text,
           answer);
    airlock_free(answer);
    return 0;
}

int main(int argc, char **argv)
{
    static unsigned char png[PNG_BYTES];
    struct options o = { NULL, "Phi4MultimodalInstruct", NULL, NULL, NULL };
    airlock_image image;
    airlock_error err;
    char *file = NULL;
    int status;

    if (read_options(argc, argv, &o) != 0) {
        fputs("usage: call_multimodal_model [--host HOST] [--model MODEL] [--save FILE] "
              "[PICTURE [QUESTION]]\n",
              stderr);
        return 2;
    }
    if (o.picture) {
        file = airlock_read_file(o.picture, &image.size, &err);
        if (!file) {
            fprintf(stderr, "call_multimodal_model: %s\n", err.text);
            return 1;
        }
        image.data = file;
    } else {
        draw("HELLO");
        image.size = write_png(png);
        image.data = png;
    }
    status = o.save && !save(o.save, image.data, image.size) ? 1 : ask(&o, &image);
    airlock_free(file);
    return status;
}
