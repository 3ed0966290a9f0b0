/* Receiving: batches straight into packet buffers, everything the outer header says into pkt.outer, and on port 4500 the split
 * of RFC 3948 2.2: an SPI is never zero, so four zero octets in its place (the marker) announce IKE. */
#include "bypass.h"
#include "pieces.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define IPV4_HEADER_MIN 20
#define MARKER 4
#define LEAST_MESSAGES 8 /* messages; to prepare many more than come is most of the work of a small batch */

struct batch { /* what one recvmmsg() fills */
    struct mmsghdr m[PKT_BATCH];
    struct iovec iov[OUTER_SLOTS + PKT_BATCH];
    union outer_sockaddr from[PKT_BATCH];
    _Alignas(struct cmsghdr) uint8_t control[PKT_BATCH][OUTER_CONTROL_MAX];
    /* of this call; each message has `slots` buffers of `size` octets, and the spill area behind them */
    size_t n, slots, size, front;
    size_t run_length, run_size; /* the longest coalesced message: its segments, their octets */
    struct pkt *bulk[PKT_BATCH]; /* on their way to dp */
    size_t n_bulk;
};

enum rc outer_receiver_init(struct io_outer *o, struct io_error *ret_error)
{
    void *p = mmap(NULL, (size_t)PKT_BATCH * PKT_LARGE, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return io_fail_errno(ret_error, RC_NOMEM, errno, "memory for received packets");
    o->receiver.spill = p;
    return RC_OK;
}

void outer_receiver_clear(struct io_outer *o)
{
    for (size_t i = 0; i < OUTER_SLOTS; i++) {
        pkt_put(o->config.pool, o->receiver.slot[i]);
        o->receiver.slot[i] = NULL;
    }
    if (o->receiver.spill)
        munmap(o->receiver.spill, (size_t)PKT_BATCH * PKT_LARGE);
    o->receiver.spill = NULL;
}

/* The buffers of message i; false: no more are free. */
static bool prepare_message(struct io_outer *o, struct batch *b, size_t i)
{
    struct iovec *iov = b->iov + i * (b->slots + 1);
    for (size_t k = 0; k < b->slots; k++) {
        struct pkt **slot = &o->receiver.slot[i * b->slots + k];
        if (!*slot && !(*slot = pkt_get(o->config.pool, false)))
            return false;
        iov[k] = (struct iovec){.iov_base = (*slot)->data - b->front, .iov_len = b->size};
    }
    iov[b->slots] = (struct iovec){.iov_base = o->receiver.spill + i * PKT_LARGE, .iov_len = PKT_LARGE};
    b->m[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = iov, .msg_iovlen = b->slots + 1}};
    if (b->front == 0) { /* else the IP header says it all */
        b->m[i].msg_hdr.msg_name = &b->from[i];
        b->m[i].msg_hdr.msg_namelen = sizeof b->from[i];
        b->m[i].msg_hdr.msg_control = b->control[i];
        b->m[i].msg_hdr.msg_controllen = OUTER_CONTROL_MAX;
    }
    return true;
}

/* A coalesced datagram is laid out over as many buffers as the latest one had segments, each as long as a segment: when it looks
 * the same, the kernel's copy has split it. A raw IPv4 socket delivers the IP header too: without options it comes to lie in the
 * headroom, the payload at its place. */
static void prepare(struct io_outer *o, const struct outer_socket *s, struct batch *b)
{
    bool run = s->run_length > 1 && s->run_size <= PKT_SMALL;
    b->front = outer_has_header(s->kind, s->family) ? IPV4_HEADER_MIN : 0;
    b->slots = run ? s->run_length : 1;
    b->size = run ? s->run_size : b->front + PKT_SMALL;
    b->n_bulk = 0;
    b->run_length = 1;
    b->run_size = 0;
    size_t most = run ? OUTER_SLOTS / b->slots : s->batch;
    for (b->n = 0; b->n < most && prepare_message(o, b, b->n); b->n++)
        ;
}

/* No buffer is free: the packets are lost either way; left in the socket they would wake us without end. */
static void discard(struct io_outer *o, const struct outer_socket *s)
{
    for (size_t i = 0; i < PKT_BATCH && recv(s->watch.fd, o->receiver.spill, PKT_LARGE, MSG_DONTWAIT) >= 0; i++) {
        outer_count(o, IO_OUTER_COUNT_RECEIVED, 1);
        outer_count(o, IO_OUTER_COUNT_DROP_POOL, 1);
    }
}

/* ---- one datagram */

static struct addr address_of(const union outer_sockaddr *sa)
{
    if (sa->sa.sa_family == AF_INET)
        return addr_of(4, (const uint8_t *)&sa->v4.sin_addr);
    return addr_of(6, (const uint8_t *)&sa->v6.sin6_addr);
}

static uint16_t port_of(const union outer_sockaddr *sa)
{
    return ntohs(sa->sa.sa_family == AF_INET ? sa->v4.sin_port : sa->v6.sin6_port);
}

