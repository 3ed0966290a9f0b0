/* Giving up what is not needed once everything is open: capabilities, new privileges, system calls, core dumps. */
#include "privileges.h"

#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct {
    int number;
    const char *name, *why;
} needed[] = {
    {CAP_NET_ADMIN, "CAP_NET_ADMIN", "TUN devices, addresses and routes"},
    {CAP_NET_RAW, "CAP_NET_RAW", "GRE, ESP and ICMP sockets"},
    {CAP_NET_BIND_SERVICE, "CAP_NET_BIND_SERVICE", "UDP port 500"},
    {CAP_SYS_ADMIN, "CAP_SYS_ADMIN", "accounts in network namespaces (used by the helper only)"},
};

/* ---- capabilities: two system calls, so no library for them */

struct capabilities {
    uint64_t effective, permitted;
};

static bool capabilities_get(struct capabilities *ret)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {0};
    if (syscall(SYS_capget, &header, data) < 0)
        return false;
    ret->effective = (uint64_t)data[1].effective << 32 | data[0].effective;
    ret->permitted = (uint64_t)data[1].permitted << 32 | data[0].permitted;
    return true;
}

static bool capabilities_set(uint64_t mask)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {
        {.effective = (uint32_t)mask, .permitted = (uint32_t)mask},
        {.effective = (uint32_t)(mask >> 32), .permitted = (uint32_t)(mask >> 32)},
    };
    return syscall(SYS_capset, &header, data) == 0;
}

enum rc capabilities_keep(uint64_t keep, struct io_error *ret_error)
{
    struct capabilities have;
    if (!capabilities_get(&have))
        return io_fail_errno(ret_error, RC_UNSUPPORTED, errno, "reading our capabilities");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return io_fail_errno(ret_error, RC_UNSUPPORTED, errno, "no_new_privs");
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    for (int i = 0; i <= CAP_LAST_CAP; i++) /* needs CAP_SETPCAP; without it, no_new_privs does the same service */
        if (!(keep & CAPABILITY(i)))
            prctl(PR_CAPBSET_DROP, i, 0, 0, 0);
    if (!capabilities_set(have.permitted & keep))
        return io_fail_errno(ret_error, RC_AUTH, errno, "dropping capabilities");
    return RC_OK;
}

enum rc io_privileges_check(bool helper, struct io_error *ret_error)
{
    struct capabilities have;
    if (!capabilities_get(&have))
        return io_fail_errno(ret_error, RC_UNSUPPORTED, errno, "reading our capabilities");
    char missing[200] = "";
    size_t at = 0;
    for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
        bool wanted = helper || needed[i].number != CAP_SYS_ADMIN;
        if (!wanted || have.effective & CAPABILITY(needed[i].number))
            continue;
        int n = snprintf(missing + at, sizeof missing - at, "%s%s (%s)", at ? ", " : "", needed[i].name, needed[i].why);
        at += n > 0 && (size_t)n < sizeof missing - at ? (size_t)n : 0;
    }
    if (!at)
        return RC_OK;
    return io_fail(ret_error, RC_AUTH,
                   "missing %s: run aditd as root, or from its systemd unit; in a container, add them", missing);
}

/* ---- system calls */

#define NAMESPACES \
    (CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP)

enum rc system_calls_allow(const char *const *names, size_t n, struct io_error *ret_error)
{
    if (SANITIZED)
        return RC_OK;
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (!filter)
        return io_fail(ret_error, RC_NOMEM, "out of memory for the system call filter");
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i++) {
        int number = seccomp_syscall_resolve_name(names[i]);
        if (number != __NR_SCMP_ERROR)
            r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0);
        if (r == -EDOM || r == -EINVAL) /* not a call of this architecture */
            r = 0;
    }
    /* Threads, but no processes and no new namespaces. */
    if (r == 0)
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD | NAMESPACES, CLONE_THREAD));
    if (r == 0)
        r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    if (r == 0)
        r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (r == 0)
        r = seccomp_load(filter);
    seccomp_release(filter);
    if (r < 0)
        return io_fail_errno(ret_error, RC_UNSUPPORTED, -r, "system call filter");
    return RC_OK;
}

/* By purpose. What is missing on purpose: execve, ptrace, setns, unshare, mount, bpf, modules, keys, other processes' memory. */
static const char *const daemon_calls[] = {
    /* descriptors and files */
    "read", "write", "readv", "writev", "pread64", "pwrite64", "lseek", "close", "close_range", "dup", "dup2", "dup3",
    "fcntl", "ioctl", "openat", "open", "fstat", "newfstatat", "stat", "lstat", "statx", "faccessat", "faccessat2",
    "access", "readlink", "readlinkat", "getdents64", "getcwd", "unlink", "unlinkat", "rename", "renameat", "renameat2",
    "mkdir", "mkdirat", "chmod", "fchmod", "fchmodat", "chown", "fchown", "fchownat", "lchown", "umask", "flock",
    "ftruncate", "fsync", "fdatasync", "fallocate", "statfs", "fstatfs", "memfd_create", "pipe2",
    /* sockets */
    "socket", "socketpair", "bind", "listen", "accept4", "accept", "connect", "shutdown", "getsockname", "getpeername",
    "getsockopt", "setsockopt", "sendto", "sendmsg", "sendmmsg", "recvfrom", "recvmsg", "recvmmsg",
    /* waiting */
    "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll", "select", "pselect6",
    "eventfd2", "signalfd4", "timerfd_create", "timerfd_settime", "timerfd_gettime",
    /* memory */
    "mmap", "munmap", "mremap", "mprotect", "madvise", "brk", "mlock", "mlock2", "munlock",
    /* threads, signals, time */
    "futex", "set_robust_list", "get_robust_list", "rseq", "membarrier", "sched_yield", "sched_getaffinity",
    "sched_setaffinity", "set_tid_address", "gettid", "getpid", "getppid", "tgkill", "kill", "wait4", "waitid",
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigtimedwait", "sigaltstack", "restart_syscall", "exit",
    "exit_group", "clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time", "times",
    "getrusage",
    /* what libraries ask at odd moments */
    "getrandom", "uname", "sysinfo", "getuid", "geteuid", "getgid", "getegid", "getrlimit", "prlimit64", "prctl",
    "arch_prctl", "getcpu", "capget"};

enum rc io_privileges_drop(struct io_error *ret_error)
{
    enum rc rc = capabilities_keep(
        CAPABILITY(CAP_NET_ADMIN) | CAPABILITY(CAP_NET_RAW) | CAPABILITY(CAP_NET_BIND_SERVICE), ret_error);
    return rc == RC_OK ? system_calls_allow(daemon_calls, ARRAY_LEN(daemon_calls), ret_error) : rc;
}

/* ---- limits */

static void raise_limit(__rlimit_resource_t resource)
{
    struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY}, have;
    if (resource == RLIMIT_MEMLOCK && setrlimit(resource, &unlimited) == 0) /* with CAP_SYS_RESOURCE */
        return;
    if (getrlimit(resource, &have) == 0) {
        have.rlim_cur = have.rlim_max;
        setrlimit(resource, &have);
    }
}

void io_privileges_harden(void)
{
    struct rlimit none = {0, 0};
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* no core dump, no ptrace, no /proc/PID/mem by our own user */
    setrlimit(RLIMIT_CORE, &none);
    raise_limit(RLIMIT_MEMLOCK); /* keys are locked into memory */
    raise_limit(RLIMIT_NOFILE);  /* two descriptors or more per account */
}
