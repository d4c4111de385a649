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
kernels_of() { # ARCH: the table of all files' kernels; false when a hot one spills
    local arch=$1 bad=0 f log=$work/$1.log table=$work/$1.table
    for f in attention attention_full conv elementwise gemv layernorm lora packed_gemv rope rows sampling transpose; do
        "$nvcc" -std=c++17 -O3 -arch="sm_$arch" -Xptxas -v -Iplugins -cubin -o "$work/$arch.cubin" \
            "plugins/ops/cuda/$f.cu" >"$log" 2>&1 || { cat "$log"; bad=1; }
        awk -v arch="$arch" '
            /Compiling entry function/ { split($0, part, "\047"); name = part[2] }
            /bytes spill stores/ { match($0, /[0-9]+ bytes spill stores/); spilled = substr($0, RSTART) + 0 }
            /Used [0-9]+ registers/ { match($0, /Used [0-9]+/); regs = substr($0, RSTART + 5) + 0
                printf "%-5s %5d %8d  %s\n", arch, regs, spilled, name }' "$log" | c++filt >"$table"
        [ -s "$table" ] || { echo "sm_$arch $f.cu: nvcc told of no kernel"; bad=1; }
        cat "$table"
        awk '$3 > 0 && !/<256/ { exit 1 }' "$table" || bad=1
    done
    return $bad
}

bad=0 jobs=()
for arch; do
    kernels_of "$arch" >"$work/$arch" &
    jobs+=($!)
done
for job in "${jobs[@]}"; do
    wait "$job" || bad=1
done
printf '%-5s %5s %8s  %s\n' arch regs spilled kernel
for arch; do
    cat "$work/$arch"
done
[ $bad = 0 ] || echo "a hot kernel spills registers, or did not compile" >&2
exit $bad
