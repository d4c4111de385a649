#!/bin/sh
# test_evolution.sh - nothing released of the plugin ABI has changed: table of constants and offsets, abidiff, and that both notice.
set -u
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
golden=$top_srcdir/tests/golden
headers=$top_srcdir/sdk/include
n=0
bad=0
result() { # status name
    n=$((n + 1))
    if [ "$1" = 0 ]; then echo "ok $n - $2"; else
        echo "not ok $n - $2"
        bad=1
        [ -s "$tmp/out" ] && head -n 40 "$tmp/out" | sed 's/^/# /'
    fi
    : >"$tmp/out"
}

layout() { # include-dir target: the table of these headers, in $tmp/now
    sh "$top_srcdir/tests/abi/headers.sh" layout "$1" "$2" >"$tmp/layout.c" &&
        $CC -I"$1" -DLLM_ABI_TARGET="$2" -o "$tmp/layout" "$tmp/layout.c" >>"$tmp/out" 2>&1 &&
        "$tmp/layout" >"$tmp/now"
}

# Structs as released must be exactly the same; constants may only be added.
same_table() { # golden-file
    grep -v '^\(constant\|string\)' "$1" >"$tmp/a"
    grep -v '^\(constant\|string\)' "$tmp/now" >"$tmp/b"
    diff "$tmp/a" "$tmp/b" >>"$tmp/out" || return 1
    grep '^\(constant\|string\)' "$1" | while read -r line; do
        grep -qxF "$line" "$tmp/now" || { echo "gone or changed: $line"; exit 1; }
    done >>"$tmp/out"
}

# The witness as an object, and abidiff against the released one.
same_types() { # include-dir target baseline
    sh "$top_srcdir/tests/abi/headers.sh" witness "$1" "$2" >"$tmp/witness.c" &&
        $abicc -g -gdwarf-4 -fPIC -I"$1" -DLLM_ABI_TARGET="$2" -c -o "$tmp/witness.o" "$tmp/witness.c" >>"$tmp/out" 2>&1 &&
        $ABIDIFF "$3" "$tmp/witness.o" >>"$tmp/out" 2>&1
}

changed() { # sed-program file: the headers with one change, in $tmp/changed
    rm -rf "$tmp/changed"
    cp -R "$headers" "$tmp/changed"
    chmod -R u+w "$tmp/changed"
    sed -i "$1" "$tmp/changed/airlock/$2"
    if cmp -s "$headers/airlock/$2" "$tmp/changed/airlock/$2"; then
        echo "Bail out! the change '$1' changes nothing"
        exit 1
    fi
}

minor=$(sed -n 's/^#define LLM_ABI_MINOR \([0-9]*\).*/\1/p' "$headers/airlock/llm_abi.h")
for file in "$golden"/abi-1.*.txt; do
    m=${file##*abi-1.}
    m=${m%.txt}
    layout "$headers" "$m" && same_table "$file"
    result $? "the table of ABI 1.$m is as released"
done
[ -f "$golden/abi-1.$minor.txt" ]
result $? "the newest minor, 1.$minor, has its golden table (tests/abi/release.sh)"

# Negative controls of the table, each a mistake that somebody will make one day.
while read -r file program what; do
    program=$(echo "$program" | tr '~' ' ')
    changed "$program" "$file"
    ! { layout "$tmp/changed" 0 && same_table "$golden/abi-1.0.txt"; }
    result $? "the table notices $what"
done <<'END'
llm_model.h s/LLM_FINISH_LENGTH~=~2/LLM_FINISH_LENGTH~=~4/ a renumbered constant
llm_model.h s/^~~~~uint64_t~id;/~~~~uint64_t~id,~inserted;/ an inserted member
llm_abi.h s/^~~~~uint32_t~abi_target;/~~~~uint64_t~abi_target;/ a wider member
llm_adapter.h s/airlock.sites.1/airlock.sites\/2/ a renamed service
END

if [ -z "${ABIDIFF:-}" ]; then
    n=$((n + 1))
    echo "ok $n - types compared with the baseline # SKIP abidiff is not installed (Debian: abigail-tools)"
else
    # the baseline is gcc's DWARF: another compiler describes the same types in other words
    abicc=$CC
    command -v gcc >/dev/null && abicc=gcc
    for file in "$golden"/abi-1.*.xml; do
        m=${file##*abi-1.}
        m=${m%.xml}
        same_types "$headers" "$m" "$file"
        result $? "abidiff finds ABI 1.$m as released"
    done
    while read -r file program what; do
        program=$(echo "$program" | tr '~' ' ')
        changed "$program" "$file"
        ! same_types "$tmp/changed" 0 "$golden/abi-1.0.xml"
        result $? "abidiff notices $what"
    done <<'END'
llm_model.h s/^~~~~uint64_t~id;/~~~~uint64_t~inserted;uint64_t~id;/ an inserted member
llm_model.h s/^~~~~int64_t~seed;/~~~~uint64_t~seed;/ a changed type of the same size
llm_abi.h s/int32_t~(\*cancelled)/int64_t~(*cancelled)/ a changed result of a function
END
fi
echo "1..$n"
exit $bad
