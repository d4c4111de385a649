#!/bin/sh
# test_server_openai.sh - OpenAI's routes of airlock-server as a process: answers, streams, tools, tokens, adapters that come and go; attack cases A7 to A10 and A12 to A14.
# shellcheck disable=SC2119,SC2154
. "${top_srcdir:-.}/tests/server_lib.sh"
command -v curl >/dev/null || {
    echo "1..0 # SKIP curl is not installed"
    exit 77
}

mkdir -p "$work/adapters/good" "$work/adapters/more" "$work/adapters/broken" "$work/outside" "$work/gate"
ln -s ../outside "$work/adapters/link"
: >"$work/adapters/file"
printf 'the-admin-token-of-this-test\n' >"$work/admin"
chmod 600 "$work/admin"
config '{"name":"able","class_name":"LLMModelAble","model_path":"model","adapter_map":{"sql":"adapter"},"max_concurrent_per_adapter":4,"max_context":4096}' \
    "$fake" '{"name":"plain","class_name":"PlainFake","model_path":"x"}'
start --log-level debug --ping-seconds 1 --unload-seconds 1 --adapter-dir "$work/adapters" --admin-token-file "$work/admin"

# chat CONTENT [MORE]: one user message; MORE begins with a comma.
chat() {
    ask /v1/chat/completions -d "{\"model\":\"${model:-able}\",\"messages\":[{\"role\":\"user\",\"content\":\"$1\"}]${2:-}}"
}

# wait_for PATTERN FILE: up to 20 s.
wait_for() {
    tries=0
    until grep -q -e "$1" "$2" 2>/dev/null; do
        tries=$((tries + 1))
        [ $tries -lt 400 ] || return 1
        sleep 0.05
    done
}

events() { grep '^data: ' "$work/body" | grep -v 'DONE'; }
pieces() { events | sed -n 's/.*"content":"\([^"]*\)".*/\1/p' | tr -d '\n'; }

