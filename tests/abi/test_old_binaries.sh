#!/bin/sh
# test_old_binaries.sh - plugins built when ABI 1.0 was released still run, and one that misbehaves is still caught.
set -u
[ "$(uname -m)" = x86_64 ] || { echo "1..0 # SKIP the kept plugins are for x86-64"; exit 77; }
check=$top_builddir/airlock-plugin-check
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
mkdir "$tmp/adapter"
echo 1 >"$tmp/adapter/scale.txt"
for old in "$top_srcdir"/tests/data/abi-1.*; do
    v=${old##*-}
    "$check" --slow 10 "$old/echo.so" >"$tmp/out" 2>&1
    result $? "the echo plugin of $v passes every check"
    "$check" --slow 10 --adapter "$tmp/adapter" "$old/scale_adapter.so" >"$tmp/out" 2>&1
    result $? "the adapter plugin of $v passes every check"
    "$check" --slow 10 --adapter-plugin "$old/scale_adapter.so" --adapter "$tmp/adapter" "$old/echo.so" >"$tmp/out" 2>&1
    result $? "both of $v pass together"
    "$check" --slow 10 "$old/misbehaving.so" >"$tmp/out" 2>&1
    [ $? = 1 ] && [ "$(grep '^not ok' "$tmp/out" | sed 's/^not ok [0-9]* - //')" = "cancel: generate stops when emit says so" ]
    result $? "the misbehaving plugin of $v is caught for what it does, and for nothing else"
done
echo "1..$n"
exit $bad
