#!/bin/sh
# test_bridge_page.sh - the bridge's page as it is served: one file, a policy that fits it to the byte, and nothing in it that loads, runs or makes markup of text.
set -u
. "${top_srcdir:-.}/tests/media_stack.sh"
command -v curl >/dev/null || {
    echo "1..0 # SKIP curl is not installed"
    exit 77
}
printf 'secret-secret-secret-secret\n' >"$work/tokens"
chmod 600 "$work/tokens"
stack_up --token-file "$work/tokens"
n=0 bad=0
ok() { # name status
    n=$((n + 1))
    [ "$2" = 0 ] && echo "ok $n - $1" && return
    echo "not ok $n - $1"
    bad=1
}
get() { # path [curl option...]
    path=$1
    shift
    code=$(curl -s -m 20 -D "$work/head" -o "$work/body" -w '%{http_code}' "$@" "$url$path")
}
header() { tr -d '\r' <"$work/head" | sed -n "s/^$1: //p"; }
is() { [ "$2" = "$3" ] || printf '# got: %s\n# wanted: %s\n' "$2" "$3"; [ "$2" = "$3" ]; ok "$1" $?; }

get /
is "the page is served without a token" "$code" 200
is "as HTML" "$(header Content-Type)" 'text/html; charset=utf-8'
is "whose type is not guessed" "$(header X-Content-Type-Options)" nosniff
is "which no other page may frame" "$(header X-Frame-Options)" DENY
is "nor open and hold on to" "$(header Cross-Origin-Opener-Policy)" same-origin
is "nor load" "$(header Cross-Origin-Resource-Policy)" same-origin
is "what another program's page left under the address goes" "$(header Clear-Site-Data)" '"storage"'
is "with no word of sharing" "$(grep -ci '^access-control' "$work/head")" 0
is "and not kept" "$(header Cache-Control)" no-store

# The policy's hashes are those of what stands between the tags, computed here with other tools.
inside() { awk -v open="<$1>" -v close_="</$1>" '{ text = text $0 "\n" } END { at = index(text, open) + length(open); printf "%s", substr(text, at, index(text, close_) - at) }' "$work/body"; }
hash() { inside "$1" | sha256sum | cut -d ' ' -f 1; }
policy=$(header Content-Security-Policy)
is "one policy" "$(grep -ci '^content-security-policy:' "$work/head")" 1
in_hex() { echo "$policy" | sed -n "s/.*$1-src 'sha256-\([^']*\)'.*/\1/p" | base64 -d | od -An -v -tx1 | tr -d ' \n'; }
is "its hash is the script's" "$(in_hex script)" "$(hash script)"
is "and the style's" "$(in_hex style)" "$(hash style)"
is "and nothing else may be" "$(echo "$policy" | sed "s/sha256-[A-Za-z0-9+\/]*=/HASH/g")" \
    "default-src 'none'; script-src 'HASH'; style-src 'HASH'; img-src blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
is "the script is the source's" "$(inside script | cksum)" "$(cksum <"$top_srcdir/src/bridge/page/page.js")"

# What the sources must not have: ways to make markup or code of text, handlers in markup, addresses.
forbidden() { # name pattern file...
    name=$1 pattern=$2
    shift 2
    (cd "$top_srcdir/src/bridge/page" && grep -n -i -E -e "$pattern" "$@")
    [ $? = 1 ]; ok "$name" $?
}
forbidden "no markup or code is made of text" 'innerHTML|outerHTML|insertAdjacent|document\.write|createContextualFragment|DOMParser|srcdoc|eval *\(|new +Function|setTimeout *\(.["'\'']|setAttribute|importScripts|import *\(' page.js
forbidden "no handler stands in the markup" '[[:space:]]on[a-z]+ *=|javascript:' page.html
forbidden "nothing is fetched from elsewhere" '(https?:)?//[a-z0-9]|url *\(|@import|<link [^>]*href="[^d]|<(iframe|object|embed|base)' page.html page.css
forbidden "no address but the bridge's own paths" '[a-z]+://|["'\''`]//|location|window\.open|WebSocket|EventSource|XMLHttpRequest|sendBeacon' page.js
forbidden "no token is kept" 'localStorage|sessionStorage|indexedDB|cookie' page.js
forbidden "no style in the markup" ' style=' page.html
[ "$(grep -c 'fetch(' "$top_srcdir/src/bridge/page/page.js")" = 1 ]; ok "one place asks the bridge" $?
[ "$(wc -c <"$work/body")" -lt 32768 ]; ok "it can be read in an evening" $?

get / -I
is "HEAD" "$code" 200
get / -H 'Host: evil.example'
is "not under another name" "$code" 421
get / -H 'Sec-Fetch-Site: cross-site' -H 'Sec-Fetch-Mode: navigate'
is "not from another page's link" "$code" 403
get / -H 'Content-Type: application/json' -d '{}'
is "POST needs a token first" "$code" 401
get / -H 'Content-Type: application/json' -H 'Authorization: Bearer secret-secret-secret-secret' -d '{}'
is "and is no method of it" "$code" 405
for path in /index.html /page.js /favicon.ico; do
    get $path
    is "no other file: $path" "$code" 401
done
get /v1/models -H "Origin: $url"
is "the page's own requests need the token" "$code" 401
get /v1/models -H "Origin: $url" -H 'Authorization: Bearer secret-secret-secret-secret'
is "and pass with it" "$code" 200
get '/?<script>alert(1)</script>'
is "what stands behind the path changes nothing" "$(cksum <"$work/body")" "$(get / && cksum <"$work/body")"
echo "1..$n"
exit $bad
