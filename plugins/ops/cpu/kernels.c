/* kernels.c - chooses the instruction set of the CPU ops at run time. */
#include "kernels.h"

#include "panels.h"

#include <stdlib.h>
#include <string.h>
#ifdef CPU_HAVE_X86_KERNELS
#include <cpuid.h>
#endif

#ifdef CPU_HAVE_X86_KERNELS
static bool has_avx2(void)
{
    unsigned eax, ebx, ecx, edx;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __get_cpuid(1, &eax, &ebx, &ecx, &edx) && ecx & bit_F16C;
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

const struct cpu_kernels *cpu_kernels_choose(const char **note)
{
    const struct cpu_kernels *best = &cpu_kernels_plain;
    const char *wish = getenv("AIRLOCK_CPU");
    *note = NULL;
    if (wish && strcmp(wish, "plain") == 0)
        return best;
#ifdef CPU_HAVE_X86_KERNELS
    if (has_avx2())
        best = &cpu_kernels_avx2;
    if (wish && strcmp(wish, "avx2") == 0 && has_avx2())
        return best;
    if (has_avx512())
        best = &cpu_kernels_avx512;
    if (wish && strcmp(wish, "avx512") == 0 && has_avx512())
        return best;
#endif
    if (wish && strcmp(wish, "avx512bf16") == 0 && cpu_panel_kernels_choose())
        return best;
    if (wish && strcmp(wish, "avx2") == 0)
        *note = "AIRLOCK_CPU=avx2: this machine has no AVX2 with FMA";
    else if (wish && strcmp(wish, "avx512") == 0)
        *note = "AIRLOCK_CPU=avx512: this machine has no AVX-512 (F, BW, DQ, VL)";
    else if (wish && strcmp(wish, "avx512bf16") == 0)
        *note = "AIRLOCK_CPU=avx512bf16: this machine has no AVX-512 with BF16";
    else if (wish && *wish)
        *note = "AIRLOCK_CPU must be plain, avx2, avx512 or avx512bf16";
    return best;
}
