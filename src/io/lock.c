/* One instance per network namespace: a socket with a name of ours in the abstract space, which belongs to the namespace, as the
 * raw sockets do. No file to be stale, and containers that share the namespace but no folder see each other. */
#include "error.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static const char name[] = "\0adit.instance";

/* Whoever holds the name is the peer of a connection to it; 0: it is in a pid namespace that we cannot see, or just ended. */
static pid_t holder(const struct sockaddr_un *sa, socklen_t n)
{
    struct ucred peer = {.pid = 0};
    socklen_t size = sizeof peer;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return 0;
    if (connect(fd, (const struct sockaddr *)sa, n) < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        peer.pid = 0;
    close(fd);
    return peer.pid;
}

enum rc io_instance_lock(int *ret_fd, struct io_error *ret_error)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    const socklen_t n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof name - 1);
    memcpy(sa.sun_path, name, sizeof name - 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return io_fail_errno(ret_error, io_rc_of_errno(errno), errno, "the instance's lock");
    if (bind(fd, (const struct sockaddr *)&sa, n) == 0 && listen(fd, SOMAXCONN) == 0) {
        *ret_fd = fd;
        return RC_OK;
    }
    int error = errno;
    close(fd);
    if (error != EADDRINUSE)
        return io_fail_errno(ret_error, io_rc_of_errno(error), error, "the instance's lock");
    return io_fail(
        ret_error, RC_EXISTS,
        "another aditd (pid %d) runs in this network namespace, and each would get every packet: stop that one, "
        "or start this one in a namespace of its own",
        (int)holder(&sa, n));
}
