/* base64.c - see base64.h. */
#include "base64.h"

#include <stdbool.h>
#include <stdint.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

enum { SKIP = 64, PAD = 65, WRONG = 66 };

static unsigned value_of(unsigned char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26u;
    if (c >= '0' && c <= '9')
        return c - '0' + 52u;
    if (c == '+' || c == '/')
        return c == '+' ? 62 : 63;
    if (c == '=')
        return PAD;
    return c == ' ' || c == '\n' || c == '\r' || c == '\t' ? SKIP : WRONG;
}

int base64_decode(const char *text, size_t size, struct bytes *out)
{
    if (bytes_reserve(out, size / 4 * 3 + 3) < 0)
        return -1;
    unsigned char *p = (unsigned char *)out->data + out->size;
    uint32_t group = 0;
    unsigned digits = 0, pads = 0;
    for (size_t i = 0; i < size; i++) {
        unsigned v = value_of((unsigned char)text[i]);
        if (v == SKIP)
            continue;
        if (v == WRONG || (v == PAD && digits < 2) || (v != PAD && pads))
            return out->data[out->size] = 0, -1;
        if (v == PAD) {
            pads++;
            continue;
        }
        group = group << 6 | v;
        if (++digits == 4) {
            *p++ = (unsigned char)(group >> 16);
            *p++ = (unsigned char)(group >> 8);
            *p++ = (unsigned char)group;
            digits = 0, group = 0;
        }
    }
    /* the bits that a partial group does not use must be zero: one encoding for each content */
    bool whole = digits ? digits + pads == 4 : pads == 0;
    if (!whole || (digits == 2 && (group & 15)) || (digits == 3 && (group & 3)))
        return out->data[out->size] = 0, -1;
    if (digits == 2) {
        *p++ = (unsigned char)(group >> 4);
    } else if (digits == 3) {
        *p++ = (unsigned char)(group >> 10);
        *p++ = (unsigned char)(group >> 2);
    }
    out->size = (size_t)((char *)p - out->data);
    out->data[out->size] = 0;
    return 0;
}

int base64_encode(const void *data, size_t size, struct bytes *out)
{
    if (size > SIZE_MAX / 2 || bytes_reserve(out, (size + 2) / 3 * 4) < 0)
        return -1;
    const unsigned char *in = data;
    char *p = out->data + out->size;
    for (size_t i = 0; i < size; i += 3) {
        size_t n = size - i < 3 ? size - i : 3;
        uint32_t group = (uint32_t)in[i] << 16;
        group |= n > 1 ? (uint32_t)in[i + 1] << 8 : 0;
        group |= n > 2 ? in[i + 2] : 0;
        *p++ = alphabet[group >> 18];
        *p++ = alphabet[group >> 12 & 63];
        *p++ = n > 1 ? alphabet[group >> 6 & 63] : '=';
        *p++ = n > 2 ? alphabet[group & 63] : '=';
    }
    out->size = (size_t)(p - out->data);
    out->data[out->size] = 0;
    return 0;
}