/* Destination, traffic class, TTL and size of coalesced segments (0: none) from the control messages. */
static bool read_details(struct msghdr *h, struct pkt_outer *ret, size_t *ret_segment)
{
    bool found = false;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            ret->dst = addr_of(4, (const uint8_t *)&info.ipi_addr);
            found = true;
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            ret->dst = addr_of(6, (const uint8_t *)&info.ipi6_addr);
            ret->df = true; /* no router fragments IPv6 */
            found = true;
        } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
            ret->tos = *CMSG_DATA(c);
        } else if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
            int value;
            memcpy(&value, CMSG_DATA(c), sizeof value);
            *ret_segment = value > 0 ? (size_t)value : 0;
        } else if (c->cmsg_level == IPPROTO_IP || c->cmsg_level == IPPROTO_IPV6) {
            int value;
            memcpy(&value, CMSG_DATA(c), sizeof value);
            if (c->cmsg_type == (c->cmsg_level == IPPROTO_IP ? IP_TTL : IPV6_HOPLIMIT))
                ret->ttl = (uint8_t)value;
            else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS)
                ret->tos = (uint8_t)value;
        }
    }
    return found;
}

/* RFC 791 3.1: what a raw IPv4 socket puts in front. */
static bool strip_ipv4(struct pkt *p)
{
    struct rd r = rd_of(span_of(p->data, p->len));
    uint8_t first = rd_u8(&r);
    p->outer.tos = rd_u8(&r);
    rd_take(&r, 4); /* total length (the kernel has trimmed the packet to it), identification */
    p->outer.df = rd_u16(&r) & 0x4000;
    p->outer.ttl = rd_u8(&r);
    rd_take(&r, 3); /* protocol, checksum */
    p->outer.src = addr_of(4, rd_take(&r, 4).p);
    p->outer.dst = addr_of(4, rd_take(&r, 4).p);
    size_t header = (size_t)(first & 15) * 4;
    if (r.failed || first >> 4 != 4 || header < IPV4_HEADER_MIN || header > p->len)
        return false;
    p->data += header;
    p->len -= (uint32_t)header;
    return true;
}

static bool is_endpoint(struct io_outer *o, const struct addr *a)
{
    const struct io_outer_want *want = &o->config.want;
    if (o->receiver.last_endpoint < want->n_endpoints && addr_equal(&want->endpoints[o->receiver.last_endpoint], a))
        return true;
    for (size_t i = 0; i < want->n_endpoints; i++)
        if (addr_equal(&want->endpoints[i], a)) {
            o->receiver.last_endpoint = i;
            return true;
        }
    return false;
}

/* n octets of message i, from offset `at`, as a packet; NULL: no buffer is free. `whole`: the slots hold one segment each. */
static struct pkt *cut(struct io_outer *o, struct batch *b, size_t i, size_t at, size_t n, bool whole)
{
    size_t k = at / b->size;
    if (!whole || k >= b->slots)
        return pieces_join(o->config.pool, b->m[i].msg_hdr.msg_iov, at, n, b->front);
    struct pkt **slot = &o->receiver.slot[i * b->slots + k], *p = *slot;
    *slot = NULL;
    p->data -= b->front;
    p->len = (uint32_t)n;
    return p;
}

/* RFC 3948 2.2, 2.3. True: p is an IKE datagram, its marker removed. False and *p NULL: nothing is left to do. */
static bool split_natt(struct io_outer *o, struct pkt **p)
{
    struct rd r = rd_of(span_of((*p)->data, (*p)->len));
    enum io_outer_count count = IO_OUTER_COUNT_END;
    uint32_t spi = rd_u32(&r);
    if (r.failed)
        count = (*p)->len == 1 && (*p)->data[0] == 0xff ? IO_OUTER_COUNT_KEEPALIVE : IO_OUTER_COUNT_DROP_SHORT;
    else if (spi == 0) {
        (*p)->data += MARKER;
        (*p)->len -= MARKER;
        return true;
    }
    if (count != IO_OUTER_COUNT_END) {
        outer_count(o, count, 1);
        pkt_put(o->config.pool, *p);
        *p = NULL;
    }
    return false;
}

static void give_datagram(struct io_outer *o, struct pkt *p)
{
    struct path path = {.local = {.addr = p->outer.dst, .port = p->outer.dport},
                        .remote = {.addr = p->outer.src, .port = p->outer.sport}};
    if (o->config.datagram)
        o->config.datagram(o->config.ctx, &path, span_of(p->data, p->len));
    pkt_put(o->config.pool, p);
}

static void flush(struct io_outer *o, struct batch *b)
{
    if (b->n_bulk)
        o->config.packets(o->config.ctx, b->bulk, b->n_bulk);
    b->n_bulk = 0;
}

