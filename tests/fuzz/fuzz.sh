#!/bin/sh
# fuzz.sh - builds one fuzz target with clang's libFuzzer and sanitizers, and runs it on its corpus.
#
# Usage: tests/fuzz/fuzz.sh TARGET SECONDS [SOURCE.c...]   e.g. tests/fuzz/fuzz.sh safetensors 60
# New inputs go to a scratch folder; a crash is left in the present folder.  config.h must exist in the
# present folder (a build folder).
set -eu
target=$1 seconds=$2
shift 2
top=$(cd "$(dirname "$0")/../.." && pwd)
case $target in
safetensors | phi4_config)
    set -- plugins/engine/safetensors.c plugins/engine/safetensors_header.c plugins/engine/phi4_config.c ;;
audio) set -- plugins/phi4-multimodal/audio_decode.c plugins/phi4-multimodal/audio_resample.c \
    plugins/phi4-multimodal/log_mel.c ;;
image) set -- plugins/phi4-multimodal/image_decode.c plugins/phi4-multimodal/image_exif.c \
    plugins/phi4-multimodal/image_png.c plugins/phi4-multimodal/image_jpeg.c \
    plugins/phi4-multimodal/image_webp.c plugins/phi4-multimodal/image_gif.c ;;
peft_config) set -- plugins/lora/peft_config.c plugins/lora/pattern.c ;;
request) set -- src/common/request.c src/common/utf8.c ;;
model_config) set -- src/server/model_config.c ;;
openai_request)
    set -- src/server/openai_request.c src/server/openai_messages.c src/server/openai_tools.c \
        src/server/abi_request.c src/common/base64.c ;;
transcription)
    set -- src/server/transcription_request.c src/server/languages.c src/common/multipart.c \
        src/server/openai_request.c src/server/openai_messages.c src/server/openai_tools.c \
        src/server/abi_request.c src/common/base64.c ;;
tokenizer)
    set -- plugins/engine/tokenizer.c plugins/engine/tokenizer_file.c plugins/engine/tokenizer_vocab.c \
        plugins/engine/tokenizer_bpe.c plugins/engine/tokenizer_split.c plugins/engine/tokenizer_o200k.c \
        plugins/engine/tokenizer_added.c ;;
json_schema)
    set -- plugins/engine/json_automaton.c plugins/engine/json_lexer.c plugins/engine/json_lexer_dfa.c \
        plugins/engine/json_range.c plugins/engine/json_pattern.c plugins/engine/json_schema.c \
        plugins/engine/json_builder.c plugins/engine/json_types.c plugins/engine/json_containers.c \
        plugins/engine/json_merge.c ;;
http_answer) set -- src/client/http_answer.c ;;
*) [ $# -gt 0 ] || { echo "fuzz.sh: name the sources of $target" >&2; exit 2; } ;;
esac
sources=
for s in "$@"; do sources="$sources $top/$s"; done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# shellcheck disable=SC2046,SC2086 # lists of flags and files without white space
clang -g -O1 -std=gnu17 -D_GNU_SOURCE -DHAVE_CONFIG_H -I. -I"$top/src" -I"$top/plugins" -I"$top/sdk/include" \
    -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
    $(pkg-config --cflags json-c libpcre2-8 sndfile soxr libpng libjpeg libwebp libwebpdemux) -o "$work/fuzz" "$top/tests/fuzz/fuzz_$target.c" $sources \
    "$top"/src/common/error.c "$top"/src/common/bytes.c "$top"/src/common/io.c "$top"/src/common/json.c \
    $(pkg-config --libs json-c libpcre2-8 sndfile soxr libpng libjpeg libwebp libwebpdemux) -lgif -lm
mkdir "$work/new"
"$work/fuzz" -max_total_time="$seconds" -max_len=4096 -rss_limit_mb=2048 -timeout=10 "$work/new" \
    "$top/tests/fuzz/corpus/$target"
