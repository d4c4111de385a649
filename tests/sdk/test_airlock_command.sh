#!/bin/sh
# test_airlock_command.sh - the program airlock: questions with pictures and sounds, what a model could do to a terminal, signals, tokens, wrong usage.
set -u
. "${top_srcdir:-.}/tests/media_stack.sh"
airlock=$top_builddir/airlock
printf 'alice secret-secret-secret-secret\n' >"$work/tokens"
printf '# the first is the one\nalice secret-secret-secret-secret\n' >"$work/mine"
printf 'wrong-wrong-wrong-wrong-wrong\n' >"$work/wrong"
chmod 600 "$work/tokens"
stack_up --token-file "$work/tokens"
"$top_builddir/tests/fakes/stub_server" "unix:$work/stub" >/dev/null 2>&1 &
stub=$!
trap 'kill $stub 2>/dev/null; stack_down' EXIT
i=0
while [ ! -S "$work/stub" ] && [ $i -lt 200 ]; do i=$((i + 1)); sleep 0.05; done
n=0 bad=0
# is NAME STATUS STDOUT-PATTERN STDERR-PATTERN: of the last run; an empty pattern: nothing was written.
is() {
    n=$((n + 1)) good=1
    [ "$status" = "$2" ] || good=0
    if [ -n "$3" ]; then grep -q -e "$3" "$work/out" || good=0; else [ ! -s "$work/out" ] || good=0; fi
    if [ -n "$4" ]; then grep -q -e "$4" "$work/err" || good=0; else [ ! -s "$work/err" ] || good=0; fi
    if [ $good = 1 ]; then echo "ok $n - $1"; else
        echo "not ok $n - $1 (status $status)"
        bad=1
        sed 's/^/# /' "$work/out" "$work/err"
    fi
}
run() { timeout 60 "$airlock" "$@" >"$work/out" 2>"$work/err"; status=$?; }
stub() { run ask --socket "$work/stub" --model chat "$@"; }
real() { run ask --host "$url" --token-file "$work/mine" --max-tokens 6 "$@"; }
sound=$top_srcdir/tests/golden/audio/wav16k_s16.wav
picture=$top_srcdir/tests/golden/images/rgb.png

stub 'how are you?'
is "a question is answered" 0 '^how are you?$' ''
[ "$(wc -l <"$work/out")" = 1 ]; status=$?; : >"$work/out"
is "with one line end behind it" 0 '' ''
printf 'from a pipe\n\n' >"$work/in"
run ask - --socket "$work/stub" --model chat <"$work/in"
is "a question from standard input" 0 '^from a pipe$' ''
# colour, clipboard, C1's CSI, right-to-left override, DEL, a tag, a byte that is not UTF-8 cannot come: the SDK refuses it
printf 'a \033[31m \033]52;c;x\007 \302\2332J \342\200\256 \177 \363\240\201\201 caf\303\251\tz' >"$work/evil"
stub "$(cat "$work/evil")"
is "a34: what could do something to a terminal is shown" 0 '^a \\x1b\[31m \\x1b\]52;c;x\\x07 \\x9b2J \\u202e \\x7f \\ue0041 café	z$' ''
stub --raw "$(cat "$work/evil")"
printf '%s\n' "$(cat "$work/evil")" | cmp - "$work/out" >"$work/err" 2>&1
status=$?
is "a34: --raw leaves it as it is" 0 'z$' ''
script -qec "$airlock ask --raw --socket $work/stub --model chat x" /dev/null </dev/null >"$work/out" 2>"$work/err"
status=$?
is "a34: but not on a terminal" 2 'could control the terminal' ''
run ask --socket "$work/stub" --model "$(printf 'status:400\342\200\256')" x
[ $status = 1 ] && ! grep -q "$(printf '\342\200\256')" "$work/err"; status=$?; : >"$work/err"
is "a34: nor does an error" 0 '' ''

for signal in TERM INT; do
    "$airlock" ask --socket "$work/stub" --model chat "$(seq -s ' ' 500)" >"$work/out" 2>"$work/err" &
    asking=$! i=0
    while [ "$(wc -c <"$work/out")" -lt 10 ] && [ $i -lt 200 ]; do i=$((i + 1)); sleep 0.05; done
    kill -"$signal" $asking
    wait $asking
    status=$?
    is "SIG$signal ends the answer" 1 '^1 2 3 ' 'was cancelled'
    grep -q ' 500' "$work/out"; status=$?; : >"$work/out"; : >"$work/err"
    is "and what had come stands there" 1 '' ''
done
timeout 60 "$airlock" ask --socket "$work/stub" --model chat x >/dev/full 2>"$work/err"
status=$? && : >"$work/out"
is "a full disk is told" 1 '' 'standard output cannot be written to'
timeout 60 "$airlock" ask --socket "$work/stub" --model chat "$(seq -s ' ' 200)" 2>"$work/err" | head -c 1 >"$work/out"
status=$(grep -c 'cannot be written' "$work/err")
is "a reader that goes away too" 1 '^1$' 'cannot be written'

real 'who are you'
is "a token's file, a model of the bridge's" 0 '.' 'cut off'
cp "$work/out" "$work/text"
real --image "$picture" 'who are you'
is "a picture" 0 '.' 'cut off'
cmp -s "$work/out" "$work/text"; status=$?; : >"$work/out"; : >"$work/err"
is "is seen" 1 '' ''
real --image "$picture" --audio "$sound" --image "$picture" --model mm --container phi 'who are you'
is "pictures and a sound" 0 '.' 'cut off'
real --image "$top_srcdir/README.md" x
is "a text is no picture" 1 '' 'images\[0\] is no PNG'
real --audio "$work/none.wav" x
is "a file that is not there" 1 '' 'none.wav: No such file'
real --model mini --audio "$sound" x
is "a model without ears" 1 '' 'answered 501: This model does not support input_audio'
real --model nobody x
is "a model that is not there" 1 '' "The model 'nobody' does not exist"
real --container nobody --model mm x
is "a container that is not there" 1 '' "does not exist"
run ask --host "$url" x
is "no token" 1 '' 'answered 401'
run ask --host "$url" --token-file "$work/wrong" x
is "a wrong one" 1 '' 'answered 401'
run ask --host "$url" --token-file "$work/none" x
is "a token's file that is not there" 1 '' 'none cannot be read'
run models --host "$url" --token-file "$work/mine"
is "models are listed" 0 '^mm$' ''
run ask --host http://127.0.0.1:1 x
is "no bridge" 1 '' 'is airlock-bridge running'

for wrong in '' 'shout' 'ask' 'ask a b' 'ask --colour x' 'ask --image' 'ask --max-tokens 0 x' 'ask --max-tokens 1x x' 'models x' 'models --image x'; do
    # shellcheck disable=SC2086 # words
    run $wrong
    is "wrong usage: airlock $wrong" 2 '' "Try 'airlock --help'"
done
run ask --socket relative x
is "a socket needs an absolute path" 1 '' 'expected unix:/ABSOLUTE/PATH'
for help in --help 'ask --help' 'models --help'; do
    # shellcheck disable=SC2086
    run $help
    is "airlock $help" 0 '^Usage: airlock ask' ''
done
run --version
is "airlock --version" 0 '^airlock [0-9]' ''
echo "1..$n"
exit $bad
