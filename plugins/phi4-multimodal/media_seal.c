/* media_seal.c - resource limits and a seccomp filter with a short list; see media_seal.h. */
#include "media_seal.h"

#include "media_protocol.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define THIS_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define THIS_ARCH AUDIT_ARCH_AARCH64
#else
#error "media_seal.c: say which AUDIT_ARCH this machine is"
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1 /* the sanitizers reserve terabytes of address space */
#else
#define SANITIZED 0
#endif

#define LOAD(member)                                                                               \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offsetof(struct seccomp_data, member))
#define ALLOW(name)                                                                                \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)SYS_##name, 0, 1),                               \
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define KILL BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)

static int set_limit(int which, rlim_t value)
{
    const struct rlimit limit = { value, value };
    return setrlimit((__rlimit_resource_t)which, &limit);
}

static int set_filter(void)
{
    struct sock_filter code[] = {
        LOAD(arch),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, THIS_ARCH, 1, 0),
        KILL,
        LOAD(nr),
        ALLOW(read),
        ALLOW(write),
        ALLOW(close),
        ALLOW(munmap),
        ALLOW(mremap),
        ALLOW(brk),
        ALLOW(madvise),
        ALLOW(futex),
        ALLOW(getrandom),
        ALLOW(sysinfo), /* qsort asks how much memory there is */
        ALLOW(clock_gettime),
        ALLOW(rt_sigreturn),
        ALLOW(exit),
        ALLOW(exit_group),
        /* refused, not killed: libsndfile looks for a resource fork beside every file */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES),
        /* memory, as long as it is not executable */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mprotect, 0, 3),
        LOAD(args[2]), /* the low half: x86-64 and aarch64 are little-endian */
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        KILL,
    };
    const struct sock_fprog program = { sizeof code / sizeof *code, code };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return -1;
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

int media_seal(void)
{
    alarm(MEDIA_WALL_SECONDS);
    if ((!SANITIZED && set_limit(RLIMIT_AS, MEDIA_MEMORY_BYTES)) ||
        set_limit(RLIMIT_CPU, MEDIA_CPU_SECONDS) || set_limit(RLIMIT_CORE, 0) ||
        set_limit(RLIMIT_FSIZE, 0) || set_limit(RLIMIT_NOFILE, 0))
        return -1;
    return set_filter();
}
