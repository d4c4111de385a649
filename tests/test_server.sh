#!/bin/sh
# test_server.sh - airlock-server as a process: its answers, its queue, its signals, its log.
# shellcheck disable=SC2119,SC2154
. "${top_srcdir:-.}/tests/server_lib.sh"
command -v curl >/dev/null || {
    echo "1..0 # SKIP curl is not installed"
    exit 77
}

config '{"name":"fake","class_name":"LLMModelFake","model_path":"model","adapter_map":{"sql":"adapter","a:b/../c":"x"},"max_concurrent_per_adapter":2,"queue":1,"options":{"depth":3}}' \
    '{"name":"plain","class_name":"PlainFake","model_path":"org/plain","max_concurrent_per_adapter":8}'
check_config
equal "--check succeeds" "$status" 0
has "--check prints the model" "^fake: LLMModelFake of org.airlock.test.model 1.0.0" "$work/out"
has "--check prints the adapter" "^fake:sql: adapter by org.airlock.test.adapter" "$work/out"

# Usage.
"$server" --help >"$work/out" 2>"$work/err"
equal "--help" "$?" 0
"$server" --version | grep -q '^airlock-server [0-9]'
ok "--version" $?
for args in "" "--config" "--nonsense" "--config x extra" "--config x --log-level loud" \
    "--config x --listen 0.0.0.0:1" "--config x --allow-remote --listen 0.0.0.0:1" \
    "--config x --max-connections 0" "--config x --answer-seconds -1"; do
    # shellcheck disable=SC2086
    "$server" $args >"$work/out" 2>"$work/err"
    equal "wrong usage: '$args'" "$?" 2
done
"$server" --config "$work/none.json" >"$work/out" 2>"$work/err"
equal "a configuration that is not there" "$?" 1
has "is named" "none.json: No such file" "$work/err"
equal "in one line" "$(wc -l <"$work/err")" 1

start --log-level debug
# The original's answers.
say "echo h\u00e9llo"
equal "an answer is 200" "$code" 200
equal "with the text" "$(cat "$work/body")" "héllo"
has "as text/plain" "^Content-Type: text/plain" "$work/head"
say "echo x" sql
equal "an adapter's answer" "$(cat "$work/body")" "[sql]x"
say "echo x" "" Fake
equal "a model by its class" "$code" 200
say "echo x" "" Nobody
equal "an unknown model is 400" "$code" 400
equal "with the original's sentence" "$(cat "$work/body")" "Unrecognized model 'Nobody'"
for name in nobody base ../../etc '' '%2e%2e' 'sql\u0000' 'SQL' ' sql'; do
    ask /generate -d "{\"model\":\"fake\",\"adapter\":\"$name\",\"messages\":[]}"
    equal "adapter '$name' is 400" "$code" 400
done
say "echo x" "a:b/../c"
equal "an adapter's name is only a name" "$(cat "$work/body")" "[a:b/../c]x"
ask /generate -d '{"model":"fake"}'
equal "a body of another shape is 422" "$code" 422
has "naming the field" '"loc":\["body","messages"\]' "$work/body"
ask /generate -d '{'
equal "a body that is not JSON is 422" "$code" 422
say "fail 8 /secret/path 0x7fff"
equal "a plugin's failure is 500" "$code" 500
equal "which tells nothing" "$(cat "$work/body")" "Internal server error."
has "but to the log" "generate 500 fake\[base\].*fake: /secret/path 0x7fff" "$work/err"
say "fail 3 no such placeholder"
equal "the client's fault is 400" "$code" 400
equal "with the plugin's sentence" "$(cat "$work/body")" "no such placeholder"
say "fail 2"
equal "what the plugin does not do is 501" "$code" 501
say "fail 5"
equal "out of memory is 503" "$code" 503
has "with Retry-After" "^Retry-After: 1" "$work/head"
say "fail 7"
equal "a cancellation that nobody asked for is 500" "$code" 500
say "fail 99"
equal "an unknown status is 500" "$code" 500
say "bytes 68c3a9ffe282"
equal "bytes that are no text are replaced" "$(cat "$work/body")" "$(printf 'h\303\251\357\277\275\357\277\275')"
say "flood 3"
equal "3 MiB" "$(wc -c <"$work/body")" 3145728
say "flood 17"
equal "more than the limit is 500" "$code" 500
ask /generate -d '{"model":"fake","messages":[{"role":"user","content":"params"}],"parameters":{"temperature":0.5,"top_p":0.9,"top_k":3,"do_sample":true,"max_new_tokens":5,"repetition_penalty":1.5,"presence_penalty":-1,"frequency_penalty":2}}'
equal "parameters arrive" "$(cat "$work/body")" \
    "set=255 t=0.5 p=0.9 rp=1.5 pp=-1 fp=2 k=3 max=5 sample=1 images=0 messages=1"
