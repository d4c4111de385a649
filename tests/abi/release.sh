#!/bin/sh
# release.sh - writes what a released minor of the ABI is compared with for ever: golden table, baseline, old binaries.
#
# usage: release.sh MINOR   (from the top of the tree, once, when ABI 1.MINOR is released)
set -eu
minor=$1
cc=${CC:-gcc}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
sh tests/abi/headers.sh layout sdk/include "$minor" >"$tmp/layout.c"
$cc -Isdk/include -DLLM_ABI_TARGET="$minor" -o "$tmp/layout" "$tmp/layout.c"
"$tmp/layout" >tests/golden/abi-1."$minor".txt
sh tests/abi/headers.sh witness sdk/include "$minor" >"$tmp/witness.c"
(cp -R sdk/include "$tmp/include" && cd "$tmp" && $cc -g -gdwarf-4 -fPIC -Iinclude -DLLM_ABI_TARGET="$minor" -c witness.c)
abidw --no-comp-dir-path --no-corpus-path --no-show-locs --drop-private-types \
    --out-file tests/golden/abi-1."$minor".xml "$tmp/witness.o"
out=tests/data/abi-1.$minor
mkdir -p "$out"
flags="-Os -fPIC -shared -fvisibility=hidden -s -Isdk/include -DLLM_ABI_TARGET=$minor -Wl,-z,now,-z,nodelete,-z,defs,-z,noexecstack,-z,noseparate-code"
# shellcheck disable=SC2086
$cc $flags -o "$out/echo.so" sdk/examples/plugin-echo/echo.c
# shellcheck disable=SC2086
$cc $flags -o "$out/scale_adapter.so" sdk/examples/plugin-scale-adapter/scale_adapter.c
# shellcheck disable=SC2086
$cc $flags -DBREAK=IGNORES_EMIT -o "$out/misbehaving.so" tests/fakes/bad_model.c
ls -l tests/golden/abi-1."$minor".* "$out"
