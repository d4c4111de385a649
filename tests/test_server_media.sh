#!/bin/sh
# test_server_media.sh - pictures and sounds on every path of airlock-server that takes them: /generate, chats, and forms with a recording to transcribe.
# shellcheck disable=SC2119,SC2154
. "${top_srcdir:-.}/tests/server_lib.sh"
command -v curl >/dev/null || {
    echo "1..0 # SKIP curl is not installed"
    exit 77
}

config '{"name":"able","class_name":"LLMModelAble","model_path":"model","adapter_map":{"sql":"adapter"},"max_concurrent_per_adapter":4,"max_context":4096}' "$fake"
start --log-level debug --ping-seconds 1
printf 'RIFF\000\377\r\n--b0\r\n\000' >"$work/sound.wav"
: >"$work/empty.wav"

# transcribe [CURL OPTION...]: a form with the file and a model.
transcribe() { ask /v1/audio/transcriptions -F "file=@${sound:-$work/sound.wav}" -F "model=${model:-able}" "$@"; }

question='Transcribe the audio clip into text.'
heard=$(printf 'heard: %s| 15 bytes to 00' "${question#Transcribe }")
transcribe
equal "a recording is transcribed" "$code" 200
has "its bytes reach the model as they are, and its words come without white space around them" "^{\"text\":\"$heard\",\"usage\":{\"type\":\"tokens\",\"input_tokens\":47,\"output_tokens\":2,\"total_tokens\":49}}\$" "$work/body"
has "as JSON" '^Content-Type: application/json' "$work/head"
has "and are in the log like any other" 'transcriptions 200 able\[base\] req-' "$work/err"
transcribe -F response_format=text
equal "as bare text" "$(cat "$work/body")" "$heard"
has "of its own type" '^Content-Type: text/plain; charset=utf-8' "$work/head"
transcribe -F language=fr -F 'prompt=Café Olé'
has "language and prompt are said to the model" 'into text. The audio is in French. Follow the spelling and style of this text: Café Olé|' "$work/body"
transcribe -F 'include[]=logprobs'
has "log-probabilities" '"logprobs":\[{"token":" heard: [^}]*","logprob":-0.25,"bytes":\[32,104,[0-9,]*\]},{"token":"| 15' "$work/body"
model=able:sql transcribe
has "through an adapter" 'transcriptions 200 able\[sql\]' "$work/err"
transcribe -F stream=true
has "a stream" '^Content-Type: text/event-stream' "$work/head"
equal "of the words as they are made, then all of them and their cost" "$(sed -n 's/^data: //p' "$work/body" | tr -d '\n')" \
    "{\"type\":\"transcript.text.delta\",\"delta\":\" heard: ${question#Transcribe }\"}{\"type\":\"transcript.text.delta\",\"delta\":\"| 15 bytes to 00\\n\"}{\"type\":\"transcript.text.done\",\"text\":\"$heard\",\"usage\":{\"type\":\"tokens\",\"input_tokens\":47,\"output_tokens\":2,\"total_tokens\":49}}[DONE]"
transcribe -F stream=true -F 'include[]=logprobs'
has "with log-probabilities" '"delta":"| 15 bytes to 00\\n","logprobs":\[{"token":"| 15' "$work/body"
transcribe -F prompt=no
equal "what the model refuses is 400" "$code" 400
has "in its words" '"message":"fake: it cannot be heard","type":"invalid_request_error"' "$work/body"
transcribe -F prompt=no -F stream=true
equal "also of a stream that has not begun" "$code" 400

model=fake transcribe
equal "a model without ears is a 400" "$code" 400
has "that says so" '"message":"This model does not take audio: choose one that does","type":"invalid_request_error","param":"model","code":"unsupported_by_model"' "$work/body"
model=nobody transcribe
equal "an unknown model is 404" "$code" 404
sound=$work/empty.wav transcribe
has "an empty file is refused" '"the file is empty".*"param":"file"' "$work/body"
transcribe -F response_format=verbose_json
has "times are not made up" 'the model tells neither times nor speakers.*"param":"response_format","code":"unsupported_parameter"' "$work/body"
transcribe -F beam_size=5
has "an unknown field is refused by name" "Unknown parameter: 'beam_size'.*\"code\":\"unknown_parameter\"" "$work/body"
ask /v1/audio/transcriptions -H 'Content-Type: application/json' -d '{"model":"able"}'
equal "JSON is no form" "$code" 400
has "which is said" '"param":"Content-Type"' "$work/body"
ask /v1/audio/transcriptions
equal "only POST" "$code" 405
ask /metrics
has "answers are counted" 'airlock_requests_total{model="able",status="200"} 7' "$work/body"
has "and refusals" 'airlock_requests_total{model="able",status="400"} 2' "$work/body"

# A large recording: the bytes of a form are not JSON and have no base64.
head -c 20000000 /dev/zero >"$work/large.wav"
sound=$work/large.wav transcribe
has "20 MB" '| 20000000 bytes to 00' "$work/body"
head -c 67108864 /dev/zero >"$work/large.wav"
sound=$work/large.wav transcribe
equal "a form beyond the limit" "$code" 413
rm "$work/large.wav"

# The same media elsewhere.
wav=$(base64 -w 0 <"$work/sound.wav")
chat() { ask /v1/chat/completions -d "{\"model\":\"able\",\"messages\":[{\"role\":\"user\",\"content\":[$1]}]${2:-}}"; }
chat "{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"$wav\",\"format\":\"wav\"}},{\"type\":\"text\",\"text\":\"$question\"}"
has "a chat's input_audio is the same question" "\"content\":\" $heard" "$work/body"
chat "{\"type\":\"text\",\"text\":\"image\"},{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,aGVsbG8=\"}}"
equal "a chat's picture" "$code" 400
has "stands where it was said, behind the word" 'fake: unknown command' "$work/body"
chat "{\"type\":\"text\",\"text\":\"request \"},{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,aGVsbG8=\"}},{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/webp;base64,aGk=\"}}"
has "and reaches the model with its type" 'images=2 audios=0 mime=image/png' "$work/body"
chat "{\"type\":\"image_url\",\"image_url\":{\"url\":\"http://127.0.0.1:1/x.png\"}}"
has "an address is never fetched" 'nothing is ever fetched.*"param":"messages\[0\].content\[0\].image_url.url"' "$work/body"
ask /generate -d "{\"model\":\"able\",\"messages\":[{\"role\":\"user\",\"content\":\"<|audio_1|>$question\"}],\"audios\":[\"$wav\"]}"
equal "/generate with audios" "$(cat "$work/body")" " $heard"
ask /generate -d '{"model":"able","messages":[{"role":"user","content":"image"}],"images":["aGVsbG8="]}'
equal "/generate with images" "$(cat "$work/body")" "hello"
ask /generate -d "{\"model\":\"fake\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"audios\":[\"$wav\"]}"
equal "/generate of a model without ears" "$code: $(cat "$work/body")" "501: This model takes no audio."
stop_server
equal "and it stops cleanly" "$status" 0
finish
