/*
 * cublaslt_emu.cc - matrix products as cuBLASLt's interface describes them, computed plainly in
 * float32; refuses what plugins/ops/cuda must not ask for.
 */
#include "ops/cuda/cublaslt_api.h"

#include "ops/cpu/convert.h"
#include "ops/quant.h"

#include <cstdlib>

enum {
    MAGIC = 0x1a7e,
    ALGORITHMS = 3 /* that there are; they pretend to take 5, 2 and 1 ms, and the last fails */
};

struct emu_lt {
    int magic;
};
struct emu_lt_desc {
    cublasOperation_t trans_a;
    const float *a_scale, *b_scale;
    int32_t a_mode, b_mode;
};
struct emu_lt_layout {
    cudaDataType type;
    uint64_t rows, cols;
    int64_t ld;
};
struct emu_lt_preference {
    uint64_t workspace;
    uint32_t alignment[4];
};

static size_t version()
{
    return 130000;
}

static cublasStatus_t create(cublasLtHandle_t *out)
{
    *out = new emu_lt{ MAGIC };
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t destroy(cublasLtHandle_t lt)
{
    delete lt;
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t desc_create(cublasLtMatmulDesc_t *out, cublasComputeType_t compute,
                                  cudaDataType_t scale)
{
    if (compute != CUBLAS_COMPUTE_32F || scale != CUDA_R_32F)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    *out = new emu_lt_desc{ CUBLAS_OP_N, nullptr, nullptr, 0, 0 };
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t desc_destroy(cublasLtMatmulDesc_t d)
{
    delete d;
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t desc_set(cublasLtMatmulDesc_t d, cublasLtMatmulDescAttributes_t attribute,
                               const void *value, size_t bytes)
{
    const struct {
        cublasLtMatmulDescAttributes_t attribute;
        void *field;
        size_t bytes;
    } known[] = {
        { CUBLASLT_MATMUL_DESC_TRANSA, &d->trans_a, sizeof d->trans_a },
        { CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, &d->a_scale, sizeof d->a_scale },
        { CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, &d->b_scale, sizeof d->b_scale },
        { CUBLASLT_MATMUL_DESC_A_SCALE_MODE, &d->a_mode, sizeof d->a_mode },
        { CUBLASLT_MATMUL_DESC_B_SCALE_MODE, &d->b_mode, sizeof d->b_mode },
    };
    for (const auto &k : known) {
        if (attribute == k.attribute && bytes == k.bytes) {
            memcpy(k.field, value, bytes);
            return CUBLAS_STATUS_SUCCESS;
        }
    }
    return CUBLAS_STATUS_INVALID_VALUE;
}

static cublasStatus_t layout_create(cublasLtMatrixLayout_t *out, cudaDataType type, uint64_t rows,
                                    uint64_t cols, int64_t ld)
{
    *out = new emu_lt_layout{ type, rows, cols, ld };
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t layout_destroy(cublasLtMatrixLayout_t l)
{
    delete l;
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t layout_set(cublasLtMatrixLayout_t l,
                                 cublasLtMatrixLayoutAttribute_t attribute, const void *value,
                                 size_t bytes)
{
    if (attribute != CUBLASLT_MATRIX_LAYOUT_COLS || bytes != sizeof l->cols)
        return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(&l->cols, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t preference_create(cublasLtMatmulPreference_t *out)
{
    *out = new emu_lt_preference{ 0, { 256, 256, 256, 256 } };
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t preference_destroy(cublasLtMatmulPreference_t p)
{
    delete p;
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t preference_set(cublasLtMatmulPreference_t p,
                                     cublasLtMatmulPreferenceAttributes_t attribute,
                                     const void *value, size_t bytes)
{
    const bool is_workspace = attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
    if (bytes != (is_workspace ? sizeof p->workspace : sizeof p->alignment[0]))
        return CUBLAS_STATUS_INVALID_VALUE;
    if (is_workspace)
        memcpy(&p->workspace, value, bytes);
    else
        memcpy(&p->alignment[attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES], value, bytes);
    return CUBLAS_STATUS_SUCCESS;
}

/* fp8: rows of 16 bytes everywhere. */
static bool types_fit(const emu_lt_layout *a, const emu_lt_layout *b)
{
    if (a->type == CUDA_R_8F_E4M3)
        return b->type == CUDA_R_8F_E4M3 && a->ld % 16 == 0 && b->ld % 16 == 0 &&
               a->rows % 16 == 0 && a->cols % 16 == 0;
    return a->type == CUDA_R_16BF && b->type == CUDA_R_16BF;
}

/* What this GPU multiplies, and with which scales. */
static bool offered(const emu_lt_desc *d, const emu_lt_layout *a)
{
    const int outer = CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F;
    if (a->type != CUDA_R_8F_E4M3)
        return d->a_mode == 0 && d->b_mode == 0 && !d->a_scale && !d->b_scale;
    if (d->a_mode == 0 && d->b_mode == 0)
        return emu_sm() >= 89;
    return emu_sm() == 90 && d->a_mode == outer && d->b_mode == outer && d->a_scale && d->b_scale;
}

static bool fits(const emu_lt_desc *d, const emu_lt_layout *a, const emu_lt_layout *b,
                 const emu_lt_layout *y)
{
    return d->trans_a == CUBLAS_OP_T && a->rows == b->rows && a->cols == y->rows &&
           b->cols == y->cols && a->ld >= (int64_t)a->rows && b->ld >= (int64_t)b->rows &&
           y->ld >= (int64_t)y->rows && types_fit(a, b);
}

/* The algorithm remembers what it was chosen for: the library's need not work for more rows. */
static cublasStatus_t heuristic(cublasLtHandle_t, cublasLtMatmulDesc_t d, cublasLtMatrixLayout_t a,
                                cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                                cublasLtMatrixLayout_t y, cublasLtMatmulPreference_t p, int wanted,
                                cublasLtMatmulHeuristicResult_t found[], int *n)
{
    *n = 0;
    if (wanted < 1 || !fits(d, a, b, y) || c->type != y->type)
        return CUBLAS_STATUS_INVALID_VALUE;
    for (uint32_t alignment : p->alignment) {
        if (alignment != 16)
            return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    if (!offered(d, a))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    const char *known = getenv("AIRLOCK_EMU_ALGORITHMS"); /* one is enough for most tests */
    const int most = known ? atoi(known) : 1;
    *n = wanted < most ? wanted : most;
    for (int i = 0; i < *n; i++) {
        found[i] = {};
        found[i].algo.data[0] = MAGIC;
        found[i].algo.data[1] = b->cols;
        found[i].algo.data[2] = p->workspace;
        found[i].algo.data[3] = (uint64_t)i;
    }
    return CUBLAS_STATUS_SUCCESS;
}

struct emu_product {
    const void *a, *b;
    void *y;
    emu_lt_desc how;
    emu_lt_layout a_is, b_is, y_is;
    void *workspace;
    size_t workspace_bytes;
};

static float number(const void *m, const emu_lt_layout &is, uint64_t column, uint64_t row)
{
    const uint64_t at = column * (uint64_t)is.ld + row;
    if (is.type == CUDA_R_16BF)
        return bf16_to_float(static_cast<const uint16_t *>(m)[at]);
    const uint8_t code = static_cast<const uint8_t *>(m)[at];
    return (code & 0x7f) == 0x7f ? NAN : quant_fp8_value(code);
}

static cudaError_t multiply(const emu_product &p)
{
    const size_t most = 4096; /* the library writes there */
    memset(p.workspace, emu::POISON, p.workspace_bytes < most ? p.workspace_bytes : most);
    for (uint64_t j = 0; j < p.y_is.cols; j++) {
        for (uint64_t i = 0; i < p.y_is.rows; i++) {
            float sum = 0;
            for (uint64_t k = 0; k < p.a_is.rows; k++)
                sum += number(p.a, p.a_is, i, k) * number(p.b, p.b_is, j, k);
            if (p.how.a_mode)
                sum = sum * p.how.a_scale[i] * p.how.b_scale[j];
            const uint64_t at = j * (uint64_t)p.y_is.ld + i;
            if (p.y_is.type == CUDA_R_32F)
                static_cast<float *>(p.y)[at] = sum;
            else
                static_cast<uint16_t *>(p.y)[at] = float_to_bf16(sum);
        }
    }
    return cudaSuccess;
}

static cublasStatus_t matmul(cublasLtHandle_t lt, cublasLtMatmulDesc_t d, const void *alpha,
                             const void *a, cublasLtMatrixLayout_t a_is, const void *b,
                             cublasLtMatrixLayout_t b_is, const void *beta, const void *,
                             cublasLtMatrixLayout_t, void *y, cublasLtMatrixLayout_t y_is,
                             const cublasLtMatmulAlgo_t *algo, void *workspace, size_t bytes,
                             cudaStream_t stream)
{
    static const char is_product = 0;
    static const float takes[ALGORITHMS] = { 5, 2, 1 };
    float one, zero;
    if (algo->data[3] == ALGORITHMS - 1)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    memcpy(&one, alpha, sizeof one);
    memcpy(&zero, beta, sizeof zero);
    if (lt->magic != MAGIC || one != 1.0f || zero != 0.0f || !fits(d, a_is, b_is, y_is) ||
        !offered(d, a_is) || algo->data[0] != MAGIC || b_is->cols > algo->data[1] ||
        bytes < algo->data[2] ||
        (reinterpret_cast<uintptr_t>(a) | reinterpret_cast<uintptr_t>(b) |
         reinterpret_cast<uintptr_t>(y)) %
            16)
        return CUBLAS_STATUS_INVALID_VALUE;
    emu_count_product((unsigned)algo->data[3]);
    emu_pass_time(takes[algo->data[3]]);
    const emu_product p = { a, b, y, *d, *a_is, *b_is, *y_is, workspace, bytes };
    return emu_enqueue(stream, &is_product, [p] { return multiply(p); }) == cudaSuccess
               ? CUBLAS_STATUS_SUCCESS
               : CUBLAS_STATUS_EXECUTION_FAILED;
}

int lt_api_load(struct lt_api *api, const char **why)
{
    if (getenv("AIRLOCK_EMU_NO_CUBLASLT")) {
        *why = "libcublasLt.so.13 or .12 was not found: install the cuBLAS of the CUDA Toolkit";
        return -1;
    }
    *api = {};
    api->version = version;
    api->create = create;
    api->destroy = destroy;
    api->desc_create = desc_create;
    api->desc_destroy = desc_destroy;
    api->desc_set = desc_set;
    api->layout_create = layout_create;
    api->layout_destroy = layout_destroy;
    api->layout_set = layout_set;
    api->preference_create = preference_create;
    api->preference_destroy = preference_destroy;
    api->preference_set = preference_set;
    api->heuristic = heuristic;
    api->matmul = matmul;
    return 0;
}
