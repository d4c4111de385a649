#!/bin/sh
# test_demo_mm.sh - the multimodal demo answers about a picture, touch-tones, and a picture with a touch-tone's choice.
# shellcheck disable=SC2154,SC2119
. "${top_srcdir:-.}/tests/server_lib.sh"
demo=$top_srcdir/demo-mm

cp "$top_builddir/plugins/.libs/phi4-multimodal.so" "$work/plugins/" || exit 1
chmod 755 "$work/plugins/phi4-multimodal.so"
config '{"name":"demo-mm","class_name":"LLMModelPhi4MultimodalInstruct","model_path":"'"$demo"'/model",
    "options":{"media_worker":"'"$top_builddir"'/airlock-media-worker"}}'
start

# answers NAME WANTED TEXT [PICTURE [SOUND]]: files of demo-mm/examples.
answers() {
    images='' audios=''
    [ -z "${4:-}" ] || images=',"images":["'$(base64 -w0 "$demo/examples/$4")'"]'
    [ -z "${5:-}" ] || audios=',"audios":["'$(base64 -w0 "$demo/examples/$5")'"]'
    printf '{"model":"demo-mm","messages":[{"role":"user","content":"%s"}]%s%s}' "$3" "$images" "$audios" >"$work/request"
    ask /generate -H 'Content-Type: application/json' -d "@$work/request"
    equal "$1" "$code $(cat "$work/body")" "200 $2"
}

answers "text" "I am well, thank you! There is something to see and to hear in here." "how are you?"
answers "a picture" "A green triangle at the bottom left." '<|image_1|>What is in the picture?' picture.png
answers "a picture's place" "It is at the bottom left." '<|image_1|>Where is it?' picture.png
answers "touch-tones" "Dialled: 4 1 9 7" '<|audio_1|>Which digits were dialled?' '' number.wav
answers "tone 1 asks for the shape" "It is a triangle." '<|image_1|><|audio_1|>' picture.png tone1.wav
answers "tone 2 asks for the colour" "It is green." '<|image_1|><|audio_1|>' picture.png tone2.wav
answers "tone 3 asks for the place" "It is at the bottom left." '<|image_1|><|audio_1|>' picture.png tone3.wav
answers "no picture" "There is no picture in your message." "What is in the picture?"
stop_server
equal "it ended well" "$status" 0
finish
