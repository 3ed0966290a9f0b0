/* An account's device, between tun.c (life, packets), link.c (link, addresses) and route.c. */
#ifndef ADIT_IO_TUN_H
#define ADIT_IO_TUN_H

#include "descriptors.h"
#include "netlink.h"

#include <sys/stat.h>

struct tun_counts { /* of one queue, in a cache line of its own: each may have another thread */
    _Alignas(64) struct io_tun_counts v;
};

struct io_tun {
    struct descriptors descriptors; /* without the netlink socket, which is: */
    struct netlink netlink;         /* rtnetlink of its namespace */
    uint32_t account;
    uint32_t index; /* of the device, in its namespace */
    char device[16];
    char netns[NETNS_PATH_MAX]; /* file of the namespace; empty: the daemon's own */
    dev_t netns_dev;            /* what that file was when we opened it */
    ino_t netns_ino;
    bool has_header;               /* struct virtio_net_hdr in front of each packet */
    const struct tun_offer *offer; /* what the kernel agreed to */
    struct tun_counts *counts;     /* of each queue */
};

/* Index and settings of a device just made: IPv4 forwarding and so on, see io_tun_open(). */
enum rc link_set_up(struct io_tun *tun, struct io_error *ret_error) ADIT_MUST_USE;

/* Fills ret_error: "what failed on which device", and the text of the errno. RC_ABSENT only when the device is gone. */
enum rc tun_fail(const struct io_tun *tun, int error, const char *what, struct io_error *ret_error);

/* As io_route_add(); `source` is the address a packet of the namespace's own gets (family 0: the kernel's choice). */
enum rc route_add(struct io_tun *tun, const struct io_route *route, const struct addr *source,
                  struct io_error *ret_error) ADIT_MUST_USE;
/* How many routes of ours go through the device; 0 when that cannot be found out. */
size_t routes_count(struct io_tun *tun, uint8_t family);

#endif
