#!/bin/bash
# spills.sh - registers and spills of every CUDA kernel, as ptxas tells them; fails when a hot kernel spills.
#
# usage: tests/cuda/spills.sh [ARCH...]     (default: 80 89 90; NVCC from the environment or PATH)
# Hot is all but attention with heads wider than 128, which no Phi-4 has.
set -u
cd "$(dirname "$0")/../.." || exit 1
nvcc=${NVCC:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
[ $# -gt 0 ] || set -- 80 89 90
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bad=0
printf '%-5s %5s %8s  %s\n' arch regs spilled kernel
for arch; do
    for f in attention attention_full conv elementwise gemv layernorm lora packed_gemv rope rows sampling transpose; do
        "$nvcc" -std=c++17 -O3 -arch="sm_$arch" -Xptxas -v -Iplugins -cubin -o "$work/cubin" "plugins/ops/cuda/$f.cu" \
            >"$work/log" 2>&1 || { cat "$work/log"; bad=1; }
        awk -v arch="$arch" '
            /Compiling entry function/ { split($0, part, "\047"); name = part[2] }
            /bytes spill stores/ { match($0, /[0-9]+ bytes spill stores/); spilled = substr($0, RSTART) + 0 }
            /Used [0-9]+ registers/ { match($0, /Used [0-9]+/); regs = substr($0, RSTART + 5) + 0
                printf "%-5s %5d %8d  %s\n", arch, regs, spilled, name }' "$work/log" | c++filt >"$work/table"
        [ -s "$work/table" ] || { echo "sm_$arch $f.cu: nvcc told of no kernel"; bad=1; }
        cat "$work/table"
        awk '$3 > 0 && !/<256/ { exit 1 }' "$work/table" || bad=1
    done
done
[ $bad = 0 ] || echo "a hot kernel spills registers, or did not compile" >&2
exit $bad
