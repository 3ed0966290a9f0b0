/* A TUN device with all its queues, and an rtnetlink socket beside it, in the namespace of whoever calls. All queues are made
 * here: attaching another one later, from another namespace, would silently make a new device there. */
#include "descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define TUN_PATH "/dev/net/tun"

void descriptors_close(struct descriptors *d)
{
    if (d->netlink >= 0)
        close(d->netlink);
    d->netlink = -1;
    while (d->n_queues)
        close(d->queue[--d->n_queues]);
}

static enum rc open_queue(const char *where, const char *device, short flags, int *ret, struct io_error *ret_error)
{
    int fd = open(TUN_PATH, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == ENODEV || errno == ENXIO))
        return io_fail(ret_error, RC_ABSENT,
                       TUN_PATH " is missing: `modprobe tun`; in a container, pass the device through");
    if (fd < 0)
        return io_fail_errno(ret_error, io_rc_of_errno(errno), errno, TUN_PATH);
    struct ifreq request = {.ifr_flags = flags};
    memcpy(request.ifr_name, device, strnlen(device, IFNAMSIZ - 1)); /* lint: not wire bytes: a device's name */
    if (ioctl(fd, TUNSETIFF, &request) == 0) {
        *ret = fd;
        return RC_OK;
    }
    int error = errno;
    close(fd);
    if (error == EBUSY || error == EEXIST || error == EINVAL)
        return io_fail(ret_error, RC_EXISTS,
                       "device %s exists already in %s: stop the program it belongs to, delete it (`ip link delete %s` "
                       "there), or choose another name (`device`)",
                       device, where, device);
    return io_fail_errno(ret_error, io_rc_of_errno(error), error, "TUN device %s in %s (%s)", device, where,
                         IO_REMEDY_PRIVILEGE);
}

enum rc descriptors_open(const char *where, const char *device, unsigned queues, bool offload, struct descriptors *ret,
                         struct io_error *ret_error)
{
    struct descriptors d = {.netlink = -1};
    if (queues < 1 || queues > IO_QUEUES_MAX)
        return io_fail(ret_error, RC_RANGE, "%u queues: 1 to %d are possible", queues, IO_QUEUES_MAX);
    if (!device[0] || strlen(device) >= IFNAMSIZ || strchr(device, '/') || strchr(device, '%'))
        return io_fail(ret_error, RC_RANGE, "\"%s\" is not a name for a device", device);
    int flags = IFF_TUN | IFF_NO_PI | (queues > 1 ? IFF_MULTI_QUEUE : 0) | (offload ? IFF_VNET_HDR : 0);
    enum rc rc = RC_OK;
    while (rc == RC_OK && d.n_queues < queues) {
        /* EXCL: never take over a device that exists */
        rc = open_queue(where, device, (short)(d.n_queues ? flags : flags | IFF_TUN_EXCL), &d.queue[d.n_queues],
                        ret_error);
        d.n_queues += rc == RC_OK;
    }
    if (rc == RC_OK && (d.netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)) < 0)
        rc = io_fail_errno(ret_error, io_rc_of_errno(errno), errno, "rtnetlink socket in %s", where);
    if (rc != RC_OK) {
        descriptors_close(&d);
        return rc;
    }
    *ret = d;
    return RC_OK;
}
