#include "pace.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define BUSY 4                           /* packets at once are numbers */
#define MOMENT (60 * NS_PER_S / 1000000) /* as long as a network card's interrupts wait */

static void arm(struct pace *p, uint64_t ns)
{
    struct itimerspec t = {.it_value.tv_nsec = (long)ns};
    timerfd_settime(p->timer.fd, 0, &t, NULL); /* 0 stops it; that it has rung is forgotten either way */
}

static void timer_ready(void *ctx, unsigned events)
{
    struct pace *p = ctx;
    p->watch->ready(p->watch->ctx, events);
}

enum rc pace_open(struct pace *p, struct io_loop *loop, struct io_watch *watch, struct io_error *ret_error)
{
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (fd < 0)
        return io_fail_errno(ret_error, io_rc_of_errno(errno), errno, "timer of a socket");
    *p = (struct pace){.loop = loop,
                       .watch = watch,
                       .timer = {.fd = fd, .events = IO_READ, .urgent = watch->urgent, .ready = timer_ready, .ctx = p}};
    enum rc rc = io_loop_watch(loop, &p->timer, ret_error);
    if (rc == RC_OK)
        rc = io_loop_watch(loop, watch, ret_error);
    if (rc != RC_OK)
        pace_close(p);
    return rc;
}

void pace_close(struct pace *p)
{
    if (!p->loop)
        return;
    io_loop_unwatch(p->watch);
    io_loop_unwatch(&p->timer);
    close(p->timer.fd);
    *p = (struct pace){.timer.fd = -1};
}

void pace_note(struct pace *p, size_t n)
{
    struct io_error error;
    bool listening = p->watch->loop != NULL;
    if (listening && n >= BUSY) {
        io_loop_unwatch(p->watch);
        arm(p, MOMENT);
    } else if (!listening) {
        bool quiet = n < BUSY && io_loop_watch(p->loop, p->watch, &error) == RC_OK;
        arm(p, quiet ? 0 : MOMENT);
    }
}
