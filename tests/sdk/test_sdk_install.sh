#!/bin/sh
# test_sdk_install.sh - libairlock as installed: shared and static, from C and C++, only airlock_* visible, the examples build.
set -u
tmp=$(mktemp -d)
stub=
trap '[ -n "$stub" ] && kill $stub 2>/dev/null; rm -rf "$tmp"' EXIT
n=0
bad=0
result() { # status name
    n=$((n + 1))
    if [ "$1" = 0 ]; then echo "ok $n - $2"; else
        echo "not ok $n - $2"
        bad=1
        sed 's/^/# /' "$tmp/out"
    fi
    : >"$tmp/out"
}
make -C "$top_builddir" -s DESTDIR="$tmp/root" MAKEFLAGS= install-libLTLIBRARIES \
    install-airlockstaticDATA install-airlockincludeHEADERS install-pkgconfigDATA >"$tmp/out" 2>&1
result $? "library, headers and pkg-config files install under DESTDIR"
pc=$(find "$tmp/root" -name airlock.pc)
lib=$(dirname "$(find "$tmp/root" -name libairlock.a)")
PKG_CONFIG_PATH=$(dirname "$pc")
PKG_CONFIG_SYSROOT_DIR=$tmp/root
export PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR

nm -D --defined-only "$lib"/libairlock.so | awk '{ print $3 }' | grep -v '^airlock_' >"$tmp/out"
[ ! -s "$tmp/out" ]
result $? "the shared library shows airlock_* only"
nm -g --defined-only "$lib/libairlock.a" | awk 'NF == 3 { print $3 }' | grep -v '^airlock_' >"$tmp/out"
[ ! -s "$tmp/out" ]
result $? "the static library shows airlock_* only"
grep -h 'AIRLOCK_API' -A2 "$top_srcdir/sdk/include/airlock/airlock.h" | grep -o 'airlock_[a-z_]*(' | tr -d '(' | sort -u >"$tmp/said"
nm -D --defined-only "$lib"/libairlock.so | awk '{ print $3 }' | sort >"$tmp/shown"
diff "$tmp/said" "$tmp/shown" >"$tmp/out"
result $? "the shared library shows exactly what the header declares"

for example in call_model call_multimodal_model chat; do
    # shellcheck disable=SC2046
    $CC -std=c99 -Wall -Wextra -Werror -pedantic -o "$tmp/$example" "$top_srcdir/sdk/examples/$example.c" \
        -pthread $(pkg-config --cflags --libs airlock) >"$tmp/out" 2>&1
    result $? "$example builds with pkg-config"
done
LD_LIBRARY_PATH=$lib "$tmp/call_model" http://127.0.0.1:1 >"$tmp/out" 2>&1
[ $? = 1 ] && grep -q 'is airlock-bridge running' "$tmp/out"
result $? "call_model without a bridge says so and exits 1"

$CC -O1 -D_GNU_SOURCE -pthread -o "$tmp/stub" "$top_srcdir/tests/fakes/stub_server.c" >"$tmp/out" 2>&1
result $? "the stub server builds"
"$tmp/stub" "unix:$tmp/s" >/dev/null 2>&1 &
stub=$!
i=0
while [ ! -S "$tmp/s" ] && [ $i -lt 200 ]; do
    i=$((i + 1))
    sleep 0.05
done
"$tmp/call_model" >"$tmp/out" 2>&1 # not found without LD_LIBRARY_PATH: only to see it is shared
[ $? = 127 ]
result $? "call_model uses the shared library"
# shellcheck disable=SC2046
$CXX -std=c++98 -Wall -Wextra -Werror -pedantic -o "$tmp/shared" "$top_srcdir/tests/sdk/call_from_cxx.cc" \
    $(pkg-config --cflags --libs airlock) >"$tmp/out" 2>&1
result $? "a C++98 caller builds against the shared library"
LD_LIBRARY_PATH=$lib "$tmp/shared" "unix:$tmp/s" >"$tmp/out" 2>&1 && grep -q '"content":"hello"' "$tmp/out"
result $? "and gets an answer over a unix socket"
# shellcheck disable=SC2046
$CXX -std=c++20 -Wall -Wextra -Werror -pedantic -o "$tmp/static" "$top_srcdir/tests/sdk/call_from_cxx.cc" \
    $(pkg-config --cflags airlock) "$lib/libairlock.a" $(env -u PKG_CONFIG_SYSROOT_DIR pkg-config --libs libcurl json-c) \
    -lm -lpthread >"$tmp/out" 2>&1
result $? "a C++20 caller builds against the static library"
"$tmp/static" "unix:$tmp/s" >"$tmp/out" 2>&1 && grep -q '"images":\["eA=="\]' "$tmp/out"
result $? "and gets an answer, its own names untouched"

chat() { LD_LIBRARY_PATH=$lib "$tmp/chat" --host "unix:$tmp/s" "$@"; }
printf 'how are you?\n' | chat chat >"$tmp/out" 2>&1 && [ "$(cat "$tmp/out")" = 'how are you?' ]
result $? "chat shows an answer"
chat --models >"$tmp/out" 2>&1 && [ "$(cat "$tmp/out")" = echo ]
result $? "chat lists models"
# colour, clipboard, link, C1's CSI, right-to-left override, zero width, BEL, DEL: A34
printf 'a \033[31m \033]52;c;x\007 \033]8;;http://x\033\\ \302\2332J \342\200\256 \342\200\213 \177 caf\303\251\n' >"$tmp/evil"
chat chat <"$tmp/evil" >"$tmp/out" 2>&1 && ! LC_ALL=C grep -q "$(printf '[\001-\010\013-\037\177\233]')" "$tmp/out" &&
    ! LC_ALL=C grep -q "$(printf '\342\200')" "$tmp/out" && grep -qF '\x1b[31m \x1b]52;c;x\x07' "$tmp/out" &&
    grep -qF '\x9b2J \u202e \u200b \x7f' "$tmp/out" && grep -q "$(printf 'caf\303\251')" "$tmp/out"
result $? "a34: chat shows what the model could do to a terminal and does not do it"
chat --raw chat <"$tmp/evil" >"$tmp/out" 2>&1 && cmp "$tmp/evil" "$tmp/out" >/dev/null
result $? "a34: chat --raw in a pipe leaves it as it is"
script -qec "LD_LIBRARY_PATH=$lib $tmp/chat --raw chat" /dev/null </dev/null >"$tmp/out" 2>&1
[ $? = 2 ] && grep -q 'could control the terminal' "$tmp/out"
result $? "a34: chat --raw on a terminal is refused"
mkfifo "$tmp/in"
LD_LIBRARY_PATH=$lib "$tmp/chat" --host "unix:$tmp/s" chat <"$tmp/in" >"$tmp/said" 2>"$tmp/out" &
chat=$!
exec 3>"$tmp/in"
echo "slowly $(seq -s ' ' 200)" >&3
i=0
while ! grep -q slowly "$tmp/said" && [ $i -lt 200 ]; do i=$((i + 1)); sleep 0.05; done
kill -INT $chat
echo 'still there?' >&3
exec 3>&-
wait $chat && grep -q 'was cancelled' "$tmp/out" && grep -q 'still there?' "$tmp/said" && ! grep -q ' 200' "$tmp/said"
result $? "Ctrl-C ends an answer and not the chat"
echo "1..$n"
exit $bad
