# server_lib.sh - what the shell tests of airlock-server share: a scratch folder, configurations, a running server.
# Sourced, with top_srcdir and top_builddir set by make check.
set -u
top_builddir=${top_builddir:-$PWD}
top_srcdir=${top_srcdir:-$PWD}
server=$top_builddir/airlock-server
work=$(mktemp -d "${TMPDIR:-/tmp}/airlock-server-XXXXXX")
pid=
failures=0
checks=0

cleanup() {
    if [ -n "$pid" ]; then
        kill -9 "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
    fi
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

# ok NAME STATUS: one check, with what is in $work/err when it failed.
ok() {
    checks=$((checks + 1))
    if [ "$2" -eq 0 ]; then
        echo "ok $checks - $1"
    else
        failures=$((failures + 1))
        echo "not ok $checks - $1"
        sed 's/^/# /' "$work/err" "$work/out" 2>/dev/null | tail -n 12
    fi
}

# has NAME PATTERN FILE
has() {
    grep -q -e "$2" "$3"
    ok "$1" $?
}

hasnt() {
    ! grep -q -e "$2" "$3"
    ok "$1" $?
}

# equal NAME GOT WANTED
equal() {
    [ "$2" = "$3" ] || printf '# got: %s\n# wanted: %s\n' "$2" "$3"
    [ "$2" = "$3" ]
    ok "$1" $?
}

finish() {
    echo "1..$checks"
    [ "$failures" -eq 0 ]
    exit
}

# The plugin directory of most tests: copies, so that modes and owners are ours to choose.
mkdir -p "$work/plugins" "$work/model" "$work/adapter"
chmod 755 "$work" "$work/plugins"
for p in model lora; do
    cp "$top_builddir/tests/fakes/.libs/$p.so" "$work/plugins/$p.so" || exit 1
    chmod 755 "$work/plugins/$p.so"
done

# config ENTRY...: model_config.json of these entries.
config() {
    list=
    for e in "$@"; do
        list="$list${list:+,}$e"
    done
    printf '{"models":[%s]}\n' "$list" >"$work/model_config.json"
}

fake='{"name":"fake","class_name":"LLMModelFake","model_path":"model"}'

# check_config [OPTION...]: runs --check; its exit status is in $status, its output in out and err.
check_config() {
    "$server" --config "$work/model_config.json" --plugin-dir "$work/plugins" --check "$@" \
        >"$work/out" 2>"$work/err"
    status=$?
}

# start [OPTION...]: the server on a unix socket; waits until it listens.
start() {
    "$server" --config "$work/model_config.json" --plugin-dir "$work/plugins" \
        --listen "unix:$work/s" "$@" >"$work/out" 2>"$work/err" &
    pid=$!
    n=0
    while [ ! -S "$work/s" ]; do
        n=$((n + 1))
        if [ $n -gt 500 ] || ! kill -0 "$pid" 2>/dev/null; then
            echo "# the server did not start"
            sed 's/^/# /' "$work/err"
            exit 1
        fi
        sleep 0.02
    done
}

# stop_server [SIGNAL]: ends it; its exit status is in $status.
stop_server() {
    kill "-${1:-TERM}" "$pid"
    wait "$pid"
    status=$?
    pid=
}

# ask PATH [CURL OPTION...]: body in body, status in $code.
ask() {
    path=$1
    shift
    code=$(curl -s -m 30 -o "$work/body" -D "$work/head" -w '%{http_code}' --unix-socket "$work/s" "$@" "http://x$path")
}

# say TEXT [ADAPTER [MODEL]]: POST /generate with one user message.
say() {
    adapter=
    [ -n "${2:-}" ] && adapter=",\"adapter\":\"$2\""
    ask /generate -H 'Content-Type: application/json' -d \
        "{\"model\":\"${3:-fake}\"$adapter,\"messages\":[{\"role\":\"user\",\"content\":\"$1\"}]}"
}
