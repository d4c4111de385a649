#!/bin/sh
# e2e_kill.sh - killing the host's side in mid-answer stops the generation and leaves no process in the container: attack case A20.
set -eu
. tests/e2e/lib.sh

oneshots() { # clients inside that are not the bridge's relays
    # shellcheck disable=SC2016 # expanded inside
    inside sh -c 'for p in /proc/[0-9]*; do read -r n 2>/dev/null <$p/comm && [ "$n" = airlock-client ] && tr "\0" " " <$p/cmdline && echo; done; :' |
        grep -vc -- --relay || :
}
question_file=$(mktemp)
echo "$long_question" >"$question_file"
ask_long() { # in the background; its status in $question_file.status
    curl -sS -o /dev/null -w '%{http_code}' "$url/generate" -H 'Content-Type: application/json' -d "@$question_file" \
        >"$question_file.status" &
    sleep 0.4
}

# A caller of the bridge who is killed.
before=$(stopped)
ask_long
kill -KILL $!
until_is "the generation of a caller who hung up was stopped" $((before + 1)) stopped

# The command that carries the bridge's channel.
ask_long
case $AIRLOCK_RUNTIME in
sandbox) pattern='nsenter --target .* airlock-client --relay' ;;
docker | podman) pattern='exec -i -- [0-9a-f]{64} airlock-client --relay' ;; # the container's id
*) pattern="exec .*$AIRLOCK_NAME.* airlock-client --relay" ;;
esac
pkill -KILL -f -- "$pattern" || fail "no command of the bridge was found"
wait $!
[ "$(cat "$question_file.status")" = 502 ] || fail "the caller of a killed channel got $(cat "$question_file.status")"
until_is "the generation of a killed channel was stopped" $((before + 2)) stopped
[ "$(post /generate "$(question 'how are you?')" | head -c 3)" = 200 ] || fail "the next request has no answer"

# The command that carries one request.  Docker does not tell its process that the command is gone once standard input has
# ended (docs/pitfalls.md): there the client's own time limit ends it.
set -- airlock-client
[ "$AIRLOCK_RUNTIME" != docker ] || set -- airlock-client --timeout 1
case $AIRLOCK_RUNTIME in
sandbox) set -- container/sandbox exec "$AIRLOCK_NAME" "$@" ;;
*) set -- "$AIRLOCK_RUNTIME" exec -i "$AIRLOCK_NAME" "$@" ;;
esac
setsid "$@" <"$question_file" >/dev/null 2>&1 &
command=$!
sleep 0.4
/bin/kill -KILL -- "-$command" # its whole group; not every shell can
until_is "the generation of a killed command was stopped" $((before + 3)) stopped
until_is "no client is left inside" 0 oneshots
rm -f "$question_file" "$question_file.status"
