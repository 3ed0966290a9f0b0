/* The epoll loop: level-triggered, urgent watches first, then the others, then the round's hook, which says when it wants to be
 * woken next. Signals arrive through a descriptor like everything else. */
#include "error.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_PER_ROUND 64

struct io_loop {
    int fd;
    bool stopping;
    struct io_loop_hooks hooks;
    struct io_watch signals;
    size_t n_events; /* of the round that is being dispatched */
    struct epoll_event events[EVENTS_PER_ROUND];
};

static uint32_t to_epoll(unsigned events)
{
    return (events & IO_READ ? (uint32_t)EPOLLIN : 0) | (events & IO_WRITE ? (uint32_t)EPOLLOUT : 0);
}

static unsigned from_epoll(uint32_t events)
{
    return (events & EPOLLIN ? IO_READ : 0u) | (events & EPOLLOUT ? IO_WRITE : 0u) |
           (events & (EPOLLERR | EPOLLHUP) ? IO_HANGUP : 0u);
}

enum rc io_loop_new(const struct io_loop_hooks *hooks, struct io_loop **ret, struct io_error *ret_error)
{
    struct io_loop *loop = calloc(1, sizeof *loop);
    if (!loop)
        return io_fail(ret_error, RC_NOMEM, "out of memory for the event loop");
    loop->hooks = *hooks;
    loop->signals.fd = -1;
    loop->fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->fd < 0) {
        int error = errno;
        free(loop);
        return io_fail_errno(ret_error, io_rc_of_errno(error), error, "epoll");
    }
    *ret = loop;
    return RC_OK;
}

void io_loop_free(struct io_loop *loop)
{
    if (!loop)
        return;
    if (loop->signals.fd >= 0) {
        io_loop_unwatch(&loop->signals);
        close(loop->signals.fd);
    }
    close(loop->fd);
    free(loop);
}

enum rc io_loop_watch(struct io_loop *loop, struct io_watch *watch, struct io_error *ret_error)
{
    struct epoll_event event = {.events = to_epoll(watch->events), .data.ptr = watch};
    if (epoll_ctl(loop->fd, EPOLL_CTL_ADD, watch->fd, &event) < 0)
        return io_fail_errno(ret_error, io_rc_of_errno(errno), errno, "watching descriptor %d", watch->fd);
    watch->loop = loop;
    return RC_OK;
}

void io_loop_change(struct io_watch *watch, unsigned events)
{
    if (!watch->loop || watch->events == events)
        return;
    struct epoll_event event = {.events = to_epoll(events), .data.ptr = watch};
    if (epoll_ctl(watch->loop->fd, EPOLL_CTL_MOD, watch->fd, &event) == 0)
        watch->events = events;
}

void io_loop_unwatch(struct io_watch *watch)
{
    struct io_loop *loop = watch->loop;
    if (!loop)
        return;
    epoll_ctl(loop->fd, EPOLL_CTL_DEL, watch->fd, NULL);
    watch->loop = NULL;
    for (size_t i = 0; i < loop->n_events; i++) /* it may still wait for its turn in this round */
        if (loop->events[i].data.ptr == watch)
            loop->events[i].data.ptr = NULL;
}

static void signal_set(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
}

void io_signals_block(void)
{
    sigset_t set;
    signal_set(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void signals_ready(void *ctx, unsigned events)
{
    (void)events;
    struct io_loop *loop = ctx;
    struct signalfd_siginfo info;
    while (read(loop->signals.fd, &info, sizeof info) == sizeof info)
        if (loop->hooks.signal)
            loop->hooks.signal(loop->hooks.ctx, (int)info.ssi_signo);
}

enum rc io_loop_signals(struct io_loop *loop, struct io_error *ret_error)
{
    sigset_t set;
    signal_set(&set);
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return io_fail_errno(ret_error, io_rc_of_errno(errno), errno, "signalfd");
    loop->signals = (struct io_watch){.fd = fd, .events = IO_READ, .urgent = true, .ready = signals_ready, .ctx = loop};
    enum rc rc = io_loop_watch(loop, &loop->signals, ret_error);
    if (rc != RC_OK) {
        close(fd);
        loop->signals.fd = -1;
    }
    return rc;
}

static int wait_until(struct io_loop *loop, uint64_t deadline)
{
    struct timespec left = {0}, *timeout = NULL; /* NULL: for ever */
    if (deadline != NEVER) {
        uint64_t now = io_clock_now(), ns = deadline > now ? deadline - now : 0;
        left.tv_sec = (time_t)(ns / NS_PER_S);
        left.tv_nsec = (long)(ns % NS_PER_S);
        timeout = &left;
    }
    int n = epoll_pwait2(loop->fd, loop->events, EVENTS_PER_ROUND, timeout, NULL);
    return n < 0 && errno == EINTR ? 0 : n;
}

static void dispatch(struct io_loop *loop, bool urgent)
{
    for (size_t i = 0; i < loop->n_events; i++) {
        struct io_watch *w = loop->events[i].data.ptr;
        if (w && w->urgent == urgent)
            w->ready(w->ctx, from_epoll(loop->events[i].events));
    }
}

enum rc io_loop_run(struct io_loop *loop, struct io_error *ret_error)
{
    loop->stopping = false;
    do {
        uint64_t deadline = loop->hooks.round ? loop->hooks.round(loop->hooks.ctx, io_clock_now()) : NEVER;
        if (loop->stopping)
            break;
        int n = wait_until(loop, deadline);
        if (n < 0)
            return io_fail_errno(ret_error, RC_UNSUPPORTED, errno,
                                 "waiting for events (Linux 5.11 or newer is needed)");
        loop->n_events = (size_t)n;
        dispatch(loop, true);
        dispatch(loop, false);
        loop->n_events = 0;
    } while (!loop->stopping);
    return RC_OK;
}

void io_loop_stop(struct io_loop *loop)
{
    loop->stopping = true;
}
