/* The namespace helper: a child that keeps CAP_SYS_ADMIN so that the daemon need not. It answers one question, "descriptors of a
 * TUN device in this namespace", over a socket pair, and ends when the daemon's end closes. */
#include "descriptors.h"
#include "privileges.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define ANSWER_TIMEOUT_S 5

struct io_helper {
    pid_t pid;
    int fd;
    uint32_t last_id;
};

union fd_control {
    struct cmsghdr align;
    uint8_t b[CMSG_SPACE(sizeof(int) * (1 + IO_QUEUES_MAX))];
};

/* ---- the child */

static const char *const helper_calls[] = {"read",        "write",        "close",           "openat",
                                           "open",        "fcntl",        "ioctl",           "fstat",
                                           "newfstatat",  "fstatfs",      "socket",          "bind",
                                           "getsockname", "setsockopt",   "recvfrom",        "recvmsg",
                                           "sendmsg",     "setns",        "unshare",         "mount",
                                           "mkdir",       "mkdirat",      "unlink",          "unlinkat",
                                           "mmap",        "munmap",       "mremap",          "madvise",
                                           "brk",         "futex",        "getpid",          "gettid",
                                           "tgkill",      "rt_sigreturn", "rt_sigprocmask",  "rt_sigaction",
                                           "exit",        "exit_group",   "restart_syscall", "clock_gettime",
                                           "getrandom"};

static void send_answer(int fd, const struct helper_answer *answer, const struct descriptors *d)
{
    union fd_control control;
    struct iovec iov = {.iov_base = (void *)answer, .iov_len = sizeof *answer};
    struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};
    if (answer->rc == RC_OK) {
        size_t n = sizeof(int) * (1 + d->n_queues);
        memset(&control, 0, sizeof control);
        h.msg_control = control.b;
        h.msg_controllen = CMSG_SPACE(n);
        struct cmsghdr *c = CMSG_FIRSTHDR(&h);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(n);
        memcpy(CMSG_DATA(c), &d->netlink, sizeof(int));
        memcpy(CMSG_DATA(c) + sizeof(int), d->queue, n - sizeof(int));
    }
    while (sendmsg(fd, &h, MSG_NOSIGNAL) < 0 && errno == EINTR)
        ;
}

static bool is_text(const char *s, size_t max)
{
    return memchr(s, 0, max) != NULL;
}

static void answer_question(int fd, int own_netns, const struct helper_question *q, size_t len)
{
    struct helper_answer answer = {.id = len == sizeof *q ? q->id : 0};
    struct descriptors d = {.netlink = -1};
    enum rc rc;
    if (len != sizeof *q || !is_text(q->netns, sizeof q->netns) || !is_text(q->device, sizeof q->device) ||
        q->create > 1 || q->offload > 1)
        rc = io_fail(&answer.error, RC_SYNTAX, "the namespace helper was asked something it does not understand");
    else if ((rc = netns_enter(q->netns, q->create, own_netns, &answer.error)) == RC_OK) {
        char where[NETNS_NAME_MAX + 32];
        snprintf(where, sizeof where, "network namespace %s", q->netns);
        rc = descriptors_open(where, q->device, q->queues, q->offload, &d, &answer.error);
        if (setns(own_netns, CLONE_NEWNET) < 0)
            _exit(1); /* never serve from the wrong namespace */
    }
    answer.rc = rc;
    send_answer(fd, &answer, &d);
    descriptors_close(&d);
}

void helper_serve(int fd, int own_netns)
{
    for (;;) {
        struct helper_question q;
        ssize_t n = recv(fd, &q, sizeof q, MSG_TRUNC);
        if (n == 0 || (n < 0 && errno != EINTR))
            return;
        if (n > 0)
            answer_question(fd, own_netns, &q, (size_t)n);
    }
}

static _Noreturn void run(int fd)
{
    struct io_error error;
    prctl(PR_SET_NAME, "adit-netns", 0, 0, 0);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    if (dup2(fd, STDERR_FILENO + 1) < 0) /* the socket becomes 3, everything above is closed */
        _exit(1);
    fd = STDERR_FILENO + 1;
    close_range((unsigned)fd + 1, ~0u, 0);
    int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (own < 0 || capabilities_keep(CAPABILITY(CAP_SYS_ADMIN) | CAPABILITY(CAP_NET_ADMIN), &error) != RC_OK ||
        system_calls_allow(helper_calls, ARRAY_LEN(helper_calls), &error) != RC_OK)
        _exit(1);
    helper_serve(fd, own);
    _exit(0);
}