/* One packet, its outer header read: IKE at once, the rest in batches. */
static void give(struct outer_socket *s, struct batch *b, struct pkt *p)
{
    static const uint8_t from[OUTER_KINDS] = {[OUTER_GRE] = PKT_FROM_GRE,
                                              [OUTER_ESP] = PKT_FROM_ESP,
                                              [OUTER_ICMP] = PKT_FROM_ICMP,
                                              [OUTER_NATT_IKE] = PKT_FROM_NATT,
                                              [OUTER_NATT] = PKT_FROM_NATT};
    struct io_outer *o = s->outer;
    p->from = from[s->kind];
    if (s->kind == OUTER_IKE || (s->kind >= OUTER_NATT_IKE && split_natt(o, &p)))
        give_datagram(o, p);
    else if (p) {
        b->bulk[b->n_bulk++] = p;
        if (b->n_bulk == PKT_BATCH)
            flush(o, b);
    }
}

/* What message i says of all its packets. False: not for us, and counted. */
static bool read_message(struct outer_socket *s, struct batch *b, size_t i, struct pkt_outer *ret, size_t *ret_segment)
{
    struct io_outer *o = s->outer;
    struct msghdr *h = &b->m[i].msg_hdr;
    enum io_outer_count drop = IO_OUTER_COUNT_END;
    if (h->msg_flags & MSG_TRUNC || b->m[i].msg_len > PKT_LARGE)
        drop = IO_OUTER_COUNT_DROP_TRUNCATED;
    else if (b->front)
        return true; /* the packet itself does */
    else if (!read_details(h, ret, ret_segment))
        drop = IO_OUTER_COUNT_DROP_HEADER;
    else if (!is_endpoint(o, &ret->dst))
        drop = IO_OUTER_COUNT_DROP_DESTINATION;
    if (drop != IO_OUTER_COUNT_END) {
        outer_count(o, drop, 1);
        return false;
    }
    ret->src = address_of(&b->from[i]);
    if (outer_port(o, s->kind)) {
        ret->sport = port_of(&b->from[i]);
        ret->dport = outer_port(o, s->kind);
    }
    return true;
}

bool outer_read_header(struct io_outer *o, struct pkt *p)
{
    enum io_outer_count drop = IO_OUTER_COUNT_END;
    if (!strip_ipv4(p))
        drop = IO_OUTER_COUNT_DROP_HEADER;
    else if (!is_endpoint(o, &p->outer.dst))
        drop = IO_OUTER_COUNT_DROP_DESTINATION;
    if (drop == IO_OUTER_COUNT_END)
        return true;
    outer_count(o, drop, 1);
    pkt_put(o->config.pool, p);
    return false;
}

/* Message i: one packet, or segments of one size (the last may be shorter). */
static void take(struct outer_socket *s, struct batch *b, size_t i)
{
    struct io_outer *o = s->outer;
    struct pkt_outer outer = {0};
    size_t len = b->m[i].msg_len, segment = 0, at = 0, n_packets = 0;
    outer_count(o, IO_OUTER_COUNT_RECEIVED, 1);
    if (!read_message(s, b, i, &outer, &segment))
        return; /* the slots keep their buffers */
    bool whole = segment ? segment == b->size : len <= b->size;
    do {
        size_t n = segment && len - at > segment ? segment : len - at;
        struct pkt *p = cut(o, b, i, at, n, whole);
        at += n;
        n_packets++;
        if (!p) {
            outer_count(o, IO_OUTER_COUNT_DROP_POOL, 1);
            continue;
        }
        if (!b->front)
            p->outer = outer;
        if (!b->front || outer_read_header(o, p))
            give(s, b, p);
    } while (at < len);
    outer_count(o, IO_OUTER_COUNT_RECEIVED, n_packets - 1);
    if (n_packets > b->run_length) {
        b->run_length = n_packets < PKT_BATCH ? n_packets : PKT_BATCH;
        b->run_size = segment;
    }
}

/* Returns how many messages there were: a run of many packets (UDP_GRO) has woken us once, as one packet does. */
static size_t receive(struct outer_socket *s)
{
    struct io_outer *o = s->outer;
    struct batch b;
    prepare(o, s, &b);
    if (b.n == 0) {
        discard(o, s);
        return 0;
    }
    int got = recvmmsg(s->watch.fd, b.m, (unsigned)b.n, MSG_DONTWAIT, NULL);
    if (got < 0) {
        if (errno != EAGAIN && errno != EINTR)
            outer_count(o, IO_OUTER_COUNT_RECEIVE_ERROR, 1);
        return 0;
    }
    uint32_t twice = 2 * (uint32_t)got;
    s->batch = twice < LEAST_MESSAGES ? LEAST_MESSAGES : twice > PKT_BATCH ? PKT_BATCH : twice;
    for (size_t i = 0; i < (size_t)got; i++)
        take(s, &b, i);
    flush(o, &b);
    s->run_length = (uint32_t)b.run_length;
    s->run_size = (uint32_t)b.run_size;
    return (size_t)got;
}

/* One batch at a time: the loop serves its urgent watches between two batches, so bulk traffic never starves IKE. Within a
 * batch of port 4500, IKE goes first as well. */
void outer_socket_ready(void *ctx, unsigned events)
{
    (void)events;
    struct outer_socket *s = ctx;
    size_t n = receive(s);
    if (s->pace.loop)
        pace_note(&s->pace, n);
}
