#!/bin/sh
# e2e_recover.sh - a container that stops in mid-answer is a 502 and not ready; started again it answers, without a new bridge.
set -eu
. tests/e2e/lib.sh

# The sandbox dies with its server: quickstart starts another one.  Containers are restarted by their engine.
[ "$AIRLOCK_RUNTIME" != sandbox ] || exit 0
status() { curl -s -o /dev/null -w '%{http_code}' "$url/readyz"; }
wait_for() { # status
    n=0
    until [ "$(status)" = "$1" ]; do
        n=$((n + 1))
        [ $n -lt 300 ] || fail "/readyz is $(status) instead of $1 after 30 s"
        sleep 0.1
    done
}
wait_for 200
out=$(mktemp)
curl -sS -o "$out" -w '%{http_code}' "$url/generate" -H 'Content-Type: application/json' -d "$long_question" >"$out.status" &
caller=$!
sleep 0.4
"$AIRLOCK_RUNTIME" kill "$AIRLOCK_NAME" >/dev/null
wait $caller
[ "$(cat "$out.status")" = 502 ] || fail "the caller got $(cat "$out.status"): $(cat "$out")"
wait_for 503
"$AIRLOCK_RUNTIME" start "$AIRLOCK_NAME" >/dev/null
wait_for 200
[ "$(post /generate "$(question 'how are you?')" | head -c 3)" = 200 ] || fail "no answer after the restart"

# A paused container is no answer either, and nothing hangs for ever.
"$AIRLOCK_RUNTIME" pause "$AIRLOCK_NAME" >/dev/null
paused=$(status)
"$AIRLOCK_RUNTIME" unpause "$AIRLOCK_NAME" >/dev/null
[ "$paused" = 503 ] || fail "/readyz of a paused container: $paused"
wait_for 200
rm -f "$out" "$out.status"
