/* no_cuda.c - stands where the CUDA ops would be in a build without them. */
#include "ops.h"

const struct ops *ops_cuda(const char **why)
{
    *why = "this build has no CUDA operations: it computes on the CPU (device \"cpu\")";
    return NULL;
}
