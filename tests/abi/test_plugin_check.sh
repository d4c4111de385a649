#!/bin/sh
# test_plugin_check.sh - airlock-plugin-check passes good plugins, and fails exactly the broken rule of each bad one.
set -u
check=$top_builddir/airlock-plugin-check
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
flags="-O1 -g -fPIC -shared -fvisibility=hidden -Wl,-z,now,-z,nodelete,-z,defs -I$top_srcdir/sdk/include"
slow=1
n=0
bad=0

result() { # condition-status name
    n=$((n + 1))
    if [ "$1" = 0 ]; then echo "ok $n - $2"; else
        echo "not ok $n - $2"
        bad=1
        grep -A2 '^not ok' "$tmp/out" | sed 's/^/# /'
    fi
}

build() { # output source flags...
    out=$1 src=$2
    shift 2
    # shellcheck disable=SC2086
    $CC $flags "$@" -o "$out" "$src" -lpthread || { echo "Bail out! cannot build $src"; exit 1; }
}

# The names of the checks that failed, one a line.
failures() {
    "$check" --slow $slow "$@" >"$tmp/out" 2>&1
    echo $? >"$tmp/rc"
    sed -n 's/^not ok [0-9]* - //p' "$tmp/out"
}

fails_only() { # check-name-prefix description arguments...
    want=$1 what=$2
    shift 2
    got=$(failures "$@")
    case "$got" in
    *"
"*) rc=1 ;;
    "$want"*) rc=0 ;;
    *) rc=1 ;;
    esac
    [ "$(cat "$tmp/rc")" = 1 ] || rc=1
    result $rc "$what fails only: $want"
}

passes() { # description arguments...
    what=$1
    shift
    got=$(failures "$@")
    [ -z "$got" ] && [ "$(cat "$tmp/rc")" = 0 ]
    result $? "$what passes"
}

mkdir "$tmp/one" "$tmp/two"
echo 1 >"$tmp/one/scale.txt"
echo 2 >"$tmp/two/scale.txt"
build "$tmp/echo.so" "$top_srcdir/sdk/examples/plugin-echo/echo.c"
build "$tmp/scale.so" "$top_srcdir/sdk/examples/plugin-scale-adapter/scale_adapter.c"
passes "the echo plugin" "$tmp/echo.so"
passes "the scale adapter" --adapter "$tmp/one" "$tmp/scale.so"
passes "the scale adapter for echo" --adapter "$tmp/one" --model-plugin "$tmp/echo.so" "$tmp/scale.so"
passes "echo with two scale adapters" --adapter-plugin "$tmp/scale.so" --adapter "$tmp/one" \
    --adapter "$tmp/two" "$tmp/echo.so"

model=$top_srcdir/tests/fakes/bad_model.c
while read -r rule name; do
    extra=
    [ "$rule" = EXPORTS_MORE ] && extra=-DEXPORT_MORE
    build "$tmp/bad.so" "$model" "-DBREAK=$rule" $extra
    if [ "$rule" = NOTHING ]; then passes "a model that breaks nothing" "$tmp/bad.so"; else
        fails_only "$name" "$rule" "$tmp/bad.so"
    fi
done <<'END'
NOTHING
EXPORTS_MORE file: passes
THREAD_AT_LOAD file: opens
OTHER_DESCRIPTOR descriptor: is the same
WRONG_SIZE descriptor: sizes
WRONG_SCHEMA descriptor: options_schema
UNKNOWN_CAPS descriptor: caps
CREATE_LEAKS life: create and destroy
LOAD_LEAKS life: create, load
LOAD_GOES_ON life: load can be cancelled
EXACT_SIZES contract: works with a newer host
READS_BEYOND contract: reads and writes
WRITES_INPUT contract: reads and writes
RANDOM_ANSWER generate: the same
TOO_MANY_TOKENS generate: max_new_tokens
CUT_UTF8 generate: max_new_tokens
NO_MESSAGES_CRASH generate: bad requests
IGNORES_EMIT cancel: generate stops when emit
STOPS_LATE cancel: generate stops when cancelled
IGNORES_DEADLINE cancel: a deadline
NOT_CONCURRENT concurrency:
ACTIVE_ADAPTER adapter: adapters mixed
MERGES_ADAPTER adapter: the base
ANY_SHAPE adapter: a wrong shape
ATTACH_LEAKS adapter: attach and detach
PRINTS manners: nothing
SETS_LOCALE manners: signals
NEEDS_NEWER_HOST file: opens
END

adapter=$top_srcdir/tests/fakes/bad_adapter.c
while read -r rule name; do
    build "$tmp/bad.so" "$adapter" "-DBREAK=$rule"
    if [ "$rule" = NOTHING ]; then passes "an adapter that breaks nothing" --adapter "$tmp/one" "$tmp/bad.so"; else
        fails_only "$name" "$rule" --adapter "$tmp/one" "$tmp/bad.so"
    fi
done <<'END'
NOTHING
WRONG_TARGET adapter: targets fit
ROWS_TOGETHER adapter: each row
SHARED_SCRATCH adapter: apply may run
OTHER_BATCH adapter: apply_batch
OPEN_LEAKS life: create and destroy
END

# Several rules may fall at once where the sentence matters more than the count.
build "$tmp/bad.so" "$model" -DBREAK=ERROR_WITHOUT_TEXT
failures "$tmp/bad.so" | grep -q '^life: a missing checkpoint'
result $? "ERROR_WITHOUT_TEXT fails: life: a missing checkpoint"
build "$tmp/bad.so" "$model" -DBREAK=NEEDS_NEWER_HOST
failures "$tmp/bad.so" >/dev/null
grep -q 'org.example.bad needs ABI 1.7, this host has 1.0' "$tmp/out"
result $? "a plugin that needs a newer host is refused with the sentence"
"$check" --json "$tmp/bad.so" >"$tmp/out"
[ $? = 1 ] && grep -q '"failed": *1' "$tmp/out"
result $? "--json tells the same"
"$check" >"$tmp/out" 2>&1
[ $? = 2 ]
result $? "no plugin is wrong usage"
echo "1..$n"
exit $bad