/* ---- the daemon's side */

enum rc io_helper_start(struct io_helper **ret, struct io_error *ret_error)
{
    int pair[2];
    struct io_helper *helper = calloc(1, sizeof *helper);
    if (!helper)
        return io_fail(ret_error, RC_NOMEM, "out of memory for the namespace helper");
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        int error = errno;
        free(helper);
        return io_fail_errno(ret_error, io_rc_of_errno(error), error, "socket pair of the namespace helper");
    }
    helper->pid = fork();
    if (helper->pid == 0)
        run(pair[1]);
    close(pair[1]);
    if (helper->pid < 0) {
        int error = errno;
        close(pair[0]);
        free(helper);
        return io_fail_errno(ret_error, RC_NOMEM, error, "starting the namespace helper");
    }
    struct timeval timeout = {.tv_sec = ANSWER_TIMEOUT_S};
    setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    helper->fd = pair[0];
    *ret = helper;
    return RC_OK;
}

void io_helper_stop(struct io_helper *helper)
{
    if (!helper)
        return;
    close(helper->fd); /* its receive ends, and so does it */
    while (waitpid(helper->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    free(helper);
}

pid_t io_helper_pid(const struct io_helper *helper)
{
    return helper->pid;
}

int io_helper_fd(const struct io_helper *helper)
{
    return helper->fd;
}

/* The descriptors of one answer: [0] netlink, then the queues. All are closed unless there are exactly as many as asked for. */
static bool take_descriptors(struct msghdr *h, unsigned queues, struct descriptors *ret)
{
    int fds[1 + IO_QUEUES_MAX];
    size_t n = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t here = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < here && n < ARRAY_LEN(fds); i++)
            memcpy(&fds[n++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
    }
    if (n > 0 && n == 1 + queues) {
        ret->netlink = fds[0];
        ret->n_queues = queues;
        memcpy(ret->queue, fds + 1, queues * sizeof(int));
        return true;
    }
    while (n)
        close(fds[--n]);
    return false;
}

static enum rc receive_answer(struct io_helper *helper, unsigned queues, struct descriptors *ret,
                              struct io_error *ret_error)
{
    for (;;) {
        struct helper_answer answer;
        struct descriptors d = {.netlink = -1};
        union fd_control control;
        struct iovec iov = {.iov_base = &answer, .iov_len = sizeof answer};
        struct msghdr h = {
            .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.b, .msg_controllen = sizeof control.b};
        ssize_t n = recvmsg(helper->fd, &h, MSG_CMSG_CLOEXEC);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return io_fail(ret_error, RC_LIMIT, "the namespace helper did not answer within %d s", ANSWER_TIMEOUT_S);
        if (n != sizeof answer)
            return io_fail(ret_error, RC_UNSUPPORTED, "the namespace helper (pid %d) is gone: restart aditd",
                           (int)helper->pid);
        bool complete = take_descriptors(&h, answer.rc == RC_OK ? queues : 0, &d);
        if (answer.id != helper->last_id) { /* of a question we gave up */
            if (complete)
                descriptors_close(&d);
            continue;
        }
        if (answer.rc != RC_OK)
            return io_fail(ret_error, (enum rc)answer.rc, "%.*s", (int)sizeof answer.error.text - 1, answer.error.text);
        if (!complete)
            return io_fail(ret_error, RC_LIMIT, "too many open files: raise LimitNOFILE or `ulimit -n`");
        *ret = d;
        return RC_OK;
    }
}

enum rc helper_request(struct io_helper *helper, const struct io_tun_config *config, struct descriptors *ret,
                       struct io_error *ret_error)
{
    struct helper_question q = {.queues = config->queues, .create = config->create, .offload = config->offload};
    if (strlen(config->netns) >= sizeof q.netns || strlen(config->device) >= sizeof q.device)
        return io_fail(ret_error, RC_RANGE, "the name of the network namespace or of the device is too long");
    q.id = ++helper->last_id;
    snprintf(q.netns, sizeof q.netns, "%s", config->netns);
    snprintf(q.device, sizeof q.device, "%s", config->device);
    ssize_t n;
    while ((n = send(helper->fd, &q, sizeof q, MSG_NOSIGNAL)) < 0 && errno == EINTR)
        ;
    if (n != sizeof q)
        return io_fail(ret_error, RC_UNSUPPORTED, "the namespace helper (pid %d) is gone: restart aditd",
                       (int)helper->pid);
    return receive_answer(helper, config->queues, ret, ret_error);
}
