/*
 * cublaslt.cu - every call of cuBLASLt: plans made once per shape, a workspace of its own, errors
 * returned.
 *
 * cuBLASLt is column-major, so the row-major y = x w^T is computed as y^T = w x^T: its A is w with
 * transA, [k, n] with leading dimension k; its B is x, [k, rows]; its D is y, [n, rows].
 */
#include "matmul.h"

#include "cublaslt_api.h"
#include "device.cuh"

#include <stdlib.h>

enum {
    WORKSPACE = 32 * 1024 * 1024, /* what NVIDIA advises for Hopper and later */
    ALIGNMENT = 16,
    MAX_PLANS = 1024,
    CANDIDATES = 16, /* that the library names, likeliest first */
    TIMED_RUNS = 4
};

struct plan {
    size_t n, k, y_stride, class_rows;
    bool float_out, fp8;
    enum lt_scaling scaling;   /* fp8 */
    cublasLtMatmulDesc_t desc; /* this and what follows: unset when LT_NOT_OFFERED */
    cublasLtMatrixLayout_t w, x, y;
    uint64_t rows; /* that the layouts of x and y say at the moment */
    cublasLtMatmulAlgo_t algo;
};

struct lt {
    struct lt_api api;
    cublasLtHandle_t handle;
    void *workspace;
    struct plan **plans; /* [n_plans], few: shapes of a model x powers of two */
    size_t n_plans, room;
};

static enum ops_status lt_status(cublasStatus_t s)
{
    return s == CUBLAS_STATUS_SUCCESS         ? OPS_OK
           : s == CUBLAS_STATUS_ALLOC_FAILED  ? OPS_E_MEMORY
           : s == CUBLAS_STATUS_INVALID_VALUE ? OPS_E_SHAPE
                                              : OPS_E_DEVICE;
}

const char *lt_missing(void)
{
    struct lt_api api;
    const char *why = NULL;
    return lt_api_load(&api, &why) < 0 ? why : NULL;
}

struct lt *lt_open(const char **why)
{
    struct lt *lt = static_cast<struct lt *>(calloc(1, sizeof *lt));
    if (!lt) {
        *why = "out of memory";
        return NULL;
    }
    if (lt_api_load(&lt->api, why) < 0) {
        free(lt);
        return NULL;
    }
    if (lt->api.create(&lt->handle) != CUBLAS_STATUS_SUCCESS) {
        *why = "cuBLASLt does not start: its version and the GPU driver's may not fit together";
        lt->handle = NULL;
        lt_close(lt);
        return NULL;
    }
    if (cudaMalloc(&lt->workspace, WORKSPACE) != cudaSuccess) {
        *why = "the GPU has no memory left for the workspace of cuBLASLt (32 MiB)";
        lt->workspace = NULL;
        lt_close(lt);
        return NULL;
    }
    return lt;
}

static void plan_clear(struct lt *lt, struct plan *p)
{
    if (p->y)
        lt->api.layout_destroy(p->y);
    if (p->x)
        lt->api.layout_destroy(p->x);
    if (p->w)
        lt->api.layout_destroy(p->w);
    if (p->desc)
        lt->api.desc_destroy(p->desc);
    p->y = p->x = p->w = NULL;
    p->desc = NULL;
}

static void plan_free(struct lt *lt, struct plan *p)
{
    plan_clear(lt, p);
    free(p);
}

void lt_close(struct lt *lt)
{
    if (!lt)
        return;
    for (size_t i = 0; i < lt->n_plans; i++)
        plan_free(lt, lt->plans[i]);
    free(lt->plans);
    if (lt->workspace)
        cudaFree(lt->workspace);
    if (lt->handle)
        lt->api.destroy(lt->handle);
    free(lt);
}

size_t lt_version(const struct lt *lt)
{
    return lt->api.version();
}

