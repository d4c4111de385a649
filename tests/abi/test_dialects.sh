#!/bin/sh
# test_dialects.sh - the plugin headers compile cleanly and without padding in every dialect of C and C++ from 1989 to 2020.
set -u
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
n=0
bad=0
flags="-pedantic -Wall -Wextra -Wpadded -Werror -I$top_srcdir/sdk/include"
cat >"$tmp/use.c" <<'END'
#include <airlock/llm_adapter.h>
#include <airlock/llm_model.h>
LLM_NOTE(LLM_KIND_MODEL);
static const llm_class *const classes[] = { 0 };
static const llm_plugin plugin = { LLM_PLUGIN_HEAD, "org.example.dialect", "1", classes };
const llm_plugin *llm_plugin_query_1(void)
{
    return &plugin;
}
END
cp "$tmp/use.c" "$tmp/use.cc"

try() { # compiler standard file
    # shellcheck disable=SC2086
    $1 -std="$2" $flags -c -o "$tmp/use.o" "$3" 2>"$tmp/out"
}
check() {
    n=$((n + 1))
    if try "$@"; then echo "ok $n - $1 -std=$2"; else
        echo "not ok $n - $1 -std=$2"
        sed 's/^/# /' "$tmp/out"
        bad=1
    fi
}

c="$CC"
cxx="$CXX"
[ -n "${CLANG:-}" ] && [ "$CLANG" != "$CC" ] && c="$c
$CLANG"
command -v clang++ >/dev/null && cxx="$cxx
clang++"
echo "$c" >"$tmp/c"
echo "$cxx" >"$tmp/cxx"
while read -r compiler; do
    for std in c89 gnu89 c99 c11 c17; do check "$compiler" $std "$tmp/use.c"; done
done <"$tmp/c"
while read -r compiler; do
    for std in c++98 c++11 c++14 c++17 c++20; do check "$compiler" $std "$tmp/use.cc"; done
done <"$tmp/cxx"

# Each header alone, and the two mistakes that the headers themselves refuse.
for h in llm_abi llm_model llm_adapter airlock; do
    [ -f "$top_srcdir/sdk/include/airlock/$h.h" ] || continue
    printf '#include <airlock/%s.h>\ntypedef int not_empty;\n' $h >"$tmp/alone.c"
    check "$CC" c89 "$tmp/alone.c"
done
refused() { # flag words-of-the-error
    n=$((n + 1))
    # shellcheck disable=SC2086
    if ! $CC $flags "$1" -c -o "$tmp/use.o" "$tmp/use.c" 2>"$tmp/out" && grep -q "$2" "$tmp/out"; then
        echo "ok $n - $1 is refused"
    else
        echo "not ok $n - $1 is refused"
        bad=1
    fi
}
refused -DLLM_ABI_TARGET=99 'newer than these headers'
refused -DLLM_ABI_NEEDED=1 'cannot be above'

# Negative control: a struct with a hole must not pass.
printf '#include <airlock/llm_abi.h>\ntypedef struct hole { uint32_t a; uint64_t b; } hole;\nhole h;\n' >"$tmp/use.c"
n=$((n + 1))
if try "$CC" c11 "$tmp/use.c"; then
    echo "not ok $n - a struct with padding is noticed"
    bad=1
else
    echo "ok $n - a struct with padding is noticed"
fi
echo "1..$n"
exit $bad
