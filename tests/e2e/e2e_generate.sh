#!/bin/sh
# e2e_generate.sh - POST /generate answers as the original's SDK and example expect, and refuses in sentences.
set -eu
. tests/e2e/lib.sh

answer=$(post /generate "$(question 'how are you?')")
echo "$answer" | sed 's/^/# /'
[ "$(echo "$answer" | head -n 1 | cut -c1-14)" = "200 text/plain" ] || fail "expected 200 text/plain"
[ "$(echo "$answer" | tail -n +2 | wc -c)" -gt 10 ] || fail "the answer is empty"
again=$(post /generate "$(question 'how are you?')")
[ "$answer" = "$again" ] || fail "greedy answers differ"

post /generate "$(question x | sed 's/Phi4MiniInstruct/Phi9/')" | tail -n +2 | grep -qx "Unrecognized model 'Phi9'" ||
    fail "an unknown model is not named"
[ "$(post /generate "$(question x | sed 's/Phi4MiniInstruct/Phi9/')" | head -c 3)" = 400 ] || fail "unknown model: not 400"
[ "$(post /generate '{"model":' | head -c 3)" = 422 ] || fail "bad JSON: not 422"
post /generate "$(question x | sed 's/"role":"user"/"role":"pope"/')" | grep -q '"loc":\["body","messages",1,"role"\]' ||
    fail "the wrong role is not located"
[ "$(post /generate "$(question x | sed 's/"container_name":"[a-z]*"/"container_name":"nobody"/')" | head -c 3)" = 404 ] ||
    fail "an unenrolled container: not 404"
[ "$(curl -s -o /dev/null -w '%{http_code}' -H 'Host: evil.example' "$url/readyz")" = 421 ] || fail "foreign Host: not 421"
[ "$(curl -s -o /dev/null -w '%{http_code}' -H 'Origin: http://evil.example' -H 'Content-Type: application/json' \
    -d "$(question x)" "$url/generate")" = 403 ] || fail "foreign Origin: not 403"
curl -fsS "$url/v1/models" | jq -e '.data | map(.id) | length >= 3' >/dev/null || fail "/v1/models lists too little"
curl -fsS "$url/readyz" >/dev/null || fail "not ready"
