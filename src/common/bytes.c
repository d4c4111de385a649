/* bytes.c - see bytes.h. */
#include "bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int bytes_reserve(struct bytes *b, size_t n)
{
    if (n > b->max || b->size > b->max - n)
        return -1;
    size_t need = b->size + n + 1; /* the NUL */
    if (need <= b->capacity)
        return 0;
    size_t capacity = b->capacity < 128 ? 256 : b->capacity * 2;
    if (capacity < need)
        capacity = need;
    if (capacity > b->max + 1)
        capacity = b->max + 1;
    char *data = realloc(b->data, capacity);
    if (!data)
        return -1;
    if (!b->data)
        data[0] = 0;
    b->data = data;
    b->capacity = capacity;
    return 0;
}

int bytes_add(struct bytes *b, const void *data, size_t n)
{
    if (bytes_reserve(b, n) < 0)
        return -1;
    if (n)
        memcpy(b->data + b->size, data, n);
    b->size += n;
    b->data[b->size] = 0;
    return 0;
}

int bytes_add_text(struct bytes *b, const char *text)
{
    return bytes_add(b, text, strlen(text));
}

int bytes_printf(struct bytes *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0 || bytes_reserve(b, (size_t)n) < 0)
        return -1;
    va_start(args, format);
    vsnprintf(b->data + b->size, (size_t)n + 1, format, args);
    va_end(args);
    b->size += (size_t)n;
    return 0;
}

void bytes_drop_front(struct bytes *b, size_t n)
{
    if (n == 0)
        return;
    memmove(b->data, b->data + n, b->size - n + 1);
    b->size -= n;
}

void bytes_clear(struct bytes *b)
{
    b->size = 0;
    if (b->data)
        b->data[0] = 0;
}

void bytes_free(struct bytes *b)
{
    free(b->data);
    b->data = NULL;
    b->size = b->capacity = 0;
}
