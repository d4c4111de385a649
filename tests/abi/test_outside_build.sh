#!/bin/sh
# test_outside_build.sh - the example plugins build outside the tree against the installed headers alone, in C and C++, and pass.
set -u
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
n=0
bad=0
result() { # status name
    n=$((n + 1))
    if [ "$1" = 0 ]; then echo "ok $n - $2"; else
        echo "not ok $n - $2"
        bad=1
        sed 's/^/# /' "$tmp/out"
    fi
}

# What a package of headers holds: these three files, the .pc file and the program, nothing else.
make -C "$top_builddir" -s DESTDIR="$tmp/root" MAKEFLAGS= \
    install-airlockincludeHEADERS install-pkgconfigDATA >"$tmp/out" 2>&1
result $? "the headers and pkg-config files install under DESTDIR"
pc=$(find "$tmp/root" -name airlock-plugin.pc)
PKG_CONFIG_PATH=$(dirname "$pc")
PKG_CONFIG_SYSROOT_DIR=$tmp/root
export PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR
cp -R "$top_srcdir/sdk/examples/plugin-echo" "$top_srcdir/sdk/examples/plugin-scale-adapter" "$tmp/"
chmod -R u+w "$tmp"
cd "$tmp" || exit 1

# What is installed is what is built: a header that includes one from the tree would not compile here.
for lang in c c++; do
    compiler=$CC
    [ $lang = c++ ] && compiler="$CXX -x c++"
    for p in plugin-echo plugin-scale-adapter; do
        make -C $p -s clean
        make -C $p -s CC="$compiler" CFLAGS="-O2 -Wall -Wextra -Werror -pedantic" MAKEFLAGS= >"$tmp/out" 2>&1
        result $? "$p builds as $lang with its own Makefile"
    done
    "$top_builddir/airlock-plugin-check" plugin-echo/echo.so >"$tmp/out" 2>&1
    result $? "airlock-plugin-check passes the echo of $lang"
    "$top_builddir/airlock-plugin-check" --adapter plugin-scale-adapter/example \
        plugin-scale-adapter/scale_adapter.so >"$tmp/out" 2>&1
    result $? "airlock-plugin-check passes the scale adapter of $lang"
    "$top_builddir/airlock-plugin-check" --adapter-plugin plugin-scale-adapter/scale_adapter.so \
        --adapter plugin-scale-adapter/example plugin-echo/echo.so >"$tmp/out" 2>&1
    result $? "both pass together ($lang)"
    nm -D --defined-only plugin-echo/echo.so | awk '{print $3}' >"$tmp/out"
    [ "$(cat "$tmp/out")" = llm_plugin_query_1 ]
    result $? "echo of $lang exports one symbol"
done
echo "1..$n"
exit $bad
