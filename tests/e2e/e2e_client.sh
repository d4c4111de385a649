#!/bin/sh
# e2e_client.sh - one request through airlock-client alone, and its way to say that something failed.
set -eu
. tests/e2e/lib.sh

one=$(question 'how are you?' | inside airlock-client; echo x)
bridge=$(curl -fsS "$url/generate" -H 'Content-Type: application/json' -d "$(question 'how are you?')"; echo x)
[ "$one" = "$bridge" ] || fail "client says '$one', bridge says '$bridge'"
rc=0
out=$(echo '{"model":' | inside airlock-client) || rc=$?
[ $rc = 1 ] || fail "exit $rc instead of 1"
case $out in "Unrecoverable server error: "*) ;; *) fail "no reason: $out" ;; esac