# Whole answers.
chat "echo h\u00e9llo"
equal "a chat is answered" "$code" 200
has "with the message" '"message":{"role":"assistant","content":"héllo","refusal":null}' "$work/body"
has "its end" '"finish_reason":"stop"' "$work/body"
has "its kind" '"id":"chatcmpl-[0-9a-f]\{24\}","object":"chat.completion","created":[0-9]*,"model":"able"' "$work/body"
has "and its cost" '"usage":{"prompt_tokens":11,"completion_tokens":6,"total_tokens":17,"prompt_tokens_details":{"cached_tokens":0}}' "$work/body"
has "as JSON" "^Content-Type: application/json" "$work/head"
has "with an id of the request" "^X-Request-Id: req-[0-9a-f]\{16\}" "$work/head"
ask /v1/chat/completions -H 'X-Request-Id: my.id-1' -d '{"model":"able:sql","messages":[{"role":"user","content":"echo x"}]}'
has "an adapter by name" '"content":"\[sql\]x"' "$work/body"
has "the client's own id comes back" "^X-Request-Id: my.id-1" "$work/head"
has "and is in the log" "chat 200 able\[sql\] my.id-1: " "$work/err"
ask /livez -H 'X-Request-Id: bad id'
has "an id that is none is replaced" "^X-Request-Id: req-" "$work/head"
ask /nothing
has "an unknown path has an id too" "^X-Request-Id: req-" "$work/head"
model=Able chat "echo x"
equal "a model by its class" "$code" 200
model=nobody chat "echo x"
equal "an unknown model is 404" "$code" 404
has "in OpenAI's form" '^{"error":{"message":"The model .nobody. does not exist","type":"invalid_request_error","param":"model","code":"model_not_found"}}$' "$work/body"
model=able:nobody chat "echo x"
equal "an unknown adapter is 400" "$code" 400
ask /v1/completions -d '{"model":"able","prompt":["echo a","echo bc"],"n":2}'
equal "completions of two prompts, twice" "$(tr '{' '\n' <"$work/body" | sed -n 's/.*"index":\([0-9]\).*"text":"\([^"]*\)".*/\1\2/p' | tr '\n' ' ')" "0a 1a 2bc 3bc "
has "count each prompt once" '"usage":{"prompt_tokens":13,"completion_tokens":6,' "$work/body"
chat "request" ',"seed":42,"n":3'
has "the first choice has the seed itself" 'content":"seed=42 ' "$work/body"
equal "the others one of their own" "$(tr '{' '\n' <"$work/body" | sed -n 's/.*content":"\(seed=[0-9]*\) .*/\1/p' | sort -u | wc -l)" 3
cp "$work/body" "$work/seeds"
chat "request" ',"seed":42,"n":3'
equal "the same ones again" "$(grep -o 'seed=[0-9]*' "$work/body")" "$(grep -o 'seed=[0-9]*' "$work/seeds")"
chat "params" ',"temperature":0'
has "temperature 0 is greedy" 'sample=0' "$work/body"
chat "params" ',"temperature":0.5,"max_completion_tokens":9,"top_k":3,"repetition_penalty":1.5'
has "parameters arrive" 'set=229 t=0.5 .* rp=1.5 .* k=3 max=9 sample=1' "$work/body"
chat "params"
has "none is the model's own" 'content":"set=0 ' "$work/body"
chat "tokens a|b|\u00e9" ',"logprobs":true,"top_logprobs":2'
has "log-probabilities" '"logprobs":{"content":\[{"token":"a","logprob":-0.25,"bytes":\[97\],"top_logprobs":\[{"token":"x","logprob":-1.5,"bytes":\[120\]},{"token":"�","logprob":-9999' "$work/body"
hasnt "the end token is not told" '<|end|>' "$work/body"
chat "ahead abc" ',"logprobs":true'
has "nor what was told before the text but is not of it" '"logprobs":{"content":\[{"token":"abc",[^}]*}\],"refusal"' "$work/body"
ask /v1/completions -d '{"model":"able","prompt":"tokens \u00e9|b","logprobs":1}'
has "as completions have them" '"logprobs":{"tokens":\["é","b"\],"token_logprobs":\[-0.25,-0.25\],"top_logprobs":\[{"x":-1.5},{"x":-1.5}\],"text_offset":\[0,1\]}' "$work/body"

# What the model is told.
chat "request" ',"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"},"strict":true}}],"tool_choice":{"type":"function","function":{"name":"f"}}'
has "tools and the choice" 'tools=\[{\\"name\\":\\"f\\",\\"description\\":\\"d\\",\\"parameters\\":{\\"type\\":\\"object\\"}}\] choice=function:f ' "$work/body"
chat "request" ',"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"none"'
has "none: it is told of no tools" 'tools= choice= ' "$work/body"
chat "request" ',"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{"type":"object","b":1,"a":2.50}}}'
has "a schema as it was written" 'constraint=2 {\\"type\\":\\"object\\",\\"b\\":1,\\"a\\":2.50} ' "$work/body"
ask /v1/chat/completions -H 'Airlock-Caller: abcDEF09' -d '{"model":"able","stop":["a","b"],"logit_bias":{"3":1.5},"messages":[{"role":"developer","content":"sys"},{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},{"role":"tool","tool_call_id":"c1","content":"42"},{"role":"user","content":[{"type":"text","text":"re"},{"type":"text","text":"quest"}]}]}'
has "caller, stop strings, biases, turns" 'salt=abcDEF09 stop=2 bias=1 images=0 audios=0 mime= 1\[sys||\] 3\[|\[{\\"name\\":\\"f\\",\\"arguments\\":{\\"a\\":1}}\]|\] 4\[42||c1\]' "$work/body"
ask /v1/chat/completions -d '{"model":"able","messages":[{"role":"user","content":[{"type":"text","text":"See "},{"type":"image_url","image_url":{"url":"data:image/png;base64,aGVsbG8="}},{"type":"input_audio","input_audio":{"data":"aGk=","format":"wav"}}]},{"role":"user","content":"request"}]}'
has "media, and where they go" 'images=1 audios=1 mime=image/png 2\[See <|image_1|><|audio_1|>||\]' "$work/body"
ask /v1/chat/completions -H 'Airlock-Caller: xyz' -d '{"model":"able","messages":[{"role":"user","content":"echo x"}]}'
equal "a caller that is no hash is 400" "$code" 400

# A14: nothing is ever fetched.
for url in http://127.0.0.1/x https://x/y file:///etc/passwd ftp://x/y gopher://x/ //x/y data:text/html\;base64,aGk= data:image/svg+xml\;base64,aGk= data:,x "" /etc/passwd; do
    chat '"}]},{"role":"user","content":[{"type":"image_url","image_url":{"url":"'"$url"
    [ "$code" = 400 ]
    ok "A14 media from '$url' is 400" $?
done
ask /v1/chat/completions -d '{"model":"able","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://127.0.0.1/x"}}]}]}'
has "by its place" '"param":"messages\[0\].content\[0\].image_url.url"' "$work/body"

# A12: no template of the caller's.
for field in chat_template chat_template_kwargs documents guided_json grammar; do
    chat "echo x" ",\"$field\":{\"a\":1}"
    equal "A12 $field is refused" "$code" 400
    has "by its name" "\"param\":\"$field\",\"code\":\"unknown_parameter\"" "$work/body"
done

# What a model has not.
for field in '"seed":1' '"stop":"a"' '"logprobs":true' '"logit_bias":{"1":1}' '"response_format":{"type":"json_object"}' '"tools":[{"type":"function","function":{"name":"f"}}]'; do
    name=${field#\"}
    name=${name%%\"*}
    model=plain chat "echo x" ",$field"
    equal "a model without $name says so" "$code" 501
    has "by its name" "\"param\":\"$name\",\"code\":\"unsupported_by_model\"" "$work/body"
done

# A13: failures tell nothing of the inside.
chat "fail 8 /secret/path 0x7fff"
equal "a failure inside is 500" "$code" 500
has "which tells nothing" '^{"error":{"message":"Internal server error.","type":"server_error","param":null,"code":null}}$' "$work/body"
chat "die some text"
equal "after some text too" "$code" 500
hasnt "A13 no address or path" '0x\|/secret' "$work/body"
chat "fail 3 your fault"
equal "the client's fault is 400" "$code" 400
has "with the plugin's sentence" '"message":"your fault"' "$work/body"

# Streams.
chat "echo h\u00e9llo" ',"stream":true,"stream_options":{"include_usage":true}'
equal "a stream" "$code" 200
has "of events" "^Content-Type: text/event-stream" "$work/head"
equal "has the text, in whole characters" "$(pieces)" "héllo"
equal "begins with the role" "$(events | head -n 1 | grep -c '"delta":{"role":"assistant","content":""}')" 1
has "ends with a reason" '"finish_reason":"stop","delta":{}' "$work/body"
equal "then the usage" "$(events | tail -n 1 | grep -c '"choices":\[\],"usage":{"prompt_tokens":11,"completion_tokens":6')" 1
equal "and DONE" "$(tail -n 2 "$work/body" | head -n 1)" "data: [DONE]"
chat "bytes f09f9880ff41" ',"stream":true'
equal "a character in four pieces, and a byte that is none" "$(pieces)" "😀�A"
chat "echo ab" ',"stream":true,"n":3'
for i in 0 1 2; do
    equal "choice $i" "$(events | grep "\"index\":$i" | sed -n 's/.*"content":"\([^"]*\)".*/\1/p' | tr -d '\n')" ab
done
ask /v1/completions -d '{"model":"able","prompt":"echo ab","stream":true}'
equal "completions stream text" "$(events | sed -n 's/.*"text":"\([^"]*\)".*/\1/p' | tr -d '\n')" ab
chat "die half an answer" ',"stream":true'
equal "who dies on the way has begun with 200" "$code" 200
equal "says what there is" "$(pieces)" "half an answer"
equal "then an error event" "$(events | tail -n 1)" 'data: {"error":{"message":"Internal server error.","type":"server_error","param":null,"code":null}}'
has "then DONE" "^data: \[DONE\]" "$work/body"
hasnt "A13 and nothing of the inside" '0x\|/secret' "$work/body"
chat "fail 3 at once" ',"stream":true'
equal "who fails at once has a status" "$code" 400
chat "sleep 2300" ',"stream":true'
has "silence is filled with pings" "^: ping$" "$work/body"

# Each event arrives before the next one is made: the model waits for a file that is made here when
# the event before it has come.
gate_stream() { # PATH BODY PATTERN-OF-A-PIECE
    rm -f "$work"/gate/*
    : >"$work/live"
    curl -sN -m 60 --unix-socket "$work/s" "http://x$1" -d "$2" >"$work/live" &
    curl_pid=$!
    came=0
    for i in 1 2 3 4 5; do
        wait_for "$i;" "$work/live" || break
        [ "$i" = 5 ] || ! grep -q "$((i + 1));" "$work/live" || break
        came=$i
        : >"$work/gate/$((i + 1))"
    done
    wait "$curl_pid"
}
gate_stream /v1/chat/completions '{"model":"able","stream":true,"messages":[{"role":"user","content":"gate '"$work"'/gate 5"}]}'
equal "each event is sent before the next is made" "$came" 5
gate_stream /generate '{"model":"able","stream":true,"messages":[{"role":"user","content":"gate '"$work"'/gate 5"}]}'
equal "each piece of /generate's text too" "$came" 5
equal "and nothing else" "$(cat "$work/live")" "1;2;3;4;5;"
curl -sN -m 10 --unix-socket "$work/s" http://x/generate -d '{"model":"able","stream":true,"messages":[{"role":"user","content":"die half"}]}' >"$work/live"
equal "a text that breaks off is cut" "$?$(cat "$work/live")" "18half"

# Hanging up.
rm -f "$work"/gate/* "$work/live"
curl -sN --unix-socket "$work/s" http://x/v1/chat/completions -o "$work/live" -d '{"model":"able","stream":true,"n":2,"messages":[{"role":"user","content":"gate '"$work"'/gate 5"}]}' &
curl_pid=$!
wait_for "1;" "$work/live"
kill "$curl_pid"
wait "$curl_pid" 2>/dev/null
wait_for "chat 499 able\[base\]" "$work/err"
ok "a client that hangs up stops its generation, which the log calls 499" $?
has "in the model too" "gate cancelled" "$work/err"
# A text has no pings that would find out: only the socket tells.
rm -f "$work"/gate/* "$work/live"
curl -sN --unix-socket "$work/s" http://x/generate -o "$work/live" -d '{"model":"able","stream":true,"messages":[{"role":"user","content":"gate '"$work"'/gate 5"}]}' &
curl_pid=$!
wait_for "1;" "$work/live"
kill "$curl_pid"
wait "$curl_pid" 2>/dev/null
wait_for "generate 499 able\[base\]" "$work/err"
ok "without waiting for something to be sent" $?
# A reader that does not read: the model is stopped, not held up.
mkfifo "$work/pipe"
curl -sN --unix-socket "$work/s" http://x/v1/chat/completions -o "$work/pipe" -d '{"model":"able","stream":true,"messages":[{"role":"user","content":"forever"}]}' &
curl_pid=$!
exec 3<>"$work/pipe"
wait_for "forever stopped" "$work/err"
ok "a reader that does not read stops its generation" $?
chat "echo x"
equal "and nobody else's" "$code" 200
kill "$curl_pid"
wait "$curl_pid" 2>/dev/null
exec 3>&-

# Tools.
tools=',"tools":[{"type":"function","function":{"name":"f"}}]'
chat "calls 2" "$tools"
has "calls" '"content":null,"refusal":null,"tool_calls":\[{"id":"call_[0-9a-f]\{24\}","type":"function","function":{"name":"f","arguments":"{\\"i\\":0}"}},{"id":' "$work/body"
has "end the answer" '"finish_reason":"tool_calls"' "$work/body"
chat "calls 2" "$tools,\"parallel_tool_calls\":false"
equal "one at a time is one" "$code $(grep -o '"id":"call_' "$work/body" | wc -l)" "200 1"
chat "calls 2 so" "$tools,\"stream\":true"
equal "as deltas" "$(events | grep -o '"tool_calls":\[{"index":[01],"id":"call_[0-9a-f]*","type":"function","function":{"name":"f","arguments":"{\\"i\\":[01]}"}}\]' | wc -l)" 2
has "with their reason" '"finish_reason":"tool_calls","delta":{}' "$work/body"

# Token ids.
ask /tokenize -d '{"model":"able","prompt":"a\u00e9"}'
equal "ids of text" "$(cat "$work/body")" '{"count":3,"max_model_len":4096,"tokens":[97,195,169]}'
ask /tokenize -d '{"model":"able","messages":[{"role":"user","content":"ab"}],"add_generation_prompt":true}'
has "ids of a chat" '"tokens":\[97,98\]' "$work/body"
head -c 10000 /dev/zero | tr '\0' a | sed 's/^/{"model":"able","prompt":"/;s/$/"}/' >"$work/long"
ask /tokenize -d "@$work/long"
has "many ids" '"count":10000,' "$work/body"
ask /detokenize -d '{"model":"able","tokens":[97,195,169]}'
equal "and back" "$(cat "$work/body")" '{"prompt":"aé"}'
ask /detokenize -d '{"model":"able","tokens":[97,300]}'
equal "an unknown id is 400" "$code" 400
ask /tokenize -d '{"model":"plain","messages":[{"role":"user","content":"x"}]}'
equal "a model that tells none" "$code" 501
ask /tokenize -d '{"model":"able","prompt":"x","messages":[{"role":"user","content":"x"}]}'
equal "either text or chat" "$code" 400

# Adapters that come and go.
admin() { # load|unload BODY [CURL OPTION...]
    route=/v1/$1_lora_adapter
    body=$2
    shift 2
    ask "$route" -H 'Airlock-Admin: the-admin-token-of-this-test' -d "$body" "$@"
}
ask /v1/load_lora_adapter -d '{"lora_name":"new","lora_path":"good","model":"able"}'
equal "loading without the token is 401" "$code" 401
ask /v1/load_lora_adapter -H 'Airlock-Admin: the-admin-token-of-this-tesT' -d '{"lora_name":"new","lora_path":"good","model":"able"}'
equal "with another one too" "$code" 401
ask /v1/unload_lora_adapter -d '{"lora_name":"sql","model":"able"}'
equal "unloading as well" "$code" 401
model=able:new chat "echo x"
equal "nothing was loaded" "$code" 400
for where in .. ../outside ../adapters "$work/outside" link /etc . "" nothing file good/../../outside; do
    admin load "{\"lora_name\":\"new\",\"lora_path\":\"$where\",\"model\":\"able\"}"
    equal "a path that leads out or nowhere: '$where'" "$code" 400
done
for name in base "" 'a\nb' sql; do
    admin load "{\"lora_name\":\"$name\",\"lora_path\":\"good\",\"model\":\"able\"}"
    equal "a name that cannot be: '$name'" "$code" 400
done
admin load '{"lora_name":"new","lora_path":"good"}'
equal "which of several models must be said" "$code" 400
admin load '{"lora_name":"new","lora_path":"good","model":"able","rank":3}'
equal "an unknown key" "$code" 400
admin load '{"lora_name":"new","lora_path":"good","model":"plain"}'
equal "a model that takes none" "$code" 501
admin load '{"lora_name":"new","lora_path":"broken","model":"able"}'
equal "one that does not open" "$code" 400
hasnt "A13 its path is not told" "$work" "$work/body"
has "but to the log" "adapter new of able not loaded: able\[new\]: fake adapter: the checkpoint is broken" "$work/err"
admin load '{"lora_name":"new","lora_path":"good","model":"able"}'
equal "a good one" "$code" 200
model=able:new chat "echo x"
has "is used at once" '"content":"\[new\]x"' "$work/body"
admin load '{"lora_name":"new","lora_path":"more","model":"able"}'
equal "twice the same name is 400" "$code" 400
ask /v1/models
has "it is in the list, with its memory" '"id":"able:new",.*"parent":"able","memory_bytes":4711' "$work/body"
model=able:new chat "sleep 400" &
w1=$!
sleep 0.2
admin unload '{"lora_name":"new","model":"able"}'
equal "unloading waits for who uses it" "$code" 200
wait "$w1"
has "it is closed" "able\[new\]: closed" "$work/err"
model=able:new chat "echo x"
equal "and unknown" "$code" 400
admin unload '{"lora_name":"new","model":"able"}'
equal "a second time is 404" "$code" 404
admin load "{\"lora_name\":\"new\",\"lora_path\":\"$work/adapters/more\",\"model\":\"able\"}"
equal "it can come again, by its whole path" "$code" 200
model=able:new chat "sleep 2500" &
w1=$!
sleep 0.3
admin unload '{"lora_name":"new","model":"able"}'
equal "who uses it for too long keeps it" "$code" 409
wait "$w1"
model=able:new chat "echo x"
equal "it is still there" "$code" 200
i=0
while [ $i -lt 20 ]; do
    admin load "{\"lora_name\":\"t$i\",\"lora_path\":\"good\",\"model\":\"able\"}"
    model=able:t$i chat "echo x" ',"stream":true' &
    model=able:t$i ask /v1/models
    admin unload "{\"lora_name\":\"t$i\",\"model\":\"able\"}"
    wait "$!"
    i=$((i + 1))
done
equal "coming and going beside requests" "$code" 200

# Metrics.
ask /metrics
has "time to the first token" '^airlock_time_to_first_token_seconds_count{model="able"} [1-9]' "$work/body"
has "between tokens" '^airlock_inter_token_seconds_bucket{model="able",le="0.001"} [1-9]' "$work/body"
has "the queue" '^airlock_queue_seconds_count{model="able"} [1-9]' "$work/body"
has "adapters" '^airlock_adapters_loaded{model="able"} 2' "$work/body"
has "their memory" '^airlock_adapter_memory_bytes{model="able",adapter="new"} 4711' "$work/body"
has "what the engine tells: a gauge" '^airlock_engine_kv_blocks{model="able"} 12.5' "$work/body"
has "a counter" '^airlock_engine_steps_total{model="able"} 7' "$work/body"
has "a histogram" '^airlock_engine_step_seconds_bucket{model="able",le="+Inf"} 4' "$work/body"
has "in one line" '^# HELP airlock_engine_step_seconds Steps$' "$work/body"
hasnt "and no name that is none" 'bad name' "$work/body"
has "refusals are counted" '^airlock_requests_total{model="",status="404"} 1' "$work/body"

# A8: who is slow holds nobody up.  A9, A10: numbers and shapes that make no sense.
exec 4<>"$work/pipe"
i=0
slow=
while [ $i -lt 40 ]; do
    curl -s -m 20 --unix-socket "$work/s" http://x/v1/chat/completions -H 'Expect:' -T "$work/pipe" -X POST >/dev/null 2>&1 &
    slow="$slow $!"
    i=$((i + 1))
done
chat "echo x"
equal "A8 forty clients that send nothing do not hold others up" "$code" 200
# shellcheck disable=SC2086
kill $slow 2>/dev/null
exec 4>&-
for field in temperature top_p n max_tokens max_completion_tokens seed presence_penalty frequency_penalty repetition_penalty top_k top_logprobs; do
    for value in 1e308 '"1"' 9223372036854775808 -9223372036854775808 '[]' '{}' true; do
        chat "echo x" ",\"$field\":$value"
        [ "$code" = 400 ] && grep -q "\"param\":\"$field\"" "$work/body"
        ok "A9 $field: $value" $?
    done
done
chat "echo x" ',"n":9'
equal "A9 n: 9" "$code" 400
chat "echo x" ',"temperature":NaN'
equal "A10 NaN" "$code" 400
{ printf '{"model":"able","messages":'; head -c 100000 /dev/zero | tr '\0' '['; } >"$work/deep"
ask /v1/chat/completions -d "@$work/deep"
equal "A10 a depth of 100,000" "$code" 400
{ printf '{"model":"able","metadata":{'; i=0; while [ $i -lt 70000 ]; do printf '"k%d":1,' $i; i=$((i + 1)); done; printf '"k":1}}'; } >"$work/keys"
ask /v1/chat/completions -d "@$work/keys"
equal "A10 70,000 keys" "$code" 400
printf '{"model":"able","messages":[{"role":"user","content":"echo \377"}]}' >"$work/bytes"
ask /v1/chat/completions -d "@$work/bytes"
equal "A10 bytes that are no UTF-8" "$code" 400

hasnt "prompts are not in the log, at debug level" "half an answer" "$work/err"
stop_server
equal "it ends well" "$status" 0
finish
