/* An account's TUN: opening, packets in and out. */
#include "tun.h"

#include "adit/shared.h"

#include <assert.h>
#include <errno.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <linux/virtio_net.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

enum rc tun_fail(const struct io_tun *tun, int error, const char *what, struct io_error *ret_error)
{
    enum rc rc = io_rc_of_errno(error);
    if (rc == RC_ABSENT && error != ENODEV)
        rc = RC_UNSUPPORTED;
    return io_fail_errno(ret_error, rc, error, "%s on %s%s%s", what, tun->device, tun->netns[0] ? " in " : "",
                         tun->netns);
}

/* ---- opening */

/* Which namespace the descriptors are in, to notice later that its name leads elsewhere. */
static bool note_namespace(struct io_tun *tun)
{
    struct stat st;
    int fd = ioctl(tun->netlink.fd, SIOCGSKNS);
    bool ok = fd >= 0 && fstat(fd, &st) == 0;
    if (fd >= 0)
        close(fd);
    if (ok) {
        tun->netns_dev = st.st_dev;
        tun->netns_ino = st.st_ino;
    }
    return ok;
}

static enum rc open_descriptors(struct io_helper *helper, const struct io_tun_config *config, struct io_tun *tun,
                                struct io_error *ret_error)
{
    enum rc rc;
    if (!config->netns)
        rc = descriptors_open("this network namespace", config->device, config->queues, config->offload,
                              &tun->descriptors, ret_error);
    else if (!helper)
        rc = io_fail(ret_error, RC_UNSUPPORTED,
                     "network namespace %s cannot be entered: no account had one when aditd started; restart it",
                     config->netns);
    else if ((rc = netns_path(config->netns, tun->netns, ret_error)) == RC_OK)
        rc = helper_request(helper, config, &tun->descriptors, ret_error);
    if (rc != RC_OK)
        return rc;
    snprintf(tun->device, sizeof tun->device, "%s", config->device);
    int error = netlink_adopt(tun->descriptors.netlink, &tun->netlink);
    if (error)
        return tun_fail(tun, error, "rtnetlink socket", ret_error);
    tun->descriptors.netlink = -1;
    size_t size = config->queues * sizeof *tun->counts;
    tun->counts = aligned_alloc(_Alignof(struct tun_counts), size);
    if (!tun->counts)
        return io_fail(ret_error, RC_NOMEM, "out of memory for device %s", config->device);
    memset(tun->counts, 0, size);
    if (tun->netns[0] && !note_namespace(tun))
        return tun_fail(tun, errno, "identity of the network namespace", ret_error);
    return RC_OK;
}

/* What the kernel may leave to us, best first. UDP segmentation came with Linux 6.2. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif
#define TCP_OFFLOADS (TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN)
#define OFFERS 3
static const struct tun_offer {
    unsigned flags;
    const char *name;
    uint8_t super;
} offers[OFFERS] = {{TCP_OFFLOADS | TUN_F_USO4 | TUN_F_USO6, "csum tso4 tso6 uso4 uso6", IO_SUPER_TCP | IO_SUPER_UDP},
                    {TCP_OFFLOADS, "csum tso4 tso6", IO_SUPER_TCP},
                    {0, "none", 0}};

static enum rc negotiate(struct io_tun *tun, struct io_error *ret_error)
{
    int fd = io_tun_fd(tun, 0), size = sizeof(struct virtio_net_hdr);
    if (ioctl(fd, TUNSETVNETHDRSZ, &size) < 0)
        return tun_fail(tun, errno, "header for offloads", ret_error);
    tun->has_header = true;
    for (size_t i = 0; i < OFFERS; i++)
        if (ioctl(fd, TUNSETOFFLOAD, (unsigned long)offers[i].flags) == 0) {
            tun->offer = &offers[i];
            return RC_OK;
        }
    return tun_fail(tun, errno, "offloads", ret_error);
}

enum rc io_tun_open(struct io_helper *helper, const struct io_tun_config *config, struct io_tun **ret,
                    struct io_error *ret_error)
{
    struct io_tun *tun = calloc(1, sizeof *tun);
    if (!tun)
        return io_fail(ret_error, RC_NOMEM, "out of memory for device %s", config->device);
    tun->descriptors.netlink = tun->netlink.fd = -1;
    tun->account = config->account;
    tun->offer = &offers[OFFERS - 1];
    enum rc rc = open_descriptors(helper, config, tun, ret_error);
    if (rc == RC_OK && config->offload)
        rc = negotiate(tun, ret_error);
    if (rc == RC_OK)
        rc = link_set_up(tun, ret_error);
    if (rc != RC_OK) {
        io_tun_close(tun);
        return rc;
    }
    *ret = tun;
    return RC_OK;
}

void io_tun_close(struct io_tun *tun)
{
    if (!tun)
        return;
    descriptors_close(&tun->descriptors);
    netlink_close(&tun->netlink);
    free(tun->counts);
    free(tun);
}

#define CLOSERS 32

struct closing {
    struct io_tun *const *v;
    size_t n, next;
};

static void *close_some(void *ctx)
{
    struct closing *c = ctx;
    for (size_t i; (i = __atomic_fetch_add(&c->next, 1, __ATOMIC_RELAXED)) < c->n;)
        io_tun_close(c->v[i]);
    return NULL;
}

/* The kernel waits 15 to 20 ms over each (for all readers of its lists, RCU), but over many together. The process's end would be no
 * quicker than one after the other. */
