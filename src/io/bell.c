/* Waking another thread's loop: an eventfd, and a flag that spares the system call while the bell still rings. */
#include "error.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct io_bell {
    int fd;
    bool ringing;
};

enum rc io_bell_new(struct io_bell **ret, struct io_error *ret_error)
{
    struct io_bell *bell = calloc(1, sizeof *bell);
    if (!bell)
        return io_fail(ret_error, RC_NOMEM, "out of memory for a bell");
    bell->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (bell->fd < 0) {
        int error = errno;
        free(bell);
        return io_fail_errno(ret_error, io_rc_of_errno(error), error, "eventfd");
    }
    *ret = bell;
    return RC_OK;
}

void io_bell_free(struct io_bell *bell)
{
    if (!bell)
        return;
    close(bell->fd);
    free(bell);
}

int io_bell_fd(const struct io_bell *bell)
{
    return bell->fd;
}

/* Who finds it ringing has been heard: its hush is still to come, and sees what was written before this exchange. */
void io_bell_ring(struct io_bell *bell)
{
    if (!__atomic_exchange_n(&bell->ringing, true, __ATOMIC_ACQ_REL))
        eventfd_write(bell->fd, 1); /* cannot be full: at most one write per thread and hush */
}

/* In this order: a bell that rings in between is not heard by its descriptor, but the caller looks after this. */
void io_bell_hush(struct io_bell *bell)
{
    eventfd_t times;
    eventfd_read(bell->fd, &times);
    (void)__atomic_exchange_n(&bell->ringing, false, __ATOMIC_ACQ_REL);
}
