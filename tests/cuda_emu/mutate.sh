#!/bin/bash
# mutate.sh - plants one mistake at a time in the CUDA kernels and tells whether the emulated tests notice.
#
# usage: tests/cuda_emu/mutate.sh BUILD_DIR [PATTERN]   (a configured build folder; changes a copy of the sources)
# Prints a table; exit status 1 when a mutant survives.  Not part of make check: each line is a compile and a run.
set -u
build=$(realpath "$1")
pattern=${2:-.}
top=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export top_srcdir=$top top_builddir=$build
survivors=0

# FILE | sed command (no |: write . or \x7c) | the test that should fail
mutants() {
    cat <<'LIST'
rows.cu|s/i < cols; i += ROW_THREADS \* WIDTH/i <= cols; i += ROW_THREADS * WIDTH/|rows
rows.cu|s/+ (size_t)ids\[blockIdx.x\] \* cols/+ (size_t)(ids[blockIdx.x] + 1) * cols/|rows
rows.cu|0,/i < dim; i += ROW_THREADS/s//i + 1 < dim; i += ROW_THREADS/|rows
rows.cu|s/^    __syncthreads();/    ;/|rows
rows.cu|s/w < ROW_THREADS \/ WARP_LANES; w++/w < ROW_THREADS \/ WARP_LANES - 1; w++/|rows
rows.cu|s/if (i >= dim)/if (i > dim)/|rows
rows.cu|s/gate + dim + i/gate + dim + i + 1/|rows
kernel.cuh|s/int other = 16; other > 0/int other = 8; other > 0/|matmul
gemv.cu|s/at < k; at += WARP_LANES \* WIDTH/at + WIDTH < k; at += WARP_LANES * WIDTH/|matmul
gemv.cu|s/first + o < n ? first + o : n - 1/first + o/|matmul
gemv.cu|s/(unsigned)r < rows \&\& first + o < n/(unsigned)r < rows/|matmul
gemv.cu|s/(unsigned)r >= rows)/(unsigned)r > rows)/|matmul
cublaslt.cu|s/layout_create(&p->y, out, p->n, p->class_rows, (int64_t)p->y_stride)/layout_create(\&p->y, out, p->n, p->class_rows, (int64_t)p->y_stride + 1)/|matmul
cublaslt.cu|s/    if (plan->rows == rows)/    if (plan->rows >= rows)/|invariance
matmul.cu|s/r += GEMV_MAX_ROWS) {/r += GEMV_MAX_ROWS + 1) {/|matmul
rope.cu|s/    after_previous();/    ;/|attention
rope.cu|s/x\[i + a.half\])/x[i + a.half - 1])/|attention
rope.cu|s/i = 2 \* pairs + threadIdx.x/i = 2 * pairs + 1 + threadIdx.x/|attention
rope.cu|s/slot % OPS_KV_BLOCK) \*/(slot + 1) % OPS_KV_BLOCK) */|attention
rope.cu|s/i < a.head_dim; i += ROPE_THREADS/i <= a.head_dim; i += ROPE_THREADS/|attention
attention_tile.cuh|s/token < end \&\& d < a.head_dim/token <= end \&\& d < a.head_dim/|attention
attention_tile.cuh|s/n \* 8 + i % 2 < see/n * 8 + i % 2 <= see/|attention
attention_tile.cuh|s/__shfl_xor_sync(~0u, max\[r\], 2)/max[r]/|attention
attention_tile.cuh|s/t < TOKENS \/ 16; t++) {/t < TOKENS \/ 16 - 1; t++) {/|attention
attention_tile.cuh|s/f.old = \*max == -INFINITY ? 0.0f : exp2f(\*max - top)/f.old = 1.0f/|attention
attention_tile.cuh|s/q \/ heads.n) \* width/q \/ heads.n + 1) * width/|attention
attention.cu|0,/copy_async_wait<1>();/s///|attention
attention.cu|s/copy_async_wait<1>(); \/\* the values \*\//copy_async_wait<2>();/|attention
attention.cu|s/__syncthreads(); \/\* all have read them \*\///|attention
attention.cu|s/    copy_async_wait<0>();$//|attention
attention.cu|s/w < DECODE_WARPS; w++) {/w < DECODE_WARPS - 1; w++) {/|attention
attention.cu|s/c < chunks; c++, part/c + 1 < chunks; c++, part/|attention
attention.cu|s/position + q \/ heads.n + 1 : 0/position + q \/ heads.n : 0/|attention
row_tile.cuh|s/rows >= least ?/rows > least ?/|attention
attention.cu|s/q >= t.rows \* heads.n/q > t.rows * heads.n/|attention
row_tile.cuh|s/before += lane >= (uint32_t)by ? other : 0/before += other/|attention
rope.cu|s/quant_fp8(__bfloat162float(v))/quant_fp8(__bfloat162float(v) + 1.0f)/|attention
attention_tile.cuh|s/fp8_value(p\[i\])/fp8_value(p[i + 1])/|attention
attention_tile.cuh|s/uint8_t \*>(cache) + place,/uint8_t *>(cache) + place + 1,/|attention
packed.cu|s/c < cols ? __bfloat162float/c + 1 < cols ? __bfloat162float/|quant
packed.cu|s/if (at >= (size_t)rows \* groups)/if (at > (size_t)rows * groups)/|quant
packed.cu|s/(code\[i + 1\] & 15) << 4/(code[i] \& 15) << 4/|quant
packed.cu|s/int other = 16; other > 0/int other = 8; other > 0/|quant
packed.cu|s/scales) + first/scales) + 1 + first/|quant
packed.cu|s/+ r \* m->cols \* ops_dtype_size/+ (r + 1) * m->cols * ops_dtype_size/|quant
packed.cu|s/: first + blockIdx.x;/: first + blockIdx.x + 1;/|quant
packed.cu|s/if (c >= m.cols)/if (c > m.cols)/|quant
packed.cuh|s/(28 - 4 \* i)) >> 28/(24 - 4 * i)) >> 28/|quant
packed.cuh|s/i % 4 \* 8 *))/i % 4 * 8 + 1))/|quant
packed.cuh|s/(byte & 0x80u) << 24/(byte \& 0x80u) << 23/|quant
packed.cuh|s/c % QUANT_GROUP \/ 8\]/c % QUANT_GROUP \/ 16]/|quant
fp8.cu|s/magnitude > most ? magnitude : most/magnitude/|fp8
fp8.cu|s/int other = 16; other > 0/int other = 8; other > 0/|fp8
fp8.cu|s/if (row >= rows)/if (row > rows)/|fp8
fp8.cu|s/; c < padded; c/; c < k; c/|fp8
fp8.cu|s/        if (c < k)/        if (c <= k)/|fp8
fp8.cu|s/(i % 4 \* 8)/(i % 2 * 8)/|fp8
fp8.cu|s/(size_t)row \* padded + c)/(size_t)row * k + c)/|fp8
fp8.cu|s/    if (c < n)/    if (c <= n)/|fp8
fp8.cu|s/w_scale + c, x_scale/w_scale, x_scale/|fp8
fp8.cu|s/v\[i\] \* row \* by\[i\]/v[i] * row/|fp8
fp8.cu|s/y\[i\] \* row \* by\[i\]/y[i] * by[i]/|fp8
fp8.cu|s/scaling == LT_UNSCALED ? scale_all/scaling == LT_SCALED ? scale_all/|fp8
cublaslt.cu|s/s = set_scales(lt, plan, p);/;/|fp8
cublaslt.cu|s/ \&\& have->fp8 == p->fp8//|fp8
packed_gemv.cu|s/at < k; at += WARP_LANES/at + WIDTH < k; at += WARP_LANES/|quant
packed_gemv.cu|s/first + o < m.rows ? first + o : m.rows - 1/first + o/|quant
packed_gemv.cu|s/column \/ QUANT_GROUP\]/column \/ QUANT_GROUP + 1]/|quant
packed_gemv.cu|s/words\[o\] + eight \* WORDS/words[o]/|quant
packed_gemv.cu|s/!ALIGNED \&\& c + i < k/!ALIGNED \&\& c + i <= k/|quant
packed_gemv.cu|s/(unsigned)r >= rows .. first/(unsigned)r > rows \x7c\x7c first/|quant
packed_gemv.cu|s/if (ROWS > 1 \&\& (unsigned)r >= rows)/if (ROWS > 1 \&\& (unsigned)r > rows)/|quant
matmul.cu|s/(all->y) + done \* out/(all->y) + (done + 1) * out/|quant
lora.cu|s/at < a.in; at += WARP_LANES \* WIDTH/at + WIDTH < a.in; at += WARP_LANES * WIDTH/|matmul
lora.cu|s/rank >= a.segments/rank > a.segments/|matmul
lora.cu|s/column < a.out \&\& k < n; k += WIDTH/column <= a.out \&\& k < n; k += WIDTH/|matmul
lora.cu|s/    __syncthreads();$//;s/        __syncthreads();$//|matmul
lora.cu|s/first_task <= task/first_task < task/|matmul
lora.cu|s/s.rows - done < LORA_ROWS ? s.rows - done : (uint32_t)LORA_ROWS/LORA_ROWS/|matmul
sampling_pieces.cuh|s/f += 0.0f;/;/|sample
sampling_pieces.cuh|s/ ~id;/ id;/;s/return ~(uint32_t)order;/return (uint32_t)order;/|sample
sampling_pieces.cuh|s/id < a.limit ? score_at(r, id)/id < a.vocab ? score_at(r, id)/|sample
sampling_pieces.cuh|s/>> (id % 32) \& 1/>> ((id + 1) % 32) \& 1/|sample
sampling_pieces.cuh|s/        for (int k = i; k < c.n_bias; k++)/        for (int k = i; k < i + 1; k++)/|sample
sampling_pieces.cuh|s/s = s < 0 ? __fmul_rn/s = s > 0 ? __fmul_rn/|sample
sampling_pieces.cuh|s/for (uint32_t first = 0; first < n; first += WARP_LANES)/for (uint32_t first = 0; first + WARP_LANES < n; first += WARP_LANES)/|sample
sampling.cu|s/rank<BY_COUNT>(d, list, n, k - bin.before/rank<BY_COUNT>(d, list, n, k - bin.before + 1/|sample
sampling.cu|s/(mark - bin.before - r.before + weight - 1) \/ weight/(mark - bin.before - r.before + weight) \/ weight + 1/|sample
sampling_pieces.cuh|s/key == b.key \&\& id <= b.last_id/key == b.key \&\& id < b.last_id/|sample
sampling.cu|s/find_block(part, (uint32_t)CHOOSE_WARPS, mark + 1)/find_block(part, (uint32_t)CHOOSE_WARPS, mark)/|sample
sampling.cu|s/        if (w > mark)/        if (w >= mark)/|sample
sampling.cu|s/return \*was;/return a.logits[(size_t)blockIdx.x * a.vocab + id];/|sample
sampling.cu|s/- 2 \* off;/+ unit \/ 2;/|sample
sampling.cu|s/        mark -= f.before;$/        mark -= f.before \/ 2;/|sample
sampling.cu|s/shift > 0 ? at : at + 1/at/|sample
sampling_pieces.cuh|s/        a.bins\[row\].mass\[i\] = 0;.*/;/|sample
sampling_pieces.cuh|s/atomicAdd(\&a.bins\[row\].count\[i\], h->count\[i\]);/a.bins[row].count[i] = h->count[i];/|sample
sampling_pieces.cuh|s/w < THREADS \/ WARP_LANES; w++/w < THREADS \/ WARP_LANES - 1; w++/|sample
matrix.cu|s/+ done \* 2, s->slot/+ done * 2 + 2, s->slot/|matmul
matrix.cu|s/out\[i\] = float_to_bf16(load_float(host, dtype, first + i))/out[i] = float_to_bf16(load_float(host, dtype, first + i + 1))/|matmul
elementwise.cu|s/if (i + WIDTH <= n)/if (i + WIDTH <= n + 1)/|encoder
elementwise.cu|0,/for (size_t k = i; k < n; k++)/s//for (size_t k = i; k + 1 < n; k++)/|encoder
elementwise.cu|s/0.044715f/0.044714f * 1.01f/|encoder
elementwise.cu|s/-0.7071067811865476f/-0.7071067811865476f * 1.01f/|encoder
elementwise.cu|s/return x < 0.0f ? 0.0f : x;/return x > 0.0f ? x : 0.0f;/|conv
elementwise.cu|s/__fmaf_rn(scale, more\[k\], sum\[k\])/sum[k] + more[k]/|encoder
elementwise.cu|s/__fmaf_rn(scale, __bfloat162float(x\[k\])/__fmaf_rn(1.0f, __bfloat162float(x[k])/|encoder
elementwise.cu|s/in_block < l.at_once \&\& \*row/*row/|encoder
elementwise.cu|s/\*row < l.rows \&\& \*col < l.dim/*row <= l.rows \&\& *col < l.dim/|encoder
elementwise.cu|s/\*col < l.dim;/*col <= l.dim;/|conv
elementwise.cu|s/threadIdx.x % l.threads) \* WIDTH/threadIdx.x % l.threads) * WIDTH + 1/|encoder
elementwise.cu|s/(unsigned)((pieces + MAP_THREADS - 1) \/ MAP_THREADS))/(unsigned)(pieces \/ MAP_THREADS + 1) - (pieces > MAP_THREADS))/|conv
elementwise.cu|s/load_bf16<WIDTH>(more, b + col)/load_bf16<WIDTH>(more, b)/|encoder
elementwise.cu|s/load_bf16<WIDTH>(gate, from + l.dim)/load_bf16<WIDTH>(gate, from + l.dim - 1)/|conv
layernorm.cu|s/row >= rows)/row > rows)/|encoder
layernorm.cu|0,/i < dim; i += WARP_LANES \* WIDTH/s//i + WIDTH < dim; i += WARP_LANES * WIDTH/|encoder
layernorm.cu|s/warp_sum(squares) \/ (float)dim/warp_sum(squares) \/ (float)(dim - 1)/|encoder
layernorm.cu|s/v\[k\] - first - mean;/v[k] - mean;/|encoder
layernorm.cu|s/load_bf16<WIDTH>(bias, b + i)/load_bf16<WIDTH>(bias, b)/|encoder
transpose.cu|s/__syncthreads();/;/|conv
transpose.cu|s/k < TILE \&\& first_a + k < a/k < TILE - 1 \&\& first_a + k < a/|conv
transpose.cu|s/if (first_b + j < b)/if (first_b + j <= b)/|conv
transpose.cu|s/if (first_a + j < a)/if (first_a + j <= a)/|conv
conv.cu|s/__syncthreads();/;/|conv
conv.cu|s/i % n \* CONV_PITCH + i \/ n\]/i % n * CONV_PITCH + i \/ n + 1]/|conv
conv.cu|s/first + i \/ n < a.channels ?/first + i \/ n <= a.channels ?/|conv
conv.cu|s/row >= a.in_height/row > a.in_height/|conv
conv.cu|s/column >= a.in_width/column > a.in_width/|conv
conv.cu|s/u \* a.kernel_width + v) \* CONV_PITCH/u * a.kernel_height + v) * CONV_PITCH/|conv
conv.cu|s/- a.pad_left;/- a.pad_left + 1;/|conv
conv.cu|s/first + mine >= a.channels/first + mine > a.channels/|conv
conv.cu|s/round < CONV_ROUNDS \&\& place < a.places/round < CONV_ROUNDS \&\& place <= a.places/|conv
conv.cu|s/round < CONV_ROUNDS \&\&/round + 1 < CONV_ROUNDS \&\&/|conv
conv.cu|s/place \/ a.out_width \/ a.out_height \* in/place \/ a.out_width \/ a.out_height * (in + 1)/|conv
attention_full.cu|s/row < end \&\& d < a.head_dim/row <= end \&\& d < a.head_dim/|full
attention_full.cu|s/(!KEYS .. !a.key_seen .. a.key_seen\[row\] != 0)/true/|full
attention_full.cu|s/key < t.end \&\& (!a.key_seen/key <= t.end \&\& (!a.key_seen/|full
attention_full.cu|s/- (FULL_QUERIES - 1);/- FULL_QUERIES;/|full
attention_full.cu|s/i < FULL_DISTANCES; i += FULL_THREADS/i < FULL_DISTANCES - 1; i += FULL_THREADS/|full
attention_full.cu|s/distance >= a.reach ? a.reach - 1/distance > a.reach ? a.reach/|full
attention_full.cu|s/bias\[n \* 8 + i % 2 - i \/ 2 \* 8\]/bias[n * 8 + i % 2]/|full
attention_full.cu|s/m->seen\[n \/ 4\] >> (n % 4 \* 8 + column)/m->seen[n \/ 4] >> (n % 4 * 8)/|full
attention_full.cu|s/__shfl_xor_sync(~0u, max\[r\], 2)/max[r]/|full
attention_full.cu|s/if (q >= t.rows)/if (q > t.rows)/|full
attention_full.cu|s/run.sum\[r\] == 0.0f ? 0.0f : //|full
attention_full.cu|0,/copy_async_wait<1>();/s//;/|full
attention_full.cu|s/copy_async_wait<1>(); \/\* the values \*\//copy_async_wait<2>();/|full
attention_full.cu|s/__syncthreads(); \/\* all have read them \*\///|full
attention_full.cu|s/copy_async_wait<0>();//|full
attention_full.cu|s/rows \/ FULL_QUERIES + a.n_segments;/rows \/ FULL_QUERIES + a.n_segments - 2;/|full
attention_full.cu|s/first += FULL_TOKENS) {/first += FULL_TOKENS - 1) {/|full
row_tile.cuh|s/rows >= least ?/rows > least ?/|full
row_tile.cuh|s/t.end - t.first_row < rows_at_once ? t.end - t.first_row : rows_at_once/rows_at_once/|full
attention_tile.cuh|s/f.more = chunk == -INFINITY ? 0.0f : exp2f(chunk - top)/f.more = 1.0f/|full
LIST
}

mkdir -p "$work/plugins" "$work/tests"
cp -r "$top/plugins/ops" "$work/plugins/ops"
cp -r "$top/tests/cuda_emu" "$work/tests/cuda_emu"
flags=(-std=c++17 -O1 -g -fno-omit-frame-pointer -fsanitize=address -ffp-contract=off -w -DCUDA_EMU
    "-I$work/tests/cuda_emu/include" "-I$work/tests" "-I$work/plugins")

try() { # FILE TEST: says how the mutant fared
    local parts rest source=ops_cuda_emu
    case $2 in encoder | full | conv) source=encoder_ops_emu ;; esac
    cmp -s "$work/plugins/ops/cuda/$1" "$top/plugins/ops/cuda/$1" && { echo 'NOT THERE'; return; }
    g++ "${flags[@]}" -c "$work/tests/cuda_emu/$source.cc" -o "$work/ops.o" >"$work/log" 2>&1 ||
        { echo 'NO BUILD'; return; }
    mapfile -t parts < <(find "$build/tests" "$build/plugins/engine" -name "tests_cuda_emu_test_ops_$2-*.o")
    # The mutant first: what is inline in both of the kernels' objects is taken from it.
    mapfile -t rest < <(find "$build" -path '*/.libs/libops_cuda_emu_la-*.o' ! -name "*-$source.o")
    g++ -fsanitize=address "$work/ops.o" "${parts[@]}" "${rest[@]}" -lcheck -lsubunit -lstdc++ -lm -lrt -lpthread \
        -o "$work/run" >"$work/log" 2>&1 || { echo 'NO LINK'; return; }
    timeout 600 "$work/run" >"$work/log" 2>&1 && { echo SURVIVED; return; }
    grep -q 'ERROR: AddressSanitizer' "$work/log" && { echo asan; return; }
    grep -q '^cuda_emu:' "$work/log" && { echo emulator; return; }
    echo result
}

printf '%-20s %-11s %-10s %s\n' file test found-by mutation
while IFS='|' read -r file edit test; do
    [[ $file$edit =~ $pattern ]] || continue
    sed -i "$edit" "$work/plugins/ops/cuda/$file"
    result=$(try "$file" "$test")
    case $result in SURVIVED | NO*) survivors=$((survivors + 1)) ;; esac
    printf '%-20s %-11s %-10s %s\n' "$file" "$test" "$result" "$edit"
    cp "$top/plugins/ops/cuda/$file" "$work/plugins/ops/cuda/$file"
done < <(mutants)
[ $survivors = 0 ]