ask /generate -d '{"model":"fake","messages":[{"role":"user","content":"params"}],"parameters":{"temperature":0,"do_sample":true}}'
has "temperature 0 is greedy" "^set=128 .*sample=0" "$work/body"
ask /generate -d '{"model":"fake","images":["aGVsbG8="],"messages":[{"role":"user","content":"image"}]}'
equal "an image arrives decoded" "$(cat "$work/body")" "hello"
ask /generate -d '{"model":"fake","images":["aGVsbG8=","?"],"messages":[{"role":"user","content":"image"}]}'
equal "an image that is no base64 is 400" "$code" 400
equal "by its index" "$(cat "$work/body")" "images[1] is not valid base64"
ask /generate -d '{"model":"plain","images":["aGVsbG8="],"messages":[]}'
equal "images for a model without" "$code" 501
ask /generate -d '{"model":"fake","audios":["aGVsbG8="],"messages":[]}'
equal "audio for a model without" "$code" 501
ask /generate -d '{"model":"fake","stream":true,"messages":[{"role":"user","content":"echo héllo"}]}'
equal "a stream of text" "$code $(cat "$work/body")" "200 héllo"
has "is chunked" "^Transfer-Encoding: chunked" "$work/head"
has "and plain text" "^Content-Type: text/plain" "$work/head"
ask /generate -d '{"model":"fake","stream":true,"messages":[{"role":"user","content":"fail 3 no such thing"}]}'
equal "a stream that fails before it begins is an error" "$code $(cat "$work/body")" "400 no such thing"

