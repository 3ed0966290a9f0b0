/* Requests over a netlink socket, one at a time, each with its answer. */
#ifndef ADIT_IO_NETLINK_H
#define ADIT_IO_NETLINK_H

#include "error.h"

#include <libmnl/libmnl.h>

struct netlink {
    int fd; /* -1: none */
    uint32_t sequence;
};

union netlink_message { /* longer than any request of ours */
    struct nlmsghdr header;
    uint8_t bytes[256];
};

/* From now on the socket hears nobody but the kernel. Returns 0 or an errno, as netlink_ask() does. */
int netlink_adopt(int fd, struct netlink *ret) ADIT_MUST_USE;
int netlink_open(int protocol, struct netlink *ret) ADIT_MUST_USE; /* in the caller's namespace */
void netlink_close(struct netlink *n);

/* A zeroed message of this type with `extra` octets of its family's header, which is returned. */
void *netlink_begin(union netlink_message *m, uint16_t type, uint16_t flags, size_t extra);
/* Sends it and gives every message of the answer to `each` (may be NULL), which returns MNL_CB_OK, or MNL_CB_STOP to hear no
 * more; after that the socket is good for closing only. EINTR: a table changed while it was dumped; ask again. */
int netlink_ask(struct netlink *n, union netlink_message *m, mnl_cb_t each, void *ctx) ADIT_MUST_USE;

#endif