void io_tuns_close(struct io_tun *const *tuns, size_t n)
{
    struct closing c = {.v = tuns, .n = n};
    pthread_t thread[CLOSERS];
    size_t others = 0;
    while (others < CLOSERS && others + 1 < n && pthread_create(&thread[others], NULL, close_some, &c) == 0)
        others++;
    close_some(&c);
    while (others > 0)
        pthread_join(thread[--others], NULL);
}

bool io_tun_is_orphan(const struct io_tun *tun)
{
    struct stat st;
    if (!tun->netns[0])
        return false;
    if (stat(tun->netns, &st) < 0)
        return errno == ENOENT; /* anything else says nothing about the namespace */
    return st.st_dev != tun->netns_dev || st.st_ino != tun->netns_ino;
}

int io_tun_fd(const struct io_tun *tun, unsigned queue)
{
    return queue < tun->descriptors.n_queues ? tun->descriptors.queue[queue] : -1;
}

const char *io_tun_offloads(const struct io_tun *tun)
{
    return tun->offer->name;
}

uint8_t io_tun_super(const struct io_tun *tun)
{
    return tun->offer->super;
}

void io_tun_counts(const struct io_tun *tun, struct io_tun_counts *ret)
{
    *ret = (struct io_tun_counts){0};
    for (unsigned i = 0; i < tun->descriptors.n_queues; i++) {
        const struct io_tun_counts *c = &tun->counts[i].v;
        ret->read += READ(c->read);
        ret->written += READ(c->written);
        ret->read_truncated += READ(c->read_truncated);
        ret->read_error += READ(c->read_error);
        ret->write_full += READ(c->write_full);
        ret->write_down += READ(c->write_down);
        ret->write_error += READ(c->write_error);
    }
}

/* ---- packets */

static const uint8_t gso_types[] = {[PKT_GSO_NONE] = VIRTIO_NET_HDR_GSO_NONE,
                                    [PKT_GSO_TCP4] = VIRTIO_NET_HDR_GSO_TCPV4,
                                    [PKT_GSO_TCP6] = VIRTIO_NET_HDR_GSO_TCPV6,
                                    [PKT_GSO_UDP] = VIRTIO_NET_HDR_GSO_UDP_L4};

/* False: something that was not agreed on. */
static bool read_offload(const struct virtio_net_hdr *h, size_t len, struct pkt_offload *ret)
{
    uint8_t type =
        h->gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN; /* CWR is for the first segment only: it says nothing new */
    uint8_t gso = 0;
    while (gso < ARRAY_LEN(gso_types) && gso_types[gso] != type)
        gso++;
    bool csum = h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM;
    if (gso == ARRAY_LEN(gso_types) || (gso && !h->gso_size) ||
        (csum && (size_t)h->csum_start + h->csum_offset + sizeof(uint16_t) > len))
        return false;
    *ret = (struct pkt_offload){.gso = gso,
                                .needs_csum = csum,
                                .gso_size = h->gso_size,
                                .hdr_len = h->hdr_len,
                                .csum_start = h->csum_start,
                                .csum_offset = h->csum_offset};
    return true;
}

static struct virtio_net_hdr header_of(const struct pkt_offload *o)
{
    return (struct virtio_net_hdr){.flags = o->needs_csum ? VIRTIO_NET_HDR_F_NEEDS_CSUM : 0,
                                   .gso_type = gso_types[o->gso],
                                   .hdr_len = o->hdr_len,
                                   .gso_size = o->gso_size,
                                   .csum_start = o->csum_start,
                                   .csum_offset = o->csum_offset};
}

/* A read ends with the packet that goes beyond: a batch of super-packets must not keep IKE waiting for milliseconds. */
#define READ_OCTETS (256 * 1024)

/* Any packet is read into the large one: a super-packet is not copied at all. What fits the small one moves there, which costs
 * a few nanoseconds and leaves the large one for the next read. */
