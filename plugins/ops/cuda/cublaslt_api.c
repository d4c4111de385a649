/* cublaslt_api.c - opens libcublasLt by its name with the version, 13 or 12, and finds the
 * functions. */
#include "cublaslt_api.h"

#include <dlfcn.h>
#include <string.h>

/* Function and object pointers have one size in POSIX; a cast between them is not ISO C. */
static int find(void *library, const char *name, void *slot)
{
    void *symbol = dlsym(library, name);
    memcpy(slot, &symbol, sizeof symbol);
    return symbol ? 0 : -1;
}

int lt_api_load(struct lt_api *api, const char **why)
{
    /* The interface in use is the same in both. */
    static const char *const names[] = { "libcublasLt.so.13", "libcublasLt.so.12" };
    memset(api, 0, sizeof *api);
    for (size_t i = 0; i < sizeof names / sizeof names[0] && !api->library; i++)
        api->library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (!api->library) {
        *why = "libcublasLt.so.13 or .12 was not found: install the cuBLAS of the CUDA Toolkit";
        return -1;
    }
    const struct {
        const char *name;
        void *slot;
    } wanted[] = {
        { "cublasLtGetVersion", &api->version },
        { "cublasLtCreate", &api->create },
        { "cublasLtDestroy", &api->destroy },
        { "cublasLtMatmulDescCreate", &api->desc_create },
        { "cublasLtMatmulDescDestroy", &api->desc_destroy },
        { "cublasLtMatmulDescSetAttribute", &api->desc_set },
        { "cublasLtMatrixLayoutCreate", &api->layout_create },
        { "cublasLtMatrixLayoutDestroy", &api->layout_destroy },
        { "cublasLtMatrixLayoutSetAttribute", &api->layout_set },
        { "cublasLtMatmulPreferenceCreate", &api->preference_create },
        { "cublasLtMatmulPreferenceDestroy", &api->preference_destroy },
        { "cublasLtMatmulPreferenceSetAttribute", &api->preference_set },
        { "cublasLtMatmulAlgoGetHeuristic", &api->heuristic },
        { "cublasLtMatmul", &api->matmul },
    };
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        if (find(api->library, wanted[i].name, wanted[i].slot) < 0) {
            *why = "libcublasLt lacks a function that every version from 12 on has";
            return -1;
        }
    }
    return 0;
}
