#!/bin/sh
# embed.sh - makes C of the web page: its three files as one, and a policy that lets nothing but them run.
#
# usage: embed.sh FOLDER     page.html with page.css and page.js in its empty <style> and <script>; C on standard output
set -eu
cd "$1"
for tag in '</script' '<!--' '</style'; do
    if grep -qi -e "$tag" page.js page.css; then
        echo "embed.sh: $tag ends or changes what it stands in" >&2
        exit 1
    fi
done

if LC_ALL=C grep -n '[^ -~]' page.html page.css page.js; then
    echo "embed.sh: only ASCII is taken, so that no byte of the page depends on who reads it" >&2
    exit 1
fi

# The base64 of a file's SHA-256, as CSP has it: 64 hexadecimal digits and two zeros are 44 letters, the last for padding.
hash_of() {
    sha256sum "$1" | awk '{
        letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        hex = substr($1, 1, 64) "00"
        for (i = 1; i <= 66; i += 3) {
            v = 0
            for (k = 0; k < 3; k++) v = v * 16 + index("0123456789abcdef", substr(hex, i + k, 1)) - 1
            text = text substr(letters, int(v / 64) + 1, 1) substr(letters, v % 64 + 1, 1)
        }
        print substr(text, 1, 43) "="
    }'
}

page() {
    while IFS= read -r line; do
        case $line in
        '<style></style>') printf '<style>' && cat page.css && printf '</style>\n' ;;
        '<script></script>') printf '<script>' && cat page.js && printf '</script>\n' ;;
        *) printf '%s\n' "$line" ;;
        esac
    done <page.html
}

policy="default-src 'none'; script-src 'sha256-$(hash_of page.js)'; style-src 'sha256-$(hash_of page.css)'; img-src blob: data:; \
connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
cat <<EOF
/* page_data.c - the web page and its policy, made by page/embed.sh. */
#include "bridge/page.h"

const char page_policy[] = "$policy";

const char page_html[] = {
$(page | od -An -v -tu1 | sed 's/  */, /g; s/^, /    /; s/$/,/')
    0
};

const size_t page_html_size = sizeof page_html - 1;
EOF
