#!/bin/sh
# replay.sh - runs every fuzz target that was built over its corpus, as make check does it.
set -eu
ran=0
for target in "$top_builddir"/tests/fuzz/fuzz_*; do
    [ -x "$target" ] && [ -f "$target" ] || continue
    name=${target##*/fuzz_}
    corpus=$top_srcdir/tests/fuzz/corpus/$name
    case $name in *.o | *.c) continue ;; esac
    [ -d "$corpus" ] || { echo "fuzz_$name: no corpus in $corpus" >&2; exit 1; }
    printf '%s: ' "$name"
    "$target" "$corpus"
    ran=$((ran + 1))
done
[ "$ran" -gt 0 ] || { echo "no fuzz target was built" >&2; exit 1; }
