#!/bin/sh
# test_sdk_multimodal.sh - the multimodal example draws a picture that the decoders take, and has it and a file looked at through bridge and server.
set -u
. "${top_srcdir:-.}/tests/media_stack.sh"
stack_up
n=0 bad=0
result() { # status name
    n=$((n + 1))
    if [ "$1" = 0 ]; then echo "ok $n - $2"; else
        echo "not ok $n - $2"
        bad=1
        sed 's/^/# /' "$work/out"
    fi
}
# shellcheck disable=SC2046 # flags
$CC -std=c99 -O1 -Wall -Wextra -Werror -pedantic -I"$top_srcdir/sdk/include" -o "$work/example" \
    "$top_srcdir/sdk/examples/call_multimodal_model.c" "$top_builddir/libairlock.a" \
    $(pkg-config --libs libcurl json-c) -lm -lpthread >"$work/out" 2>&1
result $? "the example builds"
example() { "$work/example" --host "$url" --model mm "$@" >"$work/out" 2>&1; }

example --save "$work/drawn.png"
result $? "the model is shown the picture that was drawn"
grep -q '^User: Describe the content of the following image : <|image_1|>$' "$work/out" && grep -q '^Assistant: .' "$work/out"
result $? "and asked about it"
# Rows 278 to 361 hold the letters: behind 33 bytes of head, 15 of IDAT and its block, each of 81 bytes.
row() { od -An -v -tx1 -j $((33 + 8 + 7 + 81 * $1 + 1)) -N 80 "$work/drawn.png" | tr -d ' \n'; }
[ "$(row 0)" = "$(printf 'f%.0s' $(seq 160))" ]
result $? "the picture is white at its edge"
row 320 | grep -q '^f\{10\}0f\(ff\)*c000'
result $? "has a frame, and letters in its middle"
# The same bytes as a file give the same answer; one byte of them changed, and the decoders refuse it.
cp "$work/out" "$work/first"
example "$work/drawn.png" 'Describe the content of the following image :'
[ "$(tail -n 1 "$work/out")" = "$(tail -n 1 "$work/first")" ]
result $? "a picture of one's own is read from its file"
for at in 20 100 25000; do
    cp "$work/drawn.png" "$work/broken.png"
    printf '\125' | dd of="$work/broken.png" bs=1 seek=$at conv=notrunc 2>/dev/null
    example "$work/broken.png"
    [ $? = 1 ] && grep -q 'answered 400' "$work/out"
    result $? "a picture with a wrong byte at $at is refused (so what was drawn has the right sums)"
done
example /nowhere.png
[ $? = 1 ] && grep -q '/nowhere.png: No such file' "$work/out"
result $? "a file that is not there is named"
example --nothing
[ $? = 2 ] && grep -q '^usage: ' "$work/out"
result $? "wrong usage is told"
echo "1..$n"
exit $bad
