#!/usr/bin/env python3
# unicode_classes.py - writes unicode_classes.h: the class of every code point that the o200k pattern tells apart.
#
# Usage: python3 plugins/engine/unicode_classes.py > plugins/engine/unicode_classes.h
#
# Unicode 16.0 is what Oniguruma 6.9.10 inside Hugging Face tokenizers 0.23 knows, so another version
# is refused: it takes Python 3.14, or the package unicodedata2 16.0.
import sys

try:
    import unicodedata2 as unicodedata
except ImportError:
    import unicodedata

UNICODE = "16.0.0"
BLOCK = 128  # code points for each row of the second stage; two classes in a byte

OTHER, SPACE, NEWLINE, NUMBER, UPPER, LOWER, LETTER, MARK = range(8)
WORD = 8  # added to the class
# White_Space of PropList.txt; \r and \n are their own class.
WHITE_SPACE = {*range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B),
               0x2028, 0x2029, 0x202F, 0x205F, 0x3000}


# So that are Alphabetic (circled and squared letters), and Join_Control.
OTHER_WORD = {*range(0x24B6, 0x24EA), *range(0x1F130, 0x1F14A), *range(0x1F150, 0x1F16A),
              *range(0x1F170, 0x1F18A), 0x200C, 0x200D}


def is_word(code):
    category = unicodedata.category(chr(code))
    return category[0] in "LM" or category in ("Nd", "Nl", "Pc") or code in OTHER_WORD


def char_class(code):
    if code in (0x0A, 0x0D):
        return NEWLINE
    if code in WHITE_SPACE:
        return SPACE
    category = unicodedata.category(chr(code))
    if category in ("Lu", "Lt"):
        return UPPER
    if category == "Ll":
        return LOWER
    if category in ("Lm", "Lo"):
        return LETTER
    return {"M": MARK, "N": NUMBER}.get(category[0], OTHER)


def main():
    if unicodedata.unidata_version != UNICODE:
        sys.exit(f"this Python knows Unicode {unicodedata.unidata_version}, {UNICODE} is needed")
    classes = [char_class(code) | is_word(code) * WORD for code in range(0x110000)]
    while len(classes) > BLOCK and not any(classes[-BLOCK:]):
        del classes[-BLOCK:]
    rows, index = {}, []
    for start in range(0, len(classes), BLOCK):
        row = tuple(classes[start:start + BLOCK])
        index.append(rows.setdefault(row, len(rows)))
    assert len(rows) <= 256, "the index no longer fits a byte"

    print(f"""/*
 * unicode_classes.h - the class of every code point that the o200k pattern tells apart (generated).
 *
 * Written by unicode_classes.py from Unicode {UNICODE}; do not edit.
 */
#ifndef AIRLOCK_UNICODE_CLASSES_H
#define AIRLOCK_UNICODE_CLASSES_H

#include <stdint.h>

/* clang-format off */
enum unicode_class {{
    UNICODE_OTHER, UNICODE_SPACE /* White_Space but \\r \\n */, UNICODE_NEWLINE /* \\r \\n */,
    UNICODE_NUMBER /* N */, UNICODE_UPPER /* Lu Lt */, UNICODE_LOWER /* Ll */,
    UNICODE_LETTER /* Lm Lo */, UNICODE_MARK /* M */,
    UNICODE_WORD = 8 /* added to one of the above: \\w of Unicode regular expressions */
}};

/* Code points from UNICODE_CLASSES_END on are UNICODE_OTHER. */
enum {{ UNICODE_CLASSES_END = {len(classes):#x}, UNICODE_CLASSES_BLOCK = {BLOCK} }};

/* The row of each block of code points. */
static const uint8_t unicode_class_index[{len(index)}] = {{""")
    emit(index)
    print(f"""}};

/* Two classes in a byte, the even code point in the low half. */
static const uint8_t unicode_class_rows[{len(rows)}][{BLOCK // 2}] = {{""")
    for row in rows:
        print("{")
        emit([row[i] | row[i + 1] << 4 for i in range(0, BLOCK, 2)])
        print("},")
    print("};\n/* clang-format on */\n\n#endif")


def emit(values):
    line = ""
    for value in values:
        text = f"{value},"
        if len(line) + len(text) > 100:
            print(line)
            line = ""
        line += text
    print(line)


if __name__ == "__main__":
    main()
