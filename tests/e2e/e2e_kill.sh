#!/bin/sh
# e2e_kill.sh - killing the host's side in mid-answer leaves no process in the container, and generation stops: attack case A20.
set -eu
. tests/e2e/lib.sh

clients() { # processes of airlock-client inside, but for those of the bridge's own channels
    # shellcheck disable=SC2016 # expanded inside
    inside sh -c 'for p in /proc/[0-9]*; do read -r n 2>/dev/null <$p/comm && [ "$n" = airlock-client ] && tr "\0" " " <$p/cmdline && echo; done; :' |
        grep -vc -- --relay || :
}
running() { metric airlock_requests_running; }
until_is() { # what command value
    n=0
    until [ "$("$2")" = "$3" ]; do
        n=$((n + 1))
        [ $n -lt 100 ] || fail "$1: $("$2") instead of $3 after 10 s"
        sleep 0.1
    done
}

until_is "the server is at rest" running 0
case $AIRLOCK_RUNTIME in
sandbox) set -- container/sandbox exec "$AIRLOCK_NAME" airlock-client ;;
*) set -- "$AIRLOCK_RUNTIME" exec -i "$AIRLOCK_NAME" airlock-client ;;
esac
# Once by the host's side of a one-shot client ...
echo "$long_question" | setsid "$@" >/dev/null 2>&1 &
until_is "the long answer is being generated" running 1
[ "$(clients)" -ge 1 ] || fail "the probe does not see the client"
kill -KILL -- "-$!"
until_is "generation stops after the command was killed" running 0
until_is "no client is left inside" clients 0

# ... and once by a caller of the bridge who goes away.
curl -sS -o /dev/null "$url/generate" -H 'Content-Type: application/json' -d "$long_question" &
until_is "the long answer is being generated for the bridge's caller" running 1
kill -KILL $!
until_is "generation stops after the caller hung up" running 0
answer=$(post /generate "$(question 'how are you?')" | head -c 3)
[ "$answer" = 200 ] || fail "the next request: $answer"
