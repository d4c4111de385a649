/* stream_filter.c - finds the ends of events, and the white space at the end of text; see
 * stream_filter.h. */
#include "stream_filter.h"

#include "common/strip.h"

#include <string.h>

void filter_init(struct stream_filter *f, enum stream_kind kind, size_t max)
{
    *f = (struct stream_filter){ .kind = kind, .held = BYTES_INIT(max), .empty_line = true };
}

void filter_free(struct stream_filter *f)
{
    bytes_free(&f->held);
}

/* ---- events ---------------------------------------------------------------------------------- */

static void scan_events(struct stream_filter *f)
{
    static const char done[] = "data: [DONE]";
    const char *data = f->held.data;
    for (; f->scanned < f->held.size; f->scanned++) {
        if (data[f->scanned] == '\n') {
            if (f->empty_line) {
                f->said_done = f->scanned - f->ready >= sizeof done - 1 &&
                               memcmp(data + f->ready, done, sizeof done - 1) == 0;
                f->ready = f->scanned + 1;
            }
            f->empty_line = true;
        } else if (data[f->scanned] != '\r') {
            f->empty_line = false;
        }
    }
}

/* ---- text ------------------------------------------------------------------------------------ */

/* Bytes of the UTF-8 character at the front of n > 0 bytes, 1 for a wrong byte; more than n: the
 * character may not be whole yet. */
static size_t character_size(const char *text, size_t n)
{
    unsigned char c = (unsigned char)text[0];
    size_t size = c < 0xc2 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 1;
    for (size_t i = 1; i < size && i < n; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 1;
    return size;
}

/* Moves ready behind the last character that is no white space; a character that is not whole yet
 * waits.  Every byte is looked at once, whatever pieces it comes in. */
static void scan_text(struct stream_filter *f)
{
    size_t at = f->scanned;
    while (at < f->held.size) {
        const char *here = f->held.data + at;
        size_t left = f->held.size - at, n = character_size(here, left);
        if (n > left)
            break;
        if (strip_length(here, n) == 0) {
            if (!f->started)
                f->begin = at;
            f->started = true;
            f->ready = at + n;
        }
        at += n;
    }
    f->scanned = at;
    if (!f->started)
        f->begin = f->ready = at;
}

/* ---- both ------------------------------------------------------------------------------------ */

int filter_put(struct stream_filter *f, const char *data, size_t n)
{
    size_t gone = f->begin;
    bytes_drop_front(&f->held, gone);
    f->begin = 0;
    f->ready -= gone;
    f->scanned -= gone;
    if (bytes_add(&f->held, data, n) < 0)
        return -1;
    if (f->kind == STREAM_EVENTS)
        scan_events(f);
    else
        scan_text(f);
    return 0;
}

void filter_end(struct stream_filter *f)
{
    if (f->kind == STREAM_EVENTS) {
        f->ready = f->held.size;
    } else if (f->scanned < f->held.size) { /* the beginning of a character, and that is no space */
        if (!f->started)
            f->begin = f->scanned;
        f->started = true;
        f->ready = f->held.size;
    }
    f->scanned = f->held.size;
}

void filter_break(struct stream_filter *f, const char *last)
{
    f->held.size = f->ready; /* shrinks: room for a short text is there, or it is left out */
    if (last && bytes_add_text(&f->held, last) == 0)
        f->ready = f->held.size;
    f->scanned = f->held.size;
}

size_t filter_take(struct stream_filter *f, char *out, size_t max)
{
    size_t n = f->ready - f->begin;
    if (n > max) {
        n = max;
        while (n > max - 4 && (f->held.data[f->begin + n] & 0xc0) == 0x80)
            n--;
    }
    if (n)
        memcpy(out, f->held.data + f->begin, n);
    f->begin += n;
    return n;
}
