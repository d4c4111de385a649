#!/bin/sh
# e2e_page.sh - the bridge's page in a headless Chromium, against bridges with models, with a stub that repeats what it hears, and with tokens.
set -eu
. tests/e2e/lib.sh

command -v chromium-headless-shell >/dev/null ||
    fail "chromium-headless-shell is not installed (Debian's package of that name)"
top_builddir=$AIRLOCK_BUILD top_srcdir=$PWD
. tests/media_stack.sh
# shellcheck disable=SC2119 # no options for the bridge
stack_up
bridge() { # name port-file-of-the-server option...: one more bridge; its address in $more
    name=$1 address=$2
    shift 2
    mkdir "$work/$name"
    cp tests/fakes/docker "$work/$name/docker"
    echo "$top_builddir/airlock-client" >"$work/$name/client"
    echo "$address" >"$work/$name/address"
    printf '{"listen":"127.0.0.1:0","containers":[{"name":"phi","program":"%s/%s/docker"}]}\n' "$work" "$name" >"$work/$name.json"
    stack_start "$name" "$top_builddir/airlock-bridge" --config "$work/$name.json" "$@"
    bridge_pid="$bridge_pid $started"
    more=http://$(sed -n 's/.*listening on \([0-9.:]*\).*/\1/p' "$work/$name.log")
}
make -C "$top_builddir" -s tests/fakes/stub_server
"$top_builddir/tests/fakes/stub_server" "unix:$work/stub" >/dev/null 2>&1 &
bridge_pid="$bridge_pid $!"
bridge stubbed "unix:$work/stub"
AIRLOCK_STUB_URL=$more
printf 'secret-secret-secret-secret\n' >"$work/tokens"
chmod 600 "$work/tokens"
bridge closed "unix:$work/s" --token-file "$work/tokens"
AIRLOCK_CLOSED_URL=$more AIRLOCK_URL=$url
export AIRLOCK_URL AIRLOCK_STUB_URL AIRLOCK_CLOSED_URL
PYTHONDONTWRITEBYTECODE=1 timeout 300 python3 tests/e2e/page_browser.py || { tail -n 20 "$work"/*.log >&2; exit 1; }
