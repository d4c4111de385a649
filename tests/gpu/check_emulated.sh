#!/bin/bash
# check_emulated.sh - the programs that tests/gpu/run starts on a GPU machine, with emulated kernels and tiny shapes: they
# run to their end and print every figure, and the scripts are free of mistakes that bash sees.
set -eu
build=${top_builddir:-.} source=${top_srcdir:-.}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
golden=$source/tests/golden/logits/longrope_bf16_gqa3
programs=$build/tests/cuda_emu
# Kernels may be started early, so the first thing that each does is wait; the emulation sees that it waits, not when.
awk '/__global__/ { kernel = FILENAME ": " $0 }
    kernel && /^{/ { getline; if ($0 != "    after_previous();") { print kernel ": does not wait first"; bad = 1 }; kernel = "" }
    END { exit bad }' "$source"/plugins/ops/cuda/*.cu "$source"/plugins/ops/cuda/*.cuh >&2
for script in build run pack; do bash -n "$source/tests/gpu/$script"; done

cp "$programs/.libs/phi4-mini.so" "$work/copy.so"
# The emulated plugins stay mapped (-z nodelete), and what they hold then is no leak.  What was freed is to be free, so that
# the host's memory says whether a model gives all of its own back.
ASAN_OPTIONS=${ASAN_OPTIONS:-}:detect_leaks=0:quarantine_size_mb=1 "$programs/test_gpu_plugins" "$programs/.libs/phi4-mini.so" "$work/copy.so" "$golden"

"$programs/bench_gpu" "$golden" 4 3 1,2 9,20 65536 64 | tee "$work/figures"
for figure in 'ceiling: read' 'ceiling: copy' 'ceiling: bf16 matrix' 'load, bf16' 'load, int4' 'fp8, 1 row of 4' \
    'fp8 with activations, prompt of 9' 'int8, 1 row' 'int4, 1 row' 'bf16 with fp8 kv, 1 row' 'decode, 1 rows' 'decode, 2 rows' \
    "a step's growth" 'prompt of 9 tokens' 'prompt of 20 tokens' '32 rows with 8 adapters'; do
    grep -Eq "^$figure.* [0-9.e+-]+ (GB/s|TFLOP/s|ms|s) " "$work/figures" ||
        { echo "bench_gpu told nothing of: $figure" >&2; exit 1; }
done
"$programs/logits_of" "$golden" "$work/logits" 2 1 2 3 4 5 >"$work/ids"
[ "$(wc -w <"$work/ids")" = 2 ]
[ "$(stat -c %s "$work/logits")" = $((7 * 277 * 4)) ] # 5 + 2 rows of the model's 277 logits
