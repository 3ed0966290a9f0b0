/* pkt: a packet on its way between io (descriptors) and dp (protocol). io fills the first part on receipt, dp the verdict.
 *
 * One buffer with room in front, so that encapsulation prepends without a copy:
 *     room ........ data [len] ........ room + cap
 * Batches are arrays of pointers; a pool hands buffers out and takes them back, nothing else allocates on the packet path.
 */
#ifndef ADIT_PKT_H
#define ADIT_PKT_H

#include "adit/base.h"

#define PKT_BATCH 64
#define PKT_SUPER_MAX 64 /* packets that one super-packet to a TUN may consist of; the kernel's own limit for UDP */
#define PKT_HEADROOM 128 /* what io leaves free in front of received data */
#define PKT_TAILROOM 64  /* and behind it: padding, ICV */
#define PKT_SMALL 2048   /* payload capacity of an ordinary buffer */
#define PKT_LARGE (64 * 1024) /* TUN super-packets, reassembled outer packets */

enum pkt_from {
    PKT_FROM_GRE,  /* raw socket, protocol 47: data at the GRE header */
    PKT_FROM_ESP,  /* raw socket, protocol 50: data at the SPI */
    PKT_FROM_NATT, /* UDP 4500: data at the SPI, marker already ruled out */
    PKT_FROM_TUN,  /* data at the inner IP header */
    PKT_FROM_ICMP, /* outer ICMP error, IPv4 or IPv6: data at the ICMP header */
};

enum pkt_verdict {
    PKT_DROP,      /* reason says why */
    PKT_TO_TUN,    /* of `account` */
    PKT_TO_GRE,    /* raw protocol 47; the kernel makes the outer IP header from `outer` */
    PKT_TO_ESP,    /* raw protocol 50 */
    PKT_TO_NATT,   /* UDP 4500 */
    PKT_TO_WORKER, /* as it came, for dp_from_net() or dp_from_tun() of number `worker` */
};

/* Everything the outer header says that is not in `data`. Received: as it came. To send: what io must set. */
struct pkt_outer {
    struct addr src, dst;
    uint16_t sport, dport; /* NATT only */
    uint8_t tos;           /* DSCP and ECN */
    uint8_t ttl;
    bool df;
};

/* Offload state of a TUN packet (struct virtio_net_hdr in host terms); gso_size 0: an ordinary packet. */
enum pkt_gso { PKT_GSO_NONE, PKT_GSO_TCP4, PKT_GSO_TCP6, PKT_GSO_UDP };
struct pkt_offload {
    uint8_t gso;     /* enum pkt_gso */
    bool needs_csum; /* transport checksum at csum_start + csum_offset still to be done */
    uint16_t gso_size, hdr_len, csum_start, csum_offset;
};

struct pkt {
    uint8_t *data;
    uint32_t len;
    uint32_t cap; /* of the whole buffer at `room` */
    uint8_t *room;
    uint8_t from;     /* enum pkt_from */
    uint8_t verdict;  /* enum pkt_verdict */
    uint8_t reason;   /* enum dp_reason when dropped */
    uint8_t worker;   /* PKT_TO_WORKER */
    uint32_t account; /* from TUN: whose; to TUN: whose */
    struct pkt_outer outer;
    struct pkt_offload offload;
    uint8_t queue;    /* to TUN: number + 1 of the queue, to whose worker the answers then come; 0: the writer's */
    struct pkt *more; /* to TUN: a super-packet's payload goes on there; NULL: here it ends */
};

static inline size_t pkt_headroom(const struct pkt *p)
{
    return (size_t)(p->data - p->room);
}
static inline size_t pkt_tailroom(const struct pkt *p)
{
    return p->cap - pkt_headroom(p) - p->len;
}

/* Fixed pool, single-threaded: `n_small` + `n_large` buffers in one allocation. */
struct pkt_pool;
enum rc pkt_pool_new(size_t n_small, size_t n_large, struct pkt_pool **ret) ADIT_MUST_USE;
void pkt_pool_free(struct pkt_pool *pool);
struct pkt *pkt_get(struct pkt_pool *pool, bool large); /* data at PKT_HEADROOM, len 0, fields zero; NULL when empty */
/* With all that hangs on it by `more`; NULL is fine. A buffer of another pool, which another thread waits for, stays as it is. */
void pkt_put(struct pkt_pool *pool, struct pkt *p);
size_t pkt_pool_available(const struct pkt_pool *pool, bool large);

/* A list of results in order of output. Owned arrays by the caller; full = the pusher must drop and count. */
struct pkt_list {
    struct pkt **v;
    size_t n, cap;
};
static inline bool pkt_push(struct pkt_list *l, struct pkt *p)
{
    if (l->n == l->cap)
        return false;
    l->v[l->n++] = p;
    return true;
}

#endif
