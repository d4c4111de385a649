#!/bin/sh
# e2e_clients.sh - clients that nobody here wrote work against the bridge: openai, litellm, langchain-openai, curl.
set -eu
. tests/e2e/lib.sh

venv=$AIRLOCK_BUILD/clients
if [ ! -x "$venv/bin/schemathesis" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install -q -r tests/e2e/clients/requirements.txt >"$venv.log" 2>&1 ||
        { tail -n 5 "$venv.log" >&2; fail "the client packages cannot be installed"; }
fi
bad=0
for client in openai_package litellm_package langchain_package; do
    LITELLM_LOCAL_MODEL_COST_MAP=True "$venv/bin/python" "tests/e2e/clients/$client.py" 2>"$venv.err" ||
        { tail -n 15 "$venv.err" >&2; echo "not ok: $client" >&2; bad=1; }
done
events=$(curl -fsSN "$url/v1/chat/completions" -H 'Content-Type: application/json' \
    -d '{"model":"demo","stream":true,"messages":[{"role":"user","content":"how are you?"}]}')
[ "$(echo "$events" | tail -n 2 | head -n 1)" = 'data: [DONE]' ] || [ "$(echo "$events" | tail -n 1)" = 'data: [DONE]' ] ||
    fail "the stream does not end with [DONE]: $events"
exit $bad
