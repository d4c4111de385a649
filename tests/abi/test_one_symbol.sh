#!/bin/sh
# test_one_symbol.sh - every plugin that was built here exports llm_plugin_query_1 and nothing else, and passes the checks.
set -u
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
n=0
bad=0
for so in "$top_builddir"/plugins/.libs/*.so "$top_builddir"/tests/fakes/.libs/*.so; do
    [ -f "$so" ] || continue
    n=$((n + 1))
    name=${so#"$top_builddir"/}
    symbols=$(nm -D --defined-only "$so" | awk '{ print $3 }')
    if [ "$symbols" = llm_plugin_query_1 ]; then echo "ok $n - $name exports one symbol"; else
        echo "not ok $n - $name exports:"
        echo "$symbols" | head -n 20 | sed 's/^/# /'
        bad=1
    fi
    case "$name" in tests/*) continue ;; esac # their manners are other tests' matter
    n=$((n + 1))
    if "$top_builddir/airlock-plugin-check" --slow 10 "$so" >"$tmp/out" 2>&1; then
        echo "ok $n - $name fails none of airlock-plugin-check's checks"
    else
        echo "not ok $n - $name fails none of airlock-plugin-check's checks"
        grep -A2 '^not ok' "$tmp/out" | sed 's/^/# /'
        bad=1
    fi
done
[ $n -gt 0 ] || { echo "1..0 # no plugin was built"; exit 1; }
echo "1..$n"
exit $bad