# The other routes.
ask /livez
equal "livez" "$code" 200
ask /readyz
equal "readyz" "$code" 200
ask /v1/models
equal "the models" "$(tr ',' '\n' <"$work/body" | sed -n 's/.*"id":"\([^"]*\)".*/\1/p' | tr '\n' ' ')" \
    "fake fake:sql fake:a:b/../c plain "
ask /metrics
has "requests are counted" '^airlock_requests_total{model="fake",status="200"} [0-9]' "$work/body"
has "tokens are counted" '^airlock_generated_tokens_total{model="fake"} [1-9]' "$work/body"
has "unknown models are counted" '^airlock_requests_total{model="",status="400"} 1' "$work/body"
has "seconds are counted" '^airlock_request_seconds_count{model="fake"} [1-9]' "$work/body"

# A log line for each request, and never the text.
has "the log has tokens and seconds" "generate 200 fake\[sql\] req-[0-9a-f]*: 6 tokens in, 2 tokens out, 0 cached, 0\.[0-9]* s" "$work/err"
say "echo CANARY-IN-PROMPT"
say "fail 3 CANARY-IN-PROMPT"
say "CANARY-IN-PROMPT"
hasnt "the prompt is not in the log, at debug level" "CANARY" "$work/err"
say 'log a\nforged line\u001b[31m'
hasnt "a plugin cannot forge a log line" "^forged" "$work/err"
has "its line is escaped and names it" 'fake: a\\x0aforged line\\x1b\[31m' "$work/err"
ask /generate -d '{"model":"X\r\nforged","messages":[]}'
hasnt "nor can a client" "^forged" "$work/err"

# The queue: two run, one waits, the fourth is refused.
for i in 1 2 3; do
    say "sleep 600" sql &
    eval "w$i=\$!"
    sleep 0.1
done
ask /metrics
has "two run" '^airlock_requests_running{model="fake"} 2' "$work/body"
has "one waits" '^airlock_requests_waiting{model="fake"} 1' "$work/body"
say "echo x" sql
equal "beyond the queue is 503" "$code" 503
has "with Retry-After" "^Retry-After: 1" "$work/head"
say "echo base"
equal "the base model has its own queue" "$code" 200
wait "$w1" "$w2" "$w3"
say "echo x" sql
equal "afterwards there is room" "$code" 200

# Hanging up: while it runs, and while it waits.
curl -s -m 0.3 --unix-socket "$work/s" http://x/generate -o /dev/null \
    -d '{"model":"fake","messages":[{"role":"user","content":"sleep 20000"}]}'
sleep 0.4
has "a client that hangs up stops its generation" "fake: cancelled" "$work/err"
ask /metrics
has "nothing runs" '^airlock_requests_running{model="fake"} 0' "$work/body"
has "it is counted" '^airlock_requests_total{model="fake",status="499"} 1' "$work/body"
say "deaf 900" sql &
w1=$!
say "deaf 900" sql &
w2=$!
sleep 0.2
curl -s -m 0.2 --unix-socket "$work/s" http://x/generate -o /dev/null \
    -d '{"model":"fake","adapter":"sql","messages":[{"role":"user","content":"echo x"}]}'
sleep 0.2
ask /metrics
has "a client that hangs up leaves the queue" '^airlock_requests_waiting{model="fake"} 0' "$work/body"
wait "$w1" "$w2"

# One at a time for a class that says so, whatever the configuration allows.
say "sleep 400" "" plain &
w1=$!
say "sleep 400" "" plain &
w2=$!
sleep 0.2
ask /metrics
has "max_concurrent of the class holds" '^airlock_requests_running{model="plain"} 1' "$work/body"
wait "$w1" "$w2"

# A device that fails retires its model and no other.
say "fail 6" "" plain
equal "a failed device is 500" "$code" 500
say "echo x" "" plain
equal "and stays 500" "$code" 500
ask /readyz
equal "readyz says no" "$code" 503
has "and which" '"fake":"ready","plain":"failed"' "$work/body"
say "echo x"
equal "the other model goes on" "$code" 200
stop_server
equal "SIGTERM ends it with 0" "$status" 0
has "models are destroyed" "fake: destroyed" "$work/err"
has "adapters are closed" "fake\[sql\]: closed" "$work/err"
[ ! -e "$work/s" ]
ok "the socket is gone" $?

# SIGTERM lets what runs finish, a second one does not.
start --drain-seconds 10
say "sleep 500" &
w1=$!
sleep 0.2
stop_server
equal "SIGTERM waits" "$status" 0
wait "$w1"
equal "for the running request" "$(cat "$work/body")" "slept"
start --drain-seconds 60
say "sleep 30000" &
w1=$!
sleep 0.2
kill -TERM "$pid"
sleep 0.2
stop_server
equal "a second SIGTERM does not wait" "$status" 0
wait "$w1"
start --drain-seconds 0 --answer-seconds 1
say "sleep 5000"
equal "an answer that takes too long is 504" "$code" 504
stop_server INT
equal "SIGINT ends it with 0" "$status" 0
config '{"name":"fake","class_name":"LLMModelFake","model_path":"slow"}'
"$server" --config "$work/model_config.json" --plugin-dir "$work/plugins" --listen "unix:$work/s" \
    2>"$work/err" &
pid=$!
sleep 0.3
stop_server
equal "SIGTERM while loading ends it with 0" "$status" 0
has "which the log says" "stopped while loading" "$work/err"

# A token.
config "$fake"
printf 'a-token-of-many-letters\n' >"$work/token"
chmod 600 "$work/token"
start --token-file "$work/token" --log-format json
ask /livez
equal "livez needs no token" "$code" 200
for path in /generate /v1/models /readyz /metrics /nothing //livez /livez/ '/livez?x/../generate' /LIVEZ; do
    ask "$path" --path-as-is
    case $path in
    '/livez?'*) equal "GET $path" "$code" 200 ;;
    *) equal "GET $path needs the token" "$code" 401 ;;
    esac
done
ask /v1/models -H 'Authorization: Bearer a-token-of-many-letters'
equal "with the token" "$code" 200
ask /v1/models -H 'Authorization: Bearer a-token-of-many-letterS'
equal "with another token" "$code" 401
! grep -v '^{"time":".*","level":"info","program":"airlock-server","message":".*"}$' "$work/err" >"$work/out"
ok "every log line is JSON" $?
stop_server
finish
