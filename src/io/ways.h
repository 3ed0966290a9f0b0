/* Which device and which neighbour lead to an address: the kernel's own answer, asked by rtnetlink and kept for a second. */
#ifndef ADIT_IO_WAYS_H
#define ADIT_IO_WAYS_H

#include "netlink.h"

#define WAYS 4096 /* kept; where two destinations share a place, the second goes by the kernel */

struct way {
    struct addr src, dst, via;
    uint64_t until;
    uint32_t device; /* 0: not a way for us */
    uint32_t mtu;
    uint8_t link[8]; /* the neighbour's address there */
    uint8_t link_len;
};
struct ways {
    struct netlink netlink;
    struct io_watch events;
    uint32_t mark, device; /* of the sockets; 0: none */
    bool stale;            /* some route has changed */
    uint64_t next_flush;
    struct way *v;
};

enum rc ways_open(struct io_loop *loop, uint32_t mark, const char *device, struct ways *ret,
                  struct io_error *ret_error) ADIT_MUST_USE;
void ways_close(struct ways *w); /* fine on one that is zeroed or was closed */
/* NULL: the kernel is to send it. So it is once a second for each destination: that keeps the kernel's neighbour fresh. */
const struct way *ways_find(struct ways *w, uint64_t now, const struct addr *src, const struct addr *dst);

#endif
