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

for example in call_model call_multimodal_model; do
    # shellcheck disable=SC2046
    $CC -std=c99 -Wall -Wextra -Werror -pedantic -o "$tmp/$example" "$top_srcdir/sdk/examples/$example.c" \
        $(pkg-config --cflags --libs airlock) >"$tmp/out" 2>&1
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
    $(pkg-config --cflags airlock) "$lib/libairlock.a" $(env -u PKG_CONFIG_SYSROOT_DIR pkg-config --libs libcurl) \
    -lm -lpthread >"$tmp/out" 2>&1
result $? "a C++20 caller builds against the static library"
"$tmp/static" "unix:$tmp/s" >"$tmp/out" 2>&1 && grep -q '"images":\["eA=="\]' "$tmp/out"
result $? "and gets an answer, its own names untouched"
echo "1..$n"
exit $bad
