#!/bin/sh
# test_matrix.sh - hosts of ABI 1.0 and a made-up 1.1 against plugins of both: five run, one is refused with the sentence.
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
die() {
    echo "Bail out! $1"
    sed 's/^/# /' "$tmp/out"
    exit 1
}

# The headers as they are, and as a 1.1 would be that adds a request member and a function.
cp -R "$top_srcdir/sdk/include" "$tmp/1.0"
cp -R "$top_srcdir/sdk/include" "$tmp/1.1"
chmod -R u+w "$tmp"
sed -i 's/^#define LLM_ABI_MINOR .*/#define LLM_ABI_MINOR 1/' "$tmp/1.1/airlock/llm_abi.h"
sed -i -e 's/^} llm_request;/#if LLM_ABI_TARGET >= 1\n    uint64_t mood;\n#endif\n&/' \
    -e 's/^} llm_model_class;/#if LLM_ABI_TARGET >= 1\n    llm_status (*warmup)(llm_model *model, llm_error *err);\n#endif\n&/' \
    "$tmp/1.1/airlock/llm_model.h"

asan="-fsanitize=address -fno-omit-frame-pointer"
echo 'int main(void) { return 0; }' >"$tmp/probe.c"
# shellcheck disable=SC2086
$CC $asan -o "$tmp/probe" "$tmp/probe.c" >"$tmp/out" 2>&1 && "$tmp/probe" >"$tmp/out" 2>&1 || asan=

host() { # output headers flags...
    out=$1 inc=$2
    shift 2
    # shellcheck disable=SC2086
    $CC -std=gnu17 -D_GNU_SOURCE -g $asan "$@" -I"$inc" -I"$top_srcdir/src" -o "$tmp/$out" \
        "$top_srcdir/tests/abi/matrix_host.c" "$top_srcdir/src/common/plugin_descriptor.c" \
        "$top_srcdir/src/common/error.c" -ldl >"$tmp/out" 2>&1 || die "cannot build $out"
}
plugin() { # output headers flags...
    out=$1 inc=$2
    shift 2
    # shellcheck disable=SC2086
    $CC -std=gnu17 -g $asan "$@" -fPIC -shared -fvisibility=hidden -I"$inc" -o "$tmp/$out" \
        "$top_srcdir/tests/abi/matrix_plugin.c" >"$tmp/out" 2>&1 || die "cannot build $out"
}
host host-1.0 "$tmp/1.0"
host host-1.1 "$tmp/1.1" -DLLM_ABI_TARGET=1
plugin plugin-1.0.so "$tmp/1.0"
plugin plugin-1.0-by-1.1.so "$tmp/1.1"
plugin plugin-1.1.so "$tmp/1.1" -DLLM_ABI_TARGET=1 -DLLM_ABI_NEEDED=0
plugin plugin-1.1-only.so "$tmp/1.1" -DLLM_ABI_TARGET=1

answers() { # host plugin answer
    got=$(ASAN_OPTIONS=detect_leaks=0 "$tmp/$1" "$tmp/$2" 2>"$tmp/out")
    rc=$?
    [ $rc = 0 ] && [ "$got" = "$3" ]
    result $? "$1 runs $2, which answers \"$3\""
}
answers host-1.0 plugin-1.0.so old
answers host-1.1 plugin-1.0.so old
answers host-1.0 plugin-1.1.so old
answers host-1.1 plugin-1.1.so new
answers host-1.1 plugin-1.1-only.so new
answers host-1.1 plugin-1.0-by-1.1.so old

ASAN_OPTIONS=detect_leaks=0 "$tmp/host-1.0" "$tmp/plugin-1.1-only.so" >"$tmp/out" 2>&1
[ $? = 1 ] && grep -q 'org.example.matrix needs ABI 1.1, this host has 1.0' "$tmp/out"
result $? "host-1.0 refuses plugin-1.1-only.so and says why"

# Negative control: without LLM_HAS the host reads behind the old plugin's table.
if [ -n "$asan" ]; then
    host forgetful "$tmp/1.1" -DLLM_ABI_TARGET=1 -DFORGETFUL
    ASAN_OPTIONS=detect_leaks=0 "$tmp/forgetful" "$tmp/plugin-1.0.so" >"$tmp/out" 2>&1
    [ $? != 0 ] && grep -q 'global-buffer-overflow' "$tmp/out"
    result $? "a host that forgets LLM_HAS is caught reading behind the table"
else
    n=$((n + 1))
    echo "ok $n - a host that forgets LLM_HAS is caught # SKIP $CC has no AddressSanitizer here"
fi
echo "1..$n"
exit $bad
