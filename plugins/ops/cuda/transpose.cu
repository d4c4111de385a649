/* transpose.cu - the rows of each matrix become its columns, tile by tile through shared memory. */
#include "device.cuh"
#include "kernel.cuh"

enum { TILE = 32, TRANSPOSE_THREADS = 256, TILE_ROWS = TRANSPOSE_THREADS / TILE };

/* y[r, j, i] = x[r, i, j].  Grid: matrices x tiles of a x tiles of b. */
static __global__ void __launch_bounds__(TRANSPOSE_THREADS)
    transpose_tiles(bf16 *y, const bf16 *x, unsigned a, unsigned b)
{
    after_previous();
    SHARED(bf16, tile, TILE * (TILE + 2)); /* rows a word longer: columns lie in different banks */
    const size_t base = (size_t)blockIdx.x * a * b;
    const unsigned i = threadIdx.x / TILE, j = threadIdx.x % TILE;
    const unsigned first_a = blockIdx.y * TILE, first_b = blockIdx.z * TILE;
    for (unsigned k = i; k < TILE && first_a + k < a; k += TILE_ROWS) {
        if (first_b + j < b)
            tile[k * (TILE + 2) + j] = x[base + (size_t)(first_a + k) * b + first_b + j];
    }
    __syncthreads();
    for (unsigned k = i; k < TILE && first_b + k < b; k += TILE_ROWS) {
        if (first_a + j < a)
            y[base + (size_t)(first_b + k) * a + first_a + j] = tile[j * (TILE + 2) + k];
    }
}

enum ops_status cuda_transpose(struct ops_device *dev, void *y, const void *x, size_t rows,
                               size_t a, size_t b)
{
    const size_t most = (size_t)UINT16_MAX * TILE; /* what the grid holds */
    if (a == 0 || b == 0 || a > most || b > most || rows > CUDA_MAX_ROWS)
        return OPS_E_SHAPE;
    if (rows == 0)
        return OPS_OK;
    const dim3 grid((unsigned)rows, (unsigned)((a + TILE - 1) / TILE),
                    (unsigned)((b + TILE - 1) / TILE));
    return cuda_launch(dev, transpose_tiles, grid, TRANSPOSE_THREADS, 0, static_cast<bf16 *>(y),
                       static_cast<const bf16 *>(x), (unsigned)a, (unsigned)b);
}