bool lt_takes(const struct product *p)
{
    const size_t least = p->fp8 ? 16 : 8; /* numbers of 16 bytes */
    return p->k % least == 0 && p->n % least == 0 && cuda_aligned16(p->w) && cuda_aligned16(p->x) &&
           cuda_aligned16(p->y) && p->y_stride % 8 == 0;
}

size_t lt_class_rows(size_t rows)
{
    size_t c = GEMV_MAX_ROWS;
    while (c < rows)
        c *= 2;
    return c;
}

/* The scales of the next product. */
static cublasStatus_t set_scales(struct lt *lt, struct plan *plan, const struct product *p)
{
    cublasStatus_t s = lt->api.desc_set(plan->desc, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER,
                                        &p->w_scale, sizeof p->w_scale);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = lt->api.desc_set(plan->desc, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, &p->x_scale,
                             sizeof p->x_scale);
    return s;
}

/* A scale for each row of w and of x.  Headers before CUDA 12.9 lack the names, and libraries
 * before it refuse. */
static cublasStatus_t scale_rows_of(struct lt *lt, struct plan *plan, const struct product *p)
{
    const cublasLtMatmulDescAttributes_t a_mode = static_cast<cublasLtMatmulDescAttributes_t>(31);
    const cublasLtMatmulDescAttributes_t b_mode = static_cast<cublasLtMatmulDescAttributes_t>(32);
    const int32_t outer_vec = 3;
    cublasStatus_t s = lt->api.desc_set(plan->desc, a_mode, &outer_vec, sizeof outer_vec);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = lt->api.desc_set(plan->desc, b_mode, &outer_vec, sizeof outer_vec);
    return s == CUBLAS_STATUS_SUCCESS ? set_scales(lt, plan, p) : s;
}

