# media_stack.sh - a bridge, a relay and a server with the tiny random Phi-4-multimodal model of tests/golden, for tests that ask it.
# Sourced, with top_srcdir and top_builddir set; the address is in $url, a scratch folder in $work.
# shellcheck shell=sh
top_builddir=$(cd "${top_builddir:-$PWD}" && pwd)
top_srcdir=$(cd "${top_srcdir:-$PWD}" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/airlock-media-XXXXXX")
server_pid= bridge_pid=
stack_down() {
    for p in $bridge_pid $server_pid; do kill "$p" 2>/dev/null || :; done
    for p in $bridge_pid $server_pid; do wait "$p" 2>/dev/null || :; done # its status is not the test's, though "set -e" may be on
    server_pid= bridge_pid=
    rm -rf "$work"
}
trap stack_down EXIT
trap 'exit 1' INT TERM

# up NAME COMMAND...: starts it and waits for "listening on" in $work/NAME.log.
stack_start() {
    name=$1
    shift
    "$@" >"$work/$name.log" 2>&1 &
    started=$! n=0
    until grep -qs "listening on" "$work/$name.log"; do
        n=$((n + 1))
        if [ $n -gt 1000 ] || ! kill -0 "$started" 2>/dev/null; then
            echo "# $name did not start"
            sed 's/^/# /' "$work/$name.log"
            exit 1
        fi
        sleep 0.02
    done
}

# stack_up [BRIDGE OPTION...]: container phi with the models mm (hears and sees) and mini (a text model).
stack_up() {
    mkdir -p "$work/plugins" "$work/fake"
    cp "$top_builddir/plugins/.libs/phi4-multimodal.so" "$top_builddir/plugins/.libs/phi4-mini.so" "$work/plugins"
    chmod 755 "$work" "$work/plugins" "$work"/plugins/*.so
    printf '{"models":[{"name":"mm","class_name":"LLMModelPhi4MultimodalInstruct","model_path":"%s","max_concurrent_per_adapter":4,"options":{"media_worker":"%s"}},{"name":"mini","class_name":"LLMModelPhi4MiniInstruct","model_path":"%s"}]}\n' \
        "$top_srcdir/tests/golden/multimodal" "$top_builddir/airlock-media-worker" "$top_srcdir/demo/model" >"$work/model_config.json"
    stack_start server "$top_builddir/airlock-server" --config "$work/model_config.json" --plugin-dir "$work/plugins" --listen "unix:$work/s"
    server_pid=$started
    cp "$top_srcdir/tests/fakes/docker" "$work/fake/docker"
    chmod 755 "$work/fake/docker"
    echo "$top_builddir/airlock-client" >"$work/fake/client"
    echo "unix:$work/s" >"$work/fake/address"
    printf '{"listen":"127.0.0.1:0","containers":[{"name":"phi","program":"%s/fake/docker"}]}\n' "$work" >"$work/bridge.json"
    stack_start bridge "$top_builddir/airlock-bridge" --config "$work/bridge.json" "$@"
    bridge_pid=$started
    # shellcheck disable=SC2034 # for those who source this
    url=http://$(sed -n 's/.*listening on \([0-9.:]*\).*/\1/p' "$work/bridge.log")
}