struct buffers {
    struct pkt *small, *large;
};

static bool buffers_fill(struct buffers *b, struct pkt_pool *pool)
{
    if (!b->small)
        b->small = pkt_get(pool, false);
    if (!b->large)
        b->large = pkt_get(pool, true);
    return b->small && b->large;
}

static struct pkt *buffers_take(struct buffers *b, size_t len)
{
    struct pkt *p = len > PKT_SMALL ? b->large : b->small;
    if (p == b->small) {
        struct wr w = wr_of(p->data, PKT_SMALL);
        wr_bytes(&w, span_of(b->large->data, len));
        b->small = NULL;
    } else
        b->large = NULL;
    p->len = (uint32_t)len;
    return p;
}

/* RC_OK and NULL: dropped, and counted. RC_LIMIT: none is there. */
static enum rc read_one(struct io_tun *tun, unsigned queue, struct buffers *b, struct pkt **ret)
{
    struct io_tun_counts *counts = &tun->counts[queue].v;
    struct virtio_net_hdr header = {0};
    size_t front = tun->has_header ? sizeof header : 0;
    struct iovec piece[2] = {{.iov_base = &header, .iov_len = front},
                             {.iov_base = b->large->data, .iov_len = PKT_LARGE + 1}}; /* what is too large is seen */
    struct pkt_offload offload;
    ssize_t got = readv(tun->descriptors.queue[queue], piece, 2);
    if (got < (ssize_t)front)
        return got < 0 && errno == EBADFD ? RC_ABSENT : RC_LIMIT;
    size_t len = (size_t)got - front;
    *ret = NULL;
    if (len > PKT_LARGE)
        ADD(counts->read_truncated, 1);
    else if (!read_offload(&header, len, &offload))
        ADD(counts->read_error, 1);
    else {
        struct pkt *p = buffers_take(b, len);
        p->from = PKT_FROM_TUN;
        p->account = tun->account;
        p->offload = offload;
        ADD(counts->read, 1);
        *ret = p;
    }
    return RC_OK;
}

enum rc io_tun_read(struct io_tun *tun, unsigned queue, struct pkt_pool *pool, struct pkt **ret, size_t max,
                    size_t *ret_n)
{
    assert(queue < tun->descriptors.n_queues);
    struct buffers b = {NULL, NULL};
    size_t n = 0, octets = 0;
    enum rc rc = RC_OK;
    for (size_t tries = 0; tries < max && octets < READ_OCTETS && buffers_fill(&b, pool); tries++) {
        rc = read_one(tun, queue, &b, &ret[n]);
        if (rc != RC_OK)
            break;
        octets += ret[n] ? ret[n]->len : 0;
        n += ret[n] != NULL;
    }
    pkt_put(pool, b.small);
    pkt_put(pool, b.large);
    *ret_n = n;
    return rc == RC_ABSENT ? rc : RC_OK;
}

#define PIECES (1 + PKT_SUPER_MAX) /* of one write: the header, and the packets of a super-packet */

static void count_refusal(struct io_tun_counts *counts, int error)
{
    if (error == EIO) /* the link is down */
        ADD(counts->write_down, 1);
    else if (error == EAGAIN || error == ENOBUFS || error == ENOMEM)
        ADD(counts->write_full, 1);
    else
        ADD(counts->write_error, 1);
}

enum rc io_tun_write(struct io_tun *tun, unsigned queue, struct pkt *const *v, size_t n, size_t *ret_dropped)
{
    assert(queue < tun->descriptors.n_queues);
    struct io_tun_counts *counts = &tun->counts[queue].v;
    size_t written = 0;
    enum rc rc = RC_OK;
    for (size_t i = 0; rc == RC_OK && i < n; i++) {
        unsigned into = v[i]->queue > 0 && v[i]->queue <= tun->descriptors.n_queues ? v[i]->queue - 1u : queue;
        struct virtio_net_hdr header = header_of(&v[i]->offload);
        struct iovec piece[PIECES] = {{.iov_base = &header, .iov_len = tun->has_header ? sizeof header : 0}};
        int pieces = 1;
        for (const struct pkt *p = v[i]; p && pieces < PIECES; p = p->more)
            piece[pieces++] = (struct iovec){.iov_base = p->data, .iov_len = p->len};
        if (writev(tun->descriptors.queue[into], piece, pieces) >= 0)
            written++;
        else if (errno == EBADFD)
            rc = RC_ABSENT;
        else
            count_refusal(counts, errno);
    }
    ADD(counts->written, written);
    *ret_dropped = n - written;
    return rc;
}