static cublasStatus_t describe(struct lt *lt, struct plan *p, const struct product *product)
{
    const cublasOperation_t transposed = CUBLAS_OP_T;
    const cudaDataType_t out = p->float_out ? CUDA_R_32F : CUDA_R_16BF;
    const cudaDataType_t in = p->fp8 ? CUDA_R_8F_E4M3 : CUDA_R_16BF;
    cublasStatus_t s = lt->api.desc_create(&p->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = lt->api.desc_set(p->desc, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = lt->api.layout_create(&p->w, in, p->k, p->n, (int64_t)p->k);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = lt->api.layout_create(&p->x, in, p->k, p->class_rows, (int64_t)p->k);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = lt->api.layout_create(&p->y, out, p->n, p->class_rows, (int64_t)p->y_stride);
    if (s == CUBLAS_STATUS_SUCCESS && p->fp8 && p->scaling == LT_SCALED)
        s = scale_rows_of(lt, p, product);
    p->rows = p->class_rows;
    return s;
}

/* The library's choices for as many rows as the class has at most. */
static cublasStatus_t candidates(struct lt *lt, const struct plan *p,
                                 cublasLtMatmulHeuristicResult_t *found, int most, int *n)
{
    static const cublasLtMatmulPreferenceAttributes_t aligned[] = {
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES
    };
    const uint64_t workspace = WORKSPACE;
    const uint32_t alignment = ALIGNMENT;
    cublasLtMatmulPreference_t preference = NULL;
    *n = 0;
    cublasStatus_t s = lt->api.preference_create(&preference);
    if (s != CUBLAS_STATUS_SUCCESS)
        return s;
    s = lt->api.preference_set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace,
                               sizeof workspace);
    for (size_t i = 0; s == CUBLAS_STATUS_SUCCESS && i < sizeof aligned / sizeof aligned[0]; i++)
        s = lt->api.preference_set(preference, aligned[i], &alignment, sizeof alignment);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = lt->api.heuristic(lt->handle, p->desc, p->w, p->x, p->y, p->y, preference, most, found,
                              n);
    lt->api.preference_destroy(preference);
    if (s == CUBLAS_STATUS_SUCCESS && (*n < 1 || found[0].state != CUBLAS_STATUS_SUCCESS))
        s = CUBLAS_STATUS_NOT_SUPPORTED;
    return s;
}

/* The first of them. */
static cublasStatus_t choose(struct lt *lt, struct plan *p)
{
    cublasLtMatmulHeuristicResult_t found = {};
    int n = 0;
    const cublasStatus_t s = candidates(lt, p, &found, 1, &n);
    p->algo = found.algo;
    return s;
}

static cublasStatus_t make_plan(struct lt *lt, struct plan *p, const struct product *product)
{
    cublasStatus_t s = describe(lt, p, product);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = choose(lt, p);
    if (s != CUBLAS_STATUS_SUCCESS)
        plan_clear(lt, p);
    return s;
}

/* The first that the library offers; that it offers nothing is remembered as well. */
static cublasStatus_t make_fp8_plan(struct lt *lt, struct plan *p, const struct product *product)
{
    cublasStatus_t s = make_plan(lt, p, product);
    while (s != CUBLAS_STATUS_SUCCESS && s != CUBLAS_STATUS_ALLOC_FAILED) {
        p->scaling = p->scaling == LT_SCALED ? LT_UNSCALED : LT_NOT_OFFERED;
        s = p->scaling == LT_NOT_OFFERED ? CUBLAS_STATUS_SUCCESS : make_plan(lt, p, product);
    }
    return s;
}

static enum ops_status add_plan(struct lt *lt, const struct product *product, struct plan **out)
{
    if (lt->n_plans == lt->room) {
        const size_t room = lt->room ? 2 * lt->room : 64;
        if (room > MAX_PLANS)
            return OPS_E_MEMORY;
        void *more = realloc(lt->plans, room * sizeof(struct plan *));
        if (!more)
            return OPS_E_MEMORY;
        lt->plans = static_cast<struct plan **>(more);
        lt->room = room;
    }
    struct plan *p = static_cast<struct plan *>(calloc(1, sizeof *p));
    if (!p)
        return OPS_E_MEMORY;
    p->n = product->n;
    p->k = product->k;
    p->y_stride = product->y_stride;
    p->class_rows = lt_class_rows(product->rows);
    p->float_out = product->float_out;
    p->fp8 = product->fp8;
    const cublasStatus_t s = p->fp8 ? make_fp8_plan(lt, p, product) : make_plan(lt, p, product);
    if (s != CUBLAS_STATUS_SUCCESS) {
        plan_free(lt, p);
        return lt_status(s);
    }
    lt->plans[lt->n_plans++] = *out = p;
    return OPS_OK;
}

static enum ops_status plan_for(struct lt *lt, const struct product *p, struct plan **out)
{
    const size_t c = lt_class_rows(p->rows);
    for (size_t i = 0; i < lt->n_plans; i++) {
        struct plan *have = lt->plans[i];
        if (have->n == p->n && have->k == p->k && have->y_stride == p->y_stride &&
            have->class_rows == c && have->float_out == p->float_out && have->fp8 == p->fp8) {
            *out = have;
            return OPS_OK;
        }
    }
    return add_plan(lt, p, out);
}

static cublasStatus_t set_rows(struct lt *lt, struct plan *plan, uint64_t rows)
{
    cublasStatus_t s = CUBLAS_STATUS_SUCCESS;
    if (plan->rows == rows)
        return s;
    s = lt->api.layout_set(plan->x, CUBLASLT_MATRIX_LAYOUT_COLS, &rows, sizeof rows);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = lt->api.layout_set(plan->y, CUBLASLT_MATRIX_LAYOUT_COLS, &rows, sizeof rows);
    plan->rows = s == CUBLAS_STATUS_SUCCESS ? rows : 0;
    return s;
}

static cublasStatus_t enqueue(struct lt *lt, struct plan *plan, const struct product *p,
                              const cublasLtMatmulAlgo_t *algo, cudaStream_t stream)
{
    const float one = 1.0f, zero = 0.0f;
    return lt->api.matmul(lt->handle, plan->desc, &one, p->w, plan->w, p->x, plan->x, &zero, p->y,
                          plan->y, p->y, plan->y, algo, lt->workspace, WORKSPACE, stream);
}

/* Milliseconds of TIMED_RUNS products by this algorithm; less than 0: it does not work. */
static float time_of(struct lt *lt, struct plan *plan, const struct product *products, size_t n,
                     const cublasLtMatmulAlgo_t *algo, cudaStream_t stream, cudaEvent_t events[2])
{
    float ms = -1.0f;
    if (enqueue(lt, plan, &products[n - 1], algo, stream) != CUBLAS_STATUS_SUCCESS ||
        cudaEventRecord(events[0], stream) != cudaSuccess)
        return -1.0f;
    for (size_t i = 0; i < TIMED_RUNS; i++)
        if (enqueue(lt, plan, &products[i % n], algo, stream) != CUBLAS_STATUS_SUCCESS)
            return -1.0f;
    if (cudaEventRecord(events[1], stream) != cudaSuccess ||
        cudaEventSynchronize(events[1]) != cudaSuccess ||
        cudaEventElapsedTime(&ms, events[0], events[1]) != cudaSuccess)
        return -1.0f;
    return ms;
}

static enum ops_status tune_plan(struct lt *lt, struct plan *plan, const struct product *products,
                                 size_t n, cudaStream_t stream, cudaEvent_t events[2])
{
    cublasLtMatmulHeuristicResult_t found[CANDIDATES] = {};
    int n_found = 0;
    cublasStatus_t s = set_rows(lt, plan, plan->class_rows);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = candidates(lt, plan, found, CANDIDATES, &n_found);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = set_rows(lt, plan, products[0].rows);
    if (s != CUBLAS_STATUS_SUCCESS)
        return lt_status(s);
    float best = -1.0f;
    for (int i = 0; n_found > 1 && i < n_found; i++) {
        if (found[i].state != CUBLAS_STATUS_SUCCESS)
            continue;
        const float ms = time_of(lt, plan, products, n, &found[i].algo, stream, events);
        if (ms >= 0 && (best < 0 || ms < best)) {
            best = ms;
            plan->algo = found[i].algo;
        }
    }
    return OPS_OK;
}

enum ops_status lt_tune(struct lt *lt, const struct product *products, size_t n, void *stream)
{
    struct plan *plan = NULL;
    cudaEvent_t events[2] = {};
    enum ops_status status = plan_for(lt, &products[0], &plan);
    if (status != OPS_OK)
        return status;
    cudaError_t rc = cudaEventCreateWithFlags(&events[0], cudaEventDefault);
    if (rc == cudaSuccess)
        rc = cudaEventCreateWithFlags(&events[1], cudaEventDefault);
    status = rc == cudaSuccess
                 ? tune_plan(lt, plan, products, n, static_cast<cudaStream_t>(stream), events)
                 : cuda_status(rc);
    for (int i = 0; i < 2; i++)
        if (events[i])
            cudaEventDestroy(events[i]);
    return status;
}

enum ops_status lt_fp8_scaling(struct lt *lt, const struct product *p, enum lt_scaling *out)
{
    struct plan *plan = NULL;
    const enum ops_status status = plan_for(lt, p, &plan);
    if (status == OPS_OK)
        *out = plan->scaling;
    return status;
}

enum ops_status lt_run(struct lt *lt, const struct product *p, void *stream)
{
    struct plan *plan = NULL;
    const enum ops_status status = plan_for(lt, p, &plan);
    if (status != OPS_OK)
        return status;
    if (!plan->desc)
        return OPS_E_SHAPE;
    cublasStatus_t s = set_rows(lt, plan, p->rows);
    if (s == CUBLAS_STATUS_SUCCESS && plan->fp8 && plan->scaling == LT_SCALED)
        s = set_scales(lt, plan, p);
    if (s != CUBLAS_STATUS_SUCCESS)
        return lt_status(s);
    return lt_status(enqueue(lt, plan, p, &plan->algo, static_cast<cudaStream_t>(stream)));
}
