#!/bin/sh
# test_media_way.sh - a recording and a picture all the way: curl, bridge, relay, server, the Phi-4-multimodal plugin with its decoders, and back.
set -u
. "${top_srcdir:-.}/tests/media_stack.sh"
command -v curl >/dev/null || {
    echo "1..0 # SKIP curl is not installed"
    exit 77
}
stack_up
checks=0 failures=0
ok() { # name status
    checks=$((checks + 1))
    [ "$2" -eq 0 ] && echo "ok $checks - $1" && return
    failures=$((failures + 1))
    echo "not ok $checks - $1"
    { cat "$work/out"; tail -n 5 "$work/server.log" "$work/bridge.log"; } | sed 's/^/# /'
}
has() { grep -q -e "$2" "$work/out"; ok "$1" $?; }
equal() { [ "$2" = "$3" ] || printf '# got: %s\n# wanted: %s\n' "$2" "$3"; [ "$2" = "$3" ]; ok "$1" $?; }
ask() { # path [curl option...]
    path=$1
    shift
    code=$(curl -s -m 60 -o "$work/out" -w '%{http_code}' "$@" "$url$path")
}
generate() { # media-member content
    ask /generate -H 'Content-Type: application/json' -d "{\"container_name\":\"phi\",\"model\":\"mm\",\"messages\":[{\"role\":\"user\",\"content\":\"$2\"}],\"parameters\":{\"max_new_tokens\":8},$1}"
}
form() { ask /v1/audio/transcriptions -H 'Authorization: Bearer none' "$@"; }
sound=$top_srcdir/tests/golden/audio/wav16k_s16.wav
picture=$top_srcdir/tests/golden/images/rgb.png
wav=$(base64 -w 0 "$sound")
png=$(base64 -w 0 "$picture")

# The model is random: what it says means nothing, but the same question has the same answer, whichever way it came.
# The sound of a form is the sound of the others.  Its answer is long: both are compared as far as the limit of the others.
generate "\"audios\":[\"$wav\"]" '<|audio_1|>Transcribe the audio clip into text.'
equal "/generate takes a sound" "$code" 200
cp "$work/out" "$work/generated"
[ -s "$work/generated" ]; ok "and says something" $?
ask /v1/chat/completions -H 'Content-Type: application/json' -d "{\"model\":\"phi/mm\",\"max_completion_tokens\":8,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"$wav\",\"format\":\"wav\"}},{\"type\":\"text\",\"text\":\"Transcribe the audio clip into text.\"}]}]}"
equal "a chat takes input_audio" "$code" 200
cp "$work/out" "$work/chat"
tokens=$(sed -n 's/.*"prompt_tokens":\([0-9]*\).*/\1/p' "$work/chat")
form -F "file=@$sound" -F model=mm
equal "a form is transcribed" "$code" 200
equal "as the same prompt" "$(sed -n 's/.*"input_tokens":\([0-9]*\).*/\1/p' "$work/out")" "$tokens"
cp "$work/out" "$work/form"
form -F model=phi/mm -F "file=@$sound"
equal "with the container's name in front of the model too" "$(cat "$work/out")" "$(cat "$work/form")"
form -F model=mm -F "file=@$sound" -F response_format=text
[ -s "$work/out" ]; ok "as text" $?
same=$(head -c "$(wc -c <"$work/generated")" "$work/out")
equal "which begins as the answer to the same question" "$same" "$(cat "$work/generated")"
form -N -F model=mm -F "file=@$sound" -F stream=true
has "as events" '^data: {"type":"transcript.text.delta"'
has "to the end" '^data: \[DONE\]'
form -F "file=@$top_srcdir/tests/golden/audio/flac44100.flac" -F model=mm
equal "FLAC" "$code" 200
form -F "file=@$top_srcdir/tests/golden/audio/mp3_44100.mp3" -F model=mm
equal "MP3" "$code" 200
form -F "file=@$picture" -F model=mm
equal "a picture is no recording" "$code" 400
form -F "file=@$sound" -F model=mm -F 'prompt=and <|audio_2|>'
equal "a placeholder typed in the prompt has no sound" "$code" 400
form -F "file=@$sound" -F model=mini
equal "a text model takes none" "$code" 400
has "and says so" 'This model does not take audio'
ask /v1/audio/transcriptions -F "file=@$sound" -F model=mm
equal "without an Authorization header a form could be a web page's" "$code" 415
generate "\"images\":[\"$png\"]" '<|image_1|>what is it'
equal "/generate takes a picture" "$code" 200
cp "$work/out" "$work/generated"
ask /v1/chat/completions -H 'Content-Type: application/json' -d "{\"model\":\"mm\",\"max_completion_tokens\":8,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,$png\"}},{\"type\":\"text\",\"text\":\"what is it\"}]}]}"
equal "and so does a chat" "$code" 200
generate "\"images\":[\"$png\"]" 'what is it'
equal "a picture without its place is 400" "$code" 400
ask /metrics
has "the bridge counts the path" 'airlock_bridge_requests_total{route="/v1/audio/transcriptions",code="200"} 6'
echo "1..$checks"
[ "$failures" -eq 0 ]
